# Modes of a thread: no_grad, in which results of ops are leaves, and anomaly detection, in which they are checked
# (anomaly.pxi). A trace is a mode too, in trace_mode.pxi.
#
# They cost eager code nothing: while a thread is in a mode, the slab that an operator's fast path takes slots of has
# none (slab_quick), so that the operators of all threads take the slow path, which asks for the mode of its thread. A
# trace begins without the modes outside of it, since its program is used outside of them too; in a trace, results in
# no_grad are detached.
#
# Gives Mode and mode_here; makes_leaves, drops_parents, mode_result and node_forget_op, for functions that make
# results; mode_enter, mode_exit, and is_grad_enabled; no_grad_suspend and no_grad_resume, for grad() and functional;
# modes_suspend and modes_resume, for traces. Uses slabs.pxi, trace_mode.pxi, anomaly.pxi, and of operands.pxi
# unary_new.

cdef object HOLDER = object()  # its key in that dict

cdef enum:
    NO_GRAD          # the modes, as indices
    ANOMALY
    MODES

cdef struct Mode:    # what modes a thread is in
    PyThreadState *thread
    Py_ssize_t depth[MODES]    # how many contexts of each mode the thread is in
    Py_ssize_t outside[MODES]  # the same outside of the trace that it is in
    bint leaves                # are results leaves that are not checked? Not in a trace
    Mode *next                 # in the list `modes`

cdef Mode *modes = NULL        # of all threads that are in one


@cython.final
@cython.auto_pickle(False)
cdef class _ModeHolder:
    """Has the Mode of a thread, and is in the dict of its PyThreadState, so that a mode ends with its thread."""

    cdef Mode mode

    def __dealloc__(self):
        cdef Mode **link = &modes
        while link[0] != NULL and link[0] != &self.mode:
            link = &link[0].next
        if link[0] != NULL:
            link[0] = self.mode.next
            modes_set(modes)


cdef inline Mode *mode_here() noexcept:
    """The modes of this thread, or NULL."""
    cdef Mode *mode = modes
    cdef PyThreadState *thread
    if mode == NULL:
        return NULL
    thread = PyThreadState_Get()
    while mode != NULL and mode.thread != thread:
        mode = mode.next
    return mode


cdef inline bint in_mode() noexcept:
    """Is this thread in a mode?"""
    return mode_here() != NULL


# ---- Results -------------------------------------------------------------------------------------

cdef inline bint makes_leaves() noexcept:
    """Are the results of ops leaves here, which are not checked?"""
    cdef Mode *mode = mode_here()
    return mode != NULL and mode.leaves


cdef bint in_no_grad() noexcept:
    """Is this thread in no_grad, perhaps in a trace?"""
    cdef Mode *mode = mode_here()
    return mode != NULL and mode.depth[NO_GRAD] > 0


cdef bint drops_parents() noexcept:
    """Is this thread in no_grad, and in no trace?"""
    return in_no_grad() and (traces == NULL or trace_here() == NULL)


cdef int node_forget_op(Node *n) except -1:
    """Make the result of a user's op a leaf."""
    node_drop_parents(n)
    n.flags &= ~CUSTOM
    return 0


cdef object mode_result(object result):
    """What an op gives in this thread's mode, from the node that it would be outside."""
    cdef Node *n = &(<Value>result).node
    if is_checked():
        node_note(n, result._op)
    if not in_no_grad() or n.op == DETACH:
        return result
    if traces != NULL and trace_here() != NULL:
        return own(object_of(unary_new(DETACH, n, n.data)))
    return own(object_of(leaf_new(n.data)))


# ---- Entering and leaving ------------------------------------------------------------------------

cdef int mode_of(name) except -1:
    if name == "no_grad":
        return NO_GRAD
    if name == "detect_anomaly":
        return ANOMALY
    raise ValueError(f"no mode {name!r}")


def mode_enter(name):
    """Begin a mode of this thread, one context more."""
    cdef int which = mode_of(name)
    cdef Mode *mode = mode_here()
    if mode == NULL:
        mode = mode_new()
    mode.depth[which] += 1
    mode_set_leaves(mode)


cdef inline void mode_set_leaves(Mode *mode) noexcept:
    mode.leaves = mode.depth[NO_GRAD] > 0 and mode.depth[ANOMALY] == 0 and trace_here() == NULL


cdef Mode *mode_new() except NULL:
    cdef _ModeHolder holder = _ModeHolder()
    cdef PyObject *held = PyThreadState_GetDict()
    if held == NULL:
        raise MemoryError
    (<dict>held)[HOLDER] = holder
    holder.mode.thread = PyThreadState_Get()
    holder.mode.next = modes
    modes_set(&holder.mode)
    return &holder.mode


def mode_exit(name):
    """End a context of a mode. Raises RuntimeError where this thread is in none."""
    cdef int which = mode_of(name)
    cdef Mode *mode = mode_here()
    if mode == NULL or mode.depth[which] == 0:
        raise RuntimeError(f"{name} is left in another thread than it was entered in, or twice")
    mode.depth[which] -= 1
    mode_set_leaves(mode)
    mode_drop(mode)


cpdef Py_ssize_t no_grad_suspend() noexcept:
    """Leave no_grad. Returns of how many contexts of it, for no_grad_resume()."""
    cdef Mode *mode = mode_here()
    cdef Py_ssize_t depth
    if mode == NULL:
        return 0
    depth = mode.depth[NO_GRAD]
    mode.depth[NO_GRAD] = 0
    mode_set_leaves(mode)
    return depth


cpdef int no_grad_resume(Py_ssize_t depth) except -1:
    """Enter so many contexts of it again."""
    cdef Mode *mode
    if depth:
        mode = mode_here()
        if mode == NULL:  # code that ran meanwhile, as a destructor, left a mode, the last one
            mode = mode_new()
        mode.depth[NO_GRAD] += depth
        mode_set_leaves(mode)
    return 0


cdef void modes_set(Mode *first) noexcept:
    """Change the list of modes."""
    global modes
    modes = first
    slab_quick(modes == NULL)


cdef int mode_drop(Mode *mode) except -1:
    """Free the Mode of this thread if it is in none any more."""
    cdef int i
    for i in range(MODES):
        if mode.depth[i] or mode.outside[i]:
            return 0
    (<dict>PyThreadState_GetDict()).pop(HOLDER)
    return 0


def is_grad_enabled():
    """Are the results of ops in this thread differentiable: is it in no `no_grad()`?

    >>> import micrograd
    >>> with micrograd.no_grad():
    ...     micrograd.is_grad_enabled()
    False
    """
    return not in_no_grad()


# ---- Traces --------------------------------------------------------------------------------------

cdef void modes_suspend() noexcept:
    """Leave all modes, at the begin of a trace."""
    cdef Mode *mode = mode_here()
    if mode != NULL:
        memcpy(mode.outside, mode.depth, sizeof(mode.depth))
        memset(mode.depth, 0, sizeof(mode.depth))
        mode_set_leaves(mode)


cdef int modes_resume() except -1:
    """Enter them again, at the end of the trace. Modes that the function has not left end with it."""
    cdef Mode *mode = mode_here()
    if mode != NULL:
        memcpy(mode.depth, mode.outside, sizeof(mode.depth))
        memset(mode.outside, 0, sizeof(mode.outside))
        mode_set_leaves(mode)
        mode_drop(mode)
    return 0
