# What a debug build (MICROGRAD_DEBUG=1) does more than others: assertions; and what one under AddressSanitizer
# (MICROGRAD_SANITIZE=1) does more than that: memory that is not in use is marked. What is asserted stands in
# invariants.pxi.

cdef extern from *:
    """
    #include <assert.h>
    #include <stdio.h>
    #if defined(NDEBUG)
      #define MICROGRAD_DEBUG 0
      #define check(holds, what) ((void)(holds), (void)(what))
    #else
      #define MICROGRAD_DEBUG 1
      #define check(holds, what) do { if (!(holds)) { fprintf(stderr, "not so: %s\\n", what); assert(0); } } while (0)
    #endif
    /* In every build, of what the compiler knows. */
    #if defined(__GNUC__) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L)
      #define static_check(holds) _Static_assert(holds, #holds)
    #else
      #define static_check(holds) ((void)sizeof(char[(holds) ? 1 : -1]))
    #endif
    #if defined(__SANITIZE_ADDRESS__)
      #include <sanitizer/asan_interface.h>
      #define MICROGRAD_SANITIZE 1
      #define poison(p, size) ASAN_POISON_MEMORY_REGION(p, size)
      #define unpoison(p, size) ASAN_UNPOISON_MEMORY_REGION(p, size)
    #else
      #define MICROGRAD_SANITIZE 0
      #define poison(p, size) ((void)(p), (void)(size))
      #define unpoison(p, size) ((void)(p), (void)(size))
    #endif
    """
    bint DEBUG "MICROGRAD_DEBUG"  # constants: what stands under `if DEBUG` is in no release
    bint SANITIZE "MICROGRAD_SANITIZE"
    void check(bint holds, const char *what) noexcept nogil
    void static_check(bint holds) noexcept nogil
    void poison(void *p, size_t size) noexcept nogil    # any access to this memory from now on is reported
    void unpoison(void *p, size_t size) noexcept nogil
