# Anomaly detection, a mode of a thread (modes.pxi): the first result or gradient that is NaN or infinite raises
# RuntimeError, with the line that made the node. Layers are computed op by op, and backward goes in depth-first order.
#
# Gives is_checked; node_note, for new nodes; and for backward grads_check_before, step_checked. Uses modes.pxi,
# trace_mode.pxi, user_ops.pxi, materialize.pxi, of collector.pxi Attributes, which have the line, and of _core.pyx
# node_step.

cdef enum:
    OPERANDS_SHOWN = 8  # in a message


cdef bint is_checked() noexcept:
    """Is this thread in the mode? In a trace, data are not known."""
    cdef Mode *mode = mode_here()
    return mode != NULL and mode.depth[ANOMALY] > 0 and (traces == NULL or trace_here() == NULL)


cdef str node_text(Node *n, name):
    """An op, and the data of its operands, for a message."""
    cdef Parents parents
    cdef Py_ssize_t i
    cdef list shown = []
    if n.form == AFFINE:
        return f"a neuron of {n.b.layer.inputs} inputs"
    parents_of(n, &parents)
    if n.form == NUMBER_LEFT:
        shown.append(str(n.b.number))
    for i in range(min(parents.count, OPERANDS_SHOWN)):
        shown.append(str(node_of(parent_at(&parents, i)).data))
    if n.form == NUMBER_RIGHT and n.op != POW:
        shown.append(str(n.b.number))
    if parents.count > OPERANDS_SHOWN:
        shown.append(f"{parents.count - OPERANDS_SHOWN} more")
    return f"{repr(name) if name else 'a compiled function, or an op without a name,'} of {', '.join(shown)}"


cdef int node_note(Node *n, name) except -1:
    """Keep the line that made the node of an op. Raises RuntimeError where its data are not finite."""
    cdef str line = user_line()
    if not isfinite(n.data):
        raise RuntimeError(f"{line}: {node_text(n, name)} is {n.data}")
    attributes_that_hold(n).line = line
    return 0


# ---- Backward ------------------------------------------------------------------------------------

cdef object passed_on(Node *n, str what):
    """The error for a node that does not pass on a finite gradient."""
    cdef PyObject *held = node_attributes(n)[0]
    text = f"backward() of {node_text(n, (<object>object_of(n))._op)} {what}"
    line = None if held == NULL or Py_TYPE(held) != ATTRIBUTES else (<Attributes>held).line
    if line is not None:
        return RuntimeError(f"{line}: {text}")
    return RuntimeError(f"{text}. It was made outside of detect_anomaly(), so that its line is not known")


cdef int grads_check_before(Order *order) except -1:
    """Raise RuntimeError where a node that is no leaf has a grad from an earlier pass that is not finite: this pass
    would pass it on."""
    cdef Node *n
    cdef Py_ssize_t i
    for i in range(order.count):
        n = order.items[i].node
        if n.form != LEAF and not isfinite(n.grad):
            raise passed_on(n, f"would pass on {n.grad}, its grad from before: call zero_grad() of the root, or "
                               f"backward(retain_grads=False)")
    return 0


cdef int step_checked(Node *n) except -1:
    """A node's step of backward. Raises RuntimeError where a parent gains what is not finite, or where a rule raises.
    What leaves have from earlier passes does not count."""
    cdef Parents parents
    cdef Node *parent
    cdef Py_ssize_t i
    cdef list before = []
    cdef dict found = {}  # the parents, by address, whose grads are not finite
    parents_of(n, &parents)
    for i in range(parents.count):
        parent = node_of(parent_at(&parents, i))
        before.append(<object>object_of(parent))  # held: a user's `_backward` may replace the node's parents
        if not isfinite(parent.grad):
            found[<uintptr_t>parent] = parent.grad
            parent.grad = 0.0
    try:
        if n.flags & CUSTOM:
            (<object>object_of(n))._backward()
        else:
            step_or_raise(n)
        for value in before:
            if not isfinite((<Value>value).node.grad):
                raise passed_on(n, f"passes on a gradient of {(<Value>value).node.grad}")
    finally:
        for value in before:
            parent = &(<Value>value).node
            if <uintptr_t>parent in found:
                parent.grad += found.pop(<uintptr_t>parent)
    return 0


cdef int step_or_raise(Node *n) except -1:
    """node_step(). Raises RuntimeError where a rule raises."""
    if node_step(n, NULL) == NULL:
        try:
            raise_error()
        except (ArithmeticError, ValueError) as error:
            raise passed_on(n, f"raises {type(error).__name__}: {error}") from error
    return 0
