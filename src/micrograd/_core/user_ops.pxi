# Ops that users define: Values made with parents and local gradients, or with a `_backward` in Python; and blocks,
# which have the parents of these ops and of variadic ones.
#
# Gives block_node, block_node_bare, variadic_node and block_step; checked_locals and node_adopt; node_begin,
# node_begin_late and node_settle, at the start and the end of a Value's construction; backward_function and
# attributes_that_hold, for `_backward`. Uses op_table.pxi, slabs.pxi, lifetime.pxi, collector.pxi, numbers.pxi,
# trace_mode.pxi, modes.pxi, walk.pxi.

# ---- Blocks --------------------------------------------------------------------------------------

cdef inline Block *block_new(PyObject **parents, Py_ssize_t count, bint local, int *flags) except NULL:
    """A block of these parents, with a reference to each, and with memory for local gradients if `local`. `flags`
    becomes the union of the parents' flags."""
    cdef Py_ssize_t i
    cdef Block *block = NULL
    if array_fits(count, sizeof(PyObject *) + sizeof(double)):
        block = <Block *>PyMem_Malloc(sizeof(Block) + count * (sizeof(PyObject *) + sizeof(double)))
    if block == NULL:
        raise MemoryError
    block.count = count
    # After an even number of pointers, so that doubles are aligned where pointers have 32 bits. The struct has one.
    block.local = <double *>(block.parents + count + (count & 1)) if local else NULL
    flags[0] = 0
    for i in range(count):
        block.parents[i] = parents[i]
        flags[0] |= node_of(parents[i]).flags
        Py_INCREF(parents[i])
    return block


cdef object block_node(int op, double data, PyObject **parents, Py_ssize_t count, const double *local):
    """The result of a variadic op, or of NO_OP with local gradients d(node)/d(parent)."""
    if makes_leaves():
        return own(object_of(leaf_result(data)))
    result = block_node_bare(op, data, parents, count, local)
    return mode_result(result) if in_mode() else result


cdef object block_node_bare(int op, double data, PyObject **parents, Py_ssize_t count, const double *local):
    """block_node() outside of all modes. In a trace, mode_result() is to be called afterwards."""
    cdef int flags
    cdef Block *block
    cdef Node *n = result_new(op, LEAF, END, data)
    value = own(object_of(n))
    block = block_new(parents, count, local != NULL, &flags)
    if local != NULL:
        memcpy(block.local, local, count * sizeof(double))
    n.a = NULL
    n.b.block = block
    n.form = BLOCK
    n.flags = flags & INHERITED
    check_node(n)
    return value


cdef object variadic_node(int op, list values):
    """The node of a variadic op."""
    cdef Py_ssize_t i, count = len(values)
    cdef double *data = <double *>PyMem_Malloc(max(count, 1) * sizeof(double))
    cdef double r
    if data == NULL:
        raise MemoryError
    try:
        if op == MAX and not count:
            raise ValueError("the maximum of no values")
        for i in range(count):
            data[i] = (<Value?>values[i]).node.data
        r = RULES[op].reduce(data, count)
    finally:
        PyMem_Free(data)
    return block_node(op, r, PySequence_Fast_ITEMS(<PyObject *>values), count, NULL)


cdef void block_step_local(Block *block, double g, Walk *walk) noexcept:
    """Propagate g to the parents by local gradients. (Fields are read into local variables, since the compiler has to
    assume that the stores change them.)"""
    cdef PyObject **parents = block.parents
    cdef double *local = block.local
    cdef Py_ssize_t i, count = block.count
    for i in range(count):
        node_of(parents[i]).grad += local[i] * g
        walk_mark(walk, node_of(parents[i]))


