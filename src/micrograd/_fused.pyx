# Fused sums: making them, their step of backward, and taking them apart. What they are is said in _fused.pxd.

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_New
from libc.math cimport INFINITY, exp, isfinite, log1p
from libc.string cimport memcmp
from micrograd._cpython cimport (Py_DECREF, Py_INCREF, Py_None, Py_TYPE, Py_XDECREF, PyErr_NoMemory, PyFloat_AS_DOUBLE,
                                 PyFloat_CheckExact, PyType_IsSubtype, PyTypeObject, own, tuple_items)
from micrograd._core cimport Value, to_double
from micrograd._graph cimport RULES, node_turn_irregular, walking
from micrograd._node cimport (BINARY, BLOCK, END, FUSED, GROWN, IRREGULAR, NUMBER_RIGHT, UNARY, WALKED, Block, Fused,
                              Node, Sum, fused_release, node_of, node_orphan, node_sum, object_of, sum_bias, sum_weights)
from micrograd._ops cimport ADD, LOGSUMEXP, MUL, OP_COUNT, SUM, op_rule, rule_failed
from micrograd._slab cimport heap, result_new, slot_before

cdef extern from "Python.h":
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i)
    PyObject **PySequence_Fast_ITEMS(PyObject *o)


# ---- Backward ------------------------------------------------------------------------------------

cdef enum:
    STRIP = 128  # inputs handled at a time, for all the sums: their data and grads stay in the first cache


cdef void fused_first(Node *newest, Node *oldest) noexcept:
    """The first pass since grads were cleared, when every small node's grad is the node's; for sums over one sample
    that stand side by side. What they send to an input is added up first: it is fetched once, not once a sum."""
    cdef double[STRIP] data
    cdef double[STRIP] grad
    cdef Fused *fused = newest.b.fused
    cdef double *x = data
    cdef PyObject **w
    cdef Node *weight
    cdef Node *n = newest
    cdef Node *bias
    cdef double g
    cdef Py_ssize_t i, start, size
    while n >= oldest:
        node_sum(n).passes = 1
        node_sum(n).sent = n.grad
        bias = sum_bias(node_sum(n))
        if bias != NULL:
            bias.grad += n.grad
        n = slot_before(n)
    for start in range(0, fused.count, STRIP):
        size = min(fused.count - start, <Py_ssize_t>STRIP)
        if fused.nodes == NULL:
            x = fused.numbers + start
        else:
            for i in range(size):
                data[i] = fused.nodes[start + i].data
                grad[i] = 0.0
        n = newest
        while n >= oldest:
            g = n.grad
            w = sum_weights(node_sum(n)) + start
            if fused.nodes == NULL:
                for i in range(size):
                    node_of(w[i]).grad += x[i] * g
            else:
                for i in range(size):
                    weight = node_of(w[i])
                    weight.grad += x[i] * g
                    grad[i] += weight.data * g
            n = slot_before(n)
        if fused.nodes != NULL:
            for i in range(size):
                fused.nodes[start + i].grad += grad[i]


cdef bint fused_again(Node *n) noexcept:
    """A further pass: the small nodes' grads accumulate like any other's, so from here on they are kept.

    With s[i] the sum of the bias and the first i products: stale[i] is the grad of product i, stale[count + i] that of
    s[i], for 0 < i < count; s[count] is the node itself."""
    cdef Fused *fused = n.b.fused
    cdef Sum *sum_ = node_sum(n)
    cdef PyObject **w = sum_weights(sum_)
    cdef Node *bias = sum_bias(sum_)
    cdef double *products = sum_.stale
    cdef double *sums
    cdef double g = n.grad
    cdef Py_ssize_t i, count = fused.count
    if products == NULL:
        products = <double *>PyMem_Malloc(2 * count * sizeof(double))
        if products == NULL:
            PyErr_NoMemory()
            return False
        for i in range(2 * count):
            products[i] = sum_.sent
        sum_.stale = products
    sum_.passes = 2
    sums = products + count
    for i in range(count - 1, -1, -1):
        products[i] += g
        if fused.nodes == NULL:
            node_of(w[i]).grad += fused.numbers[i] * products[i]
        else:
            node_of(w[i]).grad += fused.nodes[i].data * products[i]
            fused.nodes[i].grad += node_of(w[i]).data * products[i]
        if i > 0:
            sums[i] += g
            g = sums[i]
        elif bias != NULL:
            bias.grad += g
    return True


