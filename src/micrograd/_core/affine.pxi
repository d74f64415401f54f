# Affine nodes: bias + w[0] x[0] + w[1] x[1] + ... as one node, with a neuron's activation where there is one. They add
# in the reference's order, so the data have the same bits. Those over one sample share a Layer.
#
# The outputs of an inner layer of a network are not visible to Python, and get no nodes: they are data and grads of the
# layer above, which holds them. Such a layer is hidden. Slots are kept for its nodes, directly below those of the
# network's outputs, in case they are materialized.
#
# Gives the making of layers (layer_new, weights_new, layer_onto, layer_nodes) and their step of backward (affine_step).
# Uses slabs.pxi, lifetime.pxi, numbers.pxi, walk.pxi, materialize.pxi.

cdef enum:
    STRIP = 128  # inputs handled at a time, for all outputs: their data and grads stay in the first cache


# ---- Making --------------------------------------------------------------------------------------
# These functions leave an exception set without raising it: their callers have something to give back first.

cdef inline bint is_any_value(PyObject *o) noexcept:
    return Py_TYPE(o) == VALUE or (
        not PyFloat_CheckExact(o) and not PyLong_CheckExact(o) and PyType_IsSubtype(Py_TYPE(o), VALUE))


cdef inline bint is_value(PyObject *o) noexcept:
    """Is it a Value whose class adds and multiplies as Value does?"""
    return Py_TYPE(o) == VALUE or is_any_value(o) and sums_as_value(Py_TYPE(o))


cdef Layer *layer_alloc(size_t size, Py_ssize_t outputs) noexcept:
    """A layer of no inputs so far, with `size` bytes for them. NULL with an exception set when memory is out."""
    cdef Py_ssize_t i
    cdef Layer *layer
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
    """Read the inputs. False if some are Values and others numbers, a Value's class has operators of its own, or an
    exception is set."""
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
        if PyList_GET_SIZE(<PyObject *>x) != count:  # Python code that ran meanwhile changed the list
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
    """A layer over the inputs x. Its maker fills in weights, flags and op of each affine node, and then calls
    layer_onto() or layer_nodes(). `flags` becomes what the nodes inherit from the x. NULL where the inputs cannot have
    a layer: there are none, or some are Values and others numbers; or with an exception set."""
    cdef Py_ssize_t count = PyList_GET_SIZE(<PyObject *>x)
    cdef Layer *layer = layer_alloc(count * sizeof(double), outputs) if count and outputs else NULL
    if layer != NULL and not layer_read(layer, x, flags):
        layer_drop(layer, 0)
        return NULL
    return layer


cdef void layer_drop(Layer *layer, Py_ssize_t made) noexcept:
    """Give up the maker's hold, and the weights of the affine nodes that were not made."""
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
    _bias, _weights = <object>bias, weights  # held: a new tuple may set off the collector, and that any Python code
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


cdef void layer_add_up(Layer *layer) noexcept:
    """Compute the preactivations, each sum in order. The data of the x are fetched once for all of them."""
    cdef double[STRIP] data
    cdef double *x = data
    cdef PyObject **w
    cdef Node *bias
    cdef double total
    cdef Py_ssize_t i, k, size, start = 0
    while start < layer.inputs:
        size = min(layer.inputs - start, <Py_ssize_t>STRIP)
        if layer.nodes == NULL:
            x = layer.data + start
        else:
            for i in range(size):
                data[i] = node_of(layer.nodes[start + i]).data
        for k in range(layer.outputs):
            if start:
                total = layer.affine[k].preactivation
            else:
                bias = affine_bias(&layer.affine[k])
                total = bias.data if bias != NULL else 0.0
            w = affine_weights(&layer.affine[k]) + start
            for i in range(size):
                total += node_of(w[i]).data * x[i]
            layer.affine[k].preactivation = total
        start += size


cdef inline bint affine_output(Affine *affine, double *r) noexcept:
    """The data of an affine node whose preactivation is computed. False with an exception set where its activation
    raises."""
    affine.passes = 0
    affine.adjoints = NULL
    r[0] = affine.preactivation
    if affine.op == ADD:
        return True
    r[0] = RULES[affine.op].forward(affine.preactivation, 0.0)
    return not rule_failed(r[0])


cdef bint layer_make_nodes(Layer *layer, Py_ssize_t first, Py_ssize_t count, int flags, PyObject **made) noexcept:
    """Make the nodes of `count` outputs, in slots side by side, and keep slots for those of the hidden layers below."""
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
        node_fits(node_of(made[i]))
    return True


cdef bint layer_nodes(Layer *layer, bint filled, int flags, PyObject **made) noexcept:
    """Make the nodes of a layer's outputs, and give up the maker's hold on it. False where the weights are not `filled`
    in, or with an exception set; `made`, NULL before, then has the nodes that were made."""
    cdef Py_ssize_t size, done = 0
    if filled:
        layer_add_up(layer)
        while done < layer.outputs:
            size = min(layer.outputs - done, <Py_ssize_t>SLAB_SLOTS)
            if not layer_make_nodes(layer, done, size, flags, made + done):
                break
            done += size
    filled = done == layer.outputs
    layer_drop(layer, done)
    return filled


