# Materialize: make the nodes that the reference has, where this engine keeps something smaller.
#
#   kept as                         becomes                                     when
#   the outputs of a hidden layer   an affine node each                         parents_of() a node of the layer above
#   an affine node                  products, sums and activation, a node each  Python code reads its parents
#   the number in a node, `x * 2`   a leaf                                      Python code reads its parents
#
# The exponent of `x**2` stays a number: it is part of the op, as in the reference.
#
# Gives parents_of, a view of a node's parents for functions that go through a graph; node_materialize, to be called
# before Python code sees parents or rules, and node_children and node_local_grads, which call it; layer_materialize,
# for a step of backward that cannot go on with a hidden layer; and partial_failed, for the partial of a leaf made from
# a number. Uses op_table.pxi, slabs.pxi, lifetime.pxi, walk.pxi.

# ---- Parents -------------------------------------------------------------------------------------

cdef inline void parents_of(Node *n, Parents *parents) noexcept:
    """A view of the parents, valid until they are changed. Those of an affine node are the bias, the weights, and the
    inputs where they are nodes, in this order. A hidden layer below is materialized, which allocates nothing."""
    cdef bint biased
    parents.second = NULL
    if n.form == BLOCK:
        parents.first = n.b.block.parents
        parents.split = parents.count = n.b.block.count
    elif n.form == AFFINE:
        layer_materialize(n.b.layer)
        biased = affine_bias(node_affine(n)) != NULL
        parents.first = affine_weights(node_affine(n)) - biased
        parents.split = parents.count = n.b.layer.inputs + biased
        parents.second = n.b.layer.nodes
        if parents.second != NULL:
            parents.count += n.b.layer.inputs
    else:
        parents.first = parents.own
        parents.split = parents.count = 0 if n.form == LEAF else 2 if n.form == BINARY else 1
        if n.form != LEAF:
            parents.own[0] = object_of(n.a)
        if n.form == BINARY:
            parents.own[1] = object_of(n.b.node)


cdef inline PyObject *parent_at(Parents *parents, Py_ssize_t i) noexcept nogil:
    return parents.first[i] if i < parents.split else parents.second[i - parents.split]


# ---- Hidden layers -------------------------------------------------------------------------------

cdef void layer_materialize(Layer *layer) noexcept:
    """If the inputs are the outputs of a hidden layer, make its nodes, in the slots that are kept for them. Pointers to
    the nodes overwrite the layer's data, in ascending order: each the number at its index, which was read before; or,
    where pointers have 32 bits, half of one with a lower index."""
    cdef Layer *below = layer.below
    cdef Node *n
    cdef Py_ssize_t i
    if below == NULL:
        return
    check(below.holders == 1 and below.slots != NULL, "a layer that becomes nodes is hidden and has slots")
    layer.below = NULL
    layer.nodes = <PyObject **>layer.data
    for i in range(layer.inputs):
        n = slot_before(below.slots, layer.inputs - 1 - i)
        slot_init(n, below.affine[i].op, AFFINE, WALKED if below.affine[i].passes else 0, layer.data[i])
        n.grad = layer.grad[i]
        n.a = NULL
        n.b.layer = below
        n.index = i
        layer.nodes[i] = object_of(n)
    below.holders = layer.inputs
    below.slots = NULL


# ---- Affine nodes --------------------------------------------------------------------------------

cdef Node *small_node(int op, int form, Node *a, Node *b, double number, double data, int flags,
                      double grad) except NULL:
    """A product or sum of an affine node: a op b, or a op number if the form is NUMBER_RIGHT."""
    cdef Node *n = result_new(op, form, flags, data)
    n.grad = grad
    n.a = a
    Py_INCREF(object_of(a))
    if form == BINARY:
        n.b.node = b
        Py_INCREF(object_of(b))
    else:
        n.b.number = number
    check_node(n)
    return n


cdef Node *product_node(Node *n, Py_ssize_t i) except NULL:
    """w[i] x[i] of an affine node."""
    cdef Layer *layer = n.b.layer
    cdef Affine *affine = node_affine(n)
    cdef Node *w = node_of(affine_weights(affine)[i])
    cdef Node *x
    cdef double adjoint = affine.adjoints[i] if affine.adjoints != NULL else affine.adjoint if affine.passes else 0.0
    cdef int flags = WALKED if affine.passes else 0
    if layer.nodes == NULL:
        return small_node(MUL, NUMBER_RIGHT, w, NULL, layer.data[i], w.data * layer.data[i],
                          flags | w.flags & INHERITED, adjoint)
    x = node_of(layer.nodes[i])
    return small_node(MUL, BINARY, w, x, 0.0, w.data * x.data, flags | (w.flags | x.flags) & INHERITED, adjoint)


