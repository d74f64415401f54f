# How nodes die, and what the cyclic collector sees of them.

from cpython.object cimport PyObject
from libc.stdlib cimport free, qsort, realloc
from micrograd._cpython cimport *
from micrograd._debug cimport check
from micrograd._graph cimport late_nodes, node_parent, node_parent_count
from micrograd._node cimport *
from micrograd._slab cimport heap, slots_give_back

cdef extern from "Python.h":
    PyTypeObject PyDict_Type
    bint PyObject_IS_GC(PyObject *o)

cdef enum:
    OUTSIDE_DEPTH = 16    # of releases in Python code that runs in the middle of one
    HELD_DEPTH = 50       # of objects, each held by the one before alone, that are searched for a Value
    TRAVERSE_DEPTH = 100  # of plain Values that the collector looks through


# ---- Death ---------------------------------------------------------------------------------------
# A node that dies may be the last to hold its parents. The dead are linked through their own slots and released one
# after the other by the outermost dealloc, so a chain of any length needs neither stack nor memory to go.
#
# What a node holds besides may run Python code when it goes, during which other threads run, or fork. They release
# what dies meanwhile. So does this thread, some levels deep; from there on it leaves the dead to the levels above.

cdef inline void outside_enter(Outside *outside) noexcept:
    outside.thread = this_thread()
    outside.releasing = dead.releasing
    outside.outer = dead.outside
    dead.outside = outside
    dead.releasing = False


cdef void outside_leave(Outside *outside) noexcept:
    cdef Outside **link = &dead.outside
    while link[0] != outside:  # those of other threads may have come in front of it
        link = &link[0].outer
    link[0] = outside.outer
    dead.releasing = outside.releasing


cdef bint is_deep() noexcept:
    """Is this thread as many levels deep in releasing as it may be?"""
    cdef uint64_t thread = this_thread()
    cdef Outside *outside = dead.outside
    cdef int levels = 0
    while outside != NULL:
        levels += outside.thread == thread
        outside = outside.outer
    return levels >= OUTSIDE_DEPTH


cdef void decref_outside(PyObject *o) noexcept:
    """Give up the last reference to what may run Python code when it goes."""
    cdef Outside outside
    outside_enter(&outside)
    Py_DECREF(o)
    outside_leave(&outside)


cdef void row_empty(PyObject *row) noexcept:
    """Take the items out of the row of a sum that is about to go, and give them up one by one."""
    cdef PyObject **items = tuple_items(row)
    cdef Py_ssize_t i
    PyObject_GC_UnTrack(row)  # no `__del__` is to find it half empty
    for i in range(PyTuple_GET_SIZE(row)):
        if items[i] != Py_None:
            node_unref(node_of(items[i]))
            items[i] = NULL


cdef void attributes_release(Node *n) noexcept:
    cdef PyObject *held = node_attributes(n)[0]
    if Py_TYPE(held) == ATTRIBUTES:
        (<Attributes>held).owner = NULL
    node_attributes(n)[0] = NULL
    decref_outside(held)


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
        decref_outside(<PyObject *>kind)


cdef inline bint is_ordinary(Node *n) noexcept:
    """Is it the result of an op of one or two arguments, of no subclass, that nothing was ever noted at?"""
    return (LEAF < n.form < BLOCK and not n.flags & LATE and node_attributes(n)[0] == NULL
            and Py_TYPE(object_of(n)) == heap.value_type)


cdef void dead_release() noexcept:
    """Release the dead, and those that die with them; unless that is already being done. Nearly all are ordinary: they
    are listed in a variable of this function alone, which the compiler keeps in a register, a quarter off the time."""
    cdef Node *n
    cdef Node *first = NULL
    if dead.releasing or dead.outside != NULL and is_deep():
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
    node_link(node_of(o), dead.first)
    dead.first = node_of(o)
    dead_release()


# ---- A user's `_backward` ------------------------------------------------------------------------
# It nearly always closes over the Value it is assigned to, a reference cycle:
#
#     Value -> its __dict__ -> function -> cell -> Value
#
# Plain Values are not tracked by the cyclic collector, which would take the reference to the __dict__ for one from
# outside. The __dict__ answers for its owner: once every reference to the Value comes from what the function alone
# holds, it presents the Value's reference to it as its own, and the collector sees the cycle closed.

cdef class Attributes(dict):
    """The attributes of a Value whose `_backward` is a function of the user's."""

    def __reduce__(self):
        return dict, (dict(self),)


cdef PyTypeObject *ATTRIBUTES = <PyTypeObject *>Attributes


cdef struct Search:   # among what a function alone holds, and what that alone holds, and so on: a tree
    PyObject *function
    PyObject *sought  # NULL: plain Values that are held from elsewhere too are listed
    Py_ssize_t found  # references to what is sought, or in the list
    PyObject **list
    Py_ssize_t room   # in the list; -1 where there is no memory for it
    int depth


cdef void search_list(Search *search, PyObject *o) noexcept:
    cdef Py_ssize_t room = max(32, 2 * search.room)
    cdef void *items
    if search.found == search.room:
        items = realloc(search.list, room * sizeof(PyObject *))
        if items == NULL:
            search.room = -1
        else:
            search.list = <PyObject **>items
            search.room = room
    if search.room >= 0:
        search.list[search.found] = o
        search.found += 1


