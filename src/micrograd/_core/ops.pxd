# The op rules, and nothing else: what each op computes, and its partial derivatives. The functions of activations are
# in activations.pxd, those of comparisons and choices in choices.pxd.
#
# An op is its functions, its name in `Op`, and its row in `op_rule` at the end of this file. A node has the number of
# its op. Forward and backward call the functions in the row, and the tests take their cases from the rows. Columns say
# what other code has to know of an op, so that it need not know ops by name.
#
#   forward  (a, b) -> r              the op on doubles; an op of one argument ignores b
#   reduce   (x, count) -> r          instead of forward, for a variadic op: one of any number of arguments
#   d_left   (a, b, r, g) -> double   what the left argument's grad gains when the result's grad is g; for a variadic
#                                     op, what each argument's grad gains, `a` being that argument
#   d_right  (a, b, r, g) -> double   likewise for the right argument
#   reads                             which of a, b and r the partial before it reads; compiled programs keep no others
#
# Numbers follow Python's `float` and `math` to the bit, and so do the errors. Where a result is not finite, a rule asks
# Python for the same operation, which raises Python's own exception; the rule then returns NaN. So a caller tests one
# thing, `rule_failed(r)`, which costs one comparison unless the result is NaN.
#
# Uses activations.pxd, choices.pxd, capi.pxd, and pow.h for powers.

from cpython.object cimport PyObject
from libc cimport math
from micrograd._core.activations cimport (elu, elu_left, elu_right, exp_square, gelu, gelu_left, gelu_tanh,
                                          gelu_tanh_left, leaky_relu, leaky_relu_left, leaky_relu_right, mish,
                                          mish_left, relu, relu_left, sigmoid, sigmoid_left, silu, silu_left, softplus,
                                          softplus_left, softsign, softsign_left)
from micrograd._core.capi cimport (Py_None, Py_XDECREF, PyErr_Format, PyErr_Occurred, PyExc_IndexError,
                                   PyExc_TypeError, PyExc_ValueError, PyFloat_AsDouble, PyFloat_Check,
                                   PyFloat_FromDouble, PyImport_ImportModule, PyLong_FromDouble, PyNumber_Power,
                                   PyNumber_TrueDivide, PyObject_CallMethod, collector_restart, collector_stop)
from micrograd._core.choices cimport (both, clamp_max, clamp_max_left, clamp_max_right, clamp_min, clamp_min_left,
                                      clamp_min_right, either, equal, guard, less, less_equal, maximum, maximum_left,
                                      maximum_right, minimum, minimum_left, minimum_right, negated, otherwise,
                                      otherwise_right, then, then_right)


cdef extern from "_core/pow.h" nogil:
    double c_pow(double a, double b)
    double c_square(double a)   # pow(a, 2)
    double c_inverse(double a)  # pow(a, -1)


cdef inline bint rule_failed(double r) noexcept nogil:
    return r != r and PyErr_Occurred() != NULL


# ---- Python's arithmetic: C's while the result is finite, Python's own on the edges --------------
# Without the collector, which may run any Python code: a rule may be called in the middle of a backward walk.

cdef inline double edge_result(PyObject *result, bint collected) noexcept with gil:
    """The double of a Python float, which is consumed; NaN where an exception left none."""
    cdef double r = PyFloat_AsDouble(result) if result != NULL else math.NAN
    Py_XDECREF(result)
    collector_restart(collected)
    return r if PyErr_Occurred() == NULL else math.NAN


cdef inline double power_edge(double a, double b) noexcept with gil:
    cdef bint collected = collector_stop()
    cdef PyObject *x = PyFloat_FromDouble(a)
    cdef PyObject *y = PyFloat_FromDouble(b)
    cdef PyObject *r = NULL
    if x != NULL and y != NULL:
        r = PyNumber_Power(x, y, Py_None)
    if r != NULL and not PyFloat_Check(r):  # Python turns complex
        PyErr_Format(PyExc_ValueError, "negative number %R has no real power %R", x, y)
        Py_XDECREF(r)
        r = NULL
    Py_XDECREF(x)
    Py_XDECREF(y)
    return edge_result(r, collected)


