# What the cyclic collector sees of Values.
#
# The collector does not track plain Values, whose class is Value itself. It tracks instances of subclasses, and the
# __dict__ of a Value with a `_backward` that a user assigned. If only such an object holds a plain Value, it owns what
# the Value holds, and tp_traverse visits that instead of the Value.
#
# Gives value_traverse and value_clear, which are slots of the type, and Attributes. Uses lifetime.pxi, materialize.pxi.

cdef extern from *:
    """
    /* How many references an object has, for tp_traverse. The collector of a free-threaded CPython traverses what it
       found unreachable once more after finalizers ran, to see what these made reachable. Then it holds a reference to
       each such object and has all references in ob_ref_shared; ob_ref_local is scratch, and ob_tid the address of
       another object or 0. In its first pass, an object whose references are all in ob_ref_shared has 0 in ob_ref_local
       and a small number in ob_tid. */
    #if defined(Py_GIL_DISABLED)
      #define IS_UNREACHABLE 4  /* _PyGC_BITS_UNREACHABLE in ob_gc_bits, from CPython 3.13 on */
      static int finalizers_ran = 0;
      #define references_begin(o) \
          (finalizers_ran = (o)->ob_gc_bits & IS_UNREACHABLE && (o)->ob_ref_shared & _Py_REF_MERGED \
                            && ((o)->ob_ref_local != 0 || (o)->ob_tid > UINT32_MAX))
      static inline Py_ssize_t references_count(PyObject *o) {
          if (finalizers_ran && o->ob_gc_bits & IS_UNREACHABLE)
              return (o->ob_ref_shared >> _Py_REF_SHARED_SHIFT) - 1;
          return Py_REFCNT(o);
      }
    #else
      #define references_begin(o) ((void)(o))
      #define references_count(o) Py_REFCNT(o)
    #endif
    """
    void references_begin(PyObject *o) nogil  # at the start of tp_traverse of o
    Py_ssize_t references_count(PyObject *o) nogil

cdef extern from "Python.h":
    PyTypeObject PyDict_Type
    bint PyObject_IS_GC(PyObject *o)

cdef enum:
    HELD_DEPTH = 50       # how deep a search goes into what a function holds
    TRAVERSE_DEPTH = 100  # how many plain Values, one the parent of the other, tp_traverse looks through


# ---- A user's `_backward` ------------------------------------------------------------------------
# It is usually a closure over the Value that it is assigned to, a reference cycle:
#
#     Value -> its __dict__ -> function -> cell -> Value
#
# The Value is not tracked, so the collector would count its reference to the __dict__ as one from outside of the cycle.
# Therefore the __dict__ visits itself on the Value's behalf, once all references to the Value come from objects that
# only the function holds. Then the collector finds no reference from outside.

cdef class Attributes(dict):
    """The __dict__ of a Value with a `_backward` that a user assigned, or that was made in anomaly detection."""

    cdef object function      # that `_backward`, None once it is deleted
    cdef str line             # in anomaly detection: which made the Value, or None
    cdef PyObject *owner      # the plain Value it belongs to, not counted; NULL for a subclass, and once it is released

    def __reduce__(self):
        return dict, (dict(self),)


cdef PyTypeObject *ATTRIBUTES = <PyTypeObject *>Attributes


cdef struct Search:       # of the objects that only a function holds, and those that only these hold, and so on
    PyObject *function
    PyObject *sought      # count the references to this object; NULL: list the plain Values that others hold too
    Py_ssize_t found      # how many references, or items in the list
    PyObject **list       # a Value once for each reference
    Py_ssize_t capacity   # of the list; -1 when memory is out for it
    int depth


cdef inline bint is_container(PyObject *o) noexcept:
    """Is it tracked by the collector, and no Value? (A tracked Value has value_traverse() for what it holds.)"""
    return PyObject_IS_GC(o) and not PyType_IsSubtype(Py_TYPE(o), VALUE)


cdef void search_list(Search *search, PyObject *o) noexcept:
    """Add a Value to the list."""
    cdef Py_ssize_t capacity = max(32, 2 * search.capacity)
    cdef void *items
    if search.found == search.capacity:
        items = realloc(search.list, capacity * sizeof(PyObject *))
        if items == NULL:
            search.capacity = -1
        else:
            search.list = <PyObject **>items
            search.capacity = capacity
    if search.capacity >= 0:
        search.list[search.found] = o
        search.found += 1


cdef int search_visit(PyObject *o, void *arg) noexcept:
    """The visitor of a search: for each reference to an object that it comes to."""
    cdef Search *search = <Search *>arg
    if o == search.sought:
        search.found += 1
    elif references_count(o) == 1 and search.depth < HELD_DEPTH:
        search.depth += 1
        if Py_TYPE(o) == VALUE:
            node_traverse(node_of(o), NULL, search_visit, arg, 0)
        elif Py_TYPE(o) == ATTRIBUTES:
            attributes_visit(o, search_visit, arg)
        elif is_container(o):
            Py_TYPE(o).tp_traverse(o, search_visit, arg)
        search.depth -= 1
    elif search.sought == NULL and search.capacity >= 0 and Py_TYPE(o) == VALUE:
        search_list(search, o)
    return 0


