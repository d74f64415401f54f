/* pow where the exponent is 2 or -1, at a fifth of the cost and with the same bits.

   c_pow(a, b) is pow, called by a pointer that the compiler must read: it would otherwise turn a power of 2 or -1 into
   a product or a quotient, which round differently. c_square(a) is pow(a, 2), c_inverse(a) is pow(a, -1).

   glibc's pow is off by less than 0.04 units in the last place before it rounds (0.54 after). So where a product or a
   quotient, whose rounding error can be computed exactly, is at least 0.05 units away from rounding the other way, pow
   gives the same bits: nine times in ten. With it the README's backward pass takes 0.95 us instead of 1.53. */

#ifndef MICROGRAD_POW_H
#define MICROGRAD_POW_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 2
  #error "doubles are computed with more bits here, and rounded twice: on i386, compile with -msse2 -mfpmath=sse"
#endif
static double (*volatile c_pow)(double, double) = pow;

#if defined(__GLIBC__) && !defined(MICROGRAD_PLAIN)
  #if __GLIBC_PREREQ(2, 28) && FLT_EVAL_METHOD == 0
    #define POW_IS_NEAR 1
  #endif
#endif
#if defined(POW_IS_NEAR)
#include <string.h>

static inline int surely_rounded(double r, double error) {
    uint64_t bits;
    double power_of_two;
    memcpy(&bits, &r, sizeof bits);
    bits &= 0x7ff0000000000000;
    memcpy(&power_of_two, &bits, sizeof bits);
    return fabs(error) < 0.45 * 0x1p-52 * power_of_two && power_of_two > 0x1p-900 && power_of_two < 0x1p900;
}
static inline double product_error(double a, double b, double product) {  /* exact: Dekker 1971 */
    const double split = 134217729.0;
    double a_high = a * split - (a * split - a), a_low = a - a_high;
    double b_high = b * split - (b * split - b), b_low = b - b_high;
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
}
static inline double c_square(double a) {
    double r = a * a;
    return surely_rounded(r, product_error(a, a, r)) ? r : c_pow(a, 2.0);
}
static inline double c_inverse(double a) {
    double r = 1.0 / a, back = r * a;
    return surely_rounded(r, ((1.0 - back) - product_error(r, a, back)) * r) ? r : c_pow(a, -1.0);
}
#else
#define c_square(a) c_pow(a, 2.0)
#define c_inverse(a) c_pow(a, -1.0)
#endif

#endif
