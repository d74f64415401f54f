/* Lets allocations of the engine fail; preloaded by oom.py, for glibc. Two kinds are counted apart: calls of malloc,
   calloc, realloc and mmap by the compiled modules, and blocks of Python's allocators that these modules ask for, also
   by functions of CPython's API. What the interpreter allocates to run Python code is left alone: CPython itself
   crashes, leaks and raises SystemError there (dictiter_new, copy.deepcopy, f-strings in 3.11). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RANGES = 16 };

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static const char *begins[RANGES], *ends[RANGES];
static int ranges;
static long count, first = -1, last;  /* calls from the ranges, and those that fail: first to last - 1 */

void failing_add(const char *begin, const char *end) {
    if (ranges < RANGES) {
        begins[ranges] = begin;
        ends[ranges++] = end;
    }
}

void failing_set(long start, long stop) {
    if (start >= 0)
        count = 0;
    first = start;
    last = stop;
}

long failing_count(void) {
    return count;
}

static int in_engine(const char *address) {
    int i;
    for (i = 0; i < ranges; i++)
        if (begins[i] <= address && address < ends[i])
            return 1;
    return 0;
}

static int fails(const char *caller) {
    long at;
    if (first < 0 || !in_engine(caller))
        return 0;
    at = count++;
    return first <= at && at < last;
}

#define FAILS fails((const char *)__builtin_return_address(0))

void *malloc(size_t size) {
    return FAILS ? NULL : __libc_malloc(size);
}

void *calloc(size_t items, size_t size) {
    return FAILS ? NULL : __libc_calloc(items, size);
}

void *realloc(void *p, size_t size) {
    return FAILS ? NULL : __libc_realloc(p, size);
}

void *mmap(void *at, size_t size, int access, int flags, int file, off_t offset) {
    if (FAILS) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, access, flags, file, offset);
}

/* ---- Python's allocators ---- */

typedef struct {  /* PyMemAllocatorEx */
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} Allocator;

extern void PyMem_GetAllocator(int, Allocator *);
extern void PyMem_SetAllocator(int, Allocator *);

enum { DOMAINS = 3, DEPTH = 24 };

static Allocator originals[DOMAINS];
static long python_count, python_first = -1, python_last;
static int unwinding;

/* Where memory is out, list_extend of CPython 3.11 and 3.12 leaks its argument; PyTraceBack_Here loses an exception. */
static const char *list_extend;  /* a static function of 1,300 or 1,400 bytes: its address is that of list.extend */

void failing_spare(const char *function) {
    list_extend = function;
}

static int spared(const char *address, const char *name) {
    return (list_extend <= address && address < list_extend + 1536)
        || (name && (!strcmp(name, "PyTraceBack_Here") || !strncmp(name, "_PyEval_", 8)));
}

/* Is the innermost of a compiled module's functions and Python's loop over bytecode one of the engine, and none of the
   functions above between? */
static int of_engine(void) {
    void *frames[DEPTH];
    Dl_info info;
    int i, depth, found = 0;
    unwinding = 1;  /* backtrace() may allocate */
    depth = backtrace(frames, DEPTH);
    for (i = 1; i < depth; i++) {
        if (in_engine(frames[i])) {
            found = 1;
            break;
        }
        if (spared(frames[i], dladdr(frames[i], &info) ? info.dli_sname : NULL))
            break;
    }
    unwinding = 0;
    return found;
}

static int python_fails(void) {
    long at;
    if (python_first < 0 || unwinding)
        return 0;
    at = python_count++;
    return python_first <= at && at < python_last && of_engine();
}

static void *python_malloc(void *context, size_t size) {
    Allocator *original = (Allocator *)context;
    return python_fails() ? NULL : original->malloc(original->context, size);
}

static void *python_calloc(void *context, size_t items, size_t size) {
    Allocator *original = (Allocator *)context;
    return python_fails() ? NULL : original->calloc(original->context, items, size);
}

static void *python_realloc(void *context, void *p, size_t size) {
    Allocator *original = (Allocator *)context;
    return python_fails() ? NULL : original->realloc(original->context, p, size);
}

static void python_free(void *context, void *p) {
    Allocator *original = (Allocator *)context;
    original->free(original->context, p);
}

/* Put the functions above in front of the allocators of all domains, for good. */
void failing_python_begin(void) {
    int domain;
    for (domain = 0; domain < DOMAINS; domain++) {
        Allocator hooked = {&originals[domain], python_malloc, python_calloc, python_realloc, python_free};
        PyMem_GetAllocator(domain, &originals[domain]);
        PyMem_SetAllocator(domain, &hooked);
    }
}

void failing_python_set(long start, long stop) {
    if (start >= 0)
        python_count = 0;
    python_first = start;
    python_last = stop;
}

/* How many blocks were asked for since then. */
long failing_python_count(void) {
    return python_count;
}
