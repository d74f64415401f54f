# Reference counting: how nodes die, and with them what they hold.
#
# A node that dies may be the last to hold its parents. Dead nodes are linked through their own slots and released one
# after the other by the outermost dealloc, so a chain of any length is freed without recursion and without memory.
#
# What a node holds besides may run Python code when it is freed, and during that other threads run, or fork. They
# release what dies meanwhile. So does this thread, some levels deep; below that it leaves the dead to the levels above.
#
# Gives value_dealloc, which is the type's slot; node_unref, which gives up a reference; and dead_release, which whoever
# gives up references calls in the end. Uses slabs.pxi.

cdef enum:
    OUTSIDE_DEPTH = 16     # of releases in Python code that runs in the middle of one

cdef struct Outside:   # Python code that runs in the middle of releasing: `__del__`, a callback of a weak reference
    uint64_t thread    # in which thread
    bint releasing     # was that thread in dead_release()?
    Outside *outer     # likewise, of other threads, or of this one further out

cdef struct Dead:
    Node *first        # dead nodes that still hold what they held
    bint releasing     # the thread that has the GIL is in dead_release(); no other code of the engine runs meanwhile
    Outside *outside   # but for threads that are in Python code, called from there

cdef Dead dead


# ---- References ----------------------------------------------------------------------------------

cdef inline void node_unref(Node *n) noexcept:
    """Give up a reference. With the last one the node goes onto the list of the dead, without the call of a dealloc."""
    if Py_REFCNT(object_of(n)) == 1 and Py_TYPE(object_of(n)) == VALUE:
        node_link(n, dead.first)
        dead.first = n
    elif Py_REFCNT(object_of(n)) == 1:
        decref_outside(object_of(n))
    else:
        Py_DECREF(object_of(n))


cdef inline void weights_unref(PyObject *weights) noexcept:
    """Give up a reference to an affine node's tuple of bias and weights."""
    if Py_REFCNT(weights) == 1:
        weights_empty(weights)
    Py_DECREF(weights)


cdef void weights_empty(PyObject *weights) noexcept:
    """Take the items out of a tuple that is about to be freed, and give them up one by one."""
    cdef PyObject **items = tuple_items(weights)
    cdef Py_ssize_t i
    PyObject_GC_UnTrack(weights)  # no `__del__` is to find it half empty
    for i in range(PyTuple_GET_SIZE(weights)):
        if items[i] != Py_None:
            node_unref(node_of(items[i]))
            items[i] = NULL


cdef void layer_release(Layer *layer) noexcept:
    """One holder less. With the last one go the inputs, and hidden layers below."""
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


cdef inline void node_orphan(Node *n) noexcept:
    """Make a leaf of the node."""
    cdef int form = n.form
    n.form = LEAF
    n.op = NO_OP
    n.flags |= END
    parents_release(form, n.a, n.b, n.index)
    dead_release()


# ---- Death ---------------------------------------------------------------------------------------

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


cdef void attributes_release(Node *n) noexcept:
    cdef PyObject *held = node_attributes(n)[0]
    if Py_TYPE(held) == ATTRIBUTES:
        (<Attributes>held).owner = NULL
    node_attributes(n)[0] = NULL
    decref_outside(held)


cdef void node_release(Node *n) noexcept:
    """Give up all that a dead node holds, and its memory."""
    cdef PyTypeObject *kind = Py_TYPE(object_of(n))
    if node_attributes(n)[0] != NULL:
        attributes_release(n)
    if n.flags & LATE:
        engine.late_nodes -= 1
        check(engine.late_nodes >= 0, "nodes that turned irregular late are counted")
    parents_release(n.form, n.a, n.b, n.index)
    if kind == VALUE:
        slots_give_back(n, 1)
    else:
        kind.tp_free(object_of(n))
        decref_outside(<PyObject *>kind)


cdef inline bint is_ordinary(Node *n) noexcept:
    """Is it a plain Value, the result of an op of one or two arguments, with no attributes?"""
    return (LEAF < n.form < BLOCK and not n.flags & LATE and node_attributes(n)[0] == NULL
            and Py_TYPE(object_of(n)) == VALUE)


cdef void dead_release() noexcept:
    """Release the dead, and those that die with them; unless that is already being done."""
    cdef Node *n
    if dead.releasing or dead.outside != NULL and is_deep():
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
    node_link(node_of(o), dead.first)
    dead.first = node_of(o)
    dead_release()
