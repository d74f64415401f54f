# Comparisons of Values. Eager code knows the data, and a comparison is a bool. In a trace the data of the next call are
# not known, and it is a Condition, by which `functional.where` chooses.
#
# Gives compared and Condition. Uses numbers.pxi, trace_mode.pxi, operands.pxi.

@cython.final
@cython.auto_pickle(False)
cdef class Condition:
    """What a comparison of Values is in a compiled function, where the data are not known: an argument for
    `functional.where`. `&`, `|` and `~` combine conditions.

    >>> import micrograd
    >>> @micrograd.compile
    ... def f(x):
    ...     return micrograd.functional.where((x > 0.0) & ~(x > 2.0), x * 10.0, x)
    >>> [f(x).data for x in (-1.0, 1.0, 3.0)]
    [-1.0, 10.0, 3.0]

    Raises TraceError where it is used as a bool, as in `if`, `and`, `not` or `max()`.
    """

    def __cinit__(self):
        self.value = Value(NAN)  # for Python code that makes one: condition_new() replaces it

    def __and__(left, right):
        return condition_combined(AND, left, right)

    def __rand__(right, left):
        return condition_combined(AND, left, right)

    def __or__(left, right):
        return condition_combined(OR, left, right)

    def __ror__(right, left):
        return condition_combined(OR, left, right)

    def __invert__(self):
        return condition_new(value_unary(NOT, self.value))

    def __bool__(self):
        trace_refuse(f"the truth of a comparison of a Value that depends on the arguments of a compiled function, or "
                     f"comes from outside of it: the trace would use the result of this call in all later ones. "
                     f"functional.where chooses by a comparison, functional.maximum and functional.minimum take the "
                     f"greater and the lesser of two. {ADVICE}")

    def __richcmp__(self, other, int comparison):
        self.__bool__()

    def __hash__(self):
        return OBJECT.tp_hash(<PyObject *>self)

    def __repr__(self):
        return "Condition(?)"


cdef Condition condition_new(Value value):
    cdef Condition condition = Condition.__new__(Condition)
    condition.value = value
    return condition


cdef object condition_combined(int op, left, right):
    """The condition left op right. A bool on either side is known."""
    cdef object known
    if isinstance(left, Condition) and isinstance(right, Condition):
        return condition_new(value_binary_slow(op, <PyObject *>(<Condition>left).value,
                                               <PyObject *>(<Condition>right).value))
    known, other = (right, left) if isinstance(left, Condition) else (left, right)
    if not is_bool(known):
        return NotImplemented
    return other if bool(known) == (op == AND) else bool(known)


def is_bool(x):
    """Is it True, False or NumPy's?"""
    return isinstance(x, bool) or type(x).__module__ == "numpy" and type(x).__name__ in ("bool", "bool_")


cdef object compared(Value left, right, int comparison):
    """left < right, and so on: of Values and numbers."""
    cdef bint known, value = isinstance(right, Value)
    cdef PyObject *o = <PyObject *>right
    cdef object number = right if PyFloat_CheckExact(o) or PyLong_CheckExact(o) else None
    if comparison == Py_EQ or comparison == Py_NE:  # of the objects; numbers would be equal
        if value:
            trace_check_read(&(<Value>right).node, "comparing")
        if value or PyNumber_Check(o):
            trace_check_read(&left.node, "comparing")
        return NotImplemented
    if not value and number is None:
        number = scalar_of(right)
        if number is None:
            return NotImplemented
    if traces != NULL and trace_here() != NULL:
        known = trace_may_read(&left.node)
        if not (known and (not value or trace_may_read(&(<Value>right).node))):
            return condition_of(left, right if value else number, comparison)
    trace_check_read(&left.node, "comparing")
    if value:
        trace_check_read(&(<Value>right).node, "comparing")
        number = (<Value>right).node.data
    return bool(PyObject_RichCompare(left.node.data, number, comparison))


cdef Condition condition_of(Value left, right, int comparison):
    """The condition left < right, and so on."""
    cdef PyObject *a = <PyObject *>left
    cdef PyObject *b = <PyObject *>right
    cdef int op = LESS if comparison == Py_LT or comparison == Py_GT else LESS_EQUAL
    if comparison == Py_GT or comparison == Py_GE:
        a, b = b, a
    return condition_new(value_binary_slow(op, a, b))
