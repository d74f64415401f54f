# Operators for operands that are rare, and their errors. _core.pyx has the common ones: Values, floats, short ints.
#
# Gives value_binary_slow and value_binary_rest; unary_init, unary_new and value_unary_rest; and the attribute that
# NumPy's numbers look for. Uses op_table.pxi, numbers.pxi, slabs.pxi, trace_mode.pxi, modes.pxi.

cdef tuple SEQUENCES = (str, bytes, list, tuple)


cdef refuse_operands(int op, left, right):
    """Return NotImplemented, so that Python tries the other type. Raise TypeError for built-in sequences, whose own
    message would not name the op, and for methods, for which Python tries no other type."""
    if type(left) in SEQUENCES or type(right) in SEQUENCES or not RULES[op].name.startswith(b"__"):
        names = type(left).__name__, type(right).__name__
        raise TypeError("unsupported operand type(s) for {}: '{}' and '{}'".format(RULES[op].symbol.decode(), *names))
    return NotImplemented


cdef object value_binary_slow(int op, PyObject *left, PyObject *right):
    """left op right, for operands of any type. Raises what the rule raises."""
    return value_binary_general(left, right, op, NAN)


ctypedef PyObject *(*General)(PyObject *left, PyObject *right, int op, double r) except NULL


cdef ObjectApart *value_binary_rest(PyObject *left, PyObject *right, int op, double r) except NULL:
    """value_binary_slow(), where r is the result, or NaN if it has to be computed. A new reference."""
    if r == r and makes_leaves():
        return object_of(leaf_result(r))
    return (<General>value_binary_general)(left, right, op, r)


cdef object value_binary_general(PyObject *left, PyObject *right, int op, double r):
    """value_binary_rest() but for the way of a thread in no_grad, which takes fewer instructions apart."""
    cdef Node *a = NULL
    cdef Node *b = NULL
    cdef Node *n
    cdef double x, y
    cdef Kind kind_left, kind_right
    if PyErr_Occurred() != NULL:  # set by the rule, which value_binary() has called, and which is called again here
        PyErr_Clear()
    kind_left = operand(left, &a, &x)
    kind_right = operand(right, &b, &y)
    if kind_left <= OTHER or kind_right <= OTHER:
        if kind_left == FAILED or kind_right == FAILED:
            raise_error()
        return refuse_operands(op, <object>left, <object>right)
    if r != r:
        r = RULES[op].forward(x, y)
        if rule_failed(r):
            op_raised(left, right)
        if makes_leaves():
            return own(object_of(leaf_result(r)))
    if a == NULL and RULES[op].commutes:
        a, b = b, a
        y = x
        left = right
    if a == NULL:
        n = result_new(op, NUMBER_LEFT, b.flags & INHERITED, r)
        n.a = b
        n.b.number = x
        Py_INCREF(right)
    elif b == NULL:
        n = result_new(op, NUMBER_RIGHT, a.flags & INHERITED | (INTEGER if kind_right == INT else 0), r)
        n.a = a
        n.b.number = y
        Py_INCREF(left)
    else:
        n = result_new(op, BINARY, (a.flags | b.flags) & INHERITED, r)
        n.a = a
        n.b.node = b
        Py_INCREF(left)
        Py_INCREF(right)
    check_node(n)
    return mode_result(own(object_of(n))) if in_mode() else own(object_of(n))


cdef inline void unary_init(Node *n, int op, Node *a, double r) noexcept:
    """Make a slot the node of op(a), with the data r."""
    slot_init(n, op, UNARY, a.flags & INHERITED, r)
    n.a = a
    n.b.number = 0.0
    Py_INCREF(object_of(a))
    check_node(n)


cdef Node *unary_new(int op, Node *a, double r) except NULL:
    """The node of op(a), with the data r."""
    cdef Node *n = slots_take(1)
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    unary_init(n, op, a, r)
    return n


ctypedef PyObject *(*UnaryGeneral)(int op, Node *a, double r) except NULL


cdef ObjectApart *value_unary_rest(int op, Node *a, double r) except NULL:
    """value_unary() where the newest slab is full, or a thread is in a mode. A new reference."""
    if makes_leaves():
        return object_of(leaf_result(r))
    return (<UnaryGeneral>value_unary_general)(op, a, r)


cdef object value_unary_general(int op, Node *a, double r):
    result = own(object_of(unary_new(op, a, r)))
    return mode_result(result) if in_mode() else result


@cython.auto_pickle(False)
cdef class _Absent:
    """A descriptor that raises AttributeError, of a name that NumPy's numbers look up before they return NotImplemented
    for `number * value`. Without it Python 3.11 spends half of the time of such a product on the error's text."""


cdef PyObject *absent_get(PyObject *absent, PyObject *owner, PyObject *kind) noexcept:
    PyErr_SetObject(PyExc_AttributeError, ARRAY_UFUNC)
    return NULL


cdef PyObject *ARRAY_UFUNC = PyUnicode_InternFromString("__array_ufunc__")
(<PyTypeObject *>_Absent).tp_descr_get = absent_get
