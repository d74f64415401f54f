# backward(retain_grads=False): a pass after which leaves alone have grads. A node's grad is cleared before the pass
# adds to it for the first time, so that what it was before is not propagated, and again after it was propagated.
#
# Gives node_step_clearing, the step of such a walk; node_clear and order_clear. Uses slabs.pxi, walk.pxi, affine.pxi,
# and of _core.pyx node_step.

cdef inline void node_clear(Node *n) noexcept:
    """Clear a node's grad, and the adjoints of an affine node."""
    n.grad = 0.0
    n.flags &= ~WALKED
    if n.form == AFFINE:
        affine_forget(n)


cdef void order_clear(Order *order) noexcept:
    """Clear the nodes of an order that are not leaves."""
    cdef Py_ssize_t i
    for i in range(order.count):
        if order.items[i].node.form != LEAF:
            node_clear(order.items[i].node)


cdef inline void parent_clear(PyObject *o) noexcept nogil:
    """Clear the grad of a parent, unless the walk has marked it, and so may have added to it, or it is a leaf."""
    if not node_of(o).flags & (PENDING | END):
        node_of(o).grad = 0.0


cdef inline void parents_clear(Node *n) noexcept nogil:
    """parent_clear() for all parents of a node that is not affine."""
    cdef Py_ssize_t i
    if n.form == BLOCK:
        for i in range(n.b.block.count):
            parent_clear(n.b.block.parents[i])
    else:
        parent_clear(object_of(n.a))
        if n.form == BINARY:
            parent_clear(object_of(n.b.node))


cdef void hidden_clear(Layer *layer) noexcept nogil:
    """Clear the grads of the hidden layers below a layer, and their adjoints."""
    cdef Py_ssize_t i
    while layer.below != NULL:
        for i in range(layer.inputs):
            layer.grad[i] = 0.0
            layer.below.affine[i].passes = 0
        layer = layer.below


cdef void inputs_clear(Node *n, Node *oldest) noexcept:
    """parent_clear() for the parents of a run of affine nodes, and of the hidden layers below it."""
    cdef Layer *layer = n.b.layer
    cdef PyObject **items
    cdef Py_ssize_t i
    while n >= oldest:
        items = tuple_items(node_affine(n).weights)
        for i in range(layer.inputs + 1 if n.flags & RESULT_WEIGHTS else 0):
            if items[i] != Py_None:
                parent_clear(items[i])
        n = slot_before(n, 1)
    while layer.below != NULL:
        layer = layer.below
    for i in range(layer.inputs if layer.nodes != NULL else 0):
        parent_clear(layer.nodes[i])


cdef Node *run_step_clearing(Node *n, Walk *walk) noexcept:
    """node_step_clearing() at an affine node, which takes its run with it."""
    cdef Layer *layer = n.b.layer
    cdef Node *run
    cdef Node *oldest
    affine_forget(n)
    run = run_take(n, walk)
    hidden_clear(layer)
    inputs_clear(n, run)
    oldest = run_step(n, run, walk)
    if oldest == NULL:
        inputs_clear(n, run)
    hidden_clear(layer)
    while n >= run:
        node_clear(n)
        n = slot_before(n, 1)
    return oldest


cdef inline Node *node_step_clearing(Node *n, Walk *walk) noexcept:
    """node_step() in a walk after which leaves alone have grads."""
    cdef Node *oldest
    if n.form == AFFINE:
        return run_step_clearing(n, walk)
    parents_clear(n)
    oldest = node_step(n, walk)
    if oldest == NULL:  # a parent may have gained, and has no mark
        parents_clear(n)
    node_clear(n)
    return oldest
