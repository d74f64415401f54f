# What functional/ computes: ops that are not methods of Value, most of them variadic.
#
# Gives functions of lists of Values. Uses `sample` and `affine` of layers.pxi.

def known_index(x):
    """The number of a Value that may be read in this thread's trace, an int where it is integral; all else as it is.
    Numbers are Values in a compiled function that another calls."""
    cdef double number
    if not isinstance(x, Value) or trace_here() == NULL or not trace_may_read(&(<Value>x).node):
        return x
    number = (<Value>x).node.data
    return int(number) if isfinite(number) and number == floor(number) else number


def is_traced_index(x):
    """Is it a Value that depends on the arguments of the function that this thread traces? As an index it is known at
    each call."""
    return isinstance(x, Value) and (<Value>x).node.flags & TRACED != 0 and trace_here() != NULL


cdef object indexed(int op, list values, index):
    """The node of an op of these Values and a traced index, whose data are not known while tracing. mode_result() is to
    be called afterwards."""
    cdef list operands = [*values, index]
    cdef Value value
    for operand in operands:
        <Value?>operand
    value = block_node_bare(op, NAN, PySequence_Fast_ITEMS(<PyObject *>operands), len(operands), NULL)
    value.node.index = 0  # of no embedding
    return value


def take_values(list values, index):
    """The Value at a traced index."""
    return mode_result(indexed(TAKE, values, index))


def embedding_values(list columns, index):
    """The row at a traced index, of a table given as columns. GraphReader numbers the leaves row by row: it finds the
    nodes of one embedding by their `index`, and the column of each in `grad`, which no code can read in a trace."""
    global embeddings
    cdef list row = []
    cdef Value value
    embeddings = embeddings + 1 or 1
    for column in columns:
        value = indexed(TAKE, column, index)
        value.node.index, value.node.grad = embeddings, len(row)
        row.append(mode_result(value))
    return row


def as_values(items, str what):
    """A list of Values; numbers become leaves. Raises TypeError, with `what` for the item, for other objects."""
    cdef list values = []
    for item in sample(items):
        values.append(item if isinstance(item, Value) else Value(to_double(item, what)))
        if not len(values) & 0xFFFF and PyErr_CheckSignals():  # ten million items take a second
            raise_error()
    return values


def sum_values(list values):
    """The sum of Values, added one by one from 0.0, as one node."""
    return variadic_node(SUM, values)


def logsumexp_values(list values):
    """log(sum(exp(x) for x in values)) as one node."""
    return variadic_node(LOGSUMEXP, values)


cdef list each_minus(list values, y):
    cdef list differences = []
    for x in values:
        differences.append(x - y)
    return differences


cdef list each_times(list values, y):
    cdef list products = []
    for x in values:
        products.append(x * y)
    return products


def shifted_values(list values):
    """[x - max(values) for each x]. No gradient goes to the maximum. It is a node, not a number, since in a trace its
    data are not known."""
    return each_minus(values, variadic_node(MAX, values))


def softmax_values(list values):
    """[exp(x) / sum(exp(values)) for each x], for values whose maximum is 0."""
    cdef list exps = []
    for x in values:
        exps.append(x.exp())
    return each_times(exps, variadic_node(SUM, exps) ** -1.0)


def centered_values(list values):
    """[x - the mean of the values for each x]."""
    return each_minus(values, variadic_node(SUM, values) * (1.0 / len(values)))


def normalized_values(list values, eps):
    """[x / sqrt(the mean of the squares + eps) for each x]."""
    squares = affine([values], values)[0]
    return each_times(values, (squares * (1.0 / len(values)) + eps) ** -0.5)


def cross_entropy_value(list shifted, target):
    """-log softmax(shifted)[target], for values whose maximum is 0."""
    cdef list logits = list(shifted)
    cdef Py_ssize_t index
    target = known_index(target)
    if is_traced_index(target):
        normalizer, chosen = indexed(ENTROPY_NORMALIZER, logits, target), indexed(TAKE, logits, target)
        return value_binary_slow(CROSS_ENTROPY, <PyObject *>normalizer, <PyObject *>chosen)
    index = PyNumber_AsSsize_t(target, NULL)
    if not 0 <= index < len(logits):
        raise IndexError(f"target {target} of {len(logits)} logits")
    chosen = logits[index]
    logits[index] = variadic_node(MAX, [chosen])  # without its gradient: CROSS_ENTROPY's partial has all of it
    normalizer = variadic_node(LOGSUMEXP, logits)
    return value_binary_slow(CROSS_ENTROPY, <PyObject *>normalizer, <PyObject *>chosen)
