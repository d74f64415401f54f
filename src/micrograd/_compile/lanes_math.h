/* exp, log, tanh, sigmoid, softplus and others on vectors, for lanes_loops.h in fast mode. One text for every vector,
   with and without fusing: for one variant a number gives the same bits in any lane. Constants are from
   tests/minimax.py, bounds from tests/ulps.py. Sums of two doubles as in Dekker (1971) and Knuth: `x` and `x_low`, with
   x + x_low the number to about 100 bits. */

#ifndef LANES_MATH_H
#define LANES_MATH_H
/* (exp(x) - 1 - x) / x^2 for |x| < 0.35; (2 atanh(s) - 2 s) / s^3 in s^2, for s^2 < 0.03. */
static const double lanes_exp_terms[] = {
    0x1.0000000000000p-1,  0x1.5555555555559p-3,  0x1.555555555555ap-5,  0x1.111111110f6aep-7,
    0x1.6c16c16c1445ap-10, 0x1.a01a01afe53cbp-13, 0x1.a01a01b0b4207p-16, 0x1.71ddf85369bbcp-19,
    0x1.27e4c5a72bfecp-22, 0x1.af5ebf5ef2b2cp-26, 0x1.1f95597b89df7p-29,
};
static const double lanes_log_terms[] = {
    0x1.5555555555592p-1, 0x1.999999997fda0p-2, 0x1.24924941f31bap-2, 0x1.c71c52075a0b1p-3,
    0x1.74663f644eb54p-3, 0x1.39a1aca1c7f91p-3, 0x1.2f05ffe0ec7c2p-3,
};
#endif

#define SIGN_BIT 0x8000000000000000ULL
#define LN2_HIGH 0x1.62e42fefa2000p-1  /* of 40 bits: its product with an exponent is exact */
#define LN2_LOW 0x1.9ef35793c7673p-41

/* HIGH(x): the first 26 bits of x. */
#define HIGH(x) OF_BITS(BITS(x) & ~0x7ffffffULL)

/* Up to VEC of the doubles that are left: the others are 1. */
LANES_INLINE vec F(load)(const double *from, ptrdiff_t left) {
    double some[VEC];
    if (left >= VEC)
        return OF(from);
    for (int i = 0; i < VEC; i++)
        some[i] = i < left ? from[i] : 1.0;
    return OF(some);
}

LANES_INLINE void F(store)(double *to, vec x, ptrdiff_t left) {
    double some[VEC];
    if (left >= VEC) {
        AT(to) = x;
    } else {
        AT(some) = x;
        for (int i = 0; i < left; i++)
            to[i] = some[i];
    }
}

#define LOAD(from) F(load)((from) + i, width - i)
#define STORE(to, x) F(store)((to) + i, x, width - i)
#define EACH_VECTOR for (ptrdiff_t i = 0; i < width; i += VEC)

/* ---- Functions --------------------------------------------------------------------------------- */

/* The even and the odd terms as two sums, which are computed at the same time. */
LANES_INLINE vec F(polynomial)(const double *terms, const int degree, vec x, vec square) {
    vec even = ALL(terms[degree]), odd = ALL(terms[degree - 1]);
    for (int i = degree - 2; i > 0; i -= 2) {
        even = MADD(ALL(terms[i]), even, square);
        odd = MADD(ALL(terms[i - 1]), odd, square);
    }
    return MADD(MADD(ALL(terms[0]), even, square), odd, x);
}

/* exp(x) = 2^k (1 + r + rest), |r| < 0.35: Cody and Waite's reduction (1980), and a polynomial. `k` becomes k + 2046.
   For -746 <= x <= 710. */
LANES_INLINE void F(reduced_exp)(vec x, vec *r, vec *rest, F(bits) *k) {
    const vec shift = ALL(0x1.8p52);  /* a sum with it is rounded to an integer, which its last bits have */
    vec t = MADD(shift, x, ALL(0x1.71547652b82fep+0));
    vec n = t - shift;
    vec high = MADD(x, n, ALL(-LN2_HIGH)), low = n * LN2_LOW;
    vec y = high - low, y2 = y * y;
    *r = high;
    *rest = MADD(-low, F(polynomial)(lanes_exp_terms, 10, y, y2), y2);
    *k = BITS(t) - (0x4338000000000000ULL - 2046);
}

