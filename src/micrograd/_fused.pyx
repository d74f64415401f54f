# Fused sums: making them, their step of backward, and taking them apart. What they are is said in _fused.pxd.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.string cimport memcpy
from micrograd._cpython cimport (Py_DECREF, Py_INCREF, Py_TYPE, PyErr_NoMemory, PyFloat_AS_DOUBLE, PyFloat_CheckExact,
                                 PyType_IsSubtype, PyTypeObject, own)
from micrograd._core cimport Value, to_double
from micrograd._graph cimport RULES, node_turn_irregular, walking
from micrograd._node cimport (BINARY, BLOCK, END, FUSED, INHERITED, NUMBER_RIGHT, TRACED, UNARY, WALKED, Block, Fused,
                              Node, node_of, node_orphan, object_of)
from micrograd._ops cimport ADD, HIGHEST, LOGSUMEXP, MUL, OP_COUNT, SUM, op_reduce, op_rule, rule_failed
from micrograd._slab cimport heap, result_new

cdef extern from "Python.h":
    Py_ssize_t PyList_GET_SIZE(PyObject *o)
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i)
    PyObject **PySequence_Fast_ITEMS(PyObject *o)


# ---- Backward ------------------------------------------------------------------------------------

cdef void fused_first(Node *n) noexcept:
    """The first pass since grads were cleared: every small node's grad is the node's."""
    cdef Fused *fused = n.b.fused
    cdef Node **w = &fused.row[1]
    cdef Node **x = w + fused.count
    cdef double g = n.grad
    cdef Py_ssize_t i
    fused.passes = 1
    fused.sent = g
    if fused.row[0] != NULL:
        fused.row[0].grad += g
    if fused.numbers != NULL:
        for i in range(fused.count):
            w[i].grad += fused.numbers[i] * g
    else:
        for i in range(fused.count):
            w[i].grad += x[i].data * g
            x[i].grad += w[i].data * g


cdef bint fused_again(Node *n) noexcept:
    """A further pass: the small nodes' grads accumulate like any other's, so from here on they are kept.

    With s[i] the sum of the bias and the first i products: stale[i] is the grad of product i, stale[count + i] that of
    s[i], for 0 < i < count; s[count] is the node itself."""
    cdef Fused *fused = n.b.fused
    cdef Node **w = &fused.row[1]
    cdef Node **x = w + fused.count
    cdef double *sums
    cdef double g = n.grad
    cdef Py_ssize_t i
    if fused.stale == NULL:
        fused.stale = <double *>PyMem_Malloc(2 * fused.count * sizeof(double))
        if fused.stale == NULL:
            PyErr_NoMemory()
            return False
        for i in range(2 * fused.count):
            fused.stale[i] = fused.sent
    fused.passes = 2
    sums = fused.stale + fused.count
    for i in range(fused.count - 1, -1, -1):
        fused.stale[i] += g
        if fused.numbers != NULL:
            w[i].grad += fused.numbers[i] * fused.stale[i]
        else:
            w[i].grad += x[i].data * fused.stale[i]
            x[i].grad += w[i].data * fused.stale[i]
        if i > 0:
            sums[i] += g
            g = sums[i]
        elif fused.row[0] != NULL:
            fused.row[0].grad += g
    return True


cdef void fused_forget(Node *n) noexcept:
    """Clear the small nodes' grads."""
    n.b.fused.passes = 0
    PyMem_Free(n.b.fused.stale)
    n.b.fused.stale = NULL


# ---- Taking apart --------------------------------------------------------------------------------

cdef Node *small_node(int op, int form, Node *a, Node *b, double number, double data, int flags,
                      double grad) except NULL:
    cdef Node *n = result_new(op, form, flags, data)
    n.grad = grad
    n.a = a
    Py_INCREF(object_of(a))
    if form == BINARY:
        n.b.node = b
        Py_INCREF(object_of(b))
    else:
        n.b.number = number
    return n


