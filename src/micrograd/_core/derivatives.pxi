# The derivatives of ops as expressions in Values, which have derivatives themselves: what micrograd.grad() multiplies
# adjoints with where its results are Values. Those of linear ops and of products follow from the op table.
#
# An op of one argument has a line in slope_left, one of two arguments also a line in slope_right; a variadic op has one
# in slopes. `a` and `b` are the arguments, `r` the result. a and b are Values or floats, and one of them is a Value. In
# a trace their data are not known, and leaves may have others at the next call, so no rule reads data: where a
# derivative has cases, an op of the table distinguishes them, as LESS does. A neuron's activation has no node for its
# argument: a is None where the row says that the partial does not read it, and r is read instead.
#
# Gives node_slope, block_slopes, slope_left, is_masked, sends_products and of_two. Uses op_table.pxi, user_ops.pxi, and
# of _core.pyx value_unary, value_binary.

cdef object slope_left(int op, object a, object b, object r):
    """dr/da of r = op(a) or r = a op b."""
    if op == DIV:      return divisor(b) ** -1.0
    if op == POW:      return power_slope(a, b)
    if op == CROSS_ENTROPY: return 1.0
    if op == RELU:     return of_two(LESS, ORIGIN, r)
    if op == TANH:     return apply(TANH_SLOPE, r)
    if op == EXP:      return r
    if op == LOG:      return over(1.0, a)
    if op == SIGMOID:  return r * (1.0 - r)
    if op == SQRT:     return 0.5 / r
    if op == SIN:      return apply(COS, a)
    if op == COS:      return -apply(SIN, a)
    if op == ABS:      return apply(SIGN, a)
    if op == SOFTPLUS: return apply(SIGMOID, a)
    if op == EXPM1:    return apply(EXP, a)
    if op == LOG2:     return over(1.0 / LN_2, a)
    if op == LOG10:    return over(1.0 / LN_10, a)
    if op == LOG1P:    return (1.0 + a) ** -1.0
    if op == CBRT:     return (3.0 * (r * r)) ** -1.0
    if op == TAN:      return 1.0 + r * r
    if op == ASIN:     return ((1.0 - a) * (1.0 + a)) ** -0.5
    if op == ACOS:     return -(((1.0 - a) * (1.0 + a)) ** -0.5)
    if op == ATAN:     return (1.0 + a * a) ** -1.0
    if op == ATAN2:    return of_two(ATAN2_SLOPE, b, a)
    if op == SINH:     return apply(COSH, a)
    if op == COSH:     return apply(SINH, a)
    if op == ERF:      return apply(EXP, -(a * a)) * TWO_OVER_SQRT_PI
    if op == LEAKY_RELU: return one_or(a, b)
    if op == ELU:      return one_or(a, b * exp_below(a))
    if op == SOFTSIGN: return (1.0 + apply(ABS, a)) ** -2.0
    if op == SILU:     return apply(SIGMOID, a) + damped(a, apply(SIGMOID, a) * apply(SIGMOID, -a))
    if op == MISH:     return mish_slope(a)
    if op == GELU:     return gelu_slope(a)
    if op == GELU_TANH: return gelu_tanh_slope(a)
    if op == TANH_SLOPE: return -2.0 * a
    if op == LOG_BASE: return over(1.0, a)
    if op == POW_SLOPE: return b * power_slope(a, b - 1.0)
    if op == ATAN2_SLOPE: return (of_two(ATAN2_SLOPE, b, a) - r) * (of_two(ATAN2_SLOPE, b, a) + r)
    if op == RATIO:    return over(1.0, b)
    if op == MASKED:   return b
    if op == MAXIMUM:  return greater_share(a, b)
    if op == MINIMUM:  return greater_share(b, a)
    if op == CLAMP_MIN: return of_two(LESS_EQUAL, b, a)
    if op == CLAMP_MAX: return of_two(LESS_EQUAL, a, b)
    if op == GUARD:    return 0.0
    return no_derivative(op)


