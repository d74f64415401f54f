# What functional.py computes: ops that are not methods of Value, most of them variadic.
#
# Gives functions of lists of Values. Uses `sample` and `affine` of layers.pxi.

cdef object variadic(int op, list values):
    """The node of a variadic op."""
    cdef Py_ssize_t i, count = len(values)
    cdef double *data = <double *>PyMem_Malloc(max(count, 1) * sizeof(double))
    cdef double r
    if data == NULL:
        raise MemoryError
    try:
        if op == MAX and not count:
            raise ValueError("the maximum of no values")
        for i in range(count):
            data[i] = (<Value?>values[i]).node.data
        r = RULES[op].reduce(data, count)
    finally:
        PyMem_Free(data)
    return block_node(op, r, PySequence_Fast_ITEMS(<PyObject *>values), count, NULL)


def as_values(items, str what):
    """A list of Values; numbers become leaves. Raises TypeError, with `what` for the item, for other objects."""
    cdef list values = []
    for item in sample(items):
        values.append(item if isinstance(item, Value) else Value(to_double(item, what)))
    return values


def sum_values(list values):
    """The sum of Values, added one by one from 0.0, as one node."""
    return variadic(SUM, values)


def logsumexp_values(list values):
    """log(sum(exp(x) for x in values)) as one node."""
    return variadic(LOGSUMEXP, values)


def shifted_values(list values):
    """[x - max(values) for each x]. No gradient goes to the maximum. It is a node, not a number, since in a trace its
    data are not known."""
    cdef list shifted = []
    maximum = variadic(MAX, values)
    for x in values:
        shifted.append(x - maximum)
    return shifted


def softmax_values(list values):
    """[exp(x) / sum(exp(values)) for each x], for values whose maximum is 0."""
    cdef list exps = [], softmax = []
    for x in values:
        exps.append(x.exp())
    scale = variadic(SUM, exps) ** -1.0
    for x in exps:
        softmax.append(x * scale)
    return softmax


def centered_values(list values):
    """[x - the mean of the values for each x]."""
    cdef list centered = []
    mean = variadic(SUM, values) * (1.0 / len(values))
    for x in values:
        centered.append(x - mean)
    return centered


def normalized_values(list values, eps):
    """[x / sqrt(the mean of the squares + eps) for each x]."""
    cdef list normalized = []
    squares = affine([values], values)[0]
    scale = (squares * (1.0 / len(values)) + eps) ** -0.5
    for x in values:
        normalized.append(x * scale)
    return normalized


def cross_entropy_value(list shifted, target):
    """-log softmax(shifted)[target], for values whose maximum is 0."""
    cdef Node *a
    cdef Node *b
    cdef Node *n
    cdef Value normalizer
    cdef list logits = list(shifted)
    cdef Py_ssize_t index = PyNumber_AsSsize_t(target, NULL)
    if not 0 <= index < len(logits):
        raise IndexError(f"target {target} of {len(logits)} logits")
    chosen = logits[index]
    logits[index] = variadic(MAX, [chosen])  # the same number without a gradient: CROSS_ENTROPY's partial has all of it
    normalizer = variadic(LOGSUMEXP, logits)
    a, b = &normalizer.node, &(<Value>chosen).node
    n = result_new(CROSS_ENTROPY, BINARY, (a.flags | b.flags) & INHERITED,
                   op_rule(CROSS_ENTROPY).forward(a.data, b.data))
    n.a, n.b.node = a, b
    Py_INCREF(object_of(a))
    Py_INCREF(object_of(b))
    return own(object_of(n))
