# How nodes die, and what the cyclic collector sees of them.

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from micrograd._cpython cimport Py_DECREF, Py_REFCNT, Py_TYPE, visitproc
from micrograd._debug cimport check
from micrograd._node cimport (BINARY, BLOCK, END, FUSED, LEAF, Fused, Node, Operand, Sum, node_link, object_of)
from micrograd._slab cimport heap, piece_give_back


cdef struct Dead:
    Node *first      # dead nodes that still hold what they held, linked through their own slots
    bint releasing   # the outermost dealloc is going through them

cdef Dead dead

cdef void dead_release() noexcept


cdef class Hook:             # what holds it, so that the collector can free it and its Value
    cdef object function     # the user's `_backward`
    cdef PyObject *owner     # the plain Value it belongs to, not counted; NULL for other kinds, and once dead
    cdef PyObject *held      # its attributes, a dict, not counted


cdef void hook_abandon(dict attributes) noexcept

# Slots of the type
cdef void value_dealloc(PyObject *o) noexcept
cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept
cdef int value_clear(PyObject *o) noexcept


# ---- References ----------------------------------------------------------------------------------

# Whoever gives up references calls dead_release() in the end.

cdef inline void node_unref_onto(Node *n, Node **first) noexcept:
    """Give up a reference. With the last one the node goes onto a list of the dead, without the call of a dealloc."""
    if Py_REFCNT(object_of(n)) == 1 and Py_TYPE(object_of(n)) == heap.value_type:
        node_link(n, first[0])
        first[0] = n
    else:
        Py_DECREF(object_of(n))


cdef inline void node_unref(Node *n) noexcept:
    node_unref_onto(n, &dead.first)


cdef inline void fused_release(Fused *fused) noexcept:
    """A sum less; with the last of them go the x."""
    cdef Py_ssize_t i
    check(fused.held > 0, "a sum's block is held by each of its nodes")
    fused.held -= 1
    if fused.held:
        return
    if fused.hidden != NULL:
        node_unref(fused.hidden)
    elif fused.nodes != NULL:
        for i in range(fused.count):
            node_unref(fused.nodes[i])
    piece_give_back(fused, fused.size)


cdef inline void parents_release(int form, Node *a, Operand b, unsigned int place) noexcept:
    """Give up the parents of a node that has, or had, these fields."""
    cdef Py_ssize_t i
    cdef Sum *sum_
    cdef PyObject *row
    if form < BLOCK:
        if form != LEAF:
            node_unref(a)
        if form == BINARY:
            node_unref(b.node)
    elif form == BLOCK:
        for i in range(b.block.count):
            node_unref(b.block.parents[i])
        PyMem_Free(b.block)
    elif form == FUSED:
        sum_ = &b.fused.sums[place]
        row = sum_.row
        if sum_.stale != NULL:
            PyMem_Free(sum_.stale)
        fused_release(b.fused)
        Py_DECREF(row)
    else:  # HIDDEN
        for i in range(place + 1):
            Py_DECREF(b.fused.sums[i].row)
        fused_release(b.fused)


cdef inline void node_orphan(Node *n) noexcept:
    """Make a leaf of the node."""
    cdef int form = n.form
    n.form = LEAF
    n.op = 0
    n.flags |= END
    parents_release(form, n.a, n.b, n.place)
    dead_release()