cdef void block_step(Node *n, Walk *walk) noexcept:
    """node_step() at a node with a block of parents."""
    cdef Block *block = n.b.block
    cdef Node *parent
    cdef Py_ssize_t i
    if block.local != NULL:
        block_step_local(block, n.grad, walk)
        return
    for i in range(block.count):
        parent = node_of(block.parents[i])
        if n.op:
            parent.grad += RULES[n.op].d_left(parent.data, 0.0, n.data, n.grad)
        walk_mark(walk, parent)


cdef object checked_locals(tuple parents, local):
    """The local gradients of a user's op as a list of floats, or None. Raises where these or the parents are none."""
    for parent in parents:
        if not isinstance(parent, Value):
            raise TypeError(f"a parent must be a Value, not {type(parent).__name__!r}")
    if local is None:
        return None
    found = []
    for x in local:
        found.append(to_double(x, "a local gradient"))
    if len(found) != len(parents):
        raise ValueError(f"{len(parents)} parents, but {len(found)} local gradients")
    return found


cdef bint node_adopt(Node *n, tuple parents, list local) except -1:
    """Give a node these parents, with `local` gradients, or None for an op whose `_backward` is Python code. Returns
    whether one of them is irregular."""
    cdef Py_ssize_t i, count = len(parents)
    cdef Block *block
    cdef int flags
    block = block_new(tuple_items(<PyObject *>parents), count, local is not None, &flags)
    for i in range(count if local is not None else 0):
        block.local[i] = local[i]
    node_drop_parents(n)  # Python code that ran in the constructor may have given it other parents
    n.b.block = block
    n.a = NULL
    n.form = BLOCK
    n.flags = n.flags & ~(END | MADE) | flags & TRACED
    check_node(n)
    return flags & IRREGULAR != 0


# ---- Construction --------------------------------------------------------------------------------

cdef int node_begin(Node *n) except -1:
    """Set a node's flags when __new__ has run and __init__ has not."""
    kind = <object>Py_TYPE(object_of(n))
    n.flags |= FRESH | IRREGULAR | END
    if kind is not Value and kind._backward is not Value._backward:
        n.flags |= CUSTOM
    if traces != NULL:
        leaf_mark(n)
    return 0


cdef inline int node_begin_late(Node *n) except -1:
    """node_begin() for an instance of a subclass that object.__new__() made, if users replaced `Value.__new__`."""
    return node_begin(n) if n.form == LEAF and not n.flags & END else 0


cdef inline void node_settle(Node *n, bint irregular) noexcept nogil:
    """Set a node's flags when __init__ has run. Until then it is irregular, which results made of it inherit."""
    if n.flags & FRESH:
        n.flags &= ~FRESH
        if not irregular and not n.flags & CUSTOM:
            n.flags &= ~IRREGULAR


# ---- A user's `_backward` ------------------------------------------------------------------------

cdef inline object attributes(object value):
    """The __dict__, made if there is none. The argument is an object, since Cython refuses `__dict__` of the type that
    declares it."""
    return value.__dict__


cdef object backward_function(Node *n):
    """The function that was assigned to `_backward`, or None."""
    cdef PyObject *held = node_attributes(n)[0]
    return None if held == NULL or Py_TYPE(held) != <PyTypeObject *>Attributes else (<Attributes>held).function


cdef Attributes attributes_that_hold(Node *n):
    """The __dict__ of a node as Attributes, which can hold a `_backward`."""
    cdef PyObject **held = node_attributes(n)
    cdef Attributes made
    if held[0] == NULL or Py_TYPE(held[0]) != <PyTypeObject *>Attributes:
        made = Attributes()  # this may run the cyclic collector, and that Python code which changes `held`
        if held[0] == NULL or Py_TYPE(held[0]) != <PyTypeObject *>Attributes:
            if held[0] != NULL:
                made.update(<object>held[0])
                Py_DECREF(held[0])
            if Py_TYPE(object_of(n)) == VALUE:
                made.owner = object_of(n)
            Py_INCREF(<PyObject *>made)
            held[0] = <PyObject *>made
    return <Attributes>held[0]