/* 1 + r + rest, in two doubles. */
LANES_INLINE vec F(one_plus)(vec r, vec rest, vec *low) {
    vec sum = r + 1.0, x;
    rest += (1.0 - sum) + r;
    x = sum + rest;
    *low = (sum - x) + rest;
    return x;
}

/* 2^k x, for k + 2046. In two steps, since 2^k may be no normal number: the second rounds if the result is subnormal. */
LANES_INLINE vec F(scaled)(vec x, F(bits) k) {
    F(bits) half = k >> 1;
    return (x * OF_BITS(half << 52)) * OF_BITS((k - half) << 52);
}

LANES_INLINE vec F(exp)(vec x) {
    vec r, rest, low;
    F(bits) k;
    x = CHOOSE(LESS(ALL(710.0), x), ALL(710.0), x);
    x = CHOOSE(LESS(x, ALL(-746.0)), ALL(-746.0), x);
    F(reduced_exp)(x, &r, &rest, &k);
    x = F(one_plus)(r, rest, &low);
    return F(scaled)(x, k);
}

/* Of sums of two doubles, with one rounding: q has 26 bits, so that the remainder is exact but for its smallest terms. */
LANES_INLINE vec F(quotient)(vec a, vec a_low, vec b, vec b_low) {
    vec inverse = 1.0 / b, q = HIGH(a * inverse), b_high = HIGH(b);
    vec left = (a - q * b_high) - q * ((b - b_high) + b_low);
    return MADD(q, left + a_low, inverse);
}

/* e / (1 + e) or 1 / (1 + e), of e = exp(-|x|). */
LANES_INLINE vec F(sigmoid)(vec x) {
    vec a = OF_BITS(BITS(x) | SIGN_BIT), r, rest, y, y_low, e, b, q;
    F(bits) k;
    a = CHOOSE(LESS(a, ALL(-746.0)), ALL(-746.0), a);
    F(reduced_exp)(a, &r, &rest, &k);
    y = F(one_plus)(r, rest, &y_low);
    e = F(scaled)(y, k);
    b = e + 1.0;
    q = F(quotient)(CHOOSE(LESS(x, ALL(0.0)), y, ALL(1.0)), CHOOSE(LESS(x, ALL(0.0)), y_low, ALL(0.0)), b,
                    ((1.0 - b) + e) + F(scaled)(y_low, k));
    return CHOOSE(LESS(x, ALL(0.0)), F(scaled)(q, k), q);
}

/* -m / (2 + m), where m = exp(-2 |x|) - 1 has a small relative error. */
LANES_INLINE vec F(tanh)(vec x) {
    vec a = OF_BITS(BITS(x) & ~SIGN_BIT), r, rest, power, less, sum, m, m_low, b;
    F(bits) k;
    a = CHOOSE(LESS(ALL(20.0), a), ALL(20.0), a);
    F(reduced_exp)(a * -2.0, &r, &rest, &k);
    power = OF_BITS((k - 1023) << 52);
    r *= power;
    less = power - 1.0;
    sum = less + r;
    rest = ((less - sum) + r) + (power - (less + 1.0)) + rest * power;
    m = sum + rest;
    m_low = (sum - m) + rest;
    b = m + 2.0;
    a = F(quotient)(-m, -m_low, b, ((2.0 - b) + m) + m_low);
    return OF_BITS(BITS(a) | (BITS(x) & SIGN_BIT));
}

/* plus + log(2^down (x + x_low)) for a normal x > 0 and plus >= 0 that is no NaN; x_low is 0, or x >= 1. With
   x = 2^k (1 + f) and s = f / (2 + f), log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R(s^2))), as in fdlibm's log (1993); f
   and k log(2) are added without rounding. */