cdef object slope_right(int op, object a, object b, object r):
    """dr/db of r = a op b."""
    if op == DIV:      return -a * b ** -2.0
    if op == POW:      return r * apply(LOG_BASE, a)
    if op == CROSS_ENTROPY: return apply(EXPM1, -r)
    if op == ATAN2:    return -of_two(ATAN2_SLOPE, a, b)
    if op == LEAKY_RELU: return of_two(CLAMP_MAX, a, ORIGIN)
    if op == ELU:      return apply(EXPM1, of_two(CLAMP_MAX, a, ORIGIN))
    if op == POW_SLOPE: return a ** (b - 1.0) * (1.0 + b * apply(LOG_BASE, a))
    if op == ATAN2_SLOPE: return -2.0 * r * of_two(ATAN2_SLOPE, b, a)
    if op == RATIO:    return -over(r, b)
    if op == MASKED:   return a
    if op == MAXIMUM:  return greater_share(b, a)
    if op == MINIMUM:  return greater_share(a, b)
    if op == CLAMP_MIN: return of_two(LESS, a, b)
    if op == CLAMP_MAX: return of_two(LESS, b, a)
    if op == GUARD:    return apply(NOT, apply(NOT, a))
    return no_derivative(op)


cdef inline bint is_masked(int op, bint right) noexcept nogil:
    """Does a partial send nothing where it is 0, even if the adjoint is infinite or NaN?"""
    if op == LEAKY_RELU or op == ELU or op == MASKED:
        return right
    return (op == MAXIMUM or op == MINIMUM or op == CLAMP_MIN or op == CLAMP_MAX or op == GUARD
            or RULES[op].shape == INDEXED)


cdef inline bint sends_products(int op) noexcept nogil:
    """Is what a node of the op sends always its adjoint times a slope?"""
    if op == LOG or op == LOG2 or op == LOG10 or op == LOG_BASE or op == RATIO or op == THEN or op == OTHERWISE:
        return False
    return not is_masked(op, True)


cdef object ORIGIN = 0.0
cdef double LN_2 = 0.6931471805599453
cdef double LN_10 = 2.302585092994046
cdef double TWO_OVER_SQRT_PI = 1.1283791670955126
cdef double SQRT_HALF = 0.7071067811865476
cdef double SQRT_TWO_OVER_PI = 0.7978845608028654


cdef object of_two(int op, object a, object b):
    """a op b, of which at least one is a Value."""
    return value_binary(op, <PyObject *>a, <PyObject *>b)


cdef object over(object a, object b):
    """a / b, of which one is a Value: infinite, not an OverflowError, for the smallest b."""
    return of_two(RATIO, a, b if isinstance(b, Value) else own(object_of(leaf_new(b))))


cdef object damped(object a, object s):
    """s * a, and 0 where s is 0: s vanishes faster than a grows."""
    return of_two(MASKED, s, a)


cdef object one_or(object a, object b):
    """1 where a is above 0, else b."""
    cdef object above = of_two(LESS, ORIGIN, a)
    return above + damped(b, apply(NOT, above))


cdef object greater_share(object a, object b):
    """What a has of the gradient of the greater of a and b: all where one is NaN."""
    return apply(NOT, of_two(LESS, a, b)) - 0.5 * of_two(EQUAL, a, b)


cdef object divisor(object b):
    """b. Where it is the number 0, on a side of a choice that is not taken, it may only raise in the program."""
    return b if isinstance(b, Value) or b != 0.0 else own(object_of(leaf_new(b)))


cdef object exp_below(object a):
    """e^a where a is below 0, else 1. At 0 its derivative is 0, as in PyTorch."""
    return apply(EXP, -apply(RELU, -a))


cdef object mish_slope(object a):
    cdef object t = apply(TANH, apply(SOFTPLUS, a))
    return t + damped(a, apply(SIGMOID, a) * (1.0 - t * t))


cdef object gelu_slope(object a):
    """Phi(a) + a phi(a), of the normal distribution: below -7 within 1e-16, not in its last places."""
    return (0.5 + 0.5 * apply(ERF, a * SQRT_HALF)
            + damped(a, apply(EXP, -0.5 * (a * a)) * (0.5 * SQRT_TWO_OVER_PI)))


cdef object gelu_tanh_slope(object a):
    """Of a sigmoid(u) with u = sqrt(8 / pi) (a + 0.044715 a^3)."""
    cdef object u = 2.0 * SQRT_TWO_OVER_PI * (a * (1.0 + 0.044715 * (a * a)))
    cdef object slope = 2.0 * SQRT_TWO_OVER_PI * (1.0 + 3.0 * 0.044715 * (a * a))
    return apply(SIGMOID, u) + damped(a * slope, apply(SIGMOID, u) * apply(SIGMOID, -u))


