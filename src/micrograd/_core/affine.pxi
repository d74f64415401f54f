# Affine nodes: bias + w[0] x[0] + w[1] x[1] + ... as one node, followed by an activation if a neuron has one. They add
# in the reference's order, so the data have the same bits. The affine nodes of one sample x are in one Layer.
#
# A layer is hidden if its outputs are the inputs of the next layer of a network, and nothing else. Python cannot see
# these outputs, so they are no nodes: their data and grads are in the layer above, which holds the hidden layer. In
# case they have to become nodes (materialize.pxi), slots are kept for them, directly before those of the network's
# outputs.
#
# Gives the functions that make layers (layer_new, weights_new, layer_onto, layer_nodes) and their step of backward
# (affine_step, and affine_forget for zero_grad). Uses op_table.pxi, slabs.pxi, lifetime.pxi, numbers.pxi, walk.pxi,
# class_members.pxi, modes.pxi, materialize.pxi.

cdef enum:
    STRIP = 128  # inputs handled at a time, for all outputs: their data and grads stay in the first-level cache


# ---- Forward -------------------------------------------------------------------------------------
# These functions set an exception without raising it: their callers have to free something first.

cdef inline bint is_any_value(PyObject *o) noexcept:
    """Is it a Value, perhaps of a subclass?"""
    return Py_TYPE(o) == VALUE or (
        not PyFloat_CheckExact(o) and not PyLong_CheckExact(o) and PyType_IsSubtype(Py_TYPE(o), VALUE))


cdef inline bint is_value(PyObject *o) noexcept:
    """Is it a Value whose class adds and multiplies as Value does?"""
    return Py_TYPE(o) == VALUE or is_any_value(o) and subclass_ops_unchanged(Py_TYPE(o))


cdef Layer *layer_alloc(size_t size, Py_ssize_t outputs) noexcept:
    """A layer without inputs yet, with `size` bytes for them. NULL with an exception set when memory is out."""
    cdef Py_ssize_t i
    cdef Layer *layer = NULL
    if array_fits(size, 1) and array_fits(outputs, sizeof(Affine)):
        size += sizeof(Layer) + (outputs - 1) * sizeof(Affine)
        layer = <Layer *>piece_take(size)
    if layer == NULL:
        PyErr_NoMemory()
        return NULL
    layer.inputs = layer.hidden = 0
    layer.outputs = outputs
    layer.holders = 1
    layer.nodes = NULL
    layer.below = NULL
    layer.slots = NULL
    layer.size = size
    layer.data = <double *>(layer.affine + outputs)
    for i in range(outputs):
        layer.affine[i].weights = NULL
    return layer


cdef bint layer_read(Layer *layer, list x, int *flags) noexcept:
    """Read the inputs x into a layer. False if some are Values and others numbers, if a Value's class has operators of
    its own, or with an exception set."""
    cdef PyObject *o
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>x)
    cdef bint sound
    flags[0] = 0
    if is_any_value(PyList_GET_ITEM(<PyObject *>x, 0)):
        layer.nodes = <PyObject **>layer.data
        for i in range(count):
            o = PyList_GET_ITEM(<PyObject *>x, i)
            if not is_value(o):
                return False
            layer.nodes[i] = o
            flags[0] |= node_of(o).flags & INHERITED
            Py_INCREF(o)
            layer.inputs += 1
        return True
    for i in range(count):
        if PyList_GET_SIZE(<PyObject *>x) != count:  # Python code, an input's __float__, has changed the list
            return False
        o = PyList_GET_ITEM(<PyObject *>x, i)
        if PyFloat_CheckExact(o):
            layer.data[i] = PyFloat_AS_DOUBLE(o)
            continue
        Py_INCREF(o)
        sound = not is_any_value(o) and double_read(o, "an input", &layer.data[i])
        Py_DECREF(o)
        if not sound:
            return False
    layer.inputs = count
    return True


cdef Layer *layer_new(list x, Py_ssize_t outputs, int *flags) noexcept:
    """A layer of the inputs x. The caller holds it, sets weights, flags and op of each affine node, and then calls
    layer_onto() or layer_nodes(). `flags` becomes what the nodes inherit from the x. NULL where there can be no layer,
    since there are no inputs or outputs, or some inputs are Values and others numbers; or with an exception set."""
    cdef Py_ssize_t count = PyList_GET_SIZE(<PyObject *>x)
    cdef Layer *layer
    if count == 0 or outputs == 0 or in_mode() and is_checked():  # then products and sums are checked one by one
        return NULL
    layer = layer_alloc(count * sizeof(double), outputs)
    if layer != NULL and not layer_read(layer, x, flags):
        layer_drop(layer, 0)
        return NULL
    return layer