cdef void fused_forget(Node *n) noexcept:
    """Clear the small nodes' grads."""
    cdef Sum *sum_ = node_sum(n)
    sum_.passes = 0
    PyMem_Free(sum_.stale)
    sum_.stale = NULL


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
    cdef Sum *sum_ = node_sum(n)
    cdef double *stale = sum_.stale
    cdef double sent = sum_.sent if sum_.passes else 0.0
    cdef Node *total = sum_bias(sum_)
    cdef Node *product
    cdef Node *partial
    cdef Node *w
    cdef Node *x
    cdef double grad
    cdef int flags = WALKED if sum_.passes else 0
    cdef Py_ssize_t i
    if walking:
        raise RuntimeError("cannot look into a neuron while backward() walks its graph")
    if total != NULL:
        Py_INCREF(object_of(total))
    try:
        for i in range(fused.count):
            w = node_of(sum_weights(sum_)[i])
            grad = stale[i] if stale != NULL else sent
            if fused.nodes == NULL:
                product = small_node(MUL, NUMBER_RIGHT, w, NULL, fused.numbers[i], w.data * fused.numbers[i],
                                     flags | w.flags & IRREGULAR, grad)
            else:
                x = fused.nodes[i]
                product = small_node(MUL, BINARY, w, x, 0.0, w.data * x.data,
                                     flags | (w.flags | x.flags) & IRREGULAR, grad)
            if i == fused.count - 1:
                break
            try:
                grad = stale[fused.count + i + 1] if stale != NULL else sent
                if total == NULL:
                    partial = small_node(ADD, NUMBER_RIGHT, product, NULL, 0.0, 0.0 + product.data,
                                         product.flags & (WALKED | IRREGULAR), grad)
                else:
                    partial = small_node(ADD, BINARY, total, product, 0.0, total.data + product.data,
                                         flags | (total.flags | product.flags) & IRREGULAR, grad)
                    Py_DECREF(object_of(total))
                total = partial
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

cdef inline bint is_value(PyObject *o) noexcept:
    return Py_TYPE(o) == heap.value_type or PyType_IsSubtype(Py_TYPE(o), heap.value_type)


cdef Fused *fused_new(list x, Py_ssize_t sums, int *flags) except? NULL:
    """A sample, and room for as many sums over it; their rows are the caller's to fill in, and its hold is to be given
    up by fused_settle(). `flags` gets those of the x. NULL where there is nothing to fuse: no input, or Values and
    numbers among each other."""
    cdef Py_ssize_t i = 0, count = len(x)
    cdef Fused *fused
    cdef PyObject *o
    cdef bint numbers
    if count == 0 or sums == 0:
        return NULL
    fused = <Fused *>PyMem_Calloc(1, sizeof(Fused) + (sums - 1) * sizeof(Sum) + count * sizeof(double))
    if fused == NULL:
        raise MemoryError
    fused.held = 1
    fused.numbers = <double *>(fused.sums + sums)
    flags[0] = 0
    numbers = not is_value(PyList_GET_ITEM(<PyObject *>x, 0))
    if not numbers:
        fused.nodes = <Node **>fused.numbers
    try:
        for item in x:
            o = <PyObject *>item
            if i == count or is_value(o) == numbers:
                break
            if not numbers:
                fused.nodes[i] = node_of(o)
                Py_INCREF(o)
                flags[0] |= node_of(o).flags
            else:
                fused.numbers[i] = PyFloat_AS_DOUBLE(o) if PyFloat_CheckExact(o) else to_double(item, "an input")
            i += 1
    except Exception:
        fused_release(fused)
        raise
    fused.count = i
    if i != count or len(x) != count:  # a mixture, or Python code that ran meanwhile changed the list
        fused_release(fused)
        return NULL
    return fused


cdef void fused_settle(Fused *fused, Py_ssize_t made, Py_ssize_t sums) noexcept:
    """The first so many sums have their nodes; give up the rows of the others, and the maker's hold."""
    cdef Py_ssize_t i
    for i in range(made, sums):
        Py_XDECREF(fused.sums[i].row)
        fused.sums[i].row = NULL
    fused_release(fused)