cdef object power_slope(object a, object b):
    """b a**(b - 1), and 0 where b is 0."""
    if isinstance(b, Value):
        return of_two(POW_SLOPE, a, b)
    return 0.0 if b == 0.0 else 1.0 if b == 1.0 else 2.0 * a if b == 2.0 else b * a ** (b - 1.0)


cdef list slopes(int op, list x, object r):
    """dr/da for each argument a of r = op(x)."""
    if op == LOGSUMEXP: return softmax(x, r)
    if op == TAKE:      return one_hot(x)
    if op == ENTROPY_NORMALIZER: return softmax_but_one(x)
    return no_derivative(op)


cdef list softmax(list x, object r):
    """e^(a - r) for each a. The target of a cross entropy is an argument without its gradient, MAX of one Value; these
    derivatives depend on the target itself."""
    cdef list y = [], e = []
    cdef Node *n
    cdef bint target = False
    for a in x:
        n = &(<Value>a).node
        if n.op == MAX and n.b.block.count == 1:
            target = True
            a = <object>n.b.block.parents[0]
        y.append(a)
    if target:
        r = variadic_node(LOGSUMEXP, y)
    for a in y:
        e.append(apply(EXP, a - r))
    return e


cdef list one_hot(list x):
    """For each argument of an op whose last one is an index: is it the one at the index?"""
    cdef list found = []
    cdef Py_ssize_t i, last = len(x) - 1
    cdef object place, index = x[last]
    for i in range(last):
        place = <double>i
        found.append(of_two(EQUAL, index, place))
    found.append(0.0)
    return found


cdef list softmax_but_one(list x):
    """The softmax of the arguments but the last, which is an index; 0 at the index."""
    cdef list y = x[:len(x) - 1], found = []
    for e, at in zip(softmax(y, variadic_node(LOGSUMEXP, y)), one_hot(x)):
        found.append(e * (1.0 - at))
    found.append(0.0)
    return found


cdef object apply(int op, object a):
    """op(a), of a Value or a float."""
    return value_unary(op, a) if isinstance(a, Value) else RULES[op].forward(a, 0.0)


cdef object no_derivative(int op):
    raise NotImplementedError(
        f"the op {RULES[op].symbol.decode()!r} has no derivative in Values: with create_graph=True, and in a compiled "
        "function, gradients cannot go through it")


# ---- Of a node -----------------------------------------------------------------------------------

cdef object node_slope(Node *n, Py_ssize_t i):
    """The derivative of a node of an op of one or two arguments by its i-th parent, a Value or a float."""
    cdef Rule *rule = &RULES[n.op]
    cdef bint right = is_right(n, i)
    if rule.shape == LINEAR:
        return SLOPE_RIGHT[n.op] if right else SLOPE_LEFT[n.op]
    a, b = <object>object_of(n.a), None
    if n.form == BINARY:
        b = <object>object_of(n.b.node)
    elif n.form == NUMBER_RIGHT:
        b = n.b.number
    elif n.form == NUMBER_LEFT:
        a, b = n.b.number, a
    if rule.shape == PRODUCT:
        return a if right else b
    return (slope_right if right else slope_left)(n.op, a, b, <object>object_of(n))


cdef list block_slopes(Node *n):
    """The derivatives of a variadic op's node by its parents."""
    cdef list parents = []
    cdef Py_ssize_t i
    if RULES[n.op].shape == LINEAR:
        return [SLOPE_LEFT[n.op]] * n.b.block.count
    for i in range(n.b.block.count):
        parents.append(<object>n.b.block.parents[i])
    return slopes(n.op, parents, <object>object_of(n))


def op_value(str name, *values):
    """The node of an op of the table, on Values or, for two arguments, also a number. For tests: functional/ and the
    methods of Value are what users call."""
    cdef int op = op_number(name)
    if RULES[op].arity == VARIADIC:
        return variadic_node(op, list(values))
    if RULES[op].arity == 1:
        a, = values
        return value_unary(op, a)
    a, b = values
    return value_binary(op, <PyObject *>a, <PyObject *>b)