cdef void layer_drop(Layer *layer, Py_ssize_t made) noexcept:
    """Give up the hold of the function that made the layer, and the weights of the outputs after the first `made`:
    they have no nodes."""
    cdef Py_ssize_t i
    for i in range(made, layer.outputs):
        Py_XDECREF(layer.affine[i].weights)
    layer_release(layer)
    dead_release()


cdef PyObject *weights_new(list weights, PyObject *bias, int *flags) noexcept:
    """The tuple of an affine node's bias and weights, and the flags that the node inherits from them. NULL where one of
    them is no Value, the bias neither a Value nor None, or with an exception set."""
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>weights)
    cdef PyObject *made
    cdef PyObject *o
    cdef int common = END
    _bias, _weights = <object>bias, weights  # held: a new tuple may run the cyclic collector, and that Python code
    made = PyTuple_New(count + 1)
    if made == NULL:
        return NULL
    flags[0] = 0
    for i in range(count + 1):
        if i > PyList_GET_SIZE(<PyObject *>weights):
            Py_DECREF(made)
            return NULL
        o = PyList_GET_ITEM(<PyObject *>weights, i - 1) if i else bias
        if is_value(o):
            flags[0] |= node_of(o).flags & INHERITED
            common &= node_of(o).flags
        elif i or o != Py_None:
            Py_DECREF(made)
            return NULL
        tuple_items(made)[i] = o
        Py_INCREF(o)
    if not common & END:
        flags[0] |= RESULT_WEIGHTS
    return made


cdef inline double *strip_data(Layer *layer, Py_ssize_t start, Py_ssize_t size, double *buffer) noexcept:
    """The data of `size` inputs, collected in the buffer where they are in nodes."""
    cdef Py_ssize_t i
    if layer.nodes == NULL:
        return layer.data + start
    for i in range(size):
        buffer[i] = node_of(layer.nodes[start + i]).data
    return buffer


cdef void layer_forward(Layer *layer) noexcept:
    """Compute the preactivations, adding in the reference's order. The data of an x are read once for all of them."""
    cdef double[STRIP] buffer
    cdef double *x
    cdef PyObject **w
    cdef Node *bias
    cdef double preactivation
    cdef Py_ssize_t i, k, size, start = 0
    while start < layer.inputs:
        size = min(layer.inputs - start, <Py_ssize_t>STRIP)
        x = strip_data(layer, start, size, buffer)
        for k in range(layer.outputs):
            if start:
                preactivation = layer.affine[k].preactivation
            else:
                bias = affine_bias(&layer.affine[k])
                preactivation = bias.data if bias != NULL else 0.0
            w = affine_weights(&layer.affine[k]) + start
            for i in range(size):
                preactivation += node_of(w[i]).data * x[i]
            layer.affine[k].preactivation = preactivation
        start += size


cdef inline bint affine_output(Affine *affine, double *r) noexcept:
    """Compute the data of an affine node from its preactivation. False with an exception set where the activation
    raises."""
    affine.passes = 0
    affine.adjoints = NULL
    r[0] = affine.preactivation
    if affine.op == ADD:
        return True
    r[0] = RULES[affine.op].forward(affine.preactivation, 0.0)
    return not rule_failed(r[0])


cdef bint layer_make_nodes(Layer *layer, Py_ssize_t first, Py_ssize_t count, int flags, PyObject **made) noexcept:
    """Make the nodes of `count` outputs in adjacent slots, and keep slots for the nodes of the hidden layers below."""
    cdef Node *newest = slots_take(layer.hidden + count)
    cdef Node *n
    cdef Layer *below = layer.below
    cdef Affine *affine
    cdef Py_ssize_t i
    if newest == NULL:
        PyErr_NoMemory()
        return False
    for i in range(count):
        if not affine_output(&layer.affine[first + i], &slot_before(newest, count - 1 - i).data):
            slots_give_back(newest, layer.hidden + count)
            return False
    for i in range(count):
        n = slot_before(newest, count - 1 - i)
        affine = &layer.affine[first + i]
        slot_init(n, affine.op, AFFINE, flags | affine.flags, n.data)
        n.a = NULL
        n.b.layer = layer
        n.index = first + i
        made[i] = object_of(n)
    layer.holders += count
    n = slot_before(newest, count)
    while below != NULL:
        below.slots = n
        n = slot_before(n, below.outputs)
        below = below.below
    for i in range(count if DEBUG else 0):
        check_node(node_of(made[i]))
    return True


