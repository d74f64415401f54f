# Reference counting: how nodes, and what they hold, are freed.
#
# A node is dead when its last reference has been given up. It may hold the last references to its parents. Dead nodes
# are put into a list, linked through their own slots. The outermost call of dead_release() releases each node in the
# list: it gives up what the node holds, and its slot. So a chain of any length is freed without recursion and without
# memory for the list.
#
# dead_release() is suspended while it frees an object that may run Python code, as a `__del__`. Meanwhile other threads
# may run, or fork; they release the nodes that die in them. So does this thread, unless it is suspended SUSPENSIONS
# times already; then it leaves nodes in the list for the outer calls.
#
# Gives value_dealloc, a slot of the type; node_unref, layer_release and others, which give up references; dead_release,
# to be called after them; and node_drop_parents, which calls it. Uses slabs.pxi; of walk.pxi the count of late nodes,
# of collector.pxi Attributes.

cdef enum:
    SUSPENSIONS = 16         # how often one thread's releasing may be suspended at a time

cdef struct Suspension:      # of releasing, by Python code: `__del__`, a callback of a weak reference
    uint64_t thread          # the thread that is suspended
    bint releasing           # was it in dead_release()?
    Suspension *outer        # an earlier one, of any thread

cdef struct Dead:
    Node *first              # dead nodes, not yet released
    bint releasing           # the thread that has the GIL is in dead_release()
    Suspension *suspended    # the newest, of any thread

cdef Dead dead


# ---- References ----------------------------------------------------------------------------------

cdef inline void node_unref(Node *n) noexcept:
    """Give up a reference. After the last one the node is put on the list of dead nodes; tp_dealloc is not called."""
    if Py_REFCNT(object_of(n)) == 1 and Py_TYPE(object_of(n)) == VALUE:
        node_link(n, dead.first)
        dead.first = n
    elif Py_REFCNT(object_of(n)) == 1:
        decref_suspended(object_of(n))
    else:
        Py_DECREF(object_of(n))


cdef inline void weights_unref(PyObject *weights) noexcept:
    """Give up a reference to an affine node's tuple of bias and weights."""
    if Py_REFCNT(weights) == 1:
        weights_empty(weights)
    Py_DECREF(weights)


cdef void weights_empty(PyObject *weights) noexcept:
    """Give up the items of a tuple that is about to be freed. With node_unref() this needs no recursion."""
    cdef PyObject **items = tuple_items(weights)
    cdef Py_ssize_t i
    PyObject_GC_UnTrack(weights)  # so that Python code cannot reach it by way of the cyclic collector
    for i in range(PyTuple_GET_SIZE(weights)):
        if items[i] != Py_None:
            node_unref(node_of(items[i]))
            items[i] = NULL


cdef void layer_release(Layer *layer) noexcept:
    """Give up a hold on a layer. With the last one give up its inputs and the hidden layers below, and free it."""
    cdef Layer *below
    cdef Py_ssize_t i
    while layer != NULL:
        check(layer.holders > 0, "a layer is held by each of its nodes")
        layer.holders -= 1
        if layer.holders:
            return
        below = layer.below
        if layer.nodes != NULL:
            for i in range(layer.inputs):
                node_unref(node_of(layer.nodes[i]))
        elif below != NULL:
            for i in range(below.outputs):
                weights_unref(below.affine[i].weights)
            if below.slots != NULL:
                slots_give_back(below.slots, below.outputs)
        piece_give_back(layer, layer.size)
        layer = below


cdef inline void parents_release(int form, Node *a, Operand b, unsigned int index) noexcept:
    """Give up the parents of a node that has, or had, these fields."""
    cdef Py_ssize_t i
    cdef PyObject *weights
    if form == AFFINE:
        weights = b.layer.affine[index].weights
        if b.layer.affine[index].adjoints != NULL:
            PyMem_Free(b.layer.affine[index].adjoints)
        layer_release(b.layer)
        weights_unref(weights)
    elif form == BLOCK:
        for i in range(b.block.count):
            node_unref(node_of(b.block.parents[i]))
        PyMem_Free(b.block)
    elif form != LEAF:
        node_unref(a)
        if form == BINARY:
            node_unref(b.node)


cdef inline void node_drop_parents(Node *n) noexcept:
    """Give up a node's parents, which makes it a leaf."""
    cdef int form = n.form
    n.form = LEAF
    n.op = NO_OP
    n.flags |= END
    parents_release(form, n.a, n.b, n.index)
    dead_release()


# ---- Dead nodes ----------------------------------------------------------------------------------

cdef inline void release_suspend(Suspension *suspension) noexcept:
    suspension.thread = this_thread()
    suspension.releasing = dead.releasing
    suspension.outer = dead.suspended
    dead.suspended = suspension
    dead.releasing = False


cdef void release_resume(Suspension *suspension) noexcept:
    cdef Suspension **link = &dead.suspended
    while link[0] != suspension:  # other threads may have put newer ones in front of it
        link = &link[0].outer
    link[0] = suspension.outer
    dead.releasing = suspension.releasing


cdef bint is_suspended_often() noexcept:
    """Is this thread's releasing suspended as often as it may be?"""
    cdef uint64_t thread = this_thread()
    cdef Suspension *suspension = dead.suspended
    cdef int count = 0
    while suspension != NULL:
        count += suspension.thread == thread
        suspension = suspension.outer
    return count >= SUSPENSIONS


cdef void decref_suspended(PyObject *o) noexcept:
    """Give up a reference to an object that may run Python code when it is freed."""
    cdef Suspension suspension
    release_suspend(&suspension)
    Py_DECREF(o)
    release_resume(&suspension)


cdef void attributes_release(Node *n) noexcept:
    cdef PyObject *held = node_attributes(n)[0]
    if Py_TYPE(held) == ATTRIBUTES:
        (<Attributes>held).owner = NULL
    node_attributes(n)[0] = NULL
    decref_suspended(held)


cdef void node_release(Node *n) noexcept:
    """Give up what a dead node holds, and free its memory."""
    cdef PyTypeObject *kind = Py_TYPE(object_of(n))
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    if n.flags & LATE:
        engine.late_nodes -= 1
        check(engine.late_nodes >= 0, "no more late nodes are freed than were counted")
    parents_release(n.form, n.a, n.b, n.index)
    if kind == VALUE:
        slots_give_back(n, 1)
    else:
        kind.tp_free(object_of(n))
        decref_suspended(<PyObject *>kind)


cdef inline bint is_ordinary(Node *n) noexcept:
    """Is it a plain Value, the result of an op of one or two arguments, with no attributes?"""
    return (LEAF < n.form < BLOCK and not n.flags & LATE and node_attributes(n)[0] == NULL
            and Py_TYPE(object_of(n)) == VALUE)


cdef void dead_release() noexcept:
    """Release the dead nodes, and those that die by it; unless an outer call does so."""
    cdef Node *n
    if dead.releasing or dead.suspended != NULL and is_suspended_often():
        return
    dead.releasing = True
    while dead.first != NULL:
        n = dead.first
        dead.first = node_next(n)
        if not is_ordinary(n):
            node_release(n)
            continue
        node_unref(n.a)
        if n.form == BINARY:
            node_unref(n.b.node)
        slots_give_back(n, 1)
    dead.releasing = False


cdef void value_dealloc(PyObject *o) noexcept:
    if node_of(o).flags == END and node_attributes(node_of(o))[0] == NULL and Py_TYPE(o) == VALUE:
        leaf_free(node_of(o))
        return
    node_link(node_of(o), dead.first)
    dead.first = node_of(o)
    dead_release()
