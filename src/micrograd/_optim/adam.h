/* Adam's loop, for _optim.pyx: parameters four at a time, fetched from their slots, computed and written back in one go.
   Square roots and quotients take most of the time, and memory is waited for meanwhile. No lane is computed in another
   way or order than the rest, whatever the width of the machine's vectors. */

#ifndef MICROGRAD_ADAM_H
#define MICROGRAD_ADAM_H

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    double lr, eps;  /* with the corrections of the averages' bias in them */
    double beta1, beta2;
    double sign;     /* of the grads: -1 to maximize */
    double decay;    /* how much of the data is added to the grad */
    double kept;     /* how much of the data is left where decay is decoupled, else 1 */
    int amsgrad;
} Adam;

typedef void (*AdamLoop)(const Adam *options, PyObject *const *params, double *average, double *square, double *highest,
                         ptrdiff_t count);

/* struct Node begins behind the object's head, and with these. */
#define DATA(o) (((double *)((o) + 1))[0])
#define GRAD(o) (((double *)((o) + 1))[1])
#if defined(__GNUC__)
  #define adam_fits(n) (offsetof(__typeof__(*(n)), data) == 0 && offsetof(__typeof__(*(n)), grad) == sizeof(double))
#else
  #define adam_fits(n) 1
#endif

#if defined(__GNUC__) && !defined(MICROGRAD_PLAIN)
  typedef double Four __attribute__((vector_size(32))); /* compilers make two of it where vectors are shorter */
  #define WIDTH 4
  #define LANE(x, i) ((x)[i])
  #define INLINE static inline __attribute__((always_inline))
#else
  typedef double Four;
  #define WIDTH 1
  #define LANE(x, i) (x)
  #define INLINE static inline
#endif

INLINE void adam_lanes(const Adam *o, PyObject *const *params, double *average, double *square, double *highest,
                       ptrdiff_t live) {
    Four x = {0}, g = {0}, m = {0}, v = {0}, h = {0}, root = {0};
    const size_t size = live * sizeof(double);
    ptrdiff_t i;
    for (i = 0; i < live; i++) {
        LANE(x, i) = DATA(params[i]);
        LANE(g, i) = GRAD(params[i]);
    }
    memcpy(&m, average, size);
    memcpy(&v, square, size);
    g *= o->sign;
    if (o->decay != 0.0)
        g += o->decay * x;
    m = o->beta1 * m + (1.0 - o->beta1) * g;
    v = o->beta2 * v + (1.0 - o->beta2) * g * g;
    memcpy(average, &m, size);
    memcpy(square, &v, size);
    if (o->amsgrad) {
        memcpy(&h, highest, size);
        for (i = 0; i < WIDTH; i++)
            if (!(LANE(v, i) <= LANE(h, i))) /* a NaN too */
                LANE(h, i) = LANE(v, i);
        memcpy(highest, &h, size);
        v = h;
    }
    for (i = 0; i < WIDTH; i++)
        LANE(root, i) = sqrt(LANE(v, i));
    x = o->kept * x - o->lr * m / (root + o->eps);
    for (i = 0; i < live; i++)
        DATA(params[i]) = LANE(x, i);
}

INLINE void adam_slots(const Adam *options, PyObject *const *params, double *average, double *square, double *highest,
                       ptrdiff_t count) {
    const Adam o = *options; /* a copy, which nothing that is written can be part of: it stays in registers */
    ptrdiff_t i;
    for (i = 0; i + WIDTH <= count; i += WIDTH)
        adam_lanes(&o, params + i, average + i, square + i, highest + i, WIDTH);
    if (i < count)
        adam_lanes(&o, params + i, average + i, square + i, highest + i, count - i);
}

static void adam_baseline(const Adam *options, PyObject *const *params, double *average, double *square,
                          double *highest, ptrdiff_t count) {
    adam_slots(options, params, average, square, highest, count);
}

#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROGRAD_PLAIN)
__attribute__((target("avx2")))
static void adam_avx2(const Adam *options, PyObject *const *params, double *average, double *square, double *highest,
                      ptrdiff_t count) {
    adam_slots(options, params, average, square, highest, count);
}
#endif

/* The one for this machine. */
static AdamLoop adam_best(void) {
#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROGRAD_PLAIN)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        return adam_avx2;
#endif
    return adam_baseline;
}

#undef INLINE
#undef LANE
#undef WIDTH
#undef GRAD
#undef DATA

#endif