cdef bint layer_nodes(Layer *layer, bint filled, int flags, PyObject **made) noexcept:
    """Make the nodes of a layer's outputs, and give up the caller's hold on it. `filled`: were all weights set? If not,
    nothing is made. False then, or with an exception set; items of `made` whose nodes were not made stay NULL."""
    cdef Py_ssize_t size, done = 0
    if filled:
        layer_forward(layer)
        if makes_leaves():
            filled = layer_leaves(layer, made)
            layer_drop(layer, 0)
            return filled
        while done < layer.outputs:
            size = min(layer.outputs - done, <Py_ssize_t>SLAB_SLOTS)
            if not layer_make_nodes(layer, done, size, flags, made + done):
                break
            done += size
    filled = done == layer.outputs
    layer_drop(layer, done)
    return filled and (not in_mode() or layer_mode_results(made, done))


ctypedef Node *(*LeafNew)(double data) noexcept                # these leave an exception set
ctypedef PyObject *(*ModeResult)(object result) noexcept


cdef bint layer_leaves(Layer *layer, PyObject **made) noexcept:
    """Make leaves of a layer's outputs. False with an exception set."""
    cdef Py_ssize_t i
    cdef Node *n
    cdef double data
    for i in range(layer.outputs):
        if not affine_output(&layer.affine[i], &data):
            return False
        n = (<LeafNew>leaf_new)(data)
        if n == NULL:
            return False
        made[i] = object_of(n)
    return True


cdef bint layer_mode_results(PyObject **made, Py_ssize_t count) noexcept:
    """Put what the mode makes of the outputs in their place. False with an exception set."""
    cdef PyObject *result
    cdef Py_ssize_t i
    for i in range(count):
        result = (<ModeResult>mode_result)(<object>made[i])
        if result == NULL:
            return False
        Py_DECREF(made[i])
        made[i] = result
    return True


cdef bint layer_hide(Layer *layer, int flags, Layer *next) noexcept:
    """Make a layer hidden: its outputs become the inputs of `next`, without nodes. False with an exception set, or
    where they have to be nodes: a hidden layer's weights are leaves, its nodes inherit no flags, and the slots for all
    hidden layers of a network have to be in one slab."""
    cdef Py_ssize_t i, hidden = layer.hidden + layer.outputs
    for i in range(layer.outputs):
        flags |= layer.affine[i].flags
    if flags & (INHERITED | RESULT_WEIGHTS) or hidden + next.outputs > SLAB_SLOTS:
        return False
    layer_forward(layer)
    next.grad = next.data + layer.outputs
    for i in range(layer.outputs):
        if not affine_output(&layer.affine[i], &next.data[i]):
            return False
        next.grad[i] = 0.0
    next.inputs = layer.outputs
    next.hidden = hidden
    next.below = layer
    return True


cdef Layer *layer_onto(Layer *layer, bint filled, int *flags, Py_ssize_t next_outputs) noexcept:
    """The next layer of a network: its inputs are the outputs of `layer`, hidden or nodes. NULL where layer_nodes()
    would return False; then both layers are given up."""
    cdef Layer *next = layer_alloc(2 * layer.outputs * sizeof(double), next_outputs)
    cdef Py_ssize_t count = layer.outputs
    if next == NULL:
        layer_drop(layer, 0)
        return NULL
    if filled and layer_hide(layer, flags[0], next):
        flags[0] = 0
        return next
    next.nodes = <PyObject **>next.data
    memset(next.nodes, 0, count * sizeof(PyObject *))
    filled = layer_nodes(layer, filled and PyErr_Occurred() == NULL, flags[0], next.nodes)
    flags[0] = 0
    while next.inputs < count and next.nodes[next.inputs] != NULL:
        flags[0] |= node_of(next.nodes[next.inputs]).flags & INHERITED
        next.inputs += 1
    if not filled:
        layer_drop(next, 0)
        return NULL
    return next


