# The functions of activations, for their rows in ops.pxd: none of them raises.
#
# Their limits at the infinities are exact, where formulas such as a * sigmoid(a) give NaN, as PyTorch's do.

from libc cimport math


# Written so that NaN and -0.0 pass through, and so that 0 * inf is NaN on the way back.
cdef inline double relu(double a, double b) noexcept nogil:
    return 0.0 if a < 0.0 else a

cdef inline double relu_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if r > 0.0 else 0.0) * g


# 1 / (1 + e^-a), from the exponential that cannot overflow.
cdef inline double sigmoid(double a, double b) noexcept nogil:
    cdef double e = math.exp(-math.fabs(a))
    return (1.0 if a >= 0.0 else e) / (1.0 + e)

cdef inline double sigmoid_left(double a, double b, double r, double g) noexcept nogil:
    return (r * (1.0 - r)) * g


# log(1 + e^a), from the exponential that cannot overflow.
cdef inline double softplus(double a, double b) noexcept nogil:
    return math.fmax(a, 0.0) + math.log1p(math.exp(-math.fabs(a)))

cdef inline double softplus_left(double a, double b, double r, double g) noexcept nogil:
    return sigmoid(a, b) * g


# a s, where s vanishes faster than a grows: at -inf too, where the product would be NaN.
cdef inline double damped(double a, double s) noexcept nogil:
    return a * s if s != 0.0 else math.copysign(s, a)


# e^(k a^2) for k < 0. a is split, since the rounding of a^2 would make an error that grows with it: `high` has 22 bits,
# so its square is exact, and the other exponent is small.
cdef inline double exp_square(double a, double k) noexcept nogil:
    cdef double high
    if math.fabs(a) > 40.0:
        return 0.0
    high = math.floor(a * 65536.0) / 65536.0
    return math.exp(k * (high * high)) * math.exp(k * ((a - high) * (a + high)))


# The distribution function of the standard normal distribution, erfc(-a / sqrt(2)) / 2. Where that is steep, what z has
# lost by rounding counts: `lost`, from sqrt(1/2) in two parts, the first of 30 bits, so that its product with `high` is
# exact.
cdef inline double normal_cdf(double a) noexcept nogil:
    cdef double z = a * 0.7071067811865476, cdf = 0.5 * math.erfc(-z), high, lost
    if a <= -40.0 or not a < -1.0:
        return cdf
    high = math.floor(a * 65536.0) / 65536.0
    lost = (high * 0.7071067802608013 - z) + (a - high) * 0.7071067802608013 + a * 9.257462090932271e-10
    return cdf + 0.5641895835477563 * math.exp(-z * z) * lost


# Gaussian error linear unit, a times normal_cdf(a). Hendrycks and Gimpel, Gaussian Error Linear Units (2016).
cdef inline double gelu(double a, double b) noexcept nogil:
    return damped(a, normal_cdf(a))

cdef inline double gelu_left(double a, double b, double r, double g) noexcept nogil:
    return (normal_cdf(a) + damped(a, 0.3989422804014327 * exp_square(a, -0.5))) * g


# Their approximation, a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2, by (1 + tanh(x)) / 2 = sigmoid(2 x).
cdef inline double gelu_tanh(double a, double b) noexcept nogil:
    return damped(a, sigmoid(a * (1.5957691216057308 + 0.07135481627260025 * (a * a)), 0.0))

cdef inline double gelu_tanh_left(double a, double b, double r, double g) noexcept nogil:
    cdef double square = a * a, s = sigmoid(a * (1.5957691216057308 + 0.07135481627260025 * square), 0.0)
    cdef double other = sigmoid(-a * (1.5957691216057308 + 0.07135481627260025 * square), 0.0)
    return (s + damped(a * (1.5957691216057308 + 0.21406444881780073 * square), s * other)) * g


# Sigmoid linear unit, a sigmoid(a); also called swish.
cdef inline double silu(double a, double b) noexcept nogil:
    return damped(a, sigmoid(a, 0.0))

cdef inline double silu_left(double a, double b, double r, double g) noexcept nogil:
    cdef double e = math.exp(-math.fabs(a)), d = 1.0 + e
    return ((1.0 if a >= 0.0 else e) / d + damped(a, e / (d * d))) * g


# a tanh(softplus(a)). Misra, Mish: A Self Regularized Non-Monotonic Activation Function (2019). With e = e^-|a|, the
# tangent is n / d for these sums, in which nothing cancels.
cdef inline double mish_part(double a, double e, double *d) noexcept nogil:
    cdef double n = 1.0 + 2.0 * e if a >= 0.0 else e * (2.0 + e)
    d[0] = n + 2.0 * (e * e) if a >= 0.0 else n + 2.0
    return n

cdef inline double mish(double a, double b) noexcept nogil:
    cdef double d, n = mish_part(a, math.exp(-math.fabs(a)), &d)
    return damped(a, n / d)

cdef inline double mish_left(double a, double b, double r, double g) noexcept nogil:
    cdef double e = math.exp(-math.fabs(a)), d, n = mish_part(a, e, &d)
    return (n / d + damped(a, 4.0 * (e * e if a >= 0.0 else e) * (1.0 + e) / (d * d))) * g


# a / (1 + |a|), and its limits.
cdef inline double softsign(double a, double b) noexcept nogil:
    return a / (1.0 + math.fabs(a)) if math.fabs(a) != math.INFINITY else math.copysign(1.0, a)

cdef inline double softsign_left(double a, double b, double r, double g) noexcept nogil:
    cdef double q = 1.0 / (1.0 + math.fabs(a))
    return (q * q) * g


# At 0 both have the derivative of the left side, as in PyTorch. b is the slope there, or the negative limit.
cdef inline double leaky_relu(double a, double b) noexcept nogil:
    return a if a > 0.0 else a * b

cdef inline double leaky_relu_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if a > 0.0 else b) * g

cdef inline double leaky_relu_right(double a, double b, double r, double g) noexcept nogil:
    return 0.0 if a > 0.0 else a * g


cdef inline double elu(double a, double b) noexcept nogil:
    return a if a > 0.0 else b * math.expm1(a)

cdef inline double elu_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if a > 0.0 else b * math.exp(a)) * g

cdef inline double elu_right(double a, double b, double r, double g) noexcept nogil:
    return 0.0 if a > 0.0 else math.expm1(a) * g