cdef object sum_new(Fused *fused, Py_ssize_t place, int flags):
    """The node of a sum whose row has been filled in; with the flags of the x."""
    cdef PyObject **w = sum_weights(&fused.sums[place])
    cdef Node *bias = sum_bias(&fused.sums[place])
    # What the loop reads stands in local variables: for all that C knows, a node's data might be one of them.
    cdef Node **nodes = fused.nodes
    cdef double *numbers = fused.numbers
    cdef double total = bias.data if bias != NULL else 0.0
    cdef int common = bias.flags if bias != NULL else END
    cdef Py_ssize_t i, count = fused.count
    cdef Node *n
    if bias != NULL:
        flags |= bias.flags
    for i in range(count):
        n = node_of(w[i])
        flags |= n.flags
        common &= n.flags
        total += n.data * (numbers[i] if nodes == NULL else nodes[i].data)
    n = result_new(ADD, FUSED, flags & IRREGULAR | (0 if common & END else GROWN), total)
    n.a = NULL
    n.b.fused = fused
    n.place = place
    fused.held += 1
    return own(object_of(n))


cdef tuple row_new(list weights, object bias):
    """The row of a sum; None where one of them is no Value, or the bias neither a Value nor None."""
    cdef Py_ssize_t i, count = len(weights)
    cdef PyObject **items
    cdef tuple row
    if bias is not None and not is_value(<PyObject *>bias):
        return None
    for weight in weights:
        if not is_value(<PyObject *>weight):
            return None
    row = PyTuple_New(count + 1)
    if len(weights) != count:  # the collector ran, and Python code with it
        return None
    Py_INCREF(<PyObject *>bias)
    items = tuple_items(<PyObject *>row)
    items[0] = <PyObject *>bias
    for i in range(count):
        items[i + 1] = PyList_GET_ITEM(<PyObject *>weights, i)
        Py_INCREF(items[i + 1])
    return row


cdef object unary(int op, Node *n):
    """The op on a node, the reference to which is taken over."""
    cdef double r = RULES[op].forward(n.data, 0.0)
    cdef Node *out
    if rule_failed(r):
        Py_DECREF(object_of(n))
        return own(NULL)
    try:
        out = result_new(op, UNARY, n.flags & IRREGULAR, r)
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


cdef object sum_written_out(row, list x, bias):
    total = 0.0 if bias is None else bias
    for w, xi in zip(row, x):
        total = total + w * xi
    return total


def weighted_sums(list rows, list x, list biases):
    """[bias + row[0] x[0] + row[1] x[1] + ... for row, bias in zip(rows, biases)], one node each.

    `biases` holds Values, numbers or None. Raises ValueError where a row is not as long as `x`.
    """
    cdef Py_ssize_t i, made = 0, sums = len(rows)
    cdef int flags
    cdef list outputs = []
    cdef Fused *fused = fused_new(x, sums, &flags)
    cdef tuple row
    try:
        for i, (weights, bias) in enumerate(zip(rows, biases)):
            if len(weights) != len(x):
                raise ValueError(f"{len(weights)} weights for {len(x)} inputs")
            row = row_new(weights, bias) if fused != NULL and i < sums and type(weights) is list else None
            if row is None or len(row) != fused.count + 1:
                outputs.append(sum_written_out(weights, x, bias))
                continue
            fused.sums[made].row = <PyObject *>row
            Py_INCREF(<PyObject *>row)
            outputs.append(sum_new(fused, made, flags))
            made += 1
    finally:
        if fused != NULL:
            fused_settle(fused, made, sums)
    return outputs


cdef class NeuronState:
    """The weights `w` of a neuron, its bias `b`, and `nonlin`, whether an activation follows: in fields of C, which the
    core reads without a search. That is a fifth of the time of a small network."""

    cdef public object w
    cdef public object b
    cdef public object nonlin
    cdef tuple row  # bias and weights as the last call met them: the sums of a thousand samples share one row