# ---- Backward ------------------------------------------------------------------------------------

cdef inline bint affine_adjoint(Affine *affine, double data, double grad, double *g) noexcept:
    """d(root)/d(preactivation), from the node's data and grad. False with an exception set where the activation's
    derivative raises."""
    if affine.op == ADD:
        g[0] = grad
        return True
    g[0] = RULES[affine.op].d_left(affine.preactivation, 0.0, data, grad)
    return not rule_failed(g[0])


cdef inline bint affine_first(Affine *affine, double data, double grad) noexcept:
    """The first backward pass since grads were cleared: the reference's products and sums for this node all have the
    same adjoint. It is kept, and added to the bias's grad."""
    cdef Node *bias
    cdef double g
    if not affine_adjoint(affine, data, grad, &g):
        return False
    affine.passes = 1
    affine.adjoint = g
    bias = affine_bias(affine)
    if bias != NULL:
        bias.grad += g
    return True


cdef void layer_backward(Layer *layer, Affine *newest, Affine *oldest) noexcept:
    """Propagate the adjoints of affine nodes, adjacent in their layer, to the w and x. The gain of an x is added up
    before it is added to its grad: an x is read once, not once for each node."""
    cdef double[STRIP] buffer
    cdef double[STRIP] gain
    cdef double *x
    cdef PyObject **w
    cdef Node *weight
    cdef Affine *affine
    cdef double g
    cdef Py_ssize_t i, size, start = 0
    cdef bint numbers = layer.nodes == NULL and layer.below == NULL
    while start < layer.inputs:
        size = min(layer.inputs - start, <Py_ssize_t>STRIP)
        for i in range(size):
            gain[i] = 0.0
        x = strip_data(layer, start, size, buffer)
        affine = newest
        while affine >= oldest:
            g = affine.adjoint
            w = affine_weights(affine) + start
            if numbers:
                for i in range(size):
                    node_of(w[i]).grad += x[i] * g
            else:
                for i in range(size):
                    weight = node_of(w[i])
                    weight.grad += x[i] * g
                    gain[i] += weight.data * g
            affine -= 1
        if layer.below != NULL:
            for i in range(size):
                layer.grad[start + i] += gain[i]
        elif not numbers:
            for i in range(size):
                node_of(layer.nodes[start + i]).grad += gain[i]
        start += size


cdef inline bint run_first(Node *newest, Node *oldest) noexcept:
    """The first pass at a run: affine nodes of one layer in adjacent slots, from the newest to the oldest."""
    cdef Node *n = newest
    cdef Affine *affine = node_affine(newest)
    cdef Affine *last = node_affine(oldest)
    while affine >= last and affine_first(affine, n.data, n.grad):
        n = slot_before(n, 1)
        affine -= 1
    layer_backward(newest.b.layer, node_affine(newest), affine + 1)
    return affine < last


cdef inline bint hidden_first(Layer *layer) noexcept:
    """The first pass at the hidden layer below, whose nodes' data and grads are in `layer`. No Python code runs in it,
    which could materialize the layer."""
    cdef Affine *affine = layer.below.affine
    cdef Py_ssize_t i = layer.inputs - 1
    while i >= 0 and affine_first(&affine[i], layer.data[i], layer.grad[i]):
        i -= 1
    layer_backward(layer.below, &affine[layer.inputs - 1], &affine[i + 1])
    return i < 0


cdef bint affine_keep_adjoints(Affine *affine, Py_ssize_t inputs) noexcept:
    """Make the adjoints of the reference's products and sums, each that of the first pass. False with an exception set
    when memory is out.

    Let s[i] be the sum of the bias and the first i products. adjoints[i] is the adjoint of product i. adjoints[inputs +
    i] is that of s[i] for 0 < i < inputs. adjoints[inputs] is that of the preactivation where an activation follows."""
    cdef Py_ssize_t i
    cdef double *adjoints = <double *>PyMem_Malloc(2 * inputs * sizeof(double))
    if adjoints == NULL:
        PyErr_NoMemory()
        return False
    for i in range(2 * inputs):
        adjoints[i] = affine.adjoint
    affine.adjoints = adjoints
    return True


