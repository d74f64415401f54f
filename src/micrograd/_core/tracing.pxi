# Tracing, as far as eager code has to know of it: what Python code reads of a Value while a function is traced becomes
# part of the trace, so data that may differ at the next call must not be read.
#
# A trace is a mode of its thread. Values that depend on the arguments of the traced function carry the flag TRACED,
# leaves made in the trace the flag MADE and the trace's number. Data that follow from MADE leaves alone are the same at
# every call, and may be read; all else raises TraceError.
#
# Gives trace_begin, trace_end and trace_here; check_told and check_changed, which are asked before data are read or
# changed; and TraceError. Uses slabs.pxi and materialize.pxi.

# Those under way in all threads. It is NULL nearly always, so that eager code pays one comparison. A child that was
# forked while another thread traced keeps that thread's entry, which then matches no thread of its own.
cdef unsigned int traces_begun = 0


class TraceError(RuntimeError):
    """A compiled function does what its trace cannot show: the message names the line, and what to do instead.

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
    "as a static keyword argument"
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


cdef int trace_begin() except -1:
    """This thread, which is in no trace, begins one."""
    global traces, traces_begun
    cdef Tracing *trace = <Tracing *>PyMem_Malloc(sizeof(Tracing))
    if trace == NULL:
        raise MemoryError
    traces_begun += 1
    trace.thread = this_thread()
    trace.number = traces_begun
    trace.error = NULL
    trace.next = traces
    traces = trace
    return 0


cdef object trace_end():
    """End this thread's trace. Returns the first TraceError in it, or None."""
    cdef Tracing *trace = trace_here()
    cdef Tracing **link = &traces
    error = None
    while link[0] != trace:
        link = &link[0].next
    link[0] = trace.next
    if trace.error != NULL:
        error = <object>trace.error
        Py_DECREF(trace.error)
    PyMem_Free(trace)
    return error


cdef void leaf_mark(Node *n) noexcept:
    """Note which trace a new leaf was made in, if its thread is in one."""
    cdef Tracing *trace = trace_here()
    if trace != NULL:
        n.flags |= MADE
        n.index = trace.number


# ---- Questions -----------------------------------------------------------------------------------

cdef inline int check_told(Node *n, str what) except -1:
    """Raise TraceError where this thread is in a trace and what is read is true of this one call only. `what` names the
    operation for the error."""
    return trace_check(n, what, False) if n.flags & TRACED or traces != NULL else 0


cdef inline int check_changed(Node *n, str what) except -1:
    """Raise TraceError where this thread is in a trace, which does not see changes."""
    return trace_check(n, what, True) if n.flags & TRACED or traces != NULL else 0


cdef bint is_made(Node *n, Tracing *trace) noexcept:
    """Is it marked as computed from this trace's own numbers? Leaves made for the number of an op do not count."""
    return n.flags & (MADE | CONSTANT) == MADE and n.index == trace.number


cdef bint node_is_told(Node *n) except -1:
    """May its data be read here? In a trace only if they follow from numbers written in the function."""
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
    if n.form != AFFINE:  # so that what is read at every step of a long computation is not walked through each time
        n.flags |= MADE
        n.index = trace.number
    return True


cdef int trace_check(Node *n, str what, bint change) except -1:
    """Raise TraceError for what would be of one call only: `what` is asked, or changed, of a Value in a trace."""
    cdef Tracing *trace = trace_here()
    if n.flags & TRACED:
        trace_refuse(f"{what} a Value that depends on the arguments of a compiled function: the trace would keep for "
                     f"good what is true of one call. {ADVICE}")
    if trace == NULL:
        return 0
    if change:
        if not (n.flags & FRESH and is_made(n, trace)):
            trace_refuse(f"{what} a Value while a compiled function is traced: that would happen once, not at every "
                         f"call. Do it outside, or make a new Value. {ADVICE}")
    elif not node_is_told(n):
        trace_refuse(f"{what} a Value that comes from outside of a compiled function, or was computed from one: it may "
                     f"change, and the trace would keep for good what is true of one call. {ADVICE}")
    return 0


cdef int trace_refuse(str what) except -1:
    """Raise TraceError for the line of the user's that is being run."""
    error = TraceError(f"{user_line()}: {what}")
    trace_note(error)
    raise error


cdef object op_raised(PyObject *left, PyObject *right):
    """Raise what a rule raised. A trace notes it, if the error is of this one call: the function may catch it, and what
    it does then would be kept for good. `left` and `right` are what the op was given, or NULL; both NULL for a layer,
    whose inputs or weights are taken to be of this one call."""
    if traces == NULL or trace_here() == NULL:
        return own(NULL)
    try:
        return own(NULL)
    except (ArithmeticError, ValueError) as error:
        if left == right == NULL or may_be_of_one_call(left) or may_be_of_one_call(right):
            trace_note(TraceError(
                f"{user_line()}: {type(error).__name__} ({error}) is raised for the data of a Value that comes from "
                f"outside of a compiled function, and caught: the trace would keep for good what is true of one call. "
                f"{ADVICE}"
            ))
        raise


cdef bint may_be_of_one_call(PyObject *o) except -1:
    """Is it a Value that may have other data at the next call? One that is NaN in a trace has no part in an error."""
    cdef Node *n
    if o == NULL or not PyType_IsSubtype(Py_TYPE(o), VALUE):
        return False
    n = node_of(o)
    return n.data == n.data if n.flags & TRACED else not node_is_told(n)


cdef int trace_note(error) except -1:
    """Keep the first error of this thread's trace."""
    cdef Tracing *trace = trace_here()
    if trace != NULL and trace.error == NULL and not in_finalizer():
        trace.error = <PyObject *>error
        Py_INCREF(trace.error)
    return 0


cdef bint in_finalizer() except -1:
    """Is this a `__del__` that happens to run in the trace? Python reports its errors, and the function goes on."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_trace":
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


cdef str user_line():
    """The line of the user's that is being run."""
    frame = sys._getframe()
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("micrograd.") and name not in ("copy", "copyreg", "pickle"):
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
