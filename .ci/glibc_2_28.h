/* `make wheels` gives this to the compiler with -include. From 2.29 on glibc has these functions in a newer version as well,
   which a system of manylinux_2_28 lacks; they compute the same and differ in how they report errors. */
#include <features.h>
#if defined(__GLIBC__) && defined(__x86_64__)
  #define OLDEST "@GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
  #define OLDEST "@GLIBC_2.17"
#endif
#if defined(OLDEST)
__asm__(".symver exp,exp" OLDEST);
__asm__(".symver log,log" OLDEST);
__asm__(".symver pow,pow" OLDEST);
#endif