cdef bint neuron_ready(NeuronState neuron, Py_ssize_t count) except -1:
    """Bring the neuron's row up to date; False where it computes no sum of so many products of Values."""
    cdef PyObject **items
    if type(neuron.w) is not list or len(<list>neuron.w) != count:
        return False
    if neuron.row is not None and len(neuron.row) == count + 1:
        items = tuple_items(<PyObject *>neuron.row)
        if items[0] == <PyObject *>neuron.b and not memcmp(
                items + 1, PySequence_Fast_ITEMS(<PyObject *>neuron.w), count * sizeof(PyObject *)):
            return True
    neuron.row = row_new(<list>neuron.w, neuron.b)
    return neuron.row is not None and len(neuron.row) == count + 1


cdef list layer_fused(list neurons, list x, plain_call):
    """The outputs of neurons that all compute a fused sum and the same activation; None where some do not."""
    cdef Py_ssize_t i, made = 0, ready = 0, sums = len(neurons)
    cdef list outputs = []
    cdef int op, flags
    cdef Fused *fused
    cdef Node *n
    kind = type(neurons[0]) if sums else None
    if not (sums and issubclass(kind, NeuronState) and kind.__call__ is plain_call):
        return None
    op = METHODS.get(kind.activation, 0)
    fused = fused_new(x, sums, &flags)
    if fused == NULL:
        return None
    try:
        for neuron in neurons:
            if type(neuron) is not kind or op == 0 or ready == sums or not neuron_ready(<NeuronState>neuron, fused.count):
                return None
            fused.sums[ready].row = <PyObject *>(<NeuronState>neuron).row
            Py_INCREF(fused.sums[ready].row)
            ready += 1
        # The sums first and the activations after them: where sums stand side by side, backward takes them together.
        for i in range(ready):
            outputs.append(sum_new(fused, i, flags))
            made += 1
    finally:
        fused_settle(fused, made, sums)
    for i, neuron in enumerate(neurons):
        if (<NeuronState?>neuron).nonlin and i < made:
            n = &(<Value>outputs[i]).node
            Py_INCREF(object_of(n))
            outputs[i] = unary(op, n)
    return outputs


def layer_outputs(neurons, x, plain_call):
    """[neuron(x) for neuron in neurons], a fused sum and an activation each; where there is one neuron, its output.

    `plain_call` is the `__call__` of neurons that compute just that; what has another is called.
    """
    cdef list inputs = sample(x)
    cdef list outputs = layer_fused(neurons, inputs, plain_call) if type(neurons) is list else None
    if outputs is None:
        outputs = [neuron(inputs) for neuron in neurons]
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

cdef object many(int op, double data, list values):
    """A node for the result of an op of many Values."""
    cdef Py_ssize_t i, count = len(values)
    cdef Block *block = <Block *>PyMem_Malloc(sizeof(Block) + count * sizeof(Node *))
    cdef Node *n
    cdef int flags = 0
    if block == NULL:
        raise MemoryError
    block.count = count
    block.local = NULL
    for i in range(count):
        block.parents[i] = node_of(PyList_GET_ITEM(<PyObject *>values, i))
        flags |= block.parents[i].flags
    try:
        n = result_new(op, BLOCK, flags & IRREGULAR, data)
    except MemoryError:
        PyMem_Free(block)
        raise
    for i in range(count):
        Py_INCREF(object_of(block.parents[i]))
    n.a = NULL
    n.b.block = block
    return own(object_of(n))


def as_values(items, str what):
    """A list of Values; numbers become leaves. Raises TypeError for anything else, with what it was to be."""
    return [item if isinstance(item, Value) else Value(to_double(item, what)) for item in sample(items)]


def sum_values(list values):
    """The sum of Values, added one by one from 0.0, as one node."""
    cdef double total = 0.0
    for value in values:
        total += (<Value?>value).node.data
    return many(SUM, total, values)


def logsumexp_values(list values):
    """log(sum(exp(x) for x in values)) as one node, with the highest taken out first: nothing overflows, and where that
    one outweighs the rest, log1p keeps what they add."""
    cdef double x, highest = -INFINITY, rest = 0.0
    cdef Py_ssize_t i, top = 0
    for i in range(len(values)):
        x = (<Value?>values[i]).node.data
        if x > highest or x != x:
            highest = x
            top = i
        if x != x:
            break
    if isfinite(highest):
        for i in range(len(values)):
            if i != top:
                rest += exp((<Value>values[i]).node.data - highest)
        highest += log1p(rest)
    return many(LOGSUMEXP, highest, values)