LANES_INLINE vec F(log_sum)(vec plus, vec x, vec down, vec x_low, const int has_low) {
    const F(bits) least = BITS(ALL(0x1.6a09e667f3bcdp-1));  /* of 1 + f: sqrt(1/2) */
    F(bits) offset = BITS(x) - least + 0x3ff0000000000000ULL, exponent = offset >> 52;
    vec k = (OF_BITS(exponent | 0x4330000000000000ULL) - (0x1p52 + 1023.0)) + down;
    vec f = OF_BITS((offset & 0xfffffffffffffULL) + least) - 1.0;
    vec s = f / (f + 2.0), z = s * s, half = f * f * 0.5;
    vec high = k * LN2_HIGH, sum = high + f, rest, total, back;
    rest = MADD(half, s, -MADD(half, F(polynomial)(lanes_log_terms, 6, z, z * z), z));
    rest = MADD(-rest, k, ALL(LN2_LOW)) + ((high - sum) + f);
    if (!has_low)
        return sum + rest;
    x_low *= OF_BITS((2046 - exponent) << 52);
    rest = MADD(rest, x_low, MADD(ALL(1.0), ALL(-2.0) * s, 1.0 - s));  /* 1 / (1 + f) = 1 - 2 s + 2 s^2 - ... */
    total = plus + sum;
    back = total - plus;
    return total + (((plus - (total - back)) + (sum - back)) + rest);
}

/* NaN where the result is not finite, and for no other x. */
LANES_INLINE vec F(log)(vec x) {
    vec scaled = CHOOSE(LESS(x, ALL(0x1p-1022)), x * 0x1p54, x), down = CHOOSE(LESS(x, ALL(0x1p-1022)), ALL(-54.0), ALL(0.0));
    return CHOOSE(LESS(ALL(0.0), x) & LESS(x, ALL(HUGE_VAL)), F(log_sum)(ALL(0.0), scaled, down, ALL(0.0), 0), ALL(NAN));
}

/* max(x, 0) + log(1 + exp(-|x|)) */
LANES_INLINE vec F(softplus)(vec x) {
    vec a = OF_BITS(BITS(x) | SIGN_BIT), r, rest, e, e_low, sum;
    F(bits) k;
    a = CHOOSE(LESS(a, ALL(-746.0)), ALL(-746.0), a);
    F(reduced_exp)(a, &r, &rest, &k);
    e = F(scaled)(F(one_plus)(r, rest, &e_low), k);
    sum = e + 1.0;
    sum = F(log_sum)(CHOOSE(LESS(ALL(0.0), x), x, ALL(0.0)), sum, ALL(0.0), ((1.0 - sum) + e) + F(scaled)(e_low, k), 1);
    return CHOOSE(LESS(ALL(40.0), x), x, sum);
}

/* ---- Loops of any width ------------------------------------------------------------------------ */

static void F(exp_loop)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, F(exp)(LOAD(a)));
}

static void F(log_loop)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, F(log)(LOAD(a)));
}

static void F(tanh_loop)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, F(tanh)(LOAD(a)));
}

static void F(sigmoid_loop)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, F(sigmoid)(LOAD(a)));
}

static void F(softplus_loop)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, F(softplus)(LOAD(a)));
}

static int F(all_finite)(const double *r, ptrdiff_t width) {
    vec sum = ALL(0.0);
    double parts[VEC], total = 0.0;
    EACH_VECTOR {
        vec x = LOAD(r);
        sum += x - x;
    }
    AT(parts) = sum;
    for (int i = 0; i < VEC; i++)
        total += parts[i];
    return total == 0.0;
}

static void F(max)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    double *r = base + slots[0] * stride;
    if (width == 1) {
        double largest = base[slots[1] * stride];
        for (int j = 2; j < count; j++)
            largest = base[slots[j] * stride] > largest ? base[slots[j] * stride] : largest;
        r[0] = largest;
        return;
    }
    memcpy(r, base + slots[1] * stride, width * sizeof(double));
    for (int j = 2; j < count; j++) {
        const double *x = base + slots[j] * stride;
        for (ptrdiff_t i = 0; i < width; i++)
            r[i] = x[i] > r[i] ? x[i] : r[i];
    }
}