cdef int fused_split(Node *n) except -1:
    """Make the small nodes and become the last of them. They are younger than the node, so creation order says nothing
    about it any more: it turns irregular."""
    cdef Fused *fused = n.b.fused
    cdef Node **w = &fused.row[1]
    cdef Node **x = w + fused.count
    cdef Node *total = fused.row[0]
    cdef Node *product
    cdef Node *sum_
    cdef double grad
    cdef int flags = WALKED if fused.passes else 0
    cdef Py_ssize_t i
    if walking:
        raise RuntimeError("cannot look into a neuron while backward() walks its graph")
    if total != NULL:
        Py_INCREF(object_of(total))
    try:
        for i in range(fused.count):
            grad = fused.stale[i] if fused.stale != NULL else fused.sent if fused.passes else 0.0
            if fused.numbers != NULL:
                product = small_node(MUL, NUMBER_RIGHT, w[i], NULL, fused.numbers[i], w[i].data * fused.numbers[i],
                                     flags | w[i].flags & INHERITED, grad)
            else:
                product = small_node(MUL, BINARY, w[i], x[i], 0.0, w[i].data * x[i].data,
                                     flags | (w[i].flags | x[i].flags) & INHERITED, grad)
            if i == fused.count - 1:
                break
            try:
                grad = fused.stale[fused.count + i + 1] if fused.stale != NULL else fused.sent if fused.passes else 0.0
                if total == NULL:
                    sum_ = small_node(ADD, NUMBER_RIGHT, product, NULL, 0.0, 0.0 + product.data,
                                      product.flags & (WALKED | INHERITED), grad)
                else:
                    sum_ = small_node(ADD, BINARY, total, product, 0.0, total.data + product.data,
                                      flags | (total.flags | product.flags) & INHERITED, grad)
                    Py_DECREF(object_of(total))
                total = sum_
            finally:
                Py_DECREF(object_of(product))
    except MemoryError:
        if total != NULL:
            Py_DECREF(object_of(total))
        raise
    node_orphan(n)
    n.op = ADD
    n.flags &= ~END
    if total == NULL:
        n.form = NUMBER_RIGHT
        n.a = product
        n.b.number = 0.0
    else:
        n.form = BINARY
        n.a = total
        n.b.node = product
    node_turn_irregular(n, 0)
    return 0


# ---- Making --------------------------------------------------------------------------------------

cdef struct Inputs:    # a sample, read once for all the neurons of a layer
    Py_ssize_t count   # 0 where there is nothing to fuse
    Node **nodes       # borrowed; NULL where they are numbers
    double *numbers    # NULL where they are nodes


cdef inline bint is_value(PyObject *o) noexcept:
    return Py_TYPE(o) == heap.value_type or PyType_IsSubtype(Py_TYPE(o), heap.value_type)


cdef int inputs_read(list x, Inputs *inputs) except -1:
    """Read a sample. Of a mixture of Values and numbers, which has no fused form, `inputs` comes back empty."""
    cdef Py_ssize_t i
    cdef PyObject *o
    inputs.count = len(x)
    inputs.nodes = NULL
    inputs.numbers = <double *>PyMem_Malloc(max(inputs.count, 1) * sizeof(double))
    if inputs.numbers == NULL:
        raise MemoryError
    if inputs.count and is_value(PyList_GET_ITEM(<PyObject *>x, 0)):
        inputs.nodes, inputs.numbers = <Node **>inputs.numbers, NULL
        for i in range(inputs.count):
            o = PyList_GET_ITEM(<PyObject *>x, i)
            if not is_value(o):
                inputs_free(inputs)
                return 0
            inputs.nodes[i] = node_of(o)
        return 0
    try:
        for i in range(inputs.count):
            o = PyList_GET_ITEM(<PyObject *>x, i)
            if is_value(o):
                inputs_free(inputs)
                return 0
            inputs.numbers[i] = PyFloat_AS_DOUBLE(o) if PyFloat_CheckExact(o) else to_double(x[i], "an input")
    except Exception:
        inputs_free(inputs)
        raise
    return 0


cdef void inputs_free(Inputs *inputs) noexcept:
    PyMem_Free(inputs.nodes)
    PyMem_Free(inputs.numbers)
    inputs.count = 0
    inputs.nodes = NULL
    inputs.numbers = NULL


