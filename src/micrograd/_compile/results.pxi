# What a compiled function is called for: the sum over a batch as a node of the eager graph, numbers, one sample. Gives
# Traced, known_reduce() and known_sample(). Uses Replay, Program and Batch.

# ---- Nodes ---------------------------------------------------------------------------------------

cdef object node_with_grads(double data, parents, const double *local):
    """A node of the eager graph with these parents, a list or a tuple, and d(node)/d(parent)."""
    return block_node(NO_OP, data, PySequence_Fast_ITEMS(<PyObject *>parents), len(parents), local)


def _raise(error):
    raise error


cdef object node_that_raises(double data, parents, error):
    """A node whose backward raises."""
    value = Value(data, parents)
    value._backward = functools.partial(_raise, error)
    return value


cdef object sample_node(Replay replay, Py_ssize_t output, list leaves, list parents):
    """An output for one sample as a node."""
    cdef Plan plan = replay.plan
    cdef double data = slot(&replay.own, plan.outputs.words[output])[0]
    cdef Py_ssize_t i, j, k, captured = len(replay.program.trace.captured)
    cdef double *local
    if not parents:
        return Value(data)
    error = replay.row_backward(output)
    if error is not None:
        return node_that_raises(data, parents, error)
    local = <double *>PyMem_Malloc(len(parents) * sizeof(double))
    if local == NULL:
        raise MemoryError
    try:
        memcpy(local, replay.grads(), captured * sizeof(double))
        j = captured
        for i in range(len(leaves)):
            if isinstance(leaves[i], Value):
                local[j] = 0.0
                for k in range(0, plan.grads.count, 2):
                    if plan.grads.words[k] == i:
                        local[j] = slot(&replay.own, plan.grads.words[k + 1])[0]
                j += 1
        return node_with_grads(data, parents, local)
    finally:
        PyMem_Free(local)


# ---- Calls ---------------------------------------------------------------------------------------

