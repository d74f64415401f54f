/* Loops over lanes, for kernels.pxi: each is one op on slots, which are arrays of lanes, one for each sample, and stand
   `stride` doubles apart. The loops are in lanes_loops.h, which is compiled once for each width of vector;
   lanes_variants() says which this machine can run. Every lane is computed in the same order and with the same
   roundings in all of them, and so are sums over lanes: TILE running sums, lane i going to the one of i modulo TILE. */

#ifndef MICROGRAD_LANES_H
#define MICROGRAD_LANES_H

#include <stddef.h>
#include <string.h>

typedef struct Lanes {
    const char *name;
    void (*add)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*sub)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*mul)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*neg)(double *r, const double *a, ptrdiff_t width);
    void (*relu)(double *r, const double *a, ptrdiff_t width);
    /* d = slope g, d = x g, d = (r > 0) g; or += where `accumulate`. */
    void (*back_linear)(double *d, double slope, const double *g, int accumulate, ptrdiff_t width);
    void (*back_product)(double *d, const double *x, const double *g, int accumulate, ptrdiff_t width);
    void (*back_relu)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width);
    /* r = bias + a[0] b[0] + a[1] b[1] + ...; slots: r, bias, then a and b in turn. */
    void (*dots)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width);
    /* Its grads; slots: g, then a, b, the target of a's grad and that of b's in turn, -1 for none; and for each target
       whether to accumulate. */
    void (*back_dots)(double *base, ptrdiff_t stride, const int *slots, int count, const int *accumulate,
                      ptrdiff_t width);
    /* r = 0 + a[0] + a[1] + ...; slots: r, then the a. */
    void (*sum)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width);
    /* out[i] = bias[i] + sum over j of w[i * inputs + j] in[j], in the order of j; each bias a number, or a slot. */
    void (*layer)(double *base, ptrdiff_t stride, const int *out, int outputs, const int *in, int inputs,
                  const double *w, const double *numbers, const int *biases, ptrdiff_t width);
    /* packed[lane * pitch + j] = slot j, with zeros up to the pitch. */
    void (*pack)(const double *base, ptrdiff_t stride, const int *slots, int count, double *packed, ptrdiff_t pitch,
                 ptrdiff_t live);
    /* w[i * pitch + j] += slot i times packed j, lane after lane. */
    void (*outer)(const double *base, ptrdiff_t stride, const int *slots, int count, const double *packed,
                  ptrdiff_t pitch, double *w, ptrdiff_t live);
    /* The sum over lanes. */
    double (*total)(const double *g, ptrdiff_t width);
} Lanes;

enum { TILE = 8 }; /* widths are multiples of it, but for lanes_one, whose width is 1 */

#define LANES_JOIN(a, b) a##_##b
#define LANES_NAME(a, b) LANES_JOIN(a, b)

/* One lane: what is computed once a call, and a call with one sample. */
#define VARIANT one
#define VEC 1
#define STEP 1
#define ROWS 4
#include "lanes_loops.h"

#if defined(__GNUC__) && !defined(MICROGRAD_PLAIN)
  /* What every processor of this architecture has: two doubles a vector on x86-64 and ARM64. */
  #define VARIANT baseline
  #define VEC 2
  #define STEP 4
  #define ROWS 4
  #include "lanes_loops.h"
#else
  #define VARIANT baseline
  #define VEC 1
  #define STEP 4
  #define ROWS 2
  #include "lanes_loops.h"
#endif

#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROGRAD_PLAIN)
  #define LANES_X86 1
  #if defined(__clang__)
    #pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
  #else
    #pragma GCC push_options
    #pragma GCC target("avx2")
  #endif
  #define VARIANT avx2
  #define VEC 4
  #define STEP 8
  #define ROWS 4
  #include "lanes_loops.h"
  #if defined(__clang__)
    #pragma clang attribute pop
    #pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
  #else
    #pragma GCC pop_options
    #pragma GCC push_options
    #pragma GCC target("avx512f")
  #endif
  #define VARIANT avx512
  #define VEC 8
  #define STEP 8
  #define ROWS 8
  #include "lanes_loops.h"
  #if defined(__clang__)
    #pragma clang attribute pop
  #else
    #pragma GCC pop_options
  #endif
#endif

/* The variants this machine can run, best first, NULL behind the last. */
static const Lanes *const *lanes_variants(void) {
    static const Lanes *found[4];
    int count = 0;
#if defined(LANES_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        found[count++] = &lanes_avx512;
    if (__builtin_cpu_supports("avx2"))
        found[count++] = &lanes_avx2;
#endif
    found[count++] = &lanes_baseline;
    found[count] = NULL;
    return found;
}

#endif
