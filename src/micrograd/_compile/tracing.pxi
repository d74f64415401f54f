# What Python code may read while a function is traced: only data that are the same at every call. Gives TraceError,
# check_access(), is_told(), in_trace(), refuse(), note_raised() and leave_trace(). Uses the engine's list of the
# traces under way.

class TraceError(RuntimeError):
    """A compiled function does what a trace cannot record: the message names the line, and what to do instead.

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


ADVICE = (
    "Express it in ops, such as relu(), abs() and those of micrograd.functional, or decide it outside and hand it in "
    "as a static keyword argument"
)


cdef dict trace_errors = {}  # the first TraceError of each trace by its number: the function may have caught it


def refuse(str what):
    """Raise TraceError, with the line of the user's code that is running."""
    error = TraceError(f"{user_line()}: {what}")
    note_error(error)
    raise error


def note_raised(error):
    """An op in this thread's trace raised `error` because of data that may differ at the next call."""
    note_error(TraceError(
        f"{user_line()}: {type(error).__name__} ({error}) is raised for the data of a Value that comes from outside of "
        f"a compiled function, and caught: the trace would keep for good what is true of one call. {ADVICE}"
    ))


cdef object leave_trace():
    """End this thread's trace. Returns the first TraceError in it, or None."""
    cdef unsigned int number = trace_here().number
    trace_end()
    return trace_errors.pop(number, None)


cdef int note_error(error) except -1:
    cdef Tracing *trace = trace_here()
    if trace != NULL and not in_finalizer():
        trace_errors.setdefault(trace.number, error)
    return 0


cdef bint in_finalizer() except -1:
    """Does this run in a `__del__` that was called during the trace? Python ignores its errors."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_trace":
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


cdef str user_line():
    """The file and line of the user's code that is running."""
    frame = sys._getframe()
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("micrograd.") and name not in ("copy", "copyreg", "pickle"):
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def check_access(Value value not None, str what, bint change):
    """Raise TraceError where `what`, an operation, must not read a Value's data in this trace, or not change it."""
    if value.node.flags & TRACED:
        refuse(f"{what} a Value that depends on the arguments of a compiled function: the trace would keep for good "
               f"what is true of one call. {ADVICE}")
    if change:
        if not (value.node.flags & FRESH and is_made(&value.node, trace_here())):
            refuse(f"{what} a Value while a compiled function is traced: that would happen once, not at every call. Do "
                   f"it outside, or make a new Value. {ADVICE}")
    elif not is_told(value):
        refuse(f"{what} a Value that comes from outside of a compiled function, or was computed from one: it may "
               f"change, and the trace would keep for good what is true of one call. {ADVICE}")


def in_trace():
    """Is this thread in a trace?"""
    return trace_here() != NULL


def is_told(Value value not None):
    """May its data be read here? In a trace only if they are computed from numbers in the function alone."""
    cdef Tracing *trace = trace_here()
    cdef Node *n = &value.node
    cdef Py_ssize_t i
    cdef list todo = [value]
    cdef set seen = set()
    if n.flags & TRACED or trace == NULL:
        return not n.flags & TRACED
    while todo:
        last = todo.pop()
        n = &(<Value>last).node
        key = PyLong_FromVoidPtr(n)
        if is_made(n, trace) or key in seen:
            continue
        if n.form == LEAF or n.flags & TRACED:
            return False
        seen.add(key)
        for i in range(node_parent_count(n)):
            todo.append(<object>object_of(node_parent(n, i)))
    n = &value.node
    if n.form != FUSED:  # mark it, so that reading at every step of a long computation does not walk it again each time
        n.flags |= MADE
        n.place = trace.number
    return True


cdef bint is_made(Node *n, Tracing *trace) noexcept:
    """Is it marked as computed from this trace's own numbers? A node materialized for an op's number is not."""
    return n.flags & (MADE | SHOWN) == MADE and n.place == trace.number