cdef bint affine_again(Node *n) noexcept:
    """A further pass. In the reference, the grads of the products and sums accumulate like all grads, and from the
    second pass on each of them has another adjoint."""
    cdef Layer *layer = n.b.layer
    cdef Affine *affine = node_affine(n)
    cdef PyObject **w = affine_weights(affine)
    cdef Node *bias = affine_bias(affine)
    cdef Node *x
    cdef double *products
    cdef double *sums
    cdef double g
    cdef Py_ssize_t i, count = layer.inputs
    if not affine_adjoint(affine, n.data, n.grad, &g):
        return False
    if affine.adjoints == NULL and not affine_keep_adjoints(affine, count):
        return False
    affine.passes = 2
    products = affine.adjoints
    sums = products + count
    if n.op != ADD:
        sums[0] += g
        g = sums[0]
    for i in range(count - 1, -1, -1):
        products[i] += g
        if layer.nodes == NULL:
            node_of(w[i]).grad += layer.data[i] * products[i]
        else:
            x = node_of(layer.nodes[i])
            node_of(w[i]).grad += x.data * products[i]
            x.grad += node_of(w[i]).data * products[i]
        if i > 0:
            sums[i] += g
            g = sums[i]
        elif bias != NULL:
            bias.grad += g
    return True


cdef void affine_forget(Node *n) noexcept:
    """Clear the adjoints of an affine node."""
    cdef Affine *affine = node_affine(n)
    affine.passes = 0
    PyMem_Free(affine.adjoints)
    affine.adjoints = NULL


cdef inline Node *run_take(Node *n, Walk *walk) noexcept:
    """The oldest node of the run that ends at n: marked nodes of its layer in adjacent slots, in their first pass. They
    count as handled, and their marks are cleared."""
    cdef Node *next
    while n != slab_slot(walk.slab, 0):
        next = slot_before(n, 1)
        if not next.flags & PENDING or next.form != AFFINE or next.b.layer != n.b.layer or node_affine(next).passes:
            break
        next.flags = (next.flags & ~PENDING) | WALKED
        walk.here -= 1
        n = next
    return n


cdef inline bint slots_have_marks(Node *n, Py_ssize_t count) noexcept:
    """Has one of the `count` slots before n a mark?"""
    cdef Py_ssize_t i
    for i in range(1, count + 1):
        if slot_before(n, i).flags & PENDING:
            return True
    return False


cdef inline void affine_mark(Node *n, Walk *walk) noexcept:
    """Mark the weights and the bias of an affine node if some are results; leaves need no marks."""
    cdef PyObject **items = tuple_items(node_affine(n).weights)
    cdef Py_ssize_t i
    for i in range(n.b.layer.inputs + 1 if n.flags & RESULT_WEIGHTS else 0):
        if items[i] != Py_None:
            walk_mark(walk, node_of(items[i]))


cdef Node *affine_step(Node *n, Walk *walk) noexcept:
    """node_step() at an affine node. In a walk, in the first pass, it also handles the other nodes of the run, and the
    hidden layers below: when a walk comes to the newest node of a layer, all nodes of the layer have their whole grads.
    Returns the oldest slot that was handled."""
    return run_step(n, n if walk == NULL or node_affine(n).passes else run_take(n, walk), walk)


cdef inline Node *run_step(Node *n, Node *oldest, Walk *walk) noexcept:
    """affine_step() for a run from n to `oldest`."""
    cdef Layer *layer = n.b.layer
    cdef bint again = node_affine(n).passes > 0
    cdef Py_ssize_t i
    # The hidden layers can be handled with the run if it is their first pass too, and if no node of this layer before
    # the run is marked, which would add to their grads later. Else the layer below becomes nodes.
    if layer.below != NULL and (walk == NULL or again or layer.below.affine[layer.inputs - 1].passes
                                or slots_have_marks(oldest, oldest.index)):
        layer_materialize(layer)
    if not (affine_again(n) if again else run_first(n, oldest)):
        return NULL
    if walk == NULL:
        return n
    while True:
        affine_mark(n, walk)
        if n == oldest:
            break
        n = slot_before(n, 1)
    while layer.below != NULL:
        if not hidden_first(layer):
            return NULL
        layer = layer.below
        oldest = slot_before(layer.slots, layer.outputs - 1)
    for i in range(layer.inputs if layer.nodes != NULL else 0):
        walk_mark(walk, node_of(layer.nodes[i]))
    return oldest