/* largest + log(1 + rest) */
LANES_INLINE vec F(log_of_sum)(vec largest, vec rest) {
    vec sum = rest + 1.0, back = sum - rest;
    return F(log_sum)(largest, sum, ALL(0.0), (rest - (sum - back)) + (1.0 - back), 1);
}

/* The first of the largest is taken out, as in the rule. */
static void F(logsumexp)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    EACH_VECTOR {
        vec largest = LOAD(base + slots[1] * stride), rest = ALL(0.0), left = ALL(1.0);
        for (int j = 2; j < count; j++) {
            vec x = LOAD(base + slots[j] * stride);
            largest = CHOOSE(LESS(largest, x), x, largest);
        }
        for (int j = 1; j < count; j++) {
            vec x = LOAD(base + slots[j] * stride), out = CHOOSE(EQUAL(x, largest), left, ALL(0.0));
            rest += CHOOSE(EQUAL(out, ALL(1.0)), ALL(0.0), F(exp)(x - largest));
            left -= out;
        }
        STORE(base + slots[0] * stride, F(log_of_sum)(largest, rest));
    }
}

/* With one lane, several exponentials at once. */
static void F(logsumexp_one)(double *base, const int *slots, int count) {
    enum { MOST = 64 };
    double largest = base[slots[1]], rest = 0.0, x[MOST], r[VEC];
    int top = 1;
    for (int j = 2; j < count; j++) {
        if (base[slots[j]] > largest) {
            largest = base[slots[j]];
            top = j;
        }
    }
    for (int first = 1; first < count; first += MOST) {
        int some = count - first < MOST ? count - first : MOST;
        for (int j = 0; j < some; j++)
            x[j] = base[slots[first + j]] - largest;
        F(exp_loop)(x, x, some);
        for (int j = 0; j < some; j++)
            rest += first + j == top ? 0.0 : x[j];
    }
    AT(r) = F(log_of_sum)(ALL(largest), ALL(rest));
    base[slots[0]] = r[0];
}

/* ---- Square roots, quotients and powers -------------------------------------------------------- */
/* Of operations that round correctly, so that compilers may vectorise them. What is not finite the rule computes. */

static void F(sqrt_loop)(double *r, const double *a, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i++)
        r[i] = sqrt(a[i]);
}

static void F(div)(double *r, const double *a, const double *b, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i++)
        r[i] = a[i] * (1.0 / b[i]);
}

#define POWER(exponent, result) \
    if (b == (exponent)) { \
        for (ptrdiff_t i = 0; i < width; i++) \
            r[i] = (result); \
        return; \
    }

/* NaN for other exponents. Within half a unit in the last place; with two roundings, as a a a, within 1.5. */
static void F(power_of)(double *r, const double *a, double b, ptrdiff_t width) {
    POWER(1.0, a[i])
    POWER(2.0, a[i] * a[i])
    POWER(3.0, a[i] * a[i] * a[i])
    POWER(-1.0, 1.0 / a[i])
    POWER(-2.0, fabs(a[i]) > 1e-150 && fabs(a[i]) < 1e150 ? 1.0 / (a[i] * a[i]) : NAN)  /* else a a is not normal */
    POWER(0.5, sqrt(a[i]) + 0.0)  /* + 0.0: pow(-0.0, 0.5) is 0.0 */
    POWER(-0.5, 1.0 / sqrt(a[i]))
    for (ptrdiff_t i = 0; i < width; i++)
        r[i] = NAN;
}