cdef int search_visit(PyObject *o, void *arg) noexcept:
    cdef Search *search = <Search *>arg
    if o == search.sought:
        search.found += 1
    elif Py_REFCNT(o) == 1 and search.depth < HELD_DEPTH:
        search.depth += 1
        if Py_TYPE(o) == heap.value_type:
            node_traverse(node_of(o), NULL, search_visit, arg, 0)
        elif Py_TYPE(o) == ATTRIBUTES:
            attributes_visit(o, search_visit, arg)
        elif PyObject_IS_GC(o) and not PyType_IsSubtype(Py_TYPE(o), heap.value_type):  # those answer for themselves
            Py_TYPE(o).tp_traverse(o, search_visit, arg)
        search.depth -= 1
    elif search.sought == NULL and search.room >= 0 and Py_TYPE(o) == heap.value_type:
        search_list(search, o)
    return 0


cdef Py_ssize_t references(PyObject *o, PyObject *function) noexcept:
    """References to an object that go with a function."""
    cdef Search search = Search(function, o, 0, NULL, 0, 0)
    search_visit(function, &search)
    return search.found


cdef int by_address(const void *a, const void *b) noexcept nogil:
    cdef PyObject *left = (<PyObject **>a)[0]
    cdef PyObject *right = (<PyObject **>b)[0]
    return (left > right) - (left < right)


cdef bint goes_with(PyObject *o, Search *search) noexcept:
    """Does a plain Value go with the node that holds it once, and with the function of an instance? What that holds is
    listed first, once for all parents."""
    cdef Py_ssize_t middle, end, others = Py_REFCNT(o) - 1, first = 0
    if others == 0 or search == NULL or search.function == NULL:
        return others == 0
    if search.list == NULL and search.room == 0:
        search_visit(search.function, search)
        if search.room > 0:
            qsort(search.list, search.found, sizeof(PyObject *), by_address)
    if search.room < 0:
        return others == references(o, search.function)
    end = search.found
    while first < end:
        middle = (first + end) // 2
        if search.list[middle] < o:
            first = middle + 1
        else:
            end = middle
    return (first + others <= search.found and search.list[first] == o and search.list[first + others - 1] == o
            and (first + others == search.found or search.list[first + others] != o))


cdef int attributes_visit(PyObject *o, visitproc visit, void *arg) noexcept:
    """Visit what attributes hold."""
    cdef PyObject *function = <PyObject *>(<Attributes>o).function
    cdef int stop = PyDict_Type.tp_traverse(o, visit, arg)
    return stop if stop or function == NULL else visit(function, arg)


cdef int attributes_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef PyObject *owner = (<Attributes>o).owner
    cdef PyObject *function = <PyObject *>(<Attributes>o).function
    cdef int stop = attributes_visit(o, visit, arg)
    if not stop and owner != NULL and Py_REFCNT(owner) == references(owner, function):
        stop = visit(o, arg)
    return stop


ATTRIBUTES.tp_traverse = attributes_traverse


# ---- Subclasses ----------------------------------------------------------------------------------
# They are tracked by the cyclic collector, and these are what it calls; plain Values are not.

cdef int node_traverse(Node *n, Search *search, visitproc visit, void *arg, int depth) noexcept:
    """Visit what the node holds; in a plain parent's stead, where none but the node and what is searched, the function
    of an instance, hold it, what the parent holds."""
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
        if depth and Py_TYPE(o) == heap.value_type and goes_with(o, search):
            stop = node_traverse(node_of(o), search, visit, arg, depth - 1)
        else:
            stop = visit(o, arg)
    return stop


cdef struct Inside:
    visitproc visit
    void *arg
    int depth


cdef int inside_visit(PyObject *o, void *arg) noexcept:
    """In the stead of plain Values among what an instance alone holds by its attributes, visit what they hold."""
    cdef Inside *inside = <Inside *>arg
    cdef int stop = 0
    if Py_REFCNT(o) != 1 or inside.depth == 0:
        return 0
    inside.depth -= 1
    if Py_TYPE(o) == heap.value_type:
        stop = node_traverse(node_of(o), NULL, inside.visit, inside.arg, inside.depth)
    elif Py_TYPE(o) != ATTRIBUTES and PyObject_IS_GC(o) and not PyType_IsSubtype(Py_TYPE(o), heap.value_type):
        stop = Py_TYPE(o).tp_traverse(o, inside_visit, arg)
    inside.depth += 1
    return stop


cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Node *n = node_of(o)
    cdef PyObject *held = node_attributes(n)[0]
    cdef Inside inside = Inside(visit, arg, TRAVERSE_DEPTH)
    cdef Search search = Search(NULL, NULL, 0, NULL, 0, 0)
    cdef int stop = visit(<PyObject *>Py_TYPE(o), arg)
    if held != NULL and Py_REFCNT(held) == 1:  # else somebody got them from vars(), and the function with them
        if Py_TYPE(held) == ATTRIBUTES:
            search.function = <PyObject *>(<Attributes>held).function
        if not stop:
            stop = PyDict_Type.tp_traverse(held, inside_visit, &inside)
        if not stop and search.function != NULL:
            stop = inside_visit(search.function, &inside)
    if not stop:
        stop = node_traverse(n, &search, visit, arg, TRAVERSE_DEPTH)
    free(search.list)
    return stop


cdef int value_clear(PyObject *o) noexcept:
    cdef Node *n = node_of(o)
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    node_orphan(n)
    return 0
