# Invariants of the engine's structs, which hold except while a function changes them. A debug build asserts them for
# each node that is made or that backward comes to, and for the slabs of a walk. Other builds have no code of this.
#
# Gives check_node, check_marks, check_no_marks and check_no_dead. Uses slabs.pxi, lifetime.pxi, walk.pxi. What a
# compiler can assert is a static_check() beside the struct.

# ---- Nodes ---------------------------------------------------------------------------------------

cdef inline void check_op(Node *n) noexcept nogil:
    cdef int arity = RULES[n.op].arity if n.op < OP_COUNT else -1
    check(n.op < OP_COUNT, "a node's op is in the op table")
    check(n.form <= AFFINE, "a node's form is one of the enum")
    if n.form == LEAF:
        check(n.op == NO_OP, "a leaf has no op")
    elif n.form == UNARY:
        check(n.op != NO_OP and arity == 1, "a node of one operand has an op of one argument")
    elif n.form < BLOCK:
        check(arity == 2, "a node of two operands has an op of two arguments")
    elif n.form == BLOCK:
        check(arity == VARIADIC, "a node with a block has a variadic op, or none")
    else:
        check(n.op == ADD or arity == 1, "an affine node's op is ADD or an activation")


cdef inline void check_flags(Node *n) noexcept nogil:
    check((n.flags & END != 0) == (n.form == LEAF), "leaves, and no other nodes, have END")
    check(not n.flags & PENDING or not n.flags & END, "a leaf has no mark")
    check(not n.flags & (SEEN | SORTED) or engine.sorting, "a sort leaves no marks")
    check(not n.flags & LISTED, "a list of parameters leaves no marks")
    check(n.flags & IRREGULAR or not n.flags & (CUSTOM | LATE), "a node with a Python _backward is irregular")
    check(not n.flags & LATE or engine.late_nodes > 0, "late nodes are counted")


cdef inline void check_parent(Node *n, Node *parent) noexcept nogil:
    check(parent != NULL, "no parent is NULL")
    check(Py_REFCNT(object_of(parent)) > 0, "a node holds its parents")
    check_flags(parent)
    if engine.late_nodes == 0:
        check(not parent.flags & INHERITED & ~n.flags, "a node inherits its parents' flags")
    if n.flags & IRREGULAR or parent.flags & END or engine.late_nodes != 0:
        return
    check(Py_TYPE(object_of(parent)) == VALUE and not slab_of(parent).leaves,
          "a regular node's parents are leaves or in result slabs")
    check(slab_of(parent) != slab_of(n) or parent < n, "a parent precedes its child")


cdef inline void check_affine(Node *n, Layer *layer, Py_ssize_t index) noexcept nogil:
    """An output of a layer. `n` is its node, or, in a hidden layer, the node of the network's output."""
    cdef Affine *affine = &layer.affine[index]
    cdef Py_ssize_t i
    check(index < layer.outputs, "an affine node's index is less than its layer's outputs")
    check(affine.weights != NULL and PyTuple_GET_SIZE(affine.weights) == layer.inputs + 1,
          "an affine node has a weight for each input")
    check(0 <= affine.passes <= 2, "passes are counted up to 2")
    if affine_bias(affine) != NULL:
        check_parent(n, affine_bias(affine))
    for i in range(layer.inputs):
        check_parent(n, node_of(affine_weights(affine)[i]))


cdef inline void check_hidden(Node *n, Layer *above, Layer *layer) noexcept nogil:
    """A hidden layer of the network of which n is an output."""
    cdef Py_ssize_t i
    check(above.nodes == NULL, "a layer has inputs of one kind")
    check(layer.holders == 1 and layer.outputs == above.inputs, "a hidden layer is held by the layer above alone")
    check(layer.slots != NULL and slab_of(layer.slots) == slab_of(n) and layer.slots < n,
          "a hidden layer's slots precede its network's outputs")
    for i in range(layer.outputs):
        check(not layer.affine[i].flags & (INHERITED | RESULT_WEIGHTS), "a hidden layer's weights are leaves")
        check_affine(n, layer, i)


cdef inline void check_layer(Node *n, Layer *layer) noexcept nogil:
    """What the affine node n shares with others, and the hidden layers below."""
    cdef Py_ssize_t i, cells
    while layer != NULL:
        cells = layer.inputs if layer.below == NULL else 2 * layer.inputs
        check(layer.inputs > 0 and layer.holders > 0, "a layer has inputs and a holder")
        check(<char *>(layer.affine + layer.outputs) == <char *>layer.data, "a layer's inputs follow its outputs")
        check(<char *>(layer.data + cells) <= <char *>layer + layer.size, "a layer's inputs are in its memory")
        if layer.below != NULL:
            check_hidden(n, layer, layer.below)
        for i in range(layer.inputs if layer.nodes != NULL else 0):
            check_parent(n, node_of(layer.nodes[i]))
        layer = layer.below


cdef inline void check_no_dead() noexcept nogil:
    check(dead.first == NULL or dead.releasing or dead.suspended != NULL, "a public call leaves no dead nodes")


cdef inline void check_node(Node *n) noexcept nogil:
    """For a node that was made, or that backward has come to."""
    cdef Py_ssize_t i
    if not DEBUG:
        return
    check_no_dead()
    check_op(n)
    check_flags(n)
    if n.form == AFFINE:
        check_affine(n, n.b.layer, n.index)
        check(node_affine(n).op == n.op, "an affine node's op is that in its layer")
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
    """The marks in a slab are as many as were counted."""
    cdef Node *n
    cdef Py_ssize_t i, marks = 0
    if not DEBUG:
        return
    for i in range(SLAB_SLOTS):
        n = slab_slot(slab, i)
        if n.flags & PENDING:
            marks += 1
            check(i < slab.used, "an unused slot has no mark")
    check(marks == count, "a slab has as many marks as were counted")


cdef inline void check_no_marks() noexcept nogil:
    """A walk has ended: there are no marks, and no dead nodes."""
    cdef Slab *slab = heap.newest
    if not DEBUG:
        return
    check_no_dead()
    check(heap.quick == (heap.newest if modes == NULL and heap.newest != NULL else &NO_SLOTS),
          "operators take slots of the newest slab while no thread is in a mode")
    while slab != NULL:
        check(slab.pending == 0 and slab.top == NULL, "a walk comes to all slabs with marks")
        check_marks(slab, 0)
        slab = slab.older
