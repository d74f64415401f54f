# The op rules, and nothing else: what each op computes and how its gradient flows back.
#
# An op is a row of `op_rule` at the end of this file, with its functions above it. Nodes carry the row's number,
# forward and backward call through the row, the tests read the rows. The rest of the engine knows an op by name only
# where it has a shortcut for it, as for sums and products.
#
#   forward  (a, b) -> r           the op on plain doubles; an op of one argument ignores b
#   d_left   (a, b, r, g) -> double   what the left argument's grad gains when the result's grad is g
#   d_right  (a, b, r, g) -> double   likewise for the right argument; NULL for an op of one argument
#   reduce   (x, count) -> r           in place of forward, for an op of any number of arguments
#
# Numbers follow Python's `float` and `math` to the bit, and so do the errors: a rule that meets an edge asks Python for
# the same operation, which raises Python's own exception; the rule then returns NaN. So whoever calls a rule tests one
# thing, `rule_failed(r)`, and it costs a comparison unless the result is NaN.

from cpython.object cimport PyObject
from libc.math cimport (INFINITY, NAN, cos as c_cos, exp as c_exp, fabs, fmax, isfinite, log as c_log, log1p,
                        sin as c_sin, sqrt as c_sqrt, tanh as c_tanh)
from micrograd._cpython cimport (Py_None, Py_XDECREF, PyErr_Format, PyErr_Occurred, PyExc_ValueError, PyFloat_AsDouble,
                                 PyFloat_Check, PyFloat_FromDouble, PyImport_ImportModule, PyNumber_Power,
                                 PyNumber_TrueDivide, PyObject_CallMethod)


cdef extern from *:
    """
    #include <float.h>
    #include <math.h>
    #include <stdint.h>
    /* pow by a pointer that the compiler must read: it would turn a power of 2 or -1 into a product or a quotient,
       which round otherwise than pow does. */
    static double (*volatile c_pow)(double, double) = pow;

    #if defined(__GLIBC__) && !defined(MICROGRAD_PLAIN)
      #if __GLIBC_PREREQ(2, 28) && FLT_EVAL_METHOD == 0
        #define POW_IS_NEAR 1
      #endif
    #endif
    #if defined(POW_IS_NEAR)
    /* glibc's pow is off by less than 0.04 units in the last place before it rounds (0.54 after). So where a product or
       a quotient, whose rounding error can be computed, is at least 0.05 units away from rounding the other way, pow
       gives the same: nine times in ten, at a fifth of the cost. */
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
    """
    double c_pow(double a, double b) nogil
    double c_square(double a) nogil   # pow(a, 2)
    double c_inverse(double a) nogil  # pow(a, -1)


cdef enum Op:
    NO_OP, ADD, SUB, MUL, DIV, POW, NEG, RELU, TANH, EXP, LOG, SIGMOID, SQRT, SIN, COS, ABS, SOFTPLUS, SUM, LOGSUMEXP,
    HIGHEST, OP_COUNT

cdef enum:
    MANY = 0  # arity of an op of any number of arguments: d_left is for each of them


cdef enum Shape:  # what is known of the partials; the backward walk calls only those of CURVED ops
    CURVED        # depend on the arguments as the functions say
    LINEAR        # constant: the functions at any point
    PRODUCT       # each is the other argument


ctypedef double (*Forward)(double a, double b) noexcept nogil
ctypedef double (*Partial)(double a, double b, double r, double g) noexcept nogil
ctypedef double (*Reduce)(const double *x, Py_ssize_t count) noexcept nogil

cdef struct Rule:
    const char *name    # the method, as in `v.tanh()`, or the operator's, as in `__add__`
    const char *symbol  # what `_op` shows
    int arity           # arguments: 1, 2 or MANY
    Shape shape
    Forward forward
    Partial d_left
    Partial d_right


cdef inline bint rule_failed(double r) noexcept nogil:
    return r != r and PyErr_Occurred() != NULL


# ---- Python's arithmetic: C's while the result is finite, Python's own on the edges --------------

cdef inline double edge_result(PyObject *result) noexcept with gil:
    """The double of a Python float, which is consumed; NaN where an exception left none."""
    cdef double r = PyFloat_AsDouble(result) if result != NULL else NAN
    Py_XDECREF(result)
    return r if PyErr_Occurred() == NULL else NAN


cdef inline double power_edge(double a, double b) noexcept with gil:
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
    return edge_result(r)