/* The grad of `a`: (b a^(b - 1)) g */
static void F(back_power_of)(double *r, const double *a, double b, const double *g, ptrdiff_t width) {
    POWER(1.0, g[i])
    POWER(2.0, 2.0 * a[i] * g[i])
    POWER(3.0, 3.0 * (a[i] * a[i]) * g[i])
    POWER(-1.0, -(1.0 / a[i]) * (1.0 / a[i]) * g[i])
    POWER(-2.0, -2.0 * (1.0 / a[i]) * (1.0 / a[i]) * (1.0 / a[i]) * g[i])
    POWER(0.5, 0.5 / sqrt(a[i]) * g[i])
    POWER(-0.5, -0.5 * (1.0 / sqrt(a[i])) * (1.0 / sqrt(a[i])) * (1.0 / sqrt(a[i])) * g[i])
    for (ptrdiff_t i = 0; i < width; i++)
        r[i] = NAN;
}

static int F(all_equal)(const double *b, ptrdiff_t width) {
    int differ = 0;
    for (ptrdiff_t i = 0; i < width; i++)
        differ |= !(b[i] == b[0]);
    return !differ;
}

static void F(power)(double *r, const double *a, const double *b, ptrdiff_t width) {
    if (F(all_equal)(b, width))
        F(power_of)(r, a, b[0], width);
    else
        for (ptrdiff_t i = 0; i < width; i++)
            F(power_of)(r + i, a + i, b[i], 1);
}

/* ---- Gradients --------------------------------------------------------------------------------- */

#define GRADIENT(factor) \
    EACH_VECTOR { \
        vec by = (factor), grad = LOAD(g); \
        STORE(d, accumulate ? MADD(LOAD(d), by, grad) : by * grad); \
    }

static void F(back_tanh)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width) {
    GRADIENT(MADD(ALL(1.0), -LOAD(r), LOAD(r)))
}

static void F(tanh_slope)(double *r, const double *a, ptrdiff_t width) {
    EACH_VECTOR STORE(r, MADD(ALL(1.0), -LOAD(a), LOAD(a)));
}

static void F(back_tanh_slope)(double *d, const double *a, const double *g, int accumulate, ptrdiff_t width) {
    GRADIENT(-2.0 * LOAD(a))
}

static void F(back_sigmoid)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width) {
    GRADIENT(LOAD(r) * (1.0 - LOAD(r)))
}

static void F(back_softplus)(double *d, const double *a, const double *g, int accumulate, ptrdiff_t width) {
    GRADIENT(F(sigmoid)(LOAD(a)))
}

static void F(back_logsumexp)(double *d, const double *a, const double *r, const double *g, int accumulate,
                              ptrdiff_t width) {
    GRADIENT(F(exp)(LOAD(a) - LOAD(r)))
}

/* What grads gain, to be added when the rule has computed what is not finite. */

#define GAIN_ARGUMENTS double *x, const double *a, const double *b, const double *r, const double *g, ptrdiff_t width

static void F(gain_log)(GAIN_ARGUMENTS) {
    (void)b, (void)r;
    for (ptrdiff_t i = 0; i < width; i++)
        x[i] = g[i] / a[i];
}

static void F(gain_sqrt)(GAIN_ARGUMENTS) {
    (void)a, (void)b;
    for (ptrdiff_t i = 0; i < width; i++)
        x[i] = 0.5 / r[i] * g[i];
}

static void F(gain_dividend)(GAIN_ARGUMENTS) {
    (void)a, (void)r;
    for (ptrdiff_t i = 0; i < width; i++)
        x[i] = 1.0 / b[i] * g[i];
}

static void F(gain_divisor)(GAIN_ARGUMENTS) {
    (void)r;
    for (ptrdiff_t i = 0; i < width; i++)
        x[i] = -(1.0 / b[i]) * (1.0 / b[i]) * (a[i] * g[i]);
}

static void F(gain_power)(GAIN_ARGUMENTS) {
    (void)r;
    if (F(all_equal)(b, width))
        F(back_power_of)(x, a, b[0], g, width);
    else
        for (ptrdiff_t i = 0; i < width; i++)
            F(back_power_of)(x + i, a + i, b[i], g + i, 1);
}

#undef GAIN_ARGUMENTS
#undef GRADIENT
#undef POWER
#undef EACH_VECTOR
#undef STORE
#undef LOAD
#undef HIGH
#undef LN2_LOW
#undef LN2_HIGH
#undef SIGN_BIT