cdef Node *fused_new(list weights, Inputs *inputs, Node *bias) except? NULL:
    """bias + the sum of weights times inputs, of which there are as many; NULL where a weight is no Value."""
    cdef Py_ssize_t i, count = inputs.count
    cdef Py_ssize_t held = count if inputs.nodes == NULL else 2 * count
    cdef Fused *fused = <Fused *>PyMem_Malloc(sizeof(Fused) + 2 * count * sizeof(double))
    # What the loop reads stands in local variables: for all that C knows, writing to the block might change the rest.
    cdef PyObject **items = PySequence_Fast_ITEMS(<PyObject *>weights)
    cdef PyTypeObject *value_type = heap.value_type
    cdef Node **nodes = inputs.nodes
    cdef double *numbers = inputs.numbers
    cdef Node **w
    cdef Node *n
    cdef double total = bias.data if bias != NULL else 0.0
    cdef int flags = bias.flags if bias != NULL else 0
    if fused == NULL:
        raise MemoryError
    w = &fused.row[1]
    for i in range(count):
        if Py_TYPE(items[i]) != value_type and not PyType_IsSubtype(Py_TYPE(items[i]), value_type):
            PyMem_Free(fused)
            return NULL
        n = node_of(items[i])
        w[i] = n
        flags |= n.flags
        if nodes != NULL:
            flags |= nodes[i].flags
            total += n.data * nodes[i].data
        else:
            total += n.data * numbers[i]
    memcpy(w + count, nodes if nodes != NULL else <Node **>numbers, count * sizeof(double))
    try:
        n = result_new(ADD, FUSED, flags & INHERITED, total)
    except MemoryError:
        PyMem_Free(fused)
        raise
    fused.count = count
    fused.numbers = NULL if nodes != NULL else <double *>(w + count)
    fused.passes = 0
    fused.stale = NULL
    fused.row[0] = bias
    if bias != NULL:
        Py_INCREF(object_of(bias))
    for i in range(held):
        Py_INCREF(object_of(w[i]))
    n.a = NULL
    n.b.fused = fused
    return n


cdef object unary(int op, Node *n):
    """The op on a node, the reference to which is taken over."""
    cdef double r = RULES[op].forward(n.data, 0.0)
    cdef Node *out
    if rule_failed(r):
        Py_DECREF(object_of(n))
        return own(NULL)
    try:
        out = result_new(op, UNARY, n.flags & INHERITED, r)
    except MemoryError:
        Py_DECREF(object_of(n))
        raise
    out.a = n
    out.b.number = 0.0
    return own(object_of(out))


# By name, the ops of one argument. (Not from RULES, which is still empty when this module is imported by _graph.)
cdef dict METHODS = {op_rule(op).name.decode(): op for op in range(<int>OP_COUNT) if op_rule(op).arity == 1}


# ---- Sums of products ----------------------------------------------------------------------------

def sample(x):
    """One sample as a list of numbers and Values; a lone one is a sample of one."""
    if isinstance(x, list):
        return x
    if isinstance(x, Value):
        return [x]
    if hasattr(x, "tolist"):  # an array: Python's floats, not NumPy's
        x = x.tolist()
        return x if isinstance(x, list) else [x]
    return list(x) if hasattr(x, "__iter__") else [x]


cdef object sum_of_products(object weights, list x, Inputs *inputs, object bias):
    """bias + weights[0] x[0] + ..., fused where the weights are Values and `inputs` has read the x."""
    cdef Node *start = &(<Value>bias).node if isinstance(bias, Value) else NULL
    cdef Node *n
    if len(weights) != len(x):
        raise ValueError(f"{len(weights)} weights for {len(x)} inputs")
    if inputs.count and type(weights) is list and (start != NULL or bias is None):
        n = fused_new(<list>weights, inputs, start)
        if n != NULL:
            return own(object_of(n))
    total = 0.0 if bias is None else bias
    for w, xi in zip(weights, x):
        total = total + w * xi
    return total


def weighted_sums(rows, list x, biases):
    """[bias + row[0] x[0] + row[1] x[1] + ... for row, bias in zip(rows, biases)], one node each.

    `biases` holds Values, numbers or None. Raises ValueError where a row is not as long as `x`.
    """
    cdef Inputs inputs
    x = list(x)  # a copy: Python code that runs meanwhile may change the other
    inputs_read(x, &inputs)
    try:
        return [sum_of_products(row, x, &inputs, bias) for row, bias in zip(rows, biases)]
    finally:
        inputs_free(&inputs)


cdef class NeuronState:
    """The weights `w` of a neuron, its bias `b`, and `nonlin`, whether an activation follows: in fields of C, which the
    core reads without a search. That is a fifth of the time of a small network."""

    cdef public object w
    cdef public object b
    cdef public object nonlin


