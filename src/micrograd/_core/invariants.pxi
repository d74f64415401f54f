# Invariants of the engine's structs: they hold whenever no function is in the middle of changing them. A debug build
# checks them where a node is made and where a walk relies on them. Other builds contain nothing of this.
#
# Gives check_node, check_marks and check_no_marks. Uses node.pxd, slabs.pxi, lifetime.pxi and walk.pxi.

# ---- Nodes ---------------------------------------------------------------------------------------

cdef inline void check_op(Node *n) noexcept nogil:
    cdef int arity = op_rule(n.op).arity if n.op < OP_COUNT else -1
    check(n.op < OP_COUNT, "a node's op is a row of the table")
    check(n.form <= AFFINE, "a node's form is one there is")
    if n.form == LEAF:
        check(n.op == NO_OP, "a leaf has no op")
    elif n.form == UNARY:
        check(n.op != NO_OP and arity == 1, "a node of one parent has an op of one argument")
    elif n.form < BLOCK:
        check(arity == 2, "a node of two arguments has an op of two")
    elif n.form == BLOCK:
        check(arity == VARIADIC, "a node with a block has an op of any number of arguments, or none")
    else:
        check(n.op == ADD or arity == 1, "an affine node has an activation, or is a sum")


cdef inline void check_flags(Node *n) noexcept nogil:
    check((n.flags & END != 0) == (n.form == LEAF), "leaves, and no others, have END")
    check(n.flags & IRREGULAR or not n.flags & (CUSTOM | LATE), "a node with Python code in backward is irregular")
    check(not n.flags & LATE or engine.late_nodes > 0, "nodes that turned irregular late are counted")


cdef inline void check_parent(Node *n, Node *parent) noexcept nogil:
    """What holds between a node and each of its parents."""
    check(parent != NULL, "a node's parents are there")
    check(Py_REFCNT(object_of(parent)) > 0, "a node holds its parents")
    check((parent.flags & END != 0) == (parent.form == LEAF), "leaves, and no others, have END")
    if engine.late_nodes == 0:
        check(not parent.flags & INHERITED & ~n.flags, "a node inherits its parents' flags")
    if n.flags & IRREGULAR or parent.flags & END or engine.late_nodes != 0:
        return
    check(Py_TYPE(object_of(parent)) == VALUE and not slab_of(parent).leaves,
          "a result that is a regular node's parent is in a slab of results")
    check(slab_of(parent) != slab_of(n) or parent < n, "a parent precedes its child")


cdef inline void check_affine(Node *n, Layer *layer, Py_ssize_t index) noexcept nogil:
    """An output of a layer. `n` is its node, or, where it has none, that of the network's output above."""
    cdef Affine *affine = &layer.affine[index]
    cdef Py_ssize_t i
    check(index < layer.outputs, "an affine node's index is one in its layer")
    check(affine.weights != NULL and 0 <= affine.passes <= 2, "an affine node has weights")
    if affine_bias(affine) != NULL:
        check_parent(n, affine_bias(affine))
    for i in range(layer.inputs):
        check_parent(n, node_of(affine_weights(affine)[i]))


cdef inline void check_layer(Node *n, Layer *layer) noexcept nogil:
    """What the affine node n shares with others, and the hidden layers below."""
    cdef Layer *below
    cdef Py_ssize_t i, cells
    while layer != NULL:
        below = layer.below
        cells = layer.inputs if below == NULL else 2 * layer.inputs
        check(layer.inputs > 0 and layer.holders > 0, "a layer has an input, and is held")
        check(<char *>(layer.affine + layer.outputs) == <char *>layer.data, "a layer's inputs stand behind its outputs")
        check(<char *>(layer.data + cells) <= <char *>layer + layer.size, "a layer's inputs are inside of it")
        for i in range(layer.inputs if layer.nodes != NULL else 0):
            check_parent(n, node_of(layer.nodes[i]))
        if below != NULL:
            check(layer.nodes == NULL, "a layer's inputs are a hidden layer or nodes")
            check(below.holders == 1 and below.outputs == layer.inputs, "a hidden layer belongs to the one above")
            check(below.slots != NULL and slab_of(below.slots) == slab_of(n) and below.slots < n,
                  "the slots of a hidden layer precede its network's outputs in their slab")
            for i in range(below.outputs):
                check(not below.affine[i].flags & (INHERITED | RESULT_WEIGHTS), "a hidden layer's weights are leaves")
                check_affine(n, below, i)
        layer = below


cdef inline void check_no_dead() noexcept nogil:
    check(dead.first == NULL or dead.releasing or dead.suspended != NULL, "a public call leaves no dead nodes")


cdef inline void check_node(Node *n) noexcept nogil:
    """Of a node that has been made, or that a backward pass has come to."""
    cdef Py_ssize_t i
    if not DEBUG:
        return
    check_no_dead()
    check_op(n)
    check_flags(n)
    if n.form == AFFINE:
        check(node_affine(n).op == n.op, "an affine node's op is that in its layer")
        check_affine(n, n.b.layer, n.index)
        check_layer(n, n.b.layer)
    elif n.form == BLOCK:
        for i in range(n.b.block.count):
            check_parent(n, node_of(n.b.block.parents[i]))
    elif n.form != LEAF:
        check_parent(n, n.a)
        if n.form == BINARY:
            check_parent(n, n.b.node)


# ---- Marks of the backward walk ------------------------------------------------------------------

cdef inline void check_marks(Slab *slab, Py_ssize_t count) noexcept nogil:
    """As many marks are in the slab as are counted."""
    cdef Node *n
    cdef Py_ssize_t i, marks = 0
    if not DEBUG:
        return
    for i in range(SLAB_SLOTS):
        n = slab_slot(slab, i)
        if n.flags & PENDING:
            marks += 1
            check(i < slab.used, "an unused slot has no mark")
    check(marks == count, "the marks in a slab are those that were counted")


cdef inline void check_no_marks() noexcept nogil:
    cdef Slab *slab = heap.newest
    if not DEBUG:
        return
    while slab != NULL:
        check(slab.pending == 0 and slab.top == NULL, "a walk that is over has come to every slab with marks")
        check_marks(slab, 0)
        slab = slab.older
