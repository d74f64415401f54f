# What eager code has to know of traces: a number that Python code reads while a function is traced becomes part of the
# trace, so data that may differ at the next call must not be read.
#
# A trace is a mode of its thread. Values that depend on the arguments of the traced function have the flag TRACED,
# leaves made in the trace have the flag MADE and the trace's number. Data that follow from MADE leaves alone are the
# same at every call, and may be read; reading other data raises TraceError.
#
# Gives trace_begin, trace_end, trace_here and in_trace; trace_check_read and trace_check_change, to be called before
# data are read or changed; leaf_mark, for new leaves; op_raised, for errors of rules; trace_index_error; and
# TraceError. Uses modes.pxi, materialize.pxi.

# `traces`, declared in _core.pxd, lists the traces of all threads. It is nearly always NULL, so that eager code pays
# one comparison. In a child that was forked while another thread traced, that thread's trace stays in the list, and no
# thread finds it.
cdef unsigned int traces_begun = 0


class TraceError(RuntimeError):
    """A compiled function does what a trace cannot record. The message names the line, and what to do instead.

    >>> import micrograd
    >>> @micrograd.compile
    ... def f(x):
    ...     return x if x.data > 0 else -x
    >>> f(1.0)
    Traceback (most recent call last):
        ...
    micrograd.TraceError: <doctest ...>, line 3: reading .data of a Value that depends on the arguments of a compiled
    function: ...
    """

    __module__ = "micrograd"


cdef str ADVICE = (
    "Express it in ops, such as relu(), abs() and those of micrograd.functional, or decide it outside and hand it in "
    "as a static argument (static_argnames of compile())"
)


# ---- The mode ------------------------------------------------------------------------------------

cdef Tracing *trace_here() noexcept:
    """The trace that this thread is in, or NULL."""
    cdef uint64_t thread
    cdef Tracing *trace = traces
    if trace == NULL:
        return NULL
    thread = this_thread()
    while trace != NULL and trace.thread != thread:
        trace = trace.next
    return trace


def in_trace():
    """Is this thread in a trace?"""
    return trace_here() != NULL


cdef int trace_begin(bint exact) except -1:
    """Begin a trace in this thread, which is in none."""
    global traces, traces_begun
    cdef Tracing *trace = <Tracing *>PyMem_Malloc(sizeof(Tracing))
    if trace == NULL:
        raise MemoryError
    traces_begun += 1
    trace.thread = this_thread()
    trace.number = traces_begun
    trace.exact = exact
    trace.error = trace.index = NULL
    trace.sides = 0
    trace.next = traces
    traces = trace
    modes_suspend()
    conversions_refuse()
    return 0


cdef object trace_end():
    """End this thread's trace. Returns the first TraceError in it, or None."""
    cdef Tracing *trace = trace_here()
    cdef Tracing **link = &traces
    error = None
    while link[0] != trace:
        link = &link[0].next
    link[0] = trace.next
    modes_resume()
    if traces == NULL:
        conversions_remove()
    if trace.error != NULL:
        error = <object>trace.error
        Py_DECREF(trace.error)
    Py_XDECREF(trace.index)
    PyMem_Free(trace)
    return error


cdef void leaf_mark(Node *n) noexcept:
    """Note which trace a new leaf was made in, if its thread is in one."""
    cdef Tracing *trace = trace_here()
    if trace != NULL:
        n.flags |= MADE
        n.index = trace.number


# ---- Checks --------------------------------------------------------------------------------------

cdef inline int trace_check_read(Node *n, str what) except -1:
    """Raise TraceError if n's data may differ at the next call of a traced function. `what` is the operation that reads
    them, for the message."""
    return trace_check_slow(n, what, False) if n.flags & TRACED or traces != NULL else 0


cdef inline int trace_check_change(Node *n, str what) except -1:
    """Raise TraceError if this thread is in a trace, which does not record changes of data."""
    return trace_check_slow(n, what, True) if n.flags & TRACED or traces != NULL else 0


cdef bint is_made(Node *n, Tracing *trace) noexcept:
    """Is it marked as computed from numbers of this trace alone? Leaves materialized from an op's number are not."""
    return n.flags & (MADE | CONSTANT) == MADE and n.index == trace.number


cdef bint trace_may_read(Node *n) except -1:
    """May its data be read here? In a trace they may if they follow from numbers in the traced function."""
    cdef Tracing *trace = trace_here()
    cdef Node *last
    cdef Parents parents
    cdef Py_ssize_t i
    cdef list todo
    cdef set seen = set()
    if n.flags & TRACED or trace == NULL:
        return not n.flags & TRACED
    todo = [<object>object_of(n)]
    while todo:
        value = todo.pop()
        last = &(<Value>value).node
        key = PyLong_FromVoidPtr(last)
        if is_made(last, trace) or key in seen:
            continue
        if last.form == LEAF or last.flags & TRACED:
            return False
        seen.add(key)
        parents_of(last, &parents)
        for i in range(parents.count):
            todo.append(<object>parent_at(&parents, i))
    if n.form != AFFINE:  # so that a function that reads every step of a long computation takes linear time
        n.flags |= MADE
        n.index = trace.number
    return True