cdef inline double quotient_edge(double a) noexcept with gil:
    cdef bint collected = collector_stop()
    cdef PyObject *x = PyFloat_FromDouble(a)
    cdef PyObject *zero = PyFloat_FromDouble(0.0)
    cdef PyObject *r = NULL
    if x != NULL and zero != NULL:
        r = PyNumber_TrueDivide(x, zero)
    Py_XDECREF(x)
    Py_XDECREF(zero)
    return edge_result(r, collected)


cdef inline double math_edge(const char *function, double a) noexcept with gil:
    cdef bint collected = collector_stop()
    cdef PyObject *module = PyImport_ImportModule("math")
    cdef PyObject *r = NULL
    if module != NULL:
        r = PyObject_CallMethod(module, function, "d", a)
    Py_XDECREF(module)
    return edge_result(r, collected)


cdef inline double power(double a, double b) noexcept nogil:
    cdef double r = c_square(a) if b == 2.0 else c_inverse(a) if b == -1.0 else a if b == 1.0 else c_pow(a, b)
    return r if math.isfinite(r) or a != a or b != b else power_edge(a, b)


cdef inline double quotient(double a, double b) noexcept nogil:
    return a / b if b != 0.0 else quotient_edge(a)


cdef inline double checked(double r, const char *function, double a) noexcept nogil:
    return r if math.isfinite(r) or a != a else math_edge(function, a)


# ---- The ops -------------------------------------------------------------------------------------

cdef inline double add(double a, double b) noexcept nogil:
    return a + b

cdef inline double pass_on(double a, double b, double r, double g) noexcept nogil:
    return g


cdef inline double sub(double a, double b) noexcept nogil:
    return a - b

cdef inline double pass_negated(double a, double b, double r, double g) noexcept nogil:
    return -g


cdef inline double mul(double a, double b) noexcept nogil:
    return a * b

cdef inline double mul_left(double a, double b, double r, double g) noexcept nogil:
    return b * g

cdef inline double mul_right(double a, double b, double r, double g) noexcept nogil:
    return a * g


# a * b**-1, as the reference computes it: one rounding more than a / b, and a different last bit in a quarter of draws.
cdef inline double div(double a, double b) noexcept nogil:
    return a * power(b, -1.0)

cdef inline double div_left(double a, double b, double r, double g) noexcept nogil:
    return power(b, -1.0) * g

cdef inline double div_right(double a, double b, double r, double g) noexcept nogil:
    return (-1.0 * power(b, -2.0)) * (a * g)


# x**0 is 1 for every x, so the derivative is 0; b * a**(b - 1) would raise at a == 0.
cdef inline double pow_left(double a, double b, double r, double g) noexcept nogil:
    return (b * power(a, b - 1.0)) * g if b != 0.0 else 0.0

# a**b log(a), which has no real value where a is negative; at a == 0 it is the limit, for each b that pow allows there.
cdef inline double pow_right(double a, double b, double r, double g) noexcept nogil:
    return 0.0 * g if a == 0.0 else (r * math.log(a)) * g if a > 0.0 else math.NAN


cdef inline double neg(double a, double b) noexcept nogil:
    return -a


cdef inline double tanh(double a, double b) noexcept nogil:
    return math.tanh(a)

# pow, not r * r: near saturation 1 - r**2 cancels, and the two differ there in far more than the last bit.
cdef inline double tanh_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 - power(r, 2.0)) * g


cdef inline double exp(double a, double b) noexcept nogil:
    return checked(math.exp(a), "exp", a)

cdef inline double exp_left(double a, double b, double r, double g) noexcept nogil:
    return r * g


cdef inline double log(double a, double b) noexcept nogil:
    return checked(math.log(a), "log", a)

# Not 1 / a times g: that is infinite for the smallest a, also where g is as small.
cdef inline double log_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(g, a)


cdef inline double log2(double a, double b) noexcept nogil:
    return checked(math.log2(a), "log2", a)

cdef inline double log2_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(1.4426950408889634 * g, a)  # 1 / log(2)


cdef inline double log10(double a, double b) noexcept nogil:
    return checked(math.log10(a), "log10", a)

cdef inline double log10_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(0.4342944819032518 * g, a)  # 1 / log(10)


cdef inline double log1p(double a, double b) noexcept nogil:
    return checked(math.log1p(a), "log1p", a)

cdef inline double log1p_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(1.0, 1.0 + a) * g


cdef inline double expm1(double a, double b) noexcept nogil:
    return checked(math.expm1(a), "expm1", a)

