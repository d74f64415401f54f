/* Loops over lanes, for kernels.pxi: each is one op on slots, which are arrays of lanes, one for each sample, and stand
   `stride` doubles apart. With one sample a slot is one double, and a run of slots is an array of them.

   The loops are in lanes_loops.h and what it includes, which are compiled for what every processor of the architecture
   has, and on x86-64 for AVX2 and AVX-512; lanes_variants() says which this machine can run. For each there are two
   tables. `exact` has the roundings of eager code, in every variant. `fast` fuses multiplications and additions in
   layers and gradients where the variant can, and has exp and other functions on vectors, in lanes_math.h; for one
   variant a sample has the same results in any block.

   Sums over lanes have the same order in all: TILE running sums, lane i going to the one of i modulo TILE. */

#ifndef MICROGRAD_LANES_H
#define MICROGRAD_LANES_H

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef void (*LanesGain)(double *x, const double *a, const double *b, const double *r, const double *g,
                          ptrdiff_t width);

/* A product of two matrices: c[i][j] = initial[i][j] + sum over k of a[i][k] b[k][j], in the order of k. Where
   `initial` is NULL, sums begin at 0; it may be c. */
typedef struct Product {
    double *c;                /* rows x columns */
    const double *initial;    /* rows x columns, or of pitch 0 one row */
    const double *a;          /* rows x depth */
    const double *b;          /* depth x columns */
    ptrdiff_t c_pitch, initial_pitch, a_pitch, a_step, b_pitch;  /* from one row to the next, of a also to the next k */
    int rows, depth, columns;
} Product;

typedef struct Lanes {
    /* Of any width. */
    void (*add)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*sub)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*mul)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*neg)(double *r, const double *a, ptrdiff_t width);
    void (*relu)(double *r, const double *a, ptrdiff_t width);
    /* r = 1.0 or 0.0. */
    void (*less)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*less_equal)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*equal)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*not)(double *r, const double *c, ptrdiff_t width);
    /* r = a where the condition c holds, or where it does not; else `other`. */
    void (*then)(double *r, const double *c, const double *a, double other, ptrdiff_t width);
    void (*otherwise)(double *r, const double *c, const double *a, double other, ptrdiff_t width);
    void (*maximum)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*minimum)(double *r, const double *a, const double *b, ptrdiff_t width);
    /* d = slope g, d = x g, d = (r > 0) g; or += where `accumulate`. */
    void (*back_linear)(double *d, double slope, const double *g, int accumulate, ptrdiff_t width);
    void (*back_product)(double *d, const double *x, const double *g, int accumulate, ptrdiff_t width);
    void (*back_relu)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width);
    /* d = g where the condition c holds, or where it does not; else 0.0. */
    void (*back_then)(double *d, const double *c, const double *g, int accumulate, ptrdiff_t width);
    void (*back_otherwise)(double *d, const double *c, const double *g, int accumulate, ptrdiff_t width);
    /* d = 0.0 where a < b, half of g where they are equal, else g. */
    void (*back_greater)(double *d, const double *a, const double *b, const double *g, int accumulate,
                         ptrdiff_t width);

    /* Of several lanes; widths are multiples of TILE. */
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
    /* A run of sums of products, and its grads, of one lane (stride 1) too. */
    void (*dot_run)(double *base, ptrdiff_t stride, const int *header, const int *slots, int count, ptrdiff_t width);
    void (*back_dot_run)(double *base, ptrdiff_t stride, const int *header, const int *slots, int count,
                         ptrdiff_t width);

    /* Of one lane, with the same results as in a block of several. */
    void (*dots_one)(double *base, const int *slots, int count);
    void (*back_dots_one)(double *base, const int *slots, int count, const int *accumulate);
    void (*multiply)(const Product *p);

    /* Of any width, in fast tables alone. */
    void (*exp)(double *r, const double *a, ptrdiff_t width);
    void (*log)(double *r, const double *a, ptrdiff_t width);
    void (*tanh)(double *r, const double *a, ptrdiff_t width);
    void (*tanh_slope)(double *r, const double *a, ptrdiff_t width);
    void (*sigmoid)(double *r, const double *a, ptrdiff_t width);
    void (*softplus)(double *r, const double *a, ptrdiff_t width);
    void (*sqrt)(double *r, const double *a, ptrdiff_t width);
    void (*div)(double *r, const double *a, const double *b, ptrdiff_t width);
    void (*power)(double *r, const double *a, const double *b, ptrdiff_t width);
    /* Slots: r, then the operands. */
    void (*logsumexp)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width);
    void (*logsumexp_one)(double *base, const int *slots, int count);
    void (*max)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width);
    /* d = the partial times g, or +=. */
    void (*back_tanh)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width);
    void (*back_tanh_slope)(double *d, const double *a, const double *g, int accumulate, ptrdiff_t width);
    void (*back_sigmoid)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width);
    void (*back_softplus)(double *d, const double *a, const double *g, int accumulate, ptrdiff_t width);
    void (*back_logsumexp)(double *d, const double *a, const double *r, const double *g, int accumulate,
                           ptrdiff_t width);
    /* The sum over lanes of a b, for widths that are multiples of TILE. */
    double (*total_product)(const double *a, const double *b, ptrdiff_t width);
    /* x = the partial times g. */
    LanesGain gain_log, gain_sqrt, gain_dividend, gain_divisor, gain_power;
    int (*all_finite)(const double *r, ptrdiff_t width);
} Lanes;