cdef int trace_check_slow(Node *n, str what, bint change) except -1:
    """trace_check_read() and, with `change`, trace_check_change(), where a trace is under way."""
    cdef Tracing *trace = trace_here()
    if n.flags & TRACED:
        trace_refuse(f"{what} a Value that depends on the arguments of a compiled function: the trace would use the "
                     f"result of this call in all later ones. {ADVICE}")
    if trace == NULL:
        return 0
    if change:
        if not (n.flags & FRESH and is_made(n, trace)):
            trace_refuse(f"{what} a Value while a compiled function is traced: that would happen once, not at every "
                         f"call. Do it outside, or make a new Value. {ADVICE}")
    elif not trace_may_read(n):
        trace_refuse(f"{what} a Value that comes from outside of a compiled function, or was computed from one: it may "
                     f"change, and the trace would use the result of this call in all later ones. {ADVICE}")
    return 0


cdef int trace_refuse(str what) except -1:
    """Raise TraceError with the user's file and line."""
    error = TraceError(f"{user_line()}: {what}")
    trace_note(error)
    raise error


# ---- Values as integers --------------------------------------------------------------------------
#
# A Value is neither an index nor a number of Python: list[v], range(v), int(v) and math.exp(v) raise TypeError. While a
# function is traced, the slot nb_index is there, to say what to do instead. It is not there in eager code, where it
# would change CPython's messages and what NumPy takes a Value for; `__index__` never is. With nb_index alone, float(v)
# and math.exp(v) would call it: nb_float raises their TypeError. A slot that a program has set stays.

cdef void conversions_refuse() noexcept:
    cdef PyNumberMethods *methods = VALUE.tp_as_number
    if methods.nb_index == NULL and methods.nb_float == NULL:
        methods.nb_index, methods.nb_float = <void *>value_index, <void *>value_float


cdef void conversions_remove() noexcept:
    cdef PyNumberMethods *methods = VALUE.tp_as_number
    if methods.nb_index == <void *>value_index:
        methods.nb_index = NULL
    if methods.nb_float == <void *>value_float:
        methods.nb_float = NULL


cdef PyObject *value_index(PyObject *o) except NULL:
    """nb_index. This TraceError may be caught: NumPy asks for an index and goes on without (array ** v), and no number
    has been read."""
    cdef Tracing *trace = trace_here()
    if trace != NULL and not trace_may_read(node_of(o)):
        error = TraceError(
            f"{user_line()}: using a Value as an index or an integer, as in range(), while a compiled function is "
            f"traced: the trace would use the number of this call in all later ones. functional.embedding and "
            f"functional.take index by an argument, functional.cross_entropy takes one as a target. If it counts or "
            f"selects in another way, name it in static_argnames of compile(): the function then gets it as it is, and "
            f"is traced for each"
        )
        Py_XDECREF(trace.index)
        trace.index = <PyObject *>error
        Py_INCREF(trace.index)
        raise error
    raise TypeError(f"{type(<object>o).__name__!r} object cannot be interpreted as an integer")


cdef object trace_index_error(error):
    """The TraceError in whose place NumPy has raised this IndexError, as array[v] does; None if it was not for that."""
    cdef Tracing *trace = trace_here()
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if trace.index == NULL or traceback is None:
        return None
    line = f"{traceback.tb_frame.f_code.co_filename}, line {traceback.tb_lineno}: "
    return <object>trace.index if str(<object>trace.index).startswith(line) else None


cdef PyObject *value_float(PyObject *o) except NULL:
    """nb_float."""
    raise TypeError(f"must be real number, not {type(<object>o).__name__}")


cdef int op_raised(PyObject *left, PyObject *right) except -1:
    """Raise the exception that a rule has set; or clear it, and the result is NaN, where the program is to raise it, in
    the calls that compute the op. That is in a trace, if the data that caused it may differ at the next call, or if
    functional.where may choose something else. `left` and `right` are the op's operands, or NULL; both are NULL for a
    layer, whose data are assumed to differ."""
    cdef Tracing *trace = trace_here()
    if trace == NULL:
        raise_error()
    try:
        raise_error()
    except (ArithmeticError, ValueError):
        if not (trace.sides or left == right == NULL or may_be_of_one_call(left) or may_be_of_one_call(right)):
            raise
    return 0


cdef bint may_be_of_one_call(PyObject *o) except -1:
    """Is it a Value whose data may differ at the next call? One that is NaN in a trace has not caused the error."""
    cdef Node *n
    if o == NULL or not PyType_IsSubtype(Py_TYPE(o), VALUE):
        return False
    n = node_of(o)
    return n.data == n.data if n.flags & TRACED else not trace_may_read(n)


cdef int trace_note(error) except -1:
    """Keep the first error of this thread's trace."""
    cdef Tracing *trace = trace_here()
    if trace != NULL and trace.error == NULL and not in_finalizer():
        trace.error = <PyObject *>error
        Py_INCREF(trace.error)
    return 0


cdef bint in_finalizer() except -1:
    """Is this a `__del__` that runs during the trace? Python prints its errors, and the function goes on."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_trace":
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame_back(frame)
    return False


cdef object frame_back(frame):
    """The frame's f_back. Where memory is out for it, CPython 3.11 gives None and leaves a MemoryError set."""
    back = frame.f_back
    if PyErr_Occurred() != NULL:
        raise_error()
    return back


cdef str user_line():
    """The user's file and line: the innermost frame that is in neither this package nor NumPy."""
    frame = sys._getframe()
    back = frame_back(frame)
    while back is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("micrograd.", "numpy.")) and name not in ("copy", "copyreg", "pickle"):
            break
        frame, back = back, frame_back(back)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