cdef Node *sum_node(Node *n, Py_ssize_t i, Node *before, Node *product) except NULL:
    """The sum of the bias and the first i + 1 products of an affine node: `before`, the last sum or the bias or NULL,
    plus the product."""
    cdef Py_ssize_t count = n.b.layer.inputs
    cdef Affine *affine = node_affine(n)
    cdef double adjoint = affine.adjoint if affine.passes else 0.0
    cdef int flags = WALKED if affine.passes else 0
    if affine.adjoints != NULL:
        adjoint = affine.adjoints[count + (i + 1) % count]
    if before == NULL:
        return small_node(ADD, NUMBER_RIGHT, product, NULL, 0.0, 0.0 + product.data,
                          flags | product.flags & INHERITED, adjoint)
    return small_node(ADD, BINARY, before, product, 0.0, before.data + product.data,
                      flags | (before.flags | product.flags) & INHERITED, adjoint)


cdef int affine_materialize(Node *n) except -1:
    """Make the products and sums of an affine node, which becomes the last sum, or the activation. They are newer than
    the node, their child, so creation order is no topological order any more: the node becomes irregular."""
    cdef Node *last_sum = affine_bias(node_affine(n))
    cdef Node *product = NULL
    cdef int op = n.op
    cdef Py_ssize_t i, count = n.b.layer.inputs
    held_sum = <object>object_of(last_sum) if last_sum != NULL else None
    layer_materialize(n.b.layer)
    for i in range(count):
        product = product_node(n, i)
        held_product = own(object_of(product))
        if i < count - 1 or op != ADD:  # else the last sum is the node itself
            last_sum = sum_node(n, i, last_sum, product)
            held_sum = own(object_of(last_sum))
    node_drop_parents(n)
    n.op = op
    n.flags &= ~END
    n.a = last_sum
    n.b.number = 0.0
    if op != ADD:
        n.form = UNARY
    elif last_sum == NULL:
        n.form = NUMBER_RIGHT
        n.a = product
    else:
        n.form = BINARY
        n.b.node = product
        Py_INCREF(object_of(product))
    Py_INCREF(object_of(n.a))
    node_make_irregular(n, 0)
    engine.materialized += 1
    return 0


# ---- Numbers -------------------------------------------------------------------------------------

cdef int number_materialize(Node *n) except -1:
    """Make the number of a node a leaf, with the grad that it would have after the passes so far."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *leaf = leaf_new(n.b.number)
    leaf.flags |= CONSTANT
    if n.flags & WALKED:
        if n.form == NUMBER_RIGHT:
            leaf.grad = rule.d_right(n.a.data, n.b.number, n.data, n.grad)
        else:
            leaf.grad = rule.d_left(n.b.number, n.a.data, n.data, n.grad)
        partial_failed(leaf.grad, leaf)
    if n.form == NUMBER_LEFT:
        n.b.node = n.a
        n.a = leaf
    else:
        n.b.node = leaf
    n.form = BINARY
    return 0


cdef int node_materialize(Node *n) except -1:
    """Make a node what it is in the reference, before Python code reads its parents or its `_backward`."""
    if n.form == AFFINE:
        affine_materialize(n)
    if n.form == NUMBER_LEFT or n.form == NUMBER_RIGHT and n.op != POW:
        number_materialize(n)
    return 0


cdef tuple node_children(Node *n):
    """The parents as Python code sees them."""
    cdef Parents parents
    cdef Py_ssize_t i
    cdef list children = []
    node_materialize(n)
    parents_of(n, &parents)
    for i in range(parents.count):
        children.append(<object>parent_at(&parents, i))
    return tuple(children)


cdef tuple node_local_grads(Node *n):
    """d(n)/d(parent) for each parent that node_children() gives; none where a Python `_backward` computes them."""
    cdef double[2] d
    node_materialize(n)
    if n.form == BLOCK:
        grads = []
        for i in range(n.b.block.count if n.op or n.b.block.local != NULL else 0):
            if n.op:
                grads.append(RULES[n.op].d_left(node_of(n.b.block.parents[i]).data, 0.0, n.data, 1.0))
            else:
                grads.append(n.b.block.local[i])
        return tuple(grads)
    if n.form == LEAF:
        return ()
    d[0] = RULES[n.op].d_left(n.a.data, n.b.node.data if n.form == BINARY else n.b.number, n.data, 1.0)
    if rule_failed(d[0]):
        raise_error()
    if n.form != BINARY:
        return (d[0],)
    d[1] = RULES[n.op].d_right(n.a.data, n.b.node.data, n.data, 1.0)
    if rule_failed(d[1]):
        raise_error()
    return (d[0], d[1])


# ---- Errors at constants -------------------------------------------------------------------------
# A leaf that was materialized from a number has the flag CONSTANT. The same program without materialization computes no
# grad for it, and raises nothing. So an error there is cleared, and the grad is NaN.

cdef bint partial_raised(Node *parent) noexcept:
    """Is an exception set that is to be raised?"""
    if PyErr_Occurred() == NULL:
        return False
    if not parent.flags & CONSTANT:
        return True
    PyErr_Clear()
    return False


cdef inline bint partial_failed(double gain, Node *parent) noexcept:
    """Did the rule raise that computed what this parent's grad gains?"""
    return gain != gain and partial_raised(parent)