# Not r + 1, which cancels where a is negative.
cdef inline double expm1_left(double a, double b, double r, double g) noexcept nogil:
    return exp(a, 0.0) * g


cdef inline double sqrt(double a, double b) noexcept nogil:
    return checked(math.sqrt(a), "sqrt", a)

cdef inline double sqrt_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(0.5, r) * g


cdef inline double cbrt(double a, double b) noexcept nogil:
    return math.cbrt(a)

cdef inline double cbrt_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(1.0, 3.0 * (r * r)) * g


cdef inline double sin(double a, double b) noexcept nogil:
    return checked(math.sin(a), "sin", a)

cdef inline double sin_left(double a, double b, double r, double g) noexcept nogil:
    return cos(a, b) * g


cdef inline double cos(double a, double b) noexcept nogil:
    return checked(math.cos(a), "cos", a)

cdef inline double cos_left(double a, double b, double r, double g) noexcept nogil:
    return -sin(a, b) * g


cdef inline double tan(double a, double b) noexcept nogil:
    return checked(math.tan(a), "tan", a)

cdef inline double tan_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 + r * r) * g


cdef inline double asin(double a, double b) noexcept nogil:
    return checked(math.asin(a), "asin", a)

# The product keeps what 1 - a * a loses near 1. It is negative only where a program has set the data meanwhile.
cdef inline double asin_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(1.0, sqrt((1.0 - a) * (1.0 + a), 0.0)) * g


cdef inline double acos(double a, double b) noexcept nogil:
    return checked(math.acos(a), "acos", a)

cdef inline double acos_left(double a, double b, double r, double g) noexcept nogil:
    return -asin_left(a, b, r, g)


cdef inline double atan(double a, double b) noexcept nogil:
    return math.atan(a)

cdef inline double atan_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 / (1.0 + a * a)) * g


cdef inline double atan2(double a, double b) noexcept nogil:
    return math.atan2(a, b)

# x / (x^2 + y^2), by the quotient of the smaller one and the greater one: squares might overflow.
cdef inline double atan2_slope(double x, double y) noexcept nogil:
    cdef double t
    if math.fabs(x) >= math.fabs(y):
        t = quotient(y, x)
        return 1.0 / (x * (1.0 + t * t))
    t = x / y
    return t / (y * (1.0 + t * t))

cdef inline double atan2_left(double a, double b, double r, double g) noexcept nogil:
    return atan2_slope(b, a) * g

cdef inline double atan2_right(double a, double b, double r, double g) noexcept nogil:
    return -atan2_slope(a, b) * g


cdef inline double sinh(double a, double b) noexcept nogil:
    return checked(math.sinh(a), "sinh", a)

cdef inline double sinh_left(double a, double b, double r, double g) noexcept nogil:
    return cosh(a, b) * g


cdef inline double cosh(double a, double b) noexcept nogil:
    return checked(math.cosh(a), "cosh", a)

cdef inline double cosh_left(double a, double b, double r, double g) noexcept nogil:
    return sinh(a, b) * g


cdef inline double erf(double a, double b) noexcept nogil:
    return math.erf(a)

cdef inline double erf_left(double a, double b, double r, double g) noexcept nogil:
    return (1.1283791670955126 * exp_square(a, -1.0)) * g  # 2 / sqrt(pi)


# Not `abs`, which would hide C's own in the generated code.
cdef inline double absolute(double a, double b) noexcept nogil:
    return math.fabs(a)

cdef inline double absolute_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if a > 0.0 else -1.0 if a < 0.0 else a) * g


