# How nodes die, and what the cyclic collector sees of them.

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from micrograd._cpython cimport *
from micrograd._debug cimport check
from micrograd._graph cimport late_nodes, node_parent, node_parent_count
from micrograd._node cimport *
from micrograd._slab cimport heap, slots_give_back

cdef extern from "Python.h":
    bint PyFunction_Check(PyObject *o)
    PyObject *PyFunction_GET_CLOSURE(PyObject *o)
    PyObject *PyFunction_GET_DEFAULTS(PyObject *o)
    bint PyCFunction_Check(PyObject *o)
    PyObject *PyCFunction_GET_SELF(PyObject *o)
    bint PyCell_Check(PyObject *o)
    PyObject *PyCell_GET(PyObject *o)
    bint PyTuple_Check(PyObject *o)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *o)
    PyObject *PyTuple_GET_ITEM(PyObject *o, Py_ssize_t i)

cdef enum:
    CLOSURE_DEPTH = 50    # of functions wrapped in functions
    TRAVERSE_DEPTH = 100  # of plain Values that the collector looks through


# ---- Death ---------------------------------------------------------------------------------------
# A node that dies may be the last to hold its parents. The dead are linked through their own slots and released one
# after the other by the outermost dealloc, so a chain of any length needs neither stack nor memory to go.

cdef void attributes_release(Node *n) noexcept:
    cdef PyObject *held = node_attributes(n)[0]
    if n.flags & CUSTOM:
        hook_abandon(<dict>held)
    node_attributes(n)[0] = NULL
    Py_DECREF(held)


cdef void node_release(Node *n) noexcept:
    """Give up all that a dead node holds, and its memory."""
    global late_nodes
    cdef PyTypeObject *kind = Py_TYPE(object_of(n))
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    if n.flags & LATE:
        late_nodes -= 1
        check(late_nodes >= 0, "nodes that turned irregular late are counted")
    parents_release(n.form, n.a, n.b, n.place)
    if kind == heap.value_type:
        slots_give_back(n, n.place + 1 if n.form == HIDDEN else 1)
    else:
        kind.tp_free(object_of(n))
        Py_DECREF(<PyObject *>kind)


cdef inline bint is_ordinary(Node *n) noexcept:
    """Is it the result of an op of one or two arguments, of no subclass, that nothing was ever noted at?"""
    return (LEAF < n.form < BLOCK and not n.flags & LATE and node_attributes(n)[0] == NULL
            and Py_TYPE(object_of(n)) == heap.value_type)


cdef void dead_release() noexcept:
    """Release the dead, and those that die with them; unless that is already being done. Nearly all are ordinary: they
    are listed in a variable of this function alone, which the compiler keeps in a register, a quarter off the time."""
    cdef Node *n
    cdef Node *first = NULL
    if dead.releasing:
        return
    dead.releasing = True
    while True:
        if first == NULL:
            first = dead.first
            dead.first = NULL
            if first == NULL:
                break
        n = first
        first = node_next(n)
        if not is_ordinary(n):
            node_release(n)
            continue
        node_unref_onto(n.a, &first)
        if n.form == BINARY:
            node_unref_onto(n.b.node, &first)
        slots_give_back(n, 1)
    dead.releasing = False


cdef void value_dealloc(PyObject *o) noexcept:
    if Py_TYPE(o) != heap.value_type:
        Py_INCREF(<PyObject *>Py_TYPE(o))  # the subclass may go with its last instance, whose memory it is to free
    node_link(node_of(o), dead.first)
    dead.first = node_of(o)
    dead_release()


# ---- A user's `_backward` ------------------------------------------------------------------------
# It nearly always closes over the Value it is assigned to, a reference cycle:
#
#     Value -> its __dict__ -> Hook -> function -> cell -> Value
#
# Plain Values are not tracked by the cyclic collector, which would take the reference to the __dict__ for one from
# outside. The hook answers for its owner: once every reference to the Value comes from the function, and nobody else
# holds that, the hook presents the reference to the __dict__ as its own, and the collector sees the cycle closed.

cdef class Hook:
    pass


cdef Py_ssize_t references(PyObject *owner, PyObject *o, int depth) noexcept:
    """References to `owner` that go with `o`, that is, from it and from what it alone holds."""
    cdef Py_ssize_t i, count = 0
    if o == NULL:
        return 0
    if o == owner:
        return 1
    if Py_REFCNT(o) != 1 or depth == CLOSURE_DEPTH:
        return 0
    if PyFunction_Check(o):
        count = references(owner, PyFunction_GET_CLOSURE(o), depth + 1)
        count += references(owner, PyFunction_GET_DEFAULTS(o), depth + 1)
    elif PyTuple_Check(o):
        for i in range(PyTuple_GET_SIZE(o)):
            count += references(owner, PyTuple_GET_ITEM(o, i), depth + 1)
    elif PyCell_Check(o):
        count = references(owner, PyCell_GET(o), depth + 1)
    elif PyCFunction_Check(o):  # the built-in step, read from `_backward` before it was replaced
        count = references(owner, PyCFunction_GET_SELF(o), depth + 1)
    return count


cdef int hook_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Hook hook = <Hook>o
    cdef PyObject *function = <PyObject *>hook.function
    cdef int stop = visit(function, arg)
    if not stop and hook.owner != NULL and Py_REFCNT(hook.owner) == references(hook.owner, function, 0):
        stop = visit(hook.held, arg)
    return stop


(<PyTypeObject *>Hook).tp_traverse = hook_traverse


cdef void hook_abandon(dict attributes) noexcept:
    cdef PyObject *hook = PyDict_GetItem(attributes, Hook)
    if hook != NULL:
        (<Hook>hook).owner = NULL


# ---- Subclasses ----------------------------------------------------------------------------------
# They are tracked by the cyclic collector, and these are what it calls; plain Values are not.

cdef int node_traverse(Node *n, PyObject *function, visitproc visit, void *arg, int depth) noexcept:
    """Visit what the node holds; in a plain parent's stead, where none but the node and its function hold it, what the
    parent holds."""
    cdef PyObject *held = node_attributes(n)[0]
    cdef PyObject *o
    cdef Py_ssize_t i, first = 0, count = node_parent_count(n)
    cdef int stop = visit(held, arg) if held != NULL else 0
    if n.form == FUSED and not stop:
        stop = visit(node_sum(n).row, arg)
        # Nor does it hold the x by itself, unless it is the last sum that does.
        first = count - (n.b.fused.count if n.b.fused.nodes != NULL and n.b.fused.held == 1 else 0)
    for i in range(first, count):
        if stop:
            break
        o = object_of(node_parent(n, i))
        if depth and Py_TYPE(o) == heap.value_type and Py_REFCNT(o) == 1 + references(o, function, 0):
            stop = node_traverse(node_of(o), function, visit, arg, depth - 1)
        else:
            stop = visit(o, arg)
    return stop


cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Node *n = node_of(o)
    cdef PyObject *hook = NULL
    if n.flags & CUSTOM and node_attributes(n)[0] != NULL:
        hook = PyDict_GetItem(<dict>node_attributes(n)[0], Hook)
    return node_traverse(n, <PyObject *>(<Hook>hook).function if hook != NULL else NULL, visit, arg, TRAVERSE_DEPTH)


cdef int value_clear(PyObject *o) noexcept:
    cdef Node *n = node_of(o)
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    node_orphan(n)
    return 0