cdef inline double quotient_edge(double a) noexcept with gil:
    cdef PyObject *x = PyFloat_FromDouble(a)
    cdef PyObject *zero = PyFloat_FromDouble(0.0)
    cdef PyObject *r = NULL
    if x != NULL and zero != NULL:
        r = PyNumber_TrueDivide(x, zero)
    Py_XDECREF(x)
    Py_XDECREF(zero)
    return edge_result(r)


cdef inline double math_edge(const char *function, double a) noexcept with gil:
    cdef PyObject *math = PyImport_ImportModule("math")
    cdef PyObject *r = NULL
    if math != NULL:
        r = PyObject_CallMethod(math, function, "d", a)
    Py_XDECREF(math)
    return edge_result(r)


cdef inline double power(double a, double b) noexcept nogil:
    cdef double r = c_square(a) if b == 2.0 else c_inverse(a) if b == -1.0 else a if b == 1.0 else c_pow(a, b)
    return r if isfinite(r) or a != a or b != b else power_edge(a, b)


cdef inline double quotient(double a, double b) noexcept nogil:
    return a / b if b != 0.0 else quotient_edge(a)


cdef inline double checked(double r, const char *function, double a) noexcept nogil:
    return r if isfinite(r) or a != a else math_edge(function, a)


# ---- The ops -------------------------------------------------------------------------------------

cdef inline double add(double a, double b) noexcept nogil:
    return a + b

cdef inline double pass_on(double a, double b, double r, double g) noexcept nogil:
    return g


cdef inline double sub(double a, double b) noexcept nogil:
    return a - b

cdef inline double pass_on_negated(double a, double b, double r, double g) noexcept nogil:
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


# x**0 is 1 whatever x is: the derivative is 0 there, where b * a**(b - 1) would be 0 times what a has no power for.
cdef inline double pow_left(double a, double b, double r, double g) noexcept nogil:
    return (b * power(a, b - 1.0)) * g if b != 0.0 else 0.0

# a**b log(a), which has no real value for a negative base; at 0 the limit for every exponent that is allowed there.
cdef inline double pow_right(double a, double b, double r, double g) noexcept nogil:
    return 0.0 * g if a == 0.0 else (r * c_log(a)) * g if a > 0.0 else NAN


cdef inline double neg(double a, double b) noexcept nogil:
    return -a


# Written so that NaN and -0.0 pass through, and so that 0 * inf is NaN on the way back.
cdef inline double relu(double a, double b) noexcept nogil:
    return 0.0 if a < 0.0 else a

cdef inline double relu_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if r > 0.0 else 0.0) * g


cdef inline double tanh(double a, double b) noexcept nogil:
    return c_tanh(a)

# pow, not r * r: near saturation 1 - r**2 cancels, and the two differ there in far more than the last bit.
cdef inline double tanh_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 - power(r, 2.0)) * g


cdef inline double exp(double a, double b) noexcept nogil:
    return checked(c_exp(a), "exp", a)

cdef inline double exp_left(double a, double b, double r, double g) noexcept nogil:
    return r * g


cdef inline double log(double a, double b) noexcept nogil:
    return checked(c_log(a), "log", a)

cdef inline double log_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(1.0, a) * g


# 1 / (1 + e^-a), from the exponential that cannot overflow.
cdef inline double sigmoid(double a, double b) noexcept nogil:
    cdef double e = c_exp(-fabs(a))
    return (1.0 if a >= 0.0 else e) / (1.0 + e)

cdef inline double sigmoid_left(double a, double b, double r, double g) noexcept nogil:
    return (r * (1.0 - r)) * g


cdef inline double sqrt(double a, double b) noexcept nogil:
    return checked(c_sqrt(a), "sqrt", a)

cdef inline double sqrt_left(double a, double b, double r, double g) noexcept nogil:
    return quotient(0.5, r) * g


cdef inline double sin(double a, double b) noexcept nogil:
    return checked(c_sin(a), "sin", a)

cdef inline double sin_left(double a, double b, double r, double g) noexcept nogil:
    return cos(a, b) * g


cdef inline double cos(double a, double b) noexcept nogil:
    return checked(c_cos(a), "cos", a)

cdef inline double cos_left(double a, double b, double r, double g) noexcept nogil:
    return -sin(a, b) * g


# `abs` would shadow C's own in the generated code.
cdef inline double absolute(double a, double b) noexcept nogil:
    return fabs(a)

cdef inline double absolute_left(double a, double b, double r, double g) noexcept nogil:
    return (1.0 if a > 0.0 else -1.0 if a < 0.0 else a) * g


