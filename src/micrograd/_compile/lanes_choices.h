/* Comparisons and choices, for lanes_loops.h; their primitives are those of lanes_math.h too.

   CHOOSE(test, a, b) is a in the lanes where LESS or EQUAL hold, else b. */

#if !defined(LESS)
  #define LESS(a, b) ((a) < (b))
  #define EQUAL(a, b) ((a) == (b))
#endif
#if VEC == 1
typedef unsigned long long F(bits);
LANES_INLINE F(bits) F(bits_of)(double x) {
    F(bits) bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
LANES_INLINE double F(of_bits)(F(bits) bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#define BITS(x) F(bits_of)(x)
#define OF_BITS(x) F(of_bits)(x)
#define CHOOSE(test, a, b) ((test) ? (a) : (b))
#else
typedef unsigned long long F(bits) __attribute__((vector_size(VEC * 8)));
#define BITS(x) ((F(bits))(x))
#define OF_BITS(x) ((vec)(F(bits))(x))
#if defined(BLEND)
  #define CHOOSE(test, a, b) BLEND(test, a, b)
#else
  #define CHOOSE(test, a, b) OF_BITS((BITS(test) & BITS(a)) | (~BITS(test) & BITS(b)))
#endif
#endif
#define ALL(x) BROADCAST(x)

/* LOOP for vectors at i, then for the doubles that are left. */
#define LESS_ONE(a, b) ((a) < (b))
#define EQUAL_ONE(a, b) ((a) == (b))
#define CHOOSE_ONE(test, a, b) ((test) ? (a) : (b))
#define EACH_CHOICE(LOOP) \
    ptrdiff_t i = 0; \
    for (; i + VEC <= width; i += VEC) LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL); \
    for (; i < width; i++) LOOP(ONE, ONE, LESS_ONE, EQUAL_ONE, CHOOSE_ONE, )

static void F(less)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(r + i) = CHOOSE(LESS(OF(a + i), OF(b + i)), ALL(1.0), ALL(0.0))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(less_equal)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) \
        AT(r + i) = CHOOSE(LESS(OF(a + i), OF(b + i)) | EQUAL(OF(a + i), OF(b + i)), ALL(1.0), ALL(0.0))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(equal)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(r + i) = CHOOSE(EQUAL(OF(a + i), OF(b + i)), ALL(1.0), ALL(0.0))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(not)(double *r, const double *c, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(r + i) = CHOOSE(EQUAL(OF(c + i), ALL(0.0)), ALL(1.0), ALL(0.0))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(then)(double *r, const double *c, const double *a, double other, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) \
        AT(r + i) = CHOOSE(EQUAL(OF(c + i), ALL(0.0)), ALL(other), OF(a + i))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(otherwise)(double *r, const double *c, const double *a, double other, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) \
        AT(r + i) = CHOOSE(EQUAL(OF(c + i), ALL(0.0)), OF(a + i), ALL(other))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

/* NaN is not equal to itself. */
static void F(maximum)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) \
        AT(r + i) = CHOOSE(LESS(OF(b + i), OF(a + i)), OF(a + i), \
                           CHOOSE(EQUAL(OF(a + i), OF(a + i)), OF(b + i), OF(a + i)))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(minimum)(double *r, const double *a, const double *b, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) \
        AT(r + i) = CHOOSE(LESS(OF(a + i), OF(b + i)), OF(a + i), \
                           CHOOSE(EQUAL(OF(a + i), OF(a + i)), OF(b + i), OF(a + i)))
    EACH_CHOICE(LOOP);
    #undef LOOP
}

static void F(back_then)(double *d, const double *c, const double *g, int accumulate, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(d + i) += CHOOSE(EQUAL(OF(c + i), ALL(0.0)), ALL(0.0), OF(g + i))
    if (accumulate) {
        EACH_CHOICE(LOOP);
    } else {
        F(then)(d, c, g, 0.0, width);
    }
    #undef LOOP
}

static void F(back_otherwise)(double *d, const double *c, const double *g, int accumulate, ptrdiff_t width) {
    #define LOOP(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(d + i) += CHOOSE(EQUAL(OF(c + i), ALL(0.0)), OF(g + i), ALL(0.0))
    if (accumulate) {
        EACH_CHOICE(LOOP);
    } else {
        F(otherwise)(d, c, g, 0.0, width);
    }
    #undef LOOP
}

static void F(back_greater)(double *d, const double *a, const double *b, const double *g, int accumulate,
                            ptrdiff_t width) {
    #define GAIN(OF, LESS, EQUAL, CHOOSE, ALL) \
        CHOOSE(LESS(OF(a + i), OF(b + i)), ALL(0.0), \
               CHOOSE(EQUAL(OF(a + i), OF(b + i)), 0.5 * OF(g + i), OF(g + i)))
    #define SET(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(d + i) = GAIN(OF, LESS, EQUAL, CHOOSE, ALL)
    #define GAINED(AT, OF, LESS, EQUAL, CHOOSE, ALL) AT(d + i) += GAIN(OF, LESS, EQUAL, CHOOSE, ALL)
    if (accumulate) {
        EACH_CHOICE(GAINED);
    } else {
        EACH_CHOICE(SET);
    }
    #undef GAINED
    #undef SET
    #undef GAIN
}

#undef EACH_CHOICE
#undef CHOOSE_ONE
#undef EQUAL_ONE
#undef LESS_ONE
