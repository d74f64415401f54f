# What functional/choices.py computes: choices by conditions, and the greater and the lesser of two.
#
# Gives chosen, condition_equal, greater and lesser. Uses Condition, value_binary_slow and the trace of _core.

def chosen(Condition condition not None, a, b):
    """a where the condition holds, else b: Values, numbers, or functions that return one, which are both called."""
    if trace_here() == NULL:
        trace_refuse("functional.where() with a comparison that was made while a compiled function was traced, which "
                     "it no longer is")
    a, b = side(a), side(b)
    a = value_binary_slow(THEN, <PyObject *>condition.value, <PyObject *>a)
    b = value_binary_slow(OTHERWISE, <PyObject *>condition.value, <PyObject *>b)
    return value_binary_slow(ADD, <PyObject *>a, <PyObject *>b)


cdef object side(x):
    """A side of a choice: a Value or a number."""
    cdef Tracing *trace = trace_here()
    if not isinstance(x, Value) and callable(x):
        trace.sides += 1
        try:
            x = x()
        finally:
            trace.sides -= 1
    return x if isinstance(x, Value) else to_double(x, "what functional.where chooses")


def condition_equal(a, b):
    """Are the data of two Values, or of a Value and a number, equal? A Condition where a trace does not know."""
    cdef Value left = a if isinstance(a, Value) else Value(to_double(a, "an input"))
    cdef Value right = b if isinstance(b, Value) else Value(to_double(b, "an input"))
    if trace_here() == NULL or trace_may_read(&left.node) and trace_may_read(&right.node):
        return left.data == right.data
    return condition_new(value_binary_slow(EQUAL, <PyObject *>left, <PyObject *>right))


cdef object of_values(int op, a, b):
    if not isinstance(a, Value) and not isinstance(b, Value):
        a, b = Value(to_double(a, "an input")), to_double(b, "an input")
    return value_binary_slow(op, <PyObject *>a, <PyObject *>b)


def greater(a, b):
    """The greater of Values and numbers; NaN if one is."""
    return of_values(MAXIMUM, a, b)


def lesser(a, b):
    """The lesser of Values and numbers; NaN if one is."""
    return of_values(MINIMUM, a, b)
