# How nodes die, and what the cyclic collector sees of them.

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from micrograd._cpython cimport Py_DECREF, Py_REFCNT, Py_TYPE, visitproc
from micrograd._debug cimport check
from micrograd._node cimport BINARY, BLOCK, END, FUSED, LEAF, Fused, Node, Operand, Sum, node_link, object_of
from micrograd._slab cimport heap, piece_give_back


cdef struct Outside:   # Python code that runs in the middle of releasing: `__del__`, a callback of a weak reference
    uint64_t thread    # in which thread
    bint releasing     # was that thread in dead_release()?
    Outside *outer     # likewise, of other threads, or of this one further out

cdef struct Dead:
    Node *first        # dead nodes that still hold what they held, linked through their own slots
    bint releasing     # the thread that has the GIL is in dead_release(); nothing else of ours runs meanwhile
    Outside *outside   # but for threads that are in Python code, called from there

cdef Dead dead

cdef void dead_release() noexcept
cdef void decref_outside(PyObject *o) noexcept
cdef void row_empty(PyObject *row) noexcept


cdef class Attributes(dict):  # the __dict__ of a Value whose `_backward` was assigned
    cdef object function      # the user's `_backward`, None once that is deleted
    cdef PyObject *owner      # the plain Value it belongs to, not counted; NULL for other kinds, and once dead

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
    elif Py_REFCNT(object_of(n)) == 1:
        decref_outside(object_of(n))
    else:
        Py_DECREF(object_of(n))


cdef inline void node_unref(Node *n) noexcept:
    node_unref_onto(n, &dead.first)


cdef inline void row_unref(PyObject *row) noexcept:
    """Give up a reference to the row of a sum."""
    if Py_REFCNT(row) == 1:
        row_empty(row)
    Py_DECREF(row)


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
        row_unref(row)
    else:  # HIDDEN
        for i in range(place + 1):
            row_unref(b.fused.sums[i].row)
        fused_release(b.fused)


cdef inline void node_orphan(Node *n) noexcept:
    """Make a leaf of the node."""
    cdef int form = n.form
    n.form = LEAF
    n.op = 0
    n.flags |= END
    parents_release(form, n.a, n.b, n.place)
    dead_release()
