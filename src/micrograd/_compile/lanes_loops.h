/* The loops of lanes.h for vectors of VEC doubles, in one mode: EXACT, or fast. Names end in VARIANT. */

#define F(name) LANES_NAME(name, VARIANT)

#if VEC == 1
typedef double F(vec), F(memory);
#else
typedef double F(vec) __attribute__((vector_size(VEC * 8)));
typedef double F(memory) __attribute__((vector_size(VEC * 8), aligned(8), may_alias));
#endif
#define vec F(vec)
#define AT(p) (*(F(memory) *)(p))
#define OF(p) (*(const F(memory) *)(p))
#define ONE(p) (*(p))
#define BROADCAST(x) ((x) - (vec){0})  /* minus: 0.0 + -0.0 would be 0.0 */

/* sum + a b, fused in fast loops where the machine can. */
#if !EXACT && defined(FUSED)
  #define MADD(sum, a, b) FUSED(sum, a, b)
  #define MADD_ONE(sum, a, b) __builtin_fma(a, b, sum)
#else
  #define MADD(sum, a, b) ((sum) + (a) * (b))
  #define MADD_ONE(sum, a, b) ((sum) + (a) * (b))
#endif

/* LOOP(AT, OF, MADD) for vectors at i, then for the doubles that are left. */
#define EACH(LOOP) \
    ptrdiff_t i = 0; \
    for (; i + VEC <= width; i += VEC) LOOP(AT, OF, MADD); \
    for (; i < width; i++) LOOP(ONE, ONE, MADD_ONE)

/* For loops that C's compiler makes of vectors. The result may be written over an operand, lane by lane: the compiler
   is told so, since it would take a slow way where arrays are the same. */
#if defined(__clang__)
  #define EACH_LANE(width) _Pragma("clang loop vectorize(assume_safety)") for (ptrdiff_t i = 0; i < (width); i++)
#elif defined(__GNUC__)
  #define EACH_LANE(width) _Pragma("GCC ivdep") for (ptrdiff_t i = 0; i < (width); i++)
#else
  #define EACH_LANE(width) for (ptrdiff_t i = 0; i < (width); i++)
#endif

static void F(add)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, MADD) AT(r + i) = OF(a + i) + OF(b + i)
    EACH(LOOP);
    #undef LOOP
}

static void F(sub)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, MADD) AT(r + i) = OF(a + i) - OF(b + i)
    EACH(LOOP);
    #undef LOOP
}

static void F(mul)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, MADD) AT(r + i) = OF(a + i) * OF(b + i)
    EACH(LOOP);
    #undef LOOP
}

static void F(neg)(double *r, const double *a, ptrdiff_t width) {
    #define LOOP(AT, OF, MADD) AT(r + i) = -OF(a + i)
    EACH(LOOP);
    #undef LOOP
}

static void F(relu)(double *r, const double *a, ptrdiff_t width) {
    EACH_LANE(width)
        r[i] = a[i] < 0.0 ? 0.0 : a[i];
}

/* d = x g, or += where it accumulates. With x_step 0, x is VEC times the same. */
LANES_INLINE void F(back_scaled)(double *d, const double *x, const int x_step, const double *g, int accumulate,
                                 ptrdiff_t width) {
    #define SET(AT, OF, MADD) AT(d + i) = OF(x + i * x_step) * OF(g + i)
    #define GAIN(AT, OF, MADD) AT(d + i) = MADD(OF(d + i), OF(x + i * x_step), OF(g + i))
    if (accumulate) {
        EACH(GAIN);
    } else {
        EACH(SET);
    }
    #undef GAIN
    #undef SET
}

static void F(back_linear)(double *d, double slope, const double *g, int accumulate, ptrdiff_t width) {
    double slopes[VEC];
    for (int p = 0; p < VEC; p++)
        slopes[p] = slope;
    F(back_scaled)(d, slopes, 0, g, accumulate, width);
}

static inline void F(back_product)(double *d, const double *x, const double *g, int accumulate, ptrdiff_t width) {
    F(back_scaled)(d, x, 1, g, accumulate, width);
}

static void F(back_relu)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width) {
    if (accumulate)
        EACH_LANE(width)
            d[i] += (r[i] > 0.0 ? 1.0 : 0.0) * g[i];
    else
        EACH_LANE(width)
            d[i] = (r[i] > 0.0 ? 1.0 : 0.0) * g[i];
}

static void F(sum)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    double *r = base + slots[0] * stride, total = 0.0;
    if (width == 1) {
        for (int i = 1; i < count; i++)
            total += base[slots[i] * stride];
        r[0] = total;
        return;
    }
    memset(r, 0, width * sizeof(double));
    for (int i = 1; i < count; i++)
        F(add)(r, r, base + slots[i] * stride, width);
}

#include "lanes_products.h"
#include "lanes_choices.h"
#include "lanes_dots.h"
#if !EXACT
  #include "lanes_math.h"
#endif

static const Lanes F(lanes) = {
    F(add), F(sub), F(mul), F(neg), F(relu), F(less), F(less_equal), F(equal), F(not), F(then), F(otherwise),
    F(maximum), F(minimum), F(back_linear), F(back_product), F(back_relu), F(back_then), F(back_otherwise),
    F(back_greater),
    F(dots), F(back_dots), F(sum), F(layer), F(pack), F(outer), F(total), F(dot_run), F(back_dot_run),
    F(dots_one), F(back_dots_one), F(multiply),
#if !EXACT
    F(exp_loop), F(log_loop), F(tanh_loop), F(tanh_slope), F(sigmoid_loop), F(softplus_loop), F(sqrt_loop), F(div),
    F(power), F(logsumexp), F(logsumexp_one), F(max), F(back_tanh), F(back_tanh_slope), F(back_sigmoid),
    F(back_softplus), F(back_logsumexp), F(total_product),
    F(gain_log), F(gain_sqrt), F(gain_dividend), F(gain_divisor), F(gain_power), F(all_finite),
#endif
};

#undef ALL
#undef CHOOSE
#undef OF_BITS
#undef BITS
#undef EACH_LANE
#undef EACH
#undef MADD_ONE
#undef MADD
#undef BROADCAST
#undef ONE
#undef OF
#undef AT
#undef vec
#undef F
