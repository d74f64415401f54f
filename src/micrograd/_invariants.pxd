# Invariants of the engine's structs: they hold whenever no function is half way through changing them. A debug build
# checks them where a node is made and where a walk relies on them. Other builds contain nothing of this.

from cpython.object cimport PyObject
from micrograd._cpython cimport Py_REFCNT, Py_TYPE, tuple_items
from micrograd._debug cimport DEBUG, check
from micrograd._graph cimport late_nodes
from micrograd._lifetime cimport dead
from micrograd._node cimport (BINARY, BLOCK, CUSTOM, END, FUSED, GROWN, HIDDEN, INHERITED, IRREGULAR, LATE, LEAF,
                              NUMBER_LEFT, NUMBER_RIGHT, PENDING, UNARY, Fused, Node, Sum, hidden_above, node_sum,
                              object_of, sum_bias, sum_weights)
from micrograd._ops cimport ADD, MANY, NO_OP, OP_COUNT, op_rule
from micrograd._slab cimport SLAB_SLOTS, Slab, heap, slab_of, slab_slot


# ---- Nodes ---------------------------------------------------------------------------------------

cdef inline void op_fits_form(Node *n) noexcept nogil:
    cdef int arity = op_rule(n.op).arity if n.op < OP_COUNT else -1
    check(n.op < OP_COUNT, "a node's op is a row of the table")
    check(n.form <= HIDDEN, "a node's form is one there is")
    if n.form == LEAF or n.form == HIDDEN:
        check(n.op == NO_OP, "leaves and hidden layers have no op")
    elif n.form == UNARY:
        check(n.op != NO_OP and arity == 1, "a node of one parent has an op of one argument")
    elif n.form < BLOCK:
        check(arity == 2, "a node of two arguments has an op of two")
    elif n.form == BLOCK:
        check(arity == MANY, "a node with a block has an op of any number of arguments, or none")
    else:
        check(n.op == ADD or arity == 1, "a fused sum has an activation or is one")


cdef inline void flags_fit_form(Node *n) noexcept nogil:
    check((n.flags & END != 0) == (n.form == LEAF), "leaves, and no others, have END")
    check(n.flags & IRREGULAR or not n.flags & (CUSTOM | LATE), "a node with Python code in backward is irregular")
    check(not n.flags & LATE or late_nodes > 0, "nodes that turned irregular late are counted")
    check(n.form != HIDDEN or not n.flags & (INHERITED | GROWN), "a hidden layer is regular, its weights leaves")


cdef inline void parent_fits(Node *n, Node *parent) noexcept nogil:
    """What holds between a node and each of its parents."""
    check(parent != NULL, "a node's parents are there")
    check(Py_REFCNT(object_of(parent)) > 0, "a node holds its parents")
    check((parent.flags & END != 0) == (parent.form == LEAF), "leaves, and no others, have END")
    if late_nodes == 0:
        check(not parent.flags & INHERITED & ~n.flags, "a node inherits its parents' flags")
    if n.flags & IRREGULAR or parent.flags & END or late_nodes != 0:
        return
    check(Py_TYPE(object_of(parent)) == heap.value_type and not slab_of(parent).leaves,
          "a result that is a regular node's parent is in a slab of results")
    check(slab_of(parent) != slab_of(n) or parent < n, "a parent precedes its child")


cdef inline void fused_fits(Node *n) noexcept nogil:
    """A fused sum, or a hidden layer, and what it shares with others."""
    cdef Fused *fused = n.b.fused
    cdef Sum *sum_ = node_sum(n)
    cdef Py_ssize_t i, cells = fused.count if fused.hidden == NULL else 2 * fused.count
    check(fused.count > 0 and fused.held > 0, "a sum's block has an input, and is held")
    check(sum_ < <Sum *>fused.numbers, "a sum's place is one in its block")
    check(<char *>(fused.numbers + cells) <= <char *>fused + fused.size, "a block's inputs are inside of it")
    check(sum_.row != NULL and 0 <= sum_.passes <= 2, "a sum has a row")
    check(n.form == HIDDEN or sum_.op == n.op, "a sum's op is its node's")
    if n.form == HIDDEN:
        check(hidden_above(n).hidden == n and hidden_above(n).count == <Py_ssize_t>n.place + 1,
              "a hidden layer is all the inputs of the block that holds it")
        check(Py_REFCNT(object_of(n)) == 1, "a hidden layer is held by one block")
    if fused.hidden != NULL:
        check(fused.nodes == NULL and hidden_above(fused.hidden) == fused, "a block's inputs are a layer or nodes")
        parent_fits(n, fused.hidden)
    elif fused.nodes != NULL:
        for i in range(fused.count):
            parent_fits(n, fused.nodes[i])
    if n.form == FUSED:
        if sum_bias(sum_) != NULL:
            parent_fits(n, sum_bias(sum_))
        for i in range(fused.count):
            parent_fits(n, <Node *>(sum_weights(sum_)[i] + 1))


cdef inline void dead_are_gone() noexcept nogil:
    check(dead.first == NULL or dead.releasing or dead.outside != NULL, "a public call leaves no dead nodes")


cdef inline void node_fits(Node *n) noexcept nogil:
    """Of a node that has been made, or that a backward pass has come to."""
    cdef Py_ssize_t i
    if not DEBUG:
        return
    dead_are_gone()
    op_fits_form(n)
    flags_fit_form(n)
    if n.form == FUSED or n.form == HIDDEN:
        fused_fits(n)
    elif n.form == BLOCK:
        for i in range(n.b.block.count):
            parent_fits(n, n.b.block.parents[i])
    elif n.form != LEAF:
        parent_fits(n, n.a)
        if n.form == BINARY:
            parent_fits(n, n.b.node)


# ---- Marks of the backward walk ------------------------------------------------------------------

cdef inline void marks_fit(Slab *slab, Py_ssize_t count) noexcept nogil:
    """As many marks are in the slab as are counted: a hidden layer's is as many as it has neurons."""
    cdef Node *n
    cdef Py_ssize_t i, marks = 0
    if not DEBUG:
        return
    for i in range(SLAB_SLOTS):
        n = slab_slot(slab, i)
        if n.flags & PENDING:
            marks += n.place + 1 if n.form == HIDDEN else 1
            check(i < slab.used, "an unused slot has no mark")
    check(marks == count, "the marks in a slab are those that were counted")


cdef inline void marks_are_gone() noexcept nogil:
    cdef Slab *slab = heap.newest
    if not DEBUG:
        return
    while slab != NULL:
        check(slab.pending == 0 and slab.top == NULL, "a walk that is over has come to every slab with marks")
        marks_fit(slab, 0)
        slab = slab.older