def layer_outputs(neurons, x, plain_call):
    """[neuron(x) for neuron in neurons], a fused sum and an activation each; where there is one neuron, its output.

    `plain_call` is the `__call__` of neurons that compute just that; what has another is called.
    """
    cdef Inputs inputs
    cdef list outputs = []
    cdef NeuronState state
    cdef Node *n
    cdef int op = 0
    kind = None
    x = list(sample(x))  # a copy: Python code that runs meanwhile may change the other
    inputs_read(x, &inputs)
    try:
        for neuron in neurons:
            if type(neuron) is not kind:
                kind = type(neuron)
                op = METHODS.get(kind.activation, 0) if kind.__call__ is plain_call else 0
            state = <NeuronState?>neuron if op and inputs.count else None
            if state is None or type(state.w) is not list or len(<list>state.w) != inputs.count:
                outputs.append(neuron(x))
                continue
            total = sum_of_products(state.w, x, &inputs, state.b)
            if state.nonlin:
                n = &(<Value?>total).node  # raises before a reference is taken that nobody would give back
                Py_INCREF(<PyObject *>total)
                total = unary(op, n)
            outputs.append(total)
    finally:
        inputs_free(&inputs)
    return outputs[0] if len(outputs) == 1 else outputs


def network_outputs(layers, x, plain_layer, plain_neuron):
    """x through one layer after the other; `plain_layer` is the `__call__` of layers that are `layer_outputs()`."""
    for layer in layers:
        if type(layer).__call__ is plain_layer:
            x = layer_outputs(layer.neurons, x, plain_neuron)
        else:
            x = layer(x)
    return x


# ---- Parameters ----------------------------------------------------------------------------------

def neuron_parameters(neurons, plain):
    """[*neuron.w, neuron.b] of all the neurons, in one list; `neuron.parameters()` where that is not `plain`."""
    cdef list found = []
    for neuron in neurons:
        if type(neuron).parameters is plain:
            found += (<NeuronState?>neuron).w
            found.append((<NeuronState>neuron).b)
        else:
            found += neuron.parameters()
    return found


def clear_grads(parameters):
    """Set the grad of each to 0.0."""
    for p in parameters:
        if type(p) is Value:
            (<Value>p).node.grad = 0.0
        else:
            p.grad = 0.0


# ---- Ops of many arguments -----------------------------------------------------------------------

cdef object many(int op, list values):
    """A node for the result of an op of many Values."""
    cdef Py_ssize_t i, count = len(values)
    cdef Block *block
    cdef Node *n
    cdef double *data = <double *>PyMem_Malloc(max(count, 1) * sizeof(double))
    cdef double r
    cdef int flags = 0
    if data == NULL:
        raise MemoryError
    try:
        for i in range(count):
            n = &(<Value?>values[i]).node
            data[i] = n.data
            flags |= n.flags
        r = op_reduce(op)(data, count)
    finally:
        PyMem_Free(data)
    block = <Block *>PyMem_Malloc(sizeof(Block) + count * sizeof(Node *))
    if block == NULL:
        raise MemoryError
    try:
        n = result_new(op, BLOCK, flags & INHERITED, r)
    except MemoryError:
        PyMem_Free(block)
        raise
    block.count = count
    block.local = NULL
    for i in range(count):
        block.parents[i] = node_of(PyList_GET_ITEM(<PyObject *>values, i))
        Py_INCREF(object_of(block.parents[i]))
    n.a = NULL
    n.b.block = block
    return own(object_of(n))


def as_values(items, str what):
    """A list of Values; numbers become leaves. Raises TypeError for anything else, with what it was to be."""
    return [item if isinstance(item, Value) else Value(to_double(item, what)) for item in sample(items)]


def sum_values(list values):
    """The sum of Values, added one by one from 0.0, as one node."""
    return many(SUM, values)


def logsumexp_values(list values):
    """log(sum(exp(x) for x in values)) as one node."""
    return many(LOGSUMEXP, values)


def highest_value(list values):
    """The highest of Values: a number, which has no gradient. Where the number is not known, in a trace, a Value that
    passes none on."""
    if any([(<Value?>x).node.flags & TRACED for x in values]):
        return many(HIGHEST, values)
    return max([(<Value>x).node.data for x in values])