cdef inline double sum_of(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(count):
        total += x[i]
    return total


# log(sum of e^x), with the largest x taken out of the sum first: nothing overflows, and where its term is much larger
# than the others, math.log1p keeps what they add.
cdef inline double logsumexp(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double largest = -math.INFINITY, rest = 0.0
    cdef Py_ssize_t i, top = 0
    for i in range(count):
        if x[i] > largest or x[i] != x[i]:
            largest = x[i]
            top = i
        if x[i] != x[i]:
            break
    if math.isfinite(largest):
        for i in range(count):
            if i != top:
                rest += math.exp(x[i] - largest)
        largest += math.log1p(rest)
    return largest

# softmax: e^a as a fraction of the sum, of which r is the logarithm.
cdef inline double logsumexp_left(double a, double b, double r, double g) noexcept nogil:
    return math.exp(a - r) * g


# What is subtracted from logits before exp. It cancels in the result, and so has no gradient.
cdef inline double max_of(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double r = x[0]
    cdef Py_ssize_t i
    for i in range(1, count):
        r = x[i] if x[i] > r else r
    return r

cdef inline double pass_nothing(double a, double b, double r, double g) noexcept nogil:
    return 0.0


# Of the derivatives of other ops, as derivatives.pxi writes them: constant between jumps, so their own derivative is 0.
cdef inline double sign(double a, double b) noexcept nogil:
    return absolute_left(a, b, a, 1.0)


# Of tanh: its derivative, by its result.
cdef inline double tanh_slope(double a, double b) noexcept nogil:
    return 1.0 - power(a, 2.0)

cdef inline double tanh_slope_left(double a, double b, double r, double g) noexcept nogil:
    return (-2.0 * a) * g


# Of a power: its derivative by the base, and the logarithm of the base, which have no errors that it has not.
cdef inline double pow_slope(double a, double b) noexcept nogil:
    return pow_left(a, b, a, 1.0)

cdef inline double pow_slope_left(double a, double b, double r, double g) noexcept nogil:
    return (b * pow_slope(a, b - 1.0)) * g

cdef inline double pow_slope_right(double a, double b, double r, double g) noexcept nogil:
    return (power(a, b - 1.0) * (1.0 + b * log_base(a, b))) * g

cdef inline double log_base(double a, double b) noexcept nogil:
    return 0.0 if a == 0.0 else math.log(a) if a > 0.0 else math.NAN


# Of atan2: by z = a + ib it is the real part of 1 / z, and c the other one, up to its sign.
cdef inline double atan2_slope_left(double a, double b, double r, double g) noexcept nogil:
    cdef double c = atan2_slope(b, a)
    return ((c - r) * (c + r)) * g

cdef inline double atan2_slope_right(double a, double b, double r, double g) noexcept nogil:
    return (-2.0 * r * atan2_slope(b, a)) * g


# Of logarithms: a / b, which is infinite, and raises nothing, where a**-1 overflows.
cdef inline double ratio_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(g, b)

cdef inline double ratio_right(double a, double b, double r, double g) noexcept nogil:
    return -quotient(r, b) * g


# Of ops that send nothing where their derivative a is 0, even if the adjoint b is infinite or NaN.
cdef inline double masked(double a, double b) noexcept nogil:
    return a * b if a != 0.0 else 0.0

cdef inline double masked_right(double a, double b, double r, double g) noexcept nogil:
    return masked(a, g)


# detach() in a trace, where a leaf with the same data would keep those of one call.
cdef inline double identity(double a, double b) noexcept nogil:
    return a


# a - b, where a is the logsumexp of all logits and b the target's logit. The whole gradient of b, softmax(b) - 1, is
# computed here, and a has no gradient for b: as two terms they would cancel where the softmax is near 1.
cdef inline double entropy_right(double a, double b, double r, double g) noexcept nogil:
    return math.expm1(-r) * g


# Ops of a compiled function's trace whose last argument is an index, which is known when it is called. Any number that
# is integral may be an index; eager code, whose indices are ints, raises the same errors.

cdef inline Py_ssize_t index_edge(double index, Py_ssize_t count, const char *what,
                                  const char *items) noexcept with gil:
    cdef bint collected = collector_stop()
    cdef bint integral = index == math.floor(index) and math.isfinite(index) != 0
    cdef PyObject *shown = PyLong_FromDouble(index) if integral else PyFloat_FromDouble(index)
    if shown != NULL and integral:
        PyErr_Format(PyExc_IndexError, "%s %R of %zd %s", what, shown, count, items)
    elif shown != NULL:
        PyErr_Format(PyExc_TypeError, "an index must be an integer, not %R", shown)
    Py_XDECREF(shown)
    collector_restart(collected)
    return -1

cdef inline Py_ssize_t index_of(double index, Py_ssize_t count, bint target) noexcept nogil:
    """The index, or -1 with an exception set. `target`: is it the target of cross_entropy?"""
    if 0.0 <= index < <double>count and index == math.floor(index):
        return <Py_ssize_t>index
    return index_edge(index, count, b"target" if target else b"index", b"logits" if target else b"items")


cdef inline double take(const double *x, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i = index_of(x[count - 1], count - 1, False)
    return x[i] if i >= 0 else math.NAN

cdef inline double take_left(double a, double b, double r, double g) noexcept nogil:
    return g if b == 1.0 else 0.0


# logsumexp, but the argument at the index gets no gradient: CROSS_ENTROPY gives it all of its own.
cdef inline double normalizer(const double *x, Py_ssize_t count) noexcept nogil:
    return logsumexp(x, count - 1) if index_of(x[count - 1], count - 1, True) >= 0 else math.NAN

cdef inline double normalizer_left(double a, double b, double r, double g) noexcept nogil:
    return 0.0 if b == 1.0 else logsumexp_left(a, b, r, g)


# ---- The table -----------------------------------------------------------------------------------

cdef enum Shape:  # what is known of the partial derivatives
    NONLINEAR     # nothing: call the functions
    LINEAR        # they are constants
    ZERO          # they are 0, and nothing is sent where g is infinite either
    PRODUCT       # each is the other argument
    INDEXED       # the last argument is an index, which has none; `b` is 1.0 for the argument at the index, else 0.0

cdef enum Read:   # what a partial reads besides g
    NONE = 0
    A = 1
    B = 2
    R = 4

cdef enum:
    VARIADIC = 0    # arity of an op of any number of arguments
    ORDERED = 0     # does a op b have the same bits as b op a?
    COMMUTES = 1

ctypedef double (*Forward)(double a, double b) noexcept nogil
ctypedef double (*Reduce)(const double *x, Py_ssize_t count) noexcept nogil
ctypedef double (*Partial)(double a, double b, double r, double g) noexcept nogil

cdef struct Rule:
    const char *name    # the method, as in `v.tanh()`, or `__add__` of an operator; `_name`: of functional/ alone
    const char *symbol  # what `_op` says
    int arity           # arguments: 1, 2 or VARIADIC
    Shape shape
    bint commutes
    Forward forward     # NULL for a variadic op
    Reduce reduce       # NULL for others
    Partial d_left
    int left_reads      # a set of Read
    Partial d_right     # NULL but for ops of two arguments
    int right_reads


cdef inline Rule unary(const char *name, const char *symbol, Shape shape, Forward forward,
                       Partial partial, int reads) noexcept nogil:
    return Rule(name, symbol, 1, shape, ORDERED, forward, NULL, partial, reads, NULL, NONE)


cdef inline Rule binary(const char *name, const char *symbol, Shape shape, bint commutes, Forward forward,
                        Partial left, int left_reads, Partial right, int right_reads) noexcept nogil:
    return Rule(name, symbol, 2, shape, commutes, forward, NULL, left, left_reads, right, right_reads)


cdef inline Rule condition(const char *name, const char *symbol, bint commutes, Forward forward) noexcept nogil:
    return binary(name, symbol, ZERO, commutes, forward, pass_nothing, NONE, pass_nothing, NONE)


cdef inline Rule variadic(const char *name, const char *symbol, Shape shape, Reduce reduce,
                          Partial partial, int reads) noexcept nogil:
    return Rule(name, symbol, VARIADIC, shape, ORDERED, NULL, reduce, partial, reads, NULL, NONE)


cdef enum Op:
    NO_OP
    ADD, SUB, MUL, DIV, POW, ATAN2
    NEG, ABS, EXP, EXPM1, LOG, LOG2, LOG10, LOG1P, SQRT, CBRT
    SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, ERF
    RELU, LEAKY_RELU, ELU, SIGMOID, SOFTPLUS, SOFTSIGN, SILU, MISH, GELU, GELU_TANH
    DETACH
    CROSS_ENTROPY
    LESS, LESS_EQUAL, EQUAL, AND, OR, NOT, THEN, OTHERWISE, GUARD
    MAXIMUM, MINIMUM, CLAMP_MIN, CLAMP_MAX
    SUM, LOGSUMEXP, MAX
    TAKE, ENTROPY_NORMALIZER
    SIGN, TANH_SLOPE, POW_SLOPE, LOG_BASE, ATAN2_SLOPE, RATIO, MASKED
    OP_COUNT


# With a constant `op`, as in a method of Value, the compiler folds the whole call to the row's forward, inlined.
cdef inline Rule op_rule(int op) noexcept nogil:
    # binary:                   name           symbol shape      commutes  forward d_left    reads  d_right       reads
    if op == ADD: return binary("__add__",     "+",   LINEAR,    COMMUTES, add,    pass_on,  NONE,  pass_on,      NONE)
    if op == SUB: return binary("__sub__",     "-",   LINEAR,    ORDERED,  sub,    pass_on,  NONE,  pass_negated, NONE)
    if op == MUL: return binary("__mul__",     "*",   PRODUCT,   COMMUTES, mul,    mul_left, B,     mul_right,    A)
    if op == DIV: return binary("__truediv__", "/",   NONLINEAR, ORDERED,  div,    div_left, B,     div_right,    A | B)
    if op == POW: return binary("__pow__",     "**",  NONLINEAR, ORDERED,  power,  pow_left, A | B, pow_right,    A | R)
    if op == CROSS_ENTROPY: return binary("_cross_entropy", "cross_entropy",
                                                      NONLINEAR, ORDERED,  sub,    pass_on,  NONE,  entropy_right, R)
    if op == ELU: return binary("elu",         "elu", NONLINEAR, ORDERED,  elu,    elu_left, A | B, elu_right,    A)
    if op == LEAKY_RELU: return binary("leaky_relu", "leaky_relu",
                                       NONLINEAR, ORDERED, leaky_relu, leaky_relu_left, A | B, leaky_relu_right, A)
    if op == ATAN2: return binary("atan2", "atan2",
                                       NONLINEAR, ORDERED, atan2, atan2_left, A | B, atan2_right, A | B)

    # conditions:                         name           symbol commutes  forward
    if op == LESS:       return condition("_less",       "<",   ORDERED,  less)
    if op == LESS_EQUAL: return condition("_less_equal", "<=",  ORDERED,  less_equal)
    if op == EQUAL:      return condition("_equal",      "==",  COMMUTES, equal)
    if op == AND:        return condition("_and",        "&",   COMMUTES, both)
    if op == OR:         return condition("_or",         "|",   COMMUTES, either)

    # choices:                     name    symbol  shape      commutes  forward  d_left, reads, d_right, reads
    if op == THEN:      return binary("_then", "then", NONLINEAR, ORDERED, then, pass_nothing, NONE,
                                      then_right, A)
    if op == OTHERWISE: return binary("_otherwise", "otherwise", NONLINEAR, ORDERED, otherwise, pass_nothing, NONE,
                                      otherwise_right, A)
    if op == GUARD:     return binary("_guard", "guard", NONLINEAR, ORDERED, guard, pass_nothing, NONE,
                                      then_right, A)
    if op == MAXIMUM:   return binary("_maximum", "maximum", NONLINEAR, ORDERED, maximum, maximum_left, A | B,
                                      maximum_right, A | B)
    if op == MINIMUM:   return binary("_minimum", "minimum", NONLINEAR, ORDERED, minimum, minimum_left, A | B,
                                      minimum_right, A | B)
    if op == CLAMP_MIN: return binary("_clamp_min", "clamp", NONLINEAR, ORDERED, clamp_min, clamp_min_left, A | B,
                                      clamp_min_right, A | B)
    if op == CLAMP_MAX: return binary("_clamp_max", "clamp", NONLINEAR, ORDERED, clamp_max, clamp_max_left, A | B,
                                      clamp_max_right, A | B)

    # unary:                        name        symbol      shape      forward   partial        reads
    if op == NEG:      return unary("__neg__",  "neg",      LINEAR,    neg,      pass_negated,  NONE)
    if op == RELU:     return unary("relu",     "ReLU",     NONLINEAR, relu,     relu_left,     R)
    if op == TANH:     return unary("tanh",     "tanh",     NONLINEAR, tanh,     tanh_left,     R)
    if op == EXP:      return unary("exp",      "exp",      NONLINEAR, exp,      exp_left,      R)
    if op == EXPM1:    return unary("expm1",    "expm1",    NONLINEAR, expm1,    expm1_left,    A)
    if op == LOG:      return unary("log",      "log",      NONLINEAR, log,      log_left,      A)
    if op == LOG2:     return unary("log2",     "log2",     NONLINEAR, log2,     log2_left,     A)
    if op == LOG10:    return unary("log10",    "log10",    NONLINEAR, log10,    log10_left,    A)
    if op == LOG1P:    return unary("log1p",    "log1p",    NONLINEAR, log1p,    log1p_left,    A)
    if op == SIGMOID:  return unary("sigmoid",  "sigmoid",  NONLINEAR, sigmoid,  sigmoid_left,  R)
    if op == SQRT:     return unary("sqrt",     "sqrt",     NONLINEAR, sqrt,     sqrt_left,     R)
    if op == CBRT:     return unary("cbrt",     "cbrt",     NONLINEAR, cbrt,     cbrt_left,     R)
    if op == SIN:      return unary("sin",      "sin",      NONLINEAR, sin,      sin_left,      A)
    if op == COS:      return unary("cos",      "cos",      NONLINEAR, cos,      cos_left,      A)
    if op == TAN:      return unary("tan",      "tan",      NONLINEAR, tan,      tan_left,      R)
    if op == ASIN:     return unary("asin",     "asin",     NONLINEAR, asin,     asin_left,     A)
    if op == ACOS:     return unary("acos",     "acos",     NONLINEAR, acos,     acos_left,     A)
    if op == ATAN:     return unary("atan",     "atan",     NONLINEAR, atan,     atan_left,     A)
    if op == SINH:     return unary("sinh",     "sinh",     NONLINEAR, sinh,     sinh_left,     A)
    if op == COSH:     return unary("cosh",     "cosh",     NONLINEAR, cosh,     cosh_left,     A)
    if op == ERF:      return unary("erf",      "erf",      NONLINEAR, erf,      erf_left,      A)
    if op == ABS:      return unary("abs",      "abs",      NONLINEAR, absolute, absolute_left, A)
    if op == SOFTPLUS: return unary("softplus", "softplus", NONLINEAR, softplus, softplus_left, A)
    if op == NOT:      return unary("_not",     "~",        ZERO,      negated,  pass_nothing,  NONE)
    if op == GELU:     return unary("gelu",     "gelu",     NONLINEAR, gelu,     gelu_left,     A)
    if op == GELU_TANH: return unary("gelu_tanh", "gelu_tanh",
                                                            NONLINEAR, gelu_tanh, gelu_tanh_left, A)
    if op == SILU:     return unary("silu",     "silu",     NONLINEAR, silu,     silu_left,     A)
    if op == MISH:     return unary("mish",     "mish",     NONLINEAR, mish,     mish_left,     A)
    if op == SOFTSIGN: return unary("softsign", "softsign", NONLINEAR, softsign, softsign_left, A)
    if op == DETACH:   return unary("_detach",  "detach",   ZERO,      identity, pass_nothing,  NONE)

    # of derivatives:
    if op == SIGN:     return unary("_sign",    "sign",     ZERO,      sign,     pass_nothing,  NONE)
    if op == TANH_SLOPE: return unary("_tanh_slope", "tanh_slope",
                                                            NONLINEAR, tanh_slope, tanh_slope_left, A)
    if op == LOG_BASE: return unary("_log_base", "log_base", NONLINEAR, log_base, log_left,     A)
    if op == POW_SLOPE: return binary("_pow_slope", "pow_slope",
                                                      NONLINEAR, ORDERED,  pow_slope, pow_slope_left, A | B,
                                      pow_slope_right, A | B)
    if op == ATAN2_SLOPE: return binary("_atan2_slope", "atan2_slope",
                                                      NONLINEAR, ORDERED,  atan2_slope, atan2_slope_left, A | B | R,
                                        atan2_slope_right, A | B | R)
    if op == RATIO:    return binary("_ratio", "ratio", NONLINEAR, ORDERED, quotient, ratio_left, B,
                                     ratio_right, B | R)
    if op == MASKED:   return binary("_masked", "masked", NONLINEAR, ORDERED, masked, mul_left, B, masked_right, A)

    # variadic:                         name         symbol       shape      reduce     partial         reads
    if op == SUM:       return variadic("sum",       "sum",       LINEAR,    sum_of,    pass_on,        NONE)
    if op == LOGSUMEXP: return variadic("logsumexp", "logsumexp", NONLINEAR, logsumexp, logsumexp_left, A | R)
    if op == MAX:       return variadic("max",       "max",       ZERO,      max_of,    pass_nothing,   NONE)
    if op == TAKE:      return variadic("_take",     "take",      INDEXED,   take,      take_left,      B)
    if op == ENTROPY_NORMALIZER: return variadic("_entropy_normalizer", "entropy_normalizer",
                                                                  INDEXED,   normalizer, normalizer_left, A | B | R)
    return Rule("", "", VARIADIC, NONLINEAR, ORDERED, NULL, NULL, NULL, NONE, NULL, NONE)
