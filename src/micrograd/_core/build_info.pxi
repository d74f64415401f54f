# How the module was compiled, for reports and tests.
#
# Gives BUILD, ASSERTS and SANITIZED. Uses debug.pxd.

cdef extern from *:
    """
    #if defined(__clang__)
      static const char built_by[] = "clang " __clang_version__;
    #elif defined(__GNUC__)
      static const char built_by[] = "gcc " __VERSION__;
    #elif defined(_MSC_VER)
      static const char built_by[] = "MSVC " Py_STRINGIFY(_MSC_VER);
    #else
      static const char built_by[] = "another compiler";
    #endif
    #if defined(MICROGRAD_PLAIN)
      enum { built_plain = 1 };
    #else
      enum { built_plain = 0 };
    #endif
    """
    const char[] built_by
    const int built_plain
    const int CYTHON_HEX_VERSION

ASSERTS = bool(DEBUG)       # for tests: does this build check assertions, and memory that is not in use?
SANITIZED = bool(SANITIZE)

# For reports: {what: value}.
BUILD = {
    "compiler": built_by.decode().strip(),
    "cython": f"{CYTHON_HEX_VERSION >> 24}.{CYTHON_HEX_VERSION >> 16 & 255}.{CYTHON_HEX_VERSION >> 8 & 255}",
    "debug": bool(DEBUG),
    "plain": built_plain != 0,
}
