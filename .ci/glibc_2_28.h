/* Binds exp, log, log2 and pow to their old symbol versions; `make wheels` passes this file to the compiler with
   -include. glibc 2.29 has newer versions, which the systems of manylinux_2_28 lack. Both compute the same results and
   differ in how they report errors. */
#include <features.h>
#if defined(__GLIBC__) && defined(__x86_64__)
  #define OLDEST "@GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
  #define OLDEST "@GLIBC_2.17"
#endif
#if defined(OLDEST)
__asm__(".symver exp,exp" OLDEST);
__asm__(".symver log,log" OLDEST);
__asm__(".symver log2,log2" OLDEST);
__asm__(".symver pow,pow" OLDEST);
#endif
