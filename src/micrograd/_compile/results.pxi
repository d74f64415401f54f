# Results: what a compiled function returns. The sum over a batch is a node of the eager graph, with the captured
# leaves for parents; so is each output for one sample; the rest are numbers.
#
# Gives Traced, Sums, known_sample and known_reduce. Uses arguments.pxi, trace.pxi, program.pxi, plan.pxi, slot of
# kernels.pxi, execute.pxi, anomaly.pxi, and of _core block_node and member_changes.

# ---- Nodes ---------------------------------------------------------------------------------------

cdef class Traced


cdef object node_with_grads(double data, parents, const double *local):
    """A node of the eager graph with these parents, a list or a tuple, and for each d(node)/d(parent)."""
    return block_node(NO_OP, data, PySequence_Fast_ITEMS(<PyObject *>parents), len(parents), local)


def _raise(error):
    raise error


cdef object node_that_raises(double data, parents, error):
    """A node whose backward pass raises the error."""
    value = Value(data, parents)
    value._backward = functools.partial(_raise, error)
    return value


cdef bytearray differentiable(Trace trace):
    """For each instruction: does an output depend on it by ops that pass on a gradient? A leaf without such a way is no
    parent of the result: the gradient 0 that it would have becomes NaN where the result's is infinite."""
    cdef bytearray found = bytearray(trace.code.count)
    cdef const Instruction *item
    cdef Py_ssize_t i, k
    for i in trace.outputs:
        found[i] = True
    for i in range(trace.code.count - 1, -1, -1):
        check_signals(i)
        item = &trace.code.items[i]
        if found[i] and has_gradient(item.op):
            for k in range(item.count - has_index(item.op)):
                found[trace.code.operands[item.first + k]] = True
    return found


cdef object sample_node(Traced traced, Replay replay, Py_ssize_t output, list leaves, list parents):
    """An output for one sample as a node."""
    cdef Plan plan = replay.plan
    cdef double data = slot(&replay.own, plan.outputs.items[output])[0]
    cdef Py_ssize_t i, j, k, receivers = len(traced.receivers)
    cdef double *local
    if is_checked():
        check_outputs(&data, 1, 1, None)
    if not parents:
        return Value(data)
    error = replay.sample_backward(output)
    if error is not None:
        return node_that_raises(data, parents, error)
    local = <double *>PyMem_Malloc(len(parents) * sizeof(double))
    if local == NULL:
        raise MemoryError
    try:
        memcpy(local, traced.received(replay), receivers * sizeof(double))
        j = receivers
        for i in range(len(leaves)):
            if traced.takes_grad(leaves, i):
                local[j] = 0.0
                for k in range(0, plan.grads.count, 2):
                    if plan.grads.items[k] == i:
                        local[j] = slot(&replay.own, plan.grads.items[k + 1])[0]
                j += 1
        if is_checked():
            check_gradients(local, len(parents))
        return node_with_grads(data, parents, local)
    finally:
        PyMem_Free(local)


# ---- Calls ---------------------------------------------------------------------------------------

cdef str NOT_ONE_VALUE = "a sum over samples needs a function that returns one Value, not a list"


