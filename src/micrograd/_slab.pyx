# Slabs: opening, closing, taking and giving back slots; and which leaves are made in a trace. The reasons are in
# _slab.pxd.

from libc.stdint cimport uint64_t
from micrograd._cpython cimport this_thread
from micrograd._debug cimport DEBUG, SANITIZE, check, static_check, unpoison

cdef extern from *:
    """
    /* Arenas straight from the system, so that what is given back leaves the process. On huge pages where there are
       any: a graph of millions of nodes is walked through without missing the TLB. */
    #if defined(_WIN32) && !defined(MICROGRAD_PLAIN)
      #include <windows.h>
      static void *arena_map(size_t bytes) {  /* aligned to 64 KB, always */
          return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
      }
      static void arena_unmap(void *p, size_t bytes) {
          (void)bytes;
          VirtualFree(p, 0, MEM_RELEASE);
      }
    #elif (defined(__unix__) || defined(__APPLE__)) && !defined(MICROGRAD_PLAIN)
      #include <stdint.h>
      #include <sys/mman.h>
      #if !defined(MAP_ANONYMOUS)
        #define MAP_ANONYMOUS MAP_ANON
      #endif
      static void *arena_map(size_t bytes) {  /* aligned to its size: twice the room, and the rest given back */
          char *p = (char *)mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          size_t before;
          if (p == (char *)MAP_FAILED)
              return NULL;
          before = (bytes - (uintptr_t)p % bytes) % bytes;
          if (before != 0)
              munmap(p, before);
          munmap(p + before + bytes, bytes - before);
      #if defined(MADV_HUGEPAGE)
          madvise(p + before, bytes, MADV_HUGEPAGE);
      #endif
          return p + before;
      }
      static void arena_unmap(void *p, size_t bytes) {
          munmap(p, bytes);
      }
    #else
      #include <stdint.h>
      #include <stdlib.h>
      #define ALIGNMENT 65536  /* of a slab */
      static void *arena_map(size_t bytes) {  /* with the address that calloc gave in front */
          char *p = (char *)calloc(1, bytes + ALIGNMENT + sizeof(void *));
          char *aligned;
          if (p == NULL)
              return NULL;
          aligned = (char *)(((uintptr_t)p + sizeof(void *) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
          ((void **)aligned)[-1] = p;
          return aligned;
      }
      static void arena_unmap(void *p, size_t bytes) {
          (void)bytes;
          free(((void **)p)[-1]);
      }
    #endif
    """
    void *arena_map(size_t size) nogil
    void arena_unmap(void *p, size_t size) nogil


cdef enum:
    ARENA_SLABS = 32           # 2 MB, a huge page
    ARENA_SIZE = ARENA_SLABS * SLAB_SIZE
    RESERVE = 256              # empty slabs kept for the next graph: 16 MB

static_check(sizeof(PyObject) + sizeof(Node) + sizeof(PyObject *) == SLOT_SIZE)
static_check(sizeof(Slab) <= SLOT_SIZE)
static_check((SLAB_SLOTS + 1) * SLOT_SIZE == SLAB_SIZE)
static_check(sizeof(Piece) <= PIECE_STEP)

ASSERTS = bool(DEBUG)       # for tests: what this build checks
SANITIZED = bool(SANITIZE)


cdef void slab_link(Slab *slab, Slab **head) noexcept nogil:
    slab.newer = NULL
    slab.older = head[0]
    if head[0] != NULL:
        head[0].newer = slab
    head[0] = slab


cdef void slab_unlink(Slab *slab, Slab **head) noexcept nogil:
    if slab.newer != NULL:
        slab.newer.older = slab.older
    else:
        head[0] = slab.older
    if slab.older != NULL:
        slab.older.newer = slab.newer


cdef bint arena_open() noexcept nogil:
    """Put the slabs of a new arena into the reserve, the first on top; False when memory is out."""
    cdef char *arena = <char *>arena_map(ARENA_SIZE)
    cdef Slab *slab
    cdef int i
    if arena == NULL:
        return False
    for i in range(ARENA_SLABS - 1, -1, -1):
        slab = <Slab *>(arena + i * SLAB_SIZE)
        slab.arena = <Slab *>arena
        slab.taken = 0
        slab_link(slab, &heap.reserve)
    heap.reserved += ARENA_SLABS
    return True


