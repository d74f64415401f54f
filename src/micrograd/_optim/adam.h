/* Adam's loop, for _optim.pyx: data and grads of four parameters at a time are read from their nodes into vectors, and
   the new data are written back. Square roots and divisions take most of the time, and overlap with the loads. Every
   lane is computed in the same order, so the bits do not depend on the width of the machine's vectors. */

#ifndef MICROGRAD_ADAM_H
#define MICROGRAD_ADAM_H

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    double lr, eps;  /* corrected for the bias of the averages */
    double beta1, beta2;
    double sign;     /* of the grads: -1 to maximize */
    double decay;    /* weight decay that is added to the grad: decay * data */
    double kept;     /* 1 - lr * weight decay where that is decoupled, else 1: data becomes kept * data - ... */
    int amsgrad;
} Adam;

typedef void (*AdamLoop)(const Adam *options, PyObject *const *params, double *average, double *square, double *largest,
                         ptrdiff_t count);

/* struct Node follows the object's head, and begins with data and grad. */
#define DATA(o) (((double *)((o) + 1))[0])
#define GRAD(o) (((double *)((o) + 1))[1])
#if defined(__GNUC__)
  #define adam_fits(n) (offsetof(__typeof__(*(n)), data) == 0 && offsetof(__typeof__(*(n)), grad) == sizeof(double))
#else
  #define adam_fits(n) 1
#endif

#if defined(__GNUC__) && !defined(MICROGRAD_PLAIN)
  typedef double Four __attribute__((vector_size(32))); /* where vectors are shorter, compilers use several */
  #define WIDTH 4
  #define LANE(x, i) ((x)[i])
  #define INLINE static inline __attribute__((always_inline))
#else
  typedef double Four;
  #define WIDTH 1
  #define LANE(x, i) (x)
  #define INLINE static inline
#endif

INLINE void adam_lanes(const Adam *o, PyObject *const *params, double *average, double *square, double *largest,
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
        memcpy(&h, largest, size);
        for (i = 0; i < WIDTH; i++)
            if (!(LANE(v, i) <= LANE(h, i))) /* a NaN too */
                LANE(h, i) = LANE(v, i);
        memcpy(largest, &h, size);
        v = h;
    }
    for (i = 0; i < WIDTH; i++)
        LANE(root, i) = sqrt(LANE(v, i));
    x = o->kept * x - o->lr * m / (root + o->eps);
    for (i = 0; i < live; i++)
        DATA(params[i]) = LANE(x, i);
}

INLINE void adam_slots(const Adam *options, PyObject *const *params, double *average, double *square, double *largest,
                       ptrdiff_t count) {
    const Adam o = *options; /* a local copy, which the stores cannot alias: it stays in registers */
    ptrdiff_t i;
    for (i = 0; i + WIDTH <= count; i += WIDTH)
        adam_lanes(&o, params + i, average + i, square + i, largest + i, WIDTH);
    if (i < count)
        adam_lanes(&o, params + i, average + i, square + i, largest + i, count - i);
}

static void adam_baseline(const Adam *options, PyObject *const *params, double *average, double *square,
                          double *largest, ptrdiff_t count) {
    adam_slots(options, params, average, square, largest, count);
}

#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROGRAD_PLAIN)
__attribute__((target("avx2")))
static void adam_avx2(const Adam *options, PyObject *const *params, double *average, double *square, double *largest,
                      ptrdiff_t count) {
    adam_slots(options, params, average, square, largest, count);
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
