# Assertions, of debug builds (MICROGRAD_DEBUG=1); and marks on memory that is not in use, of builds under
# AddressSanitizer (MICROGRAD_SANITIZE=1), which have both. The assertions themselves are in _core/invariants.pxi.

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
    /* In every build, at compile time. */
    #if defined(__GNUC__) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L)
      #define static_check(holds) _Static_assert(holds, #holds)
    #else
      #define static_check(holds) ((void)sizeof(char[(holds) ? 1 : -1]))
    #endif
    #if defined(__SANITIZE_ADDRESS__)
      #define MICROGRAD_SANITIZE 1
    #elif defined(__has_feature) /* of clang, which lacks the macro */
      #if __has_feature(address_sanitizer)
        #define MICROGRAD_SANITIZE 1
      #endif
    #endif
    #if defined(MICROGRAD_SANITIZE)
      #include <sanitizer/asan_interface.h>
      #define poison(p, size) ASAN_POISON_MEMORY_REGION(p, size)
      #define unpoison(p, size) ASAN_UNPOISON_MEMORY_REGION(p, size)
    #else
      #define MICROGRAD_SANITIZE 0
      #define poison(p, size) ((void)(p), (void)(size))
      #define unpoison(p, size) ((void)(p), (void)(size))
    #endif
    """
    bint DEBUG "MICROGRAD_DEBUG"  # constants: code under `if DEBUG` is not in a release
    bint SANITIZE "MICROGRAD_SANITIZE"
    void check(bint holds, const char *what) noexcept nogil
    void static_check(bint holds) noexcept nogil
    void poison(void *p, size_t size) noexcept nogil    # any access to this memory from now on is reported
    void unpoison(void *p, size_t size) noexcept nogil