# log(1 + e^a), from the exponential that cannot overflow.
cdef inline double softplus(double a, double b) noexcept nogil:
    return fmax(a, 0.0) + log1p(c_exp(-fabs(a)))

cdef inline double softplus_left(double a, double b, double r, double g) noexcept nogil:
    return sigmoid(a, b) * g


cdef inline double sum_of(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(count):
        total += x[i]
    return total


# log(sum of e^x) with the highest taken out first: nothing overflows, and where that one outweighs the rest, log1p
# keeps what they add.
cdef inline double logsumexp(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double highest = -INFINITY, rest = 0.0
    cdef Py_ssize_t i, top = 0
    for i in range(count):
        if x[i] > highest or x[i] != x[i]:
            highest = x[i]
            top = i
        if x[i] != x[i]:
            break
    if isfinite(highest):
        for i in range(count):
            if i != top:
                rest += c_exp(x[i] - highest)
        highest += log1p(rest)
    return highest

# softmax: the share of an argument in the sum, r being its logarithm.
cdef inline double logsumexp_left(double a, double b, double r, double g) noexcept nogil:
    return c_exp(a - r) * g


# The number that is taken out of logits before anything is exponentiated: it cancels, and so has no gradient.
cdef inline double highest(const double *x, Py_ssize_t count) noexcept nogil:
    cdef double r = x[0]
    cdef Py_ssize_t i
    for i in range(1, count):
        r = x[i] if x[i] > r else r
    return r

cdef inline double pass_nothing_on(double a, double b, double r, double g) noexcept nogil:
    return 0.0


# ---- The table -----------------------------------------------------------------------------------
# With a constant `op`, as in a method of Value, the compiler folds the whole call to the row's forward, inlined.

cdef inline Rule op_rule(int op) noexcept nogil:
    #                            name          symbol      arity shape  forward   d_left           d_right
    if op == ADD:      return Rule("__add__",     "+",        2, LINEAR,  add,      pass_on,         pass_on)
    if op == SUB:      return Rule("__sub__",     "-",        2, LINEAR,  sub,      pass_on,         pass_on_negated)
    if op == MUL:      return Rule("__mul__",     "*",        2, PRODUCT, mul,      mul_left,        mul_right)
    if op == DIV:      return Rule("__truediv__", "/",        2, CURVED,  div,      div_left,        div_right)
    if op == POW:      return Rule("__pow__",     "**",       2, CURVED,  power,    pow_left,        pow_right)
    if op == NEG:      return Rule("__neg__",     "neg",      1, LINEAR,  neg,      pass_on_negated, NULL)
    if op == RELU:     return Rule("relu",        "ReLU",     1, CURVED,  relu,     relu_left,       NULL)
    if op == TANH:     return Rule("tanh",        "tanh",     1, CURVED,  tanh,     tanh_left,       NULL)
    if op == EXP:      return Rule("exp",         "exp",      1, CURVED,  exp,      exp_left,        NULL)
    if op == LOG:      return Rule("log",         "log",      1, CURVED,  log,      log_left,        NULL)
    if op == SIGMOID:  return Rule("sigmoid",     "sigmoid",  1, CURVED,  sigmoid,  sigmoid_left,    NULL)
    if op == SQRT:     return Rule("sqrt",        "sqrt",     1, CURVED,  sqrt,     sqrt_left,       NULL)
    if op == SIN:      return Rule("sin",         "sin",      1, CURVED,  sin,      sin_left,        NULL)
    if op == COS:      return Rule("cos",         "cos",      1, CURVED,  cos,      cos_left,        NULL)
    if op == ABS:      return Rule("abs",         "abs",      1, CURVED,  absolute, absolute_left,   NULL)
    if op == SOFTPLUS: return Rule("softplus",    "softplus", 1, CURVED,  softplus, softplus_left,   NULL)
    if op == SUM:      return Rule("sum",         "sum",   MANY, LINEAR,  NULL,     pass_on,         NULL)
    if op == LOGSUMEXP: return Rule("logsumexp",  "logsumexp", MANY, CURVED, NULL,  logsumexp_left,  NULL)
    if op == HIGHEST:  return Rule("highest",     "max",   MANY, LINEAR,  NULL,     pass_nothing_on, NULL)
    return Rule("", "", 0, CURVED, NULL, NULL, NULL)


# What an op of any number of arguments has in place of forward.
cdef inline Reduce op_reduce(int op) noexcept nogil:
    if op == SUM:       return sum_of
    if op == LOGSUMEXP: return logsumexp
    if op == HIGHEST:   return highest
    return NULL