typedef struct Variant {
    const char *name;
    const Lanes *fast, *exact;
} Variant;

enum { TILE = 8 };
enum { LANES_DOT_SLOTS = 4, LANES_BACK_DOT_SLOTS = 5, LANES_BACK_DOT_FLAGS = 5 };  /* plan.pxi says what they are */

#define LANES_JOIN(a, b) a##_##b
#define LANES_NAME(a, b) LANES_JOIN(a, b)

/* VEC doubles fill a vector. Layers are computed in tiles of ROWS outputs of STEP lanes, which fit into registers.
   FUSED is the function that fuses for a vector, if there is one; LESS, EQUAL and BLEND are those that compare and
   choose, where gcc's own vectors are slower; LOAD_SOME and STORE_SOME load and store the first n doubles of a
   vector. */
#if defined(__GNUC__) && !defined(MICROGRAD_PLAIN)
  #define LANES_INLINE static inline __attribute__((always_inline))
  #define VEC 2
  #define STEP 4
  #define ROWS 4
  #if defined(__aarch64__)
    #include <arm_neon.h>
    #define FUSED(sum, a, b) ((vec)vfmaq_f64((float64x2_t)(sum), (float64x2_t)(a), (float64x2_t)(b)))
  #endif
#else
  #define LANES_INLINE static inline
  #define VEC 1
  #define STEP 4
  #define ROWS 2
#endif
#define TARGET baseline
#include "lanes_variant.h"

#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROGRAD_PLAIN)
  #define LANES_X86 1
  #include <immintrin.h>
  static const long long lanes_masks[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
  #if defined(__clang__)
    #pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
  #else
    #pragma GCC push_options
    #pragma GCC target("avx2,fma")
  #endif
  static inline void lanes_store_some(double *p, int n, __m256d x) {
      __m128d half = _mm256_castpd256_pd128(x);
      if (n == 4) {
          _mm256_storeu_pd(p, x);
          return;
      }
      if (n & 2) {
          _mm_storeu_pd(p, half);
          half = _mm256_extractf128_pd(x, 1);
          p += 2;
      }
      if (n & 1)
          _mm_store_sd(p, half);
  }
  #define TARGET avx2
  #define VEC 4
  #define STEP 8
  #define ROWS 6
  #define FUSED(sum, a, b) ((vec)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(sum)))
  #define BLEND(test, a, b) ((vec)_mm256_blendv_pd((__m256d)(b), (__m256d)(a), (__m256d)(test)))
  #define STORE_SOME(p, n, x) lanes_store_some(p, n, (__m256d)(x))
  #define LOAD_SOME(p, n) ((vec)_mm256_maskload_pd(p, _mm256_loadu_si256((const __m256i *)(lanes_masks + 4 - (n)))))
  #include "lanes_variant.h"
  #if defined(__clang__)
    #pragma clang attribute pop
    #pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx2,fma"))), apply_to = function)
  #else
    #pragma GCC pop_options
    #pragma GCC push_options
    #pragma GCC target("avx512f,avx512dq,avx2,fma")
  #endif
  #define TARGET avx512
  #define VEC 8
  #define STEP 16
  #define ROWS 12
  #define FUSED(sum, a, b) ((vec)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(sum)))
  #define LESS(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_LT_OQ)
  #define EQUAL(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_EQ_OQ)
  #define BLEND(test, a, b) ((vec)_mm512_mask_blend_pd(test, (__m512d)(b), (__m512d)(a)))
  #define LOAD_SOME(p, n) ((vec)_mm512_maskz_loadu_pd((__mmask8)((1 << (n)) - 1), p))
  #define STORE_SOME(p, n, x) _mm512_mask_storeu_pd(p, (__mmask8)((1 << (n)) - 1), (__m512d)(x))
  #include "lanes_variant.h"
  #if defined(__clang__)
    #pragma clang attribute pop
  #else
    #pragma GCC pop_options
  #endif
#endif

/* The variants this machine can run, best first, NULL behind the last. */
static const Variant *const *lanes_variants(void) {
    static const Variant *found[4];
    int count = 0;
#if defined(LANES_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
        found[count++] = &variant_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[count++] = &variant_avx2;
#endif
    found[count++] = &variant_baseline;
    found[count] = NULL;
    return found;
}

#endif
