# What the cyclic collector sees of Values.
#
# Plain Values are not tracked by it. Instances of subclasses are, and so is the __dict__ of a Value with a `_backward`
# of the user's: these visit, in the stead of plain Values that they alone hold, what those hold.
#
# Gives value_traverse and value_clear, which are the type's slots, and Attributes. Uses lifetime.pxi, materialize.pxi.

cdef extern from "Python.h":
    PyTypeObject PyDict_Type
    bint PyObject_IS_GC(PyObject *o)

cdef enum:
    HELD_DEPTH = 50       # of objects, each held by the one before alone, that are searched for a Value
    TRAVERSE_DEPTH = 100  # of plain Values that the collector looks through


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

    cdef object function      # the user's `_backward`, None once that is deleted
    cdef PyObject *owner      # the plain Value it belongs to, not counted; NULL for other kinds, and once dead

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
        if Py_TYPE(o) == VALUE:
            node_traverse(node_of(o), NULL, search_visit, arg, 0)
        elif Py_TYPE(o) == ATTRIBUTES:
            attributes_visit(o, search_visit, arg)
        elif PyObject_IS_GC(o) and not PyType_IsSubtype(Py_TYPE(o), VALUE):  # those answer for themselves
            Py_TYPE(o).tp_traverse(o, search_visit, arg)
        search.depth -= 1
    elif search.sought == NULL and search.room >= 0 and Py_TYPE(o) == VALUE:
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

cdef int held_visit(PyObject *o, Search *search, visitproc visit, void *arg, int depth) noexcept:
    """Visit what a node holds; in a plain Value's stead, where none but the node and what is searched, the function of
    an instance, hold it, what the Value holds."""
    if depth and Py_TYPE(o) == VALUE and goes_with(o, search):
        return node_traverse(node_of(o), search, visit, arg, depth - 1)
    return visit(o, arg)


cdef int layer_traverse(Layer *layer, Search *search, visitproc visit, void *arg, int depth) noexcept:
    """Visit the inputs of a layer, and what hidden layers below hold. The last of a layer's nodes holds them."""
    cdef Py_ssize_t i
    cdef int stop = 0
    while layer != NULL and layer.holders == 1 and not stop:
        for i in range(layer.inputs if layer.nodes != NULL else 0):
            stop = stop or held_visit(layer.nodes[i], search, visit, arg, depth)
        layer = layer.below
        for i in range(layer.outputs if layer != NULL else 0):
            stop = stop or visit(layer.affine[i].weights, arg)
    return stop


cdef int node_traverse(Node *n, Search *search, visitproc visit, void *arg, int depth) noexcept:
    cdef PyObject *held = node_attributes(n)[0]
    cdef Parents parents
    cdef Py_ssize_t i
    cdef int stop = visit(held, arg) if held != NULL else 0
    if n.form == AFFINE:
        stop = stop or visit(node_affine(n).weights, arg)
        return stop or layer_traverse(n.b.layer, search, visit, arg, depth)
    parents_of(n, &parents)
    for i in range(parents.count):
        stop = stop or held_visit(parent_at(&parents, i), search, visit, arg, depth)
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
    if Py_TYPE(o) == VALUE:
        stop = node_traverse(node_of(o), NULL, inside.visit, inside.arg, inside.depth)
    elif Py_TYPE(o) != ATTRIBUTES and PyObject_IS_GC(o) and not PyType_IsSubtype(Py_TYPE(o), VALUE):
        stop = Py_TYPE(o).tp_traverse(o, inside_visit, arg)
    inside.depth += 1
    return stop


cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Node *n = node_of(o)
    cdef PyObject *held = node_attributes(n)[0]
    cdef Inside inside = Inside(visit, arg, TRAVERSE_DEPTH)
    cdef Search search = Search(NULL, NULL, 0, NULL, 0, 0)
    cdef int stop = visit(<PyObject *>Py_TYPE(o), arg)
    if held != NULL and Py_REFCNT(held) == 1:  # else vars() gave them, and the function with them, to other code
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
