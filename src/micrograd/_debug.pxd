# What a debug build (MICROGRAD_DEBUG=1) has and others have not. What is checked stands in _invariants.pxd.

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
    """
    bint DEBUG "MICROGRAD_DEBUG"  # a constant: what stands under `if DEBUG` is in no release
    void check(bint holds, const char *what) noexcept nogil
    void static_check(bint holds) noexcept nogil