cdef bint layer_hide(Layer *layer, int flags, Layer *next) noexcept:
    """Make the outputs of a layer the inputs of `next`, without nodes. False with an exception set, or where they have
    to be nodes: hidden layers inherit no flags and send to weights that are leaves, and a network's slots are in one
    slab."""
    cdef Py_ssize_t i, hidden = layer.hidden + layer.outputs
    for i in range(layer.outputs):
        flags |= layer.affine[i].flags
    if flags & (INHERITED | RESULT_WEIGHTS) or hidden + next.outputs > SLAB_SLOTS:
        return False
    layer_add_up(layer)
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
    """The layer over the outputs of a layer that are visible to nothing else. NULL where layer_nodes() would be False;
    then nothing is left of either."""
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
    """d(root)/d(preactivation), from data and grad of the node. False with an exception set where the activation
    raises."""
    if affine.op == ADD:
        g[0] = grad
        return True
    g[0] = RULES[affine.op].d_left(affine.preactivation, 0.0, data, grad)
    return not rule_failed(g[0])


cdef inline bint affine_first(Affine *affine, double data, double grad) noexcept:
    """The first pass since grads were cleared: each of the reference's nodes for this one has the same adjoint."""
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


cdef void layer_send(Layer *layer, Affine *newest, Affine *oldest) noexcept:
    """Send the adjoints of affine nodes that stand side by side on to the w and x. What goes to an x is added up first:
    an x is fetched once, not once a node."""
    cdef double[STRIP] data
    cdef double[STRIP] grad
    cdef double *x = data
    cdef PyObject **w
    cdef Node *weight
    cdef Affine *affine
    cdef double g
    cdef Py_ssize_t i, size, start = 0
    cdef bint numbers = layer.nodes == NULL and layer.below == NULL
    while start < layer.inputs:
        size = min(layer.inputs - start, <Py_ssize_t>STRIP)
        for i in range(size):
            grad[i] = 0.0
        if layer.nodes == NULL:
            x = layer.data + start
        else:
            for i in range(size):
                data[i] = node_of(layer.nodes[start + i]).data
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
                    grad[i] += weight.data * g
            affine -= 1
        if layer.below != NULL:
            for i in range(size):
                layer.grad[start + i] += grad[i]
        elif not numbers:
            for i in range(size):
                node_of(layer.nodes[start + i]).grad += grad[i]
        start += size


cdef bint run_first(Node *newest, Node *oldest) noexcept:
    """The first pass at affine nodes that stand side by side, as do their places in the layer."""
    cdef Node *n = newest
    cdef Affine *affine = node_affine(newest)
    cdef Affine *last = node_affine(oldest)
    while affine >= last and affine_first(affine, n.data, n.grad):
        n = slot_before(n, 1)
        affine -= 1
    layer_send(newest.b.layer, node_affine(newest), affine + 1)
    return affine < last


cdef bint hidden_first(Layer *layer) noexcept:
    """The first pass at the hidden layer below, in which no Python code runs: none can materialize it meanwhile."""
    cdef Affine *affine = layer.below.affine
    cdef Py_ssize_t i = layer.inputs - 1
    while i >= 0 and affine_first(&affine[i], layer.data[i], layer.grad[i]):
        i -= 1
    layer_send(layer.below, &affine[layer.inputs - 1], &affine[i + 1])
    return i < 0


cdef bint affine_again(Node *n) noexcept:
    """A further pass: the adjoints of the reference's nodes accumulate like any other grads, and differ from here on.

    With s[i] the sum of the bias and the first i products: adjoints[i] is that of product i, adjoints[inputs + i] that
    of s[i] for 0 < i < inputs, and adjoints[inputs] that of the whole sum where an activation follows."""
    cdef Layer *layer = n.b.layer
    cdef Affine *affine = node_affine(n)
    cdef PyObject **w = affine_weights(affine)
    cdef Node *bias = affine_bias(affine)
    cdef Node *x
    cdef double *products = affine.adjoints
    cdef double *sums
    cdef double g
    cdef Py_ssize_t i, count = layer.inputs
    if not affine_adjoint(affine, n.data, n.grad, &g):
        return False
    if products == NULL:
        products = <double *>PyMem_Malloc(2 * count * sizeof(double))
        if products == NULL:
            PyErr_NoMemory()
            return False
        for i in range(2 * count):
            products[i] = affine.adjoint
        affine.adjoints = products
    affine.passes = 2
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
    """Clear the adjoints."""
    cdef Affine *affine = node_affine(n)
    affine.passes = 0
    PyMem_Free(affine.adjoints)
    affine.adjoints = NULL


cdef inline Node *run_take(Node *n, Walk *walk) noexcept:
    """The oldest of the marked nodes of a layer that stand side by side from n down and are in their first pass. The
    others count as handled."""
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
    """Has one of the slots before this one a mark?"""
    cdef Py_ssize_t i
    for i in range(1, count + 1):
        if slot_before(n, i).flags & PENDING:
            return True
    return False


cdef void affine_mark(Node *n, Walk *walk) noexcept:
    """Mark the weights and the bias where some are results."""
    cdef PyObject **items = tuple_items(node_affine(n).weights)
    cdef Py_ssize_t i
    for i in range(n.b.layer.inputs + 1 if n.flags & RESULT_WEIGHTS else 0):
        if items[i] != Py_None:
            walk_mark(walk, node_of(items[i]))


cdef Node *affine_step(Node *n, Walk *walk) noexcept:
    """node_step() at an affine node; in a walk and in its first pass also at those of its layer that stand next to it,
    and through the hidden layers below: once a walk comes to the newest of a layer's nodes, all of them have their
    grads. Returns the oldest slot that was handled."""
    cdef Layer *layer = n.b.layer
    cdef bint again = node_affine(n).passes > 0
    cdef Node *oldest = n
    cdef Py_ssize_t i
    if walk != NULL and not again:
        oldest = run_take(n, walk)
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