@cython.final
cdef class Traced:
    """What a function was traced to: a program, the form of what it computes, and the places of its captured leaves
    among those of the function."""

    cdef readonly Program program
    cdef readonly object form
    cdef readonly tuple places
    cdef list singles        # for each of several outputs, what computes that one alone
    cdef Py_ssize_t changes  # of Value's members, when this was traced

    def __cinit__(self, Program program, form, places=None):
        cdef Py_ssize_t captured = len(program.trace.captured)
        self.program, self.form = program, form
        self.changes = member_changes()
        self.places = tuple(range(captured) if places is None else places)
        if form_count(form) != len(program.outputs):
            raise ValueError(f"a form of {form_count(form)} numbers for {len(program.outputs)} outputs")
        if len(self.places) != captured:
            raise ValueError(f"{len(self.places)} places for {captured} captured leaves")

    def __reduce__(self):
        return _unpickle_traced, (self.program, self.form)

    cpdef bint is_current(self) except -1:
        """Are methods and operators of Value what they were? Otherwise another trace is needed."""
        return self.changes == member_changes()

    cpdef object reduce(self, Batch batch, bint mean, int threads):
        """The sum or mean over the rows, as a node whose parents are the captured leaves."""
        cdef Replay replay
        cdef double scale = 1.0 / batch.rows if mean else 1.0
        cdef tuple captured = self.program.trace.captured
        if self.form is not None:
            raise TypeError("there is no sum of what is returned as a list")
        replay = Replay(self.program, CAPTURED_ONLY, batch)
        replay.seeds[0] = scale
        error = replay.gradients(threads)
        if error is not None:
            return node_that_raises(replay.total() * scale, captured, error)
        if not captured:
            return Value(replay.total() * scale)
        return node_with_grads(replay.total() * scale, captured, replay.grads())

    def value_and_grad(self, Batch batch, int threads, double[::1] grads not None):
        """The sum over the rows. Its grads go to their places in `grads`, which has one for each captured leaf of the
        function."""
        cdef Replay replay = Replay(self.program, CAPTURED_ONLY, batch)
        cdef double *found = replay.grads()
        cdef Py_ssize_t i, place
        if self.form is not None:
            raise TypeError("there is no sum of what is returned as a list")
        error = replay.gradients(threads)
        if error is not None:
            raise error
        for i in range(len(self.places)):
            place = self.places[i]
            if not 0 <= place < grads.shape[0]:
                raise IndexError(f"place {place} of {grads.shape[0]} grads")
            grads[place] += found[i]  # the same leaf may have been captured twice, once a program was copied
        return replay.total()

    def map(self, Batch batch, int threads, double[::1] out not None):
        """The outputs of each row, into `out`, rows x outputs."""
        cdef Replay replay = Replay(self.program, FORWARD, batch)
        cdef Py_ssize_t outputs = len(self.program.outputs)
        if outputs and (out.shape[0] // outputs != batch.rows or out.shape[0] % outputs):
            raise ValueError(f"{out.shape[0]} numbers of room for {batch.rows} rows of {outputs}")
        if out.shape[0]:
            replay.out = &out[0]
            replay.out_owner = out
            replay.run(threads)

    cpdef list sample(self, list leaves):
        """The outputs for one sample, as nodes whose parents are the captured leaves and the Values among `leaves`."""
        cdef list parents = list(self.program.trace.captured), nodes = []
        cdef Replay replay
        cdef Py_ssize_t i, captured = len(parents)
        leaves = list(leaves)  # nobody else's: other threads run while a sample is computed
        for leaf in leaves:
            if isinstance(leaf, Value):
                parents.append(leaf)
        if parents and len(self.program.outputs) > 1:
            return self.sample_singly(leaves)
        replay = Replay(self.program, ALL if len(parents) > captured else CAPTURED_ONLY, Batch.of_sample(leaves))
        replay.row_forward()
        for i in range(len(self.program.outputs)):
            nodes.append(sample_node(replay, i, leaves, parents))
        return nodes

    cdef list sample_singly(self, list leaves):
        """The outputs by programs of their own: nothing that only others need has a part in the gradients of one, where
        it may raise, or be 0 * inf."""
        cdef list nodes = []
        cdef Traced single
        if self.singles is None:
            self.singles = self.find_singles()
        try:
            for single in self.singles:
                nodes += single.sample(leaves)
        except (ArithmeticError, ValueError):
            Replay(self.program, FORWARD, Batch.of_sample(leaves)).row_forward()  # raises what comes first in the code
            raise
        return nodes

    cdef list find_singles(self):
        cdef Trace trace, whole = self.program.trace
        cdef list singles = []
        for output in whole.outputs:
            trace = Trace([], [])
            trace.rows, trace.captured, trace.arguments = whole.rows, whole.captured, whole.arguments
            trace.outputs = (output,)
            singles.append(Traced(Program(trace), None))
        return singles


def _unpickle_traced(*state):
    """What was pickled, where it keeps to the rules; otherwise ValueError. An older version pickled places as well."""
    if not 2 <= len(state) <= 3 or not isinstance(state[0], Program):
        raise ValueError("a compiled program breaks a rule: what was traced is a program and a form")
    return Traced(state[0], state[1])


# The ways of a compiled function that are walked again and again; None where it has to be traced first, where there
# are keyword arguments, and in general wherever there is more to do.

def known_reduce(dict known, tuple args, dict kwargs, bint mean, int threads):
    """The sum or mean over the rows of a batch."""
    cdef Batch batch
    cdef Traced traced
    if kwargs or traces != NULL and trace_here() != NULL:
        return None
    batch = Batch(args)
    traced = known.get(batch.key)
    if traced is None or traced.form is not None or batch.rows == 0 or not traced.is_current():
        return None
    return traced.reduce(batch, mean, threads)


def known_sample(dict known, tuple args, dict kwargs):
    """One Value of a sample."""
    cdef list leaves = []
    cdef list forms = []
    cdef Py_ssize_t i
    cdef Traced traced
    if kwargs or traces != NULL and trace_here() != NULL:
        return None
    for i in range(len(args)):
        forms.append(form_of(args[i], leaves, i))
    traced = known.get((tuple(forms), (), ()))
    if traced is None or traced.form is not None or not traced.is_current():
        return None
    for leaf in leaves:
        if isinstance(leaf, Value) and (<Value>leaf).node.flags & TRACED:
            return None
    return traced.sample(leaves)[0]