cdef Py_ssize_t references(PyObject *o, PyObject *function) noexcept:
    """How many references to an object come from what only this function holds."""
    cdef Search search = Search(function, o, 0, NULL, 0, 0)
    search_visit(function, &search)
    return search.found


cdef int by_address(const void *a, const void *b) noexcept nogil:
    cdef PyObject *left = (<PyObject **>a)[0]
    cdef PyObject *right = (<PyObject **>b)[0]
    return (left > right) - (left < right)


cdef Py_ssize_t search_index(Search *search, PyObject *o) noexcept:
    """Where a Value is in the sorted list, or would be: the index of the first item that is not less."""
    cdef Py_ssize_t middle, first = 0, end = search.found
    while first < end:
        middle = (first + end) // 2
        if search.list[middle] < o:
            first = middle + 1
        else:
            end = middle
    return first


cdef bint is_held_alone(PyObject *o, Search *search) noexcept:
    """Is a plain Value, a parent, held by its child and the child's `_backward` alone? The first call lists what that
    function holds, sorted, for all parents of the child."""
    cdef Py_ssize_t first, last, others = references_count(o) - 1
    if others == 0 or search == NULL or search.function == NULL:
        return others == 0
    if search.list == NULL and search.capacity == 0:
        search_visit(search.function, search)
        if search.capacity > 0:
            qsort(search.list, search.found, sizeof(PyObject *), by_address)
    if search.capacity < 0:
        return others == references(o, search.function)
    first = search_index(search, o)
    last = first + others - 1
    return (last < search.found and search.list[first] == o and search.list[last] == o
            and (last + 1 == search.found or search.list[last + 1] != o))


cdef int attributes_visit(PyObject *o, visitproc visit, void *arg) noexcept:
    """Visit the items of Attributes and the function."""
    cdef PyObject *function = <PyObject *>(<Attributes>o).function
    cdef int stop = PyDict_Type.tp_traverse(o, visit, arg)
    return stop if stop or function == NULL else visit(function, arg)


cdef int attributes_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    """tp_traverse of Attributes: with the reference of the owner to them, if only the function holds the owner."""
    cdef PyObject *owner = (<Attributes>o).owner
    cdef PyObject *function = <PyObject *>(<Attributes>o).function
    cdef int stop
    references_begin(o)
    stop = attributes_visit(o, visit, arg)
    if not stop and owner != NULL and references_count(owner) == references(owner, function):
        stop = visit(o, arg)
    return stop


ATTRIBUTES.tp_traverse = attributes_traverse


# ---- Instances of subclasses ---------------------------------------------------------------------

cdef int held_visit(PyObject *o, Search *search, visitproc visit, void *arg, int depth) noexcept:
    """Visit a parent, or look through it if it is a plain Value that is held by its child alone."""
    if depth and Py_TYPE(o) == VALUE and is_held_alone(o, search):
        return node_traverse(node_of(o), search, visit, arg, depth - 1)
    return visit(o, arg)


cdef int layer_traverse(Layer *layer, Search *search, visitproc visit, void *arg, int depth) noexcept:
    """Visit the inputs of a layer, and what the hidden layers below hold, if one node alone holds the layer."""
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
    """Visit what a node holds. `search`, NULL for none, is of its `_backward`; `depth` as TRAVERSE_DEPTH says."""
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


cdef struct Passage:   # the collector's visitor, passed on to what plain Values hold
    visitproc visit
    void *arg
    int depth


cdef int passage_visit(PyObject *o, void *arg) noexcept:
    """Go through the objects that only an instance's attributes hold, and visit what plain Values among them hold. The
    collector visits those objects itself, but not what is in plain Values."""
    cdef Passage *passage = <Passage *>arg
    cdef int stop = 0
    if references_count(o) != 1 or passage.depth == 0:
        return 0
    passage.depth -= 1
    if Py_TYPE(o) == VALUE:
        stop = node_traverse(node_of(o), NULL, passage.visit, passage.arg, passage.depth)
    elif Py_TYPE(o) != ATTRIBUTES and is_container(o):
        stop = Py_TYPE(o).tp_traverse(o, passage_visit, arg)
    passage.depth += 1
    return stop


cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    """tp_traverse of an instance of a subclass."""
    cdef Node *n = node_of(o)
    cdef PyObject *held = node_attributes(n)[0]
    cdef Passage passage = Passage(visit, arg, TRAVERSE_DEPTH)
    cdef Search search = Search(NULL, NULL, 0, NULL, 0, 0)
    cdef int stop
    references_begin(o)
    stop = visit(<PyObject *>Py_TYPE(o), arg)
    if held != NULL and references_count(held) == 1:  # else Python code got the __dict__ by vars(), and holds it too
        if Py_TYPE(held) == ATTRIBUTES:
            search.function = <PyObject *>(<Attributes>held).function
        if not stop:
            stop = PyDict_Type.tp_traverse(held, passage_visit, &passage)
        if not stop and search.function != NULL:
            stop = passage_visit(search.function, &passage)
    if not stop:
        stop = node_traverse(n, &search, visit, arg, TRAVERSE_DEPTH)
    free(search.list)
    return stop


cdef int value_clear(PyObject *o) noexcept:
    cdef Node *n = node_of(o)
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    node_drop_parents(n)
    return 0