cdef void arena_close(Slab *arena) noexcept nogil:
    cdef int i
    for i in range(ARENA_SLABS):
        slab_unlink(<Slab *>(<char *>arena + i * SLAB_SIZE), &heap.reserve)
    heap.reserved -= ARENA_SLABS
    unpoison(arena, ARENA_SIZE)
    arena_unmap(arena, ARENA_SIZE)


cdef Slab *slab_open(bint leaves) noexcept nogil:
    """An empty slab at the head of its list; NULL when memory is out."""
    cdef Slab *slab
    if heap.reserve == NULL and not arena_open():
        return NULL
    slab = heap.reserve
    slab_unlink(slab, &heap.reserve)
    heap.reserved -= 1
    slab.arena.taken += 1
    slab.free = slab.top = NULL
    slab.pending = 0
    slab.used = slab.freed = 0
    slab.leaves = leaves
    slots_poison(slab_slot(slab, SLAB_SLOTS - 1), SLAB_SLOTS)
    slab_link(slab, &heap.roomy if leaves else &heap.newest)
    return slab


cdef void slab_close(Slab *slab) noexcept nogil:
    """Take an empty slab out of its list into the reserve, and an empty arena that is to spare back to the system."""
    cdef Slab *arena = slab.arena
    slab_unlink(slab, &heap.roomy if slab.leaves else &heap.newest)
    slab_link(slab, &heap.reserve)
    heap.reserved += 1
    arena.taken -= 1
    check(0 <= arena.taken < ARENA_SLABS, "an arena has as many slabs taken as are in a list")
    if arena.taken == 0 and heap.reserved >= RESERVE + ARENA_SLABS:
        arena_close(arena)


cdef Node *slot_take_leaf() noexcept nogil:
    """A slot for a leaf, used before or not; NULL when memory is out."""
    cdef Slab *slab = heap.roomy
    cdef Node *n
    if slab == NULL:
        slab = slab_open(leaves=True)
        if slab == NULL:
            return NULL
    n = slab.free
    if n != NULL:
        slab.free = node_next(n)
        slab.freed -= 1
    else:
        n = slab_slot(slab, slab.used)
        slab.used += 1
    slots_unpoison(n, 1)
    check(slab.leaves and slab_of(n) == slab and n != slab_slot(slab, -1), "a slab's free slots are its own")
    if slab.free == NULL and slab.used == SLAB_SLOTS:
        slab_unlink(slab, &heap.roomy)
    return n


cdef void slot_settle(Node *n, Slab *slab) noexcept nogil:
    """What is left to do for a slot given back: a leaf's is to be used again, and a slab may be empty now."""
    if slab.leaves:
        if slab.free == NULL and slab.used == SLAB_SLOTS:  # it was full, and in no list
            slab_link(slab, &heap.roomy)
        node_link(n, slab.free)
        slab.free = n
        if slab.freed == slab.used and slab.older != NULL:
            slab_close(slab)
    elif slab.freed == slab.used:
        if slab == heap.newest:  # start it again: a loop that keeps nothing stays in one slab
            slab.used = slab.freed = 0
        else:
            slab_close(slab)


# ---- Traces --------------------------------------------------------------------------------------

# A child that was forked while another thread traced keeps the entry of a thread it does not have. The entry matches
# no thread, and costs what a trace of another thread costs.

cdef unsigned int traces_begun = 0


cdef Tracing *trace_here() noexcept:
    """The trace that this thread is in, or NULL."""
    cdef uint64_t thread
    cdef Tracing *trace = traces
    if trace == NULL:
        return NULL
    thread = this_thread()
    while trace != NULL and trace.thread != thread:
        trace = trace.next
    return trace


cdef int trace_begin() except -1:
    """This thread, which is in no trace, begins one."""
    global traces, traces_begun
    cdef Tracing *trace = <Tracing *>PyMem_Malloc(sizeof(Tracing))
    if trace == NULL:
        raise MemoryError
    traces_begun += 1
    trace.thread = this_thread()
    trace.number = traces_begun
    trace.next = traces
    traces = trace
    return 0


cdef void trace_end() noexcept:
    """This thread's trace is over."""
    cdef Tracing *trace = trace_here()
    cdef Tracing **link = &traces
    while link[0] != NULL:
        if link[0] == trace:
            link[0] = trace.next
            PyMem_Free(trace)
            return
        link = &link[0].next


cdef void leaf_mark(Node *n) noexcept:
    """Note which trace a new leaf was made in, if its thread is in one."""
    cdef Tracing *trace = trace_here()
    if trace != NULL:
        n.flags |= MADE
        n.place = trace.number