@cython.final
cdef class Traced:
    """A traced function: its program, and the tree of what it returns."""

    cdef readonly Program program
    cdef readonly object tree
    cdef readonly bint exact     # does it compute with eager code's roundings?
    cdef IntArray indices        # of the captured leaves among those of the function, which may have several programs
    cdef int most                # the largest of them, or -1
    cdef bint in_order           # are they 0, 1, 2, ...?
    cdef tuple receivers         # the captured leaves that get a gradient
    cdef IntArray received_by    # their indices among the captured leaves
    cdef bytearray arguments     # for each argument: does it get a gradient?
    cdef list singles            # for each of several outputs, a Traced that computes it alone
    cdef Py_ssize_t changes      # number of changes of Value's members before the trace

    def __cinit__(self, Program program, tree, indices=None, bint exact=False):
        cdef Py_ssize_t captured = len(program.trace.captured)
        self.program, self.tree, self.exact = program, tree, exact
        self.changes = member_changes()
        self.most = -1
        self.in_order = True
        for i in range(captured) if indices is None else indices:
            self.in_order &= i == self.indices.count
            push(&self.indices, i)
            self.most = max(self.most, <int>i)
        if tree_count(tree) != len(program.outputs):
            raise ValueError(f"a tree of {tree_count(tree)} numbers for {len(program.outputs)} outputs")
        if self.indices.count != captured or min(ints_of(&self.indices), default=0) < 0:
            raise ValueError(f"{self.indices.count} indices for {captured} captured leaves")
        self.find_receivers(program.trace)

    def __dealloc__(self):
        PyMem_Free(self.indices.items)
        PyMem_Free(self.received_by.items)

    cdef int find_receivers(self, Trace trace) except -1:
        cdef bytearray found = differentiable(trace), captured = bytearray(len(trace.captured))
        cdef const Instruction *item
        cdef list receivers = []
        cdef Py_ssize_t i
        self.arguments = bytearray(trace.arguments)
        for i in range(trace.code.count):
            item = &trace.code.items[i]
            if found[i] and (item.op == CAPTURED or item.op == ARGUMENT):
                (captured if item.op == CAPTURED else self.arguments)[trace.code.operands[item.first]] = True
        for i in range(len(captured)):
            if captured[i]:
                push(&self.received_by, <int>i)
                receivers.append(trace.captured[i])
        self.receivers = tuple(receivers)
        return 0

    cdef double *received(self, Replay replay) noexcept:
        """The grads of the receivers."""
        cdef double *grads = replay.grads()
        cdef Py_ssize_t i
        for i in range(self.received_by.count if self.received_by.count < self.indices.count else 0):
            grads[i] = grads[self.received_by.items[i]]
        return grads

    cdef inline bint takes_grad(self, list leaves, Py_ssize_t i) except -1:
        """Is this argument a Value that gets a gradient?"""
        return isinstance(leaves[i], Value) and self.arguments[i]

    def __reduce__(self):
        return _unpickle_traced, (self.program, self.tree)

    cpdef bint is_current(self) except -1:
        """Are the methods and operators of Value those of the time of the trace?"""
        return self.changes == member_changes()

    cpdef object reduce(self, Batch batch, bint mean, int threads):
        """The sum or mean over the samples, as a node whose parents are the captured leaves."""
        cdef Replay replay
        cdef double scale = 1.0 / batch.samples if mean else 1.0
        if self.tree is not None:
            raise TypeError(NOT_ONE_VALUE)
        if in_no_grad():
            replay = Replay(self.program, FORWARD, batch, self.exact)
            replay.run(threads)
            if is_checked():
                check_sums(replay)
            return Value(replay.total() * scale)
        replay = Replay(self.program, CAPTURED_ONLY, batch, self.exact)
        replay.seeds[0] = scale
        error = replay.gradients(threads)
        if error is not None:
            return node_that_raises(replay.total() * scale, self.receivers, error)
        if is_checked():
            check_sums(replay)
        if not self.receivers:
            return Value(replay.total() * scale)
        return node_with_grads(replay.total() * scale, self.receivers, self.received(replay))

    def map(self, Batch batch, int threads, out):
        """Write the outputs to the array `out`, samples x outputs."""
        cdef Replay replay = Replay(self.program, FORWARD, batch, self.exact)
        cdef Py_ssize_t outputs = len(self.program.outputs)
        cdef ResultArray results = ResultArray(out)
        if outputs and (results.count // outputs != batch.samples or results.count % outputs):
            raise ValueError(f"an array of {results.count} numbers for {batch.samples} samples of {outputs}")
        if results.count:
            replay.out = results.items
            replay.out_owner = results
            replay.run(threads)
            if is_checked():
                check_outputs(results.items, batch.samples, outputs, batch)

    cpdef list sample(self, list leaves):
        """The outputs for one sample, as nodes whose parents are the captured leaves and the Values among `leaves` that
        get a gradient."""
        cdef list parents = [] if in_no_grad() else list(self.receivers), nodes = []
        cdef Replay replay
        cdef Py_ssize_t i
        leaves = list(leaves)  # a copy, since other threads may change the list
        if len(leaves) != self.program.trace.arguments:
            raise ValueError(f"a program of {self.program.trace.arguments} arguments is given {len(leaves)}")
        for i in range(len(leaves)):
            if self.takes_grad(leaves, i) and not in_no_grad():
                parents.append(leaves[i])
        if parents and len(self.program.outputs) > 1:
            return self.sample_singly(leaves)
        replay = Replay(self.program, ALL if len(parents) > len(self.receivers) else CAPTURED_ONLY,
                        Batch.of_sample(leaves), self.exact)
        replay.sample_forward()
        for i in range(len(self.program.outputs)):
            nodes.append(sample_node(self, replay, i, leaves, parents))
        return nodes

    cdef list sample_singly(self, list leaves):
        """Compute each output with a program of its own, so that its gradients do not depend on what only other outputs
        need, which may raise or be 0 * inf."""
        cdef list nodes = []
        cdef Traced single
        if self.singles is None:
            self.singles = self.find_singles()
        try:
            for single in self.singles:
                nodes += single.sample(leaves)
        except RULE_ERRORS:
            # Of several errors, raise the one that comes first in the trace.
            Replay(self.program, FORWARD, Batch.of_sample(leaves), self.exact).sample_forward()
            raise
        return nodes

    cdef list find_singles(self):
        """A Traced for each output, with a program that computes it alone."""
        cdef Trace trace, whole = self.program.trace
        cdef list singles = []
        for output in whole.outputs:
            trace = Trace([], [])
            trace.code, trace.captured, trace.arguments = whole.code, whole.captured, whole.arguments
            trace.outputs = (output,)
            singles.append(Traced(Program(trace), None, None, self.exact))
        return singles


@cython.final
cdef class Sums:
    """Sums over batches, which may be of several programs of a function, each of which returns one Value."""

    cdef double total
    cdef double scale
    cdef ResultArray grads  # for each captured leaf of the function
    cdef bytearray used     # does the leaf get a gradient in one of the programs?
    cdef object error       # what the backward pass of the first sample that raises in it has raised, or None
    cdef Py_ssize_t failed  # that sample, or -1 if the error has none

    def __cinit__(self, grads, double scale=1.0):
        """The sums are multiplied by `scale`. `grads` is an array of zeros, to which the grads are added."""
        self.grads, self.scale = ResultArray(grads), scale
        self.used = bytearray(self.grads.count)

    def add(self, Traced traced, Batch batch, int threads):
        """Add the sum over the samples."""
        cdef Replay replay
        cdef const int *indices = traced.indices.items
        cdef double *found
        cdef double *grads = self.grads.items
        cdef Py_ssize_t i
        if traced.tree is not None:
            raise TypeError(NOT_ONE_VALUE)
        if traced.most >= self.grads.count:
            raise IndexError(f"grad {traced.most} of {self.grads.count}")
        replay = Replay(traced.program, CAPTURED_ONLY, batch, traced.exact)
        replay.seeds[0] = self.scale
        error = replay.gradients(threads)
        if error is None and is_checked():
            check_sums(replay)
        self.total += replay.total()
        if error is not None:
            self.keep(error, batch.failed)
        found = replay.grads()
        for i in range(traced.received_by.count):
            self.used[indices[traced.received_by.items[i]]] = 1
        if traced.in_order:
            replay.loops.add(grads, grads, found, traced.indices.count)
            return
        for i in range(traced.indices.count):
            grads[indices[i]] += found[i]  # copies of a program may have captured the same leaf twice

    cdef int keep(self, error, Py_ssize_t failed) except -1:
        # What depends on captured leaves alone raises without a sample, after all others.
        if self.error is None or failed >= 0 and (self.failed < 0 or failed < self.failed):
            self.error, self.failed = error, failed
        return 0

    def numbers(self):
        """The total, whose grads are in the array. Raises what the backward pass has raised."""
        if self.error is not None:
            raise self.error
        return self.total * self.scale

    def node(self, list leaves):
        """The total as a node; `leaves` are the captured leaves of the function. Its parents are those in use."""
        cdef list parents = []
        cdef double total = self.total * self.scale
        cdef double *grads = self.grads.items
        cdef Py_ssize_t i
        for i in range(self.grads.count):
            if self.used[i]:
                grads[len(parents)] = grads[i]
                parents.append(leaves[i])
        if self.error is not None:
            return node_that_raises(total, parents, self.error)
        return node_with_grads(total, parents, grads) if parents else Value(total)


def _unpickle_traced(*state):
    """The Traced that was pickled. Raises ValueError if it breaks a rule. Older versions pickled the indices as well.
    """
    if not 2 <= len(state) <= 3 or not isinstance(state[0], Program):
        raise ValueError("a compiled program breaks a rule: a traced function is pickled as a program and a tree")
    return Traced(state[0], state[1])


# ---- Calls that need no new trace ----------------------------------------------------------------
# Short ways for calls by position, outside of traces, of functions without static names that are no methods. All other
# calls are compiler.py's.

def known_sample(dict known, tuple args, dict kwargs):
    """What the function returns for one sample, or None: not a call for this path."""
    cdef list leaves = [], trees = []
    cdef Py_ssize_t i
    cdef Traced traced
    if kwargs or traces != NULL and trace_here() != NULL:
        return None
    for i in range(len(args)):
        trees.append(tree_flatten(args[i], leaves, i))
    traced = known.get((tuple(trees), (), ()))
    if traced is None or not traced.is_current():
        return None
    for leaf in leaves:
        if isinstance(leaf, Value) and (<Value>leaf).node.flags & TRACED:
            return None
    nodes = traced.sample(leaves)
    return nodes[0] if traced.tree is None else tree_unflatten(traced.tree, iter(nodes))


def known_reduce(dict known, tuple args, dict kwargs, bint mean, int threads):
    """The sum or mean over the samples of a batch. If this is not a call for this path, the batch, which need not be
    read again, or None."""
    cdef Batch batch
    cdef Traced traced
    if kwargs or traces != NULL and trace_here() != NULL:
        return None
    batch = Batch(args)
    traced = known.get(batch.key)
    if traced is None or traced.tree is not None or batch.samples == 0 or not traced.is_current():
        return batch
    return traced.reduce(batch, mean, threads)
