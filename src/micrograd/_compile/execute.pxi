# Execution: a plan run over a batch. The samples are divided into chunks, which threads take one by one, and a chunk
# into blocks, a lane for each sample. Each chunk has its own sum and gradients, which are added up in the order of
# chunks, so that the result does not depend on the threads.
#
# Gives Replay. Uses arguments.pxi, program.pxi, plan.pxi, steps.pxi.

cdef enum:
    WORKING_SET = 262144       # bytes that the slots of a block take about, within the lanes below
    LEAST_LANES = 16
    WIDE_LANES = 32           # LEAST_LANES of a program with as many weights for each slot
    MOST_LANES = 256
    MOST_CHUNKS = 64          # for any number of samples
    LEAST_CHUNK = 256         # samples
    CACHE_LINE = 8            # doubles in a cache line, at which slots begin
    STEP_COST = 16            # of a step on a lane, in multiplications
    SIGNAL_CHECK = 1 << 24    # multiplications between two checks for signals: some ms
    WORTH_A_THREAD = 1 << 21  # multiplications in the time that starting a thread takes, 0.1 to 0.2 ms
    BRIEF = 1 << 14           # multiplications: some us; a shorter replay keeps the GIL


cdef tuple RULE_ERRORS = (ArithmeticError, ValueError, IndexError, TypeError)  # what rules raise


cdef bint interrupted() noexcept nogil:
    with gil:
        return PyErr_CheckSignals() != 0


cdef enum Outcome:
    DONE
    FORWARD_RAISED
    BACKWARD_RAISED
    INTERRUPTED


@cython.final
cdef class Replay:
    """One replay of a program over a batch: what its threads share, and the results."""

    cdef Program program
    cdef Plan plan
    cdef int mode
    cdef bint exact                 # eager code's roundings
    cdef const Lanes *loops
    cdef Batch batch
    cdef Shared shared
    cdef double *memory
    cdef double *seeds
    cdef double *out                # samples x outputs, or NULL
    cdef object out_owner           # whose memory that is: a thread may write to it after its caller was interrupted
    cdef double *chunk_sums         # of all chunks, see sums()
    cdef Py_ssize_t sums_size       # of a chunk
    cdef bint backward
    cdef Py_ssize_t lanes           # of a slot
    cdef Py_ssize_t stride          # from one slot to the next
    cdef Py_ssize_t workspace_size  # doubles that a thread needs
    cdef Workspace own              # of the calling thread, in `memory`
    cdef Py_ssize_t block_samples
    cdef Py_ssize_t chunk_samples
    cdef Py_ssize_t chunks
    cdef int64_t sample_cost        # in multiplications
    cdef Py_ssize_t next            # the chunk to be computed next
    cdef list raised                # (outcome, sample, exception)

    def __cinit__(self, Program program, int mode, Batch batch, bint exact=False):
        if not 0 <= mode < MODES:
            raise ValueError(f"no mode {mode}")
        if batch.count != program.trace.arguments:
            raise ValueError(f"a program of {program.trace.arguments} arguments is given {batch.count}")
        self.program = program
        self.plan, self.mode, self.exact = program.plan(mode), mode, exact
        self.loops = variant.exact if exact else variant.fast
        self.batch = batch
        self.backward = mode != FORWARD
        self.raised = []
        self.cut()
        self.allocate()
        if batch.samples:
            self.run_prologue()
            self.broadcast(&self.own)

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef void cut(self) noexcept:
        """Divide the batch into chunks, and a chunk into blocks of the same size."""
        cdef Py_ssize_t samples = self.batch.samples, slots = max(self.plan.slots, 1), blocks
        cdef Py_ssize_t lanes = WORKING_SET // (slots * <Py_ssize_t>sizeof(double))
        lanes = min(max(lanes, LEAST_LANES, min(self.program.weights // slots, WIDE_LANES)), MOST_LANES)
        self.chunk_samples = max(LEAST_CHUNK, samples // MOST_CHUNKS + (samples % MOST_CHUNKS != 0))
        self.chunks = samples // self.chunk_samples + (samples % self.chunk_samples != 0)
        samples = max(min(self.chunk_samples, samples), 1)
        blocks = max((samples + lanes // 2) // lanes, 1)
        self.block_samples = (samples + blocks * TILE - 1) // (blocks * TILE) * TILE
        self.lanes = 1 if samples == 1 else self.block_samples
        self.stride = self.lanes
        if self.lanes > 2 * TILE and self.lanes // TILE % 2 == 0:
            self.stride += TILE  # slots an even number of cache lines apart would share few sets of the cache
        self.sample_cost = self.program.weights + STEP_COST * <int64_t>self.plan.work

    cdef int allocate(self) except -1:
        """Allocate all memory that does not depend on the number of threads, at once."""
        cdef Program program = self.program
        cdef Py_ssize_t i, outputs = len(program.outputs), invariants = program.invariants
        cdef Py_ssize_t own = program.prologue.slots
        # In 64 bits: each term is a product of at most two ints, so that their sum cannot overflow.
        cdef int64_t doubles, sums, workspace = self.plan.slots, packed = program.pitch
        self.sums_size = 1 if self.chunks == 1 else 1 + invariants
        sums = <int64_t>self.chunks * self.sums_size
        packed *= max(self.lanes, 3 * CALLS)
        workspace = CACHE_LINE + workspace * self.stride + program.weight_grads + program.biases + packed
        workspace += program.widest
        doubles = own + 2 * <int64_t>program.weights + program.biases + outputs + sums + workspace
        if doubles > PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(double):
            raise MemoryError
        self.workspace_size = <Py_ssize_t>workspace
        self.memory = <double *>PyMem_Malloc(doubles * sizeof(double))
        if self.memory == NULL:
            raise MemoryError
        self.shared.layers = program.layers
        self.shared.invariant = self.memory
        self.shared.weights = self.shared.invariant + own
        self.shared.transposed = self.shared.weights + program.weights
        self.shared.biases = self.shared.transposed + program.weights
        self.seeds = self.shared.biases + program.biases
        self.chunk_sums = self.seeds + outputs
        for i in range(outputs):
            self.seeds[i] = 1.0
        self.lay_out(&self.own, self.chunk_sums + sums)
        return 0

    cdef int run_prologue(self) except -1:
        """Read the captured leaves, compute what depends on them alone, and gather the weights of layers."""
        cdef Program program = self.program
        cdef tuple captured = program.trace.captured
        cdef PyObject **leaves = tuple_items(<PyObject *>captured)
        cdef double *invariant = self.shared.invariant
        cdef const int *constants = program.constants.items
        cdef Workspace work
        cdef Py_ssize_t i, count = len(captured)
        for i in range(count):
            invariant[i] = node_of(leaves[i]).data
        for i in range(0, program.constants.count, 2):
            invariant[constants[i]] = program.code.numbers[constants[i + 1]]
        self.gather(True)
        if program.prologue.forward.count:
            self.invariant_work(&work)
            if not steps_forward(&program.prologue.forward, &self.shared, &work, 1, 1):
                self.raise_in_order()
        self.gather(False)
        return 0

    cdef void gather(self, bint early) noexcept:
        """Copy the weights of layers: of those that have leaves and numbers for weights, or of the others."""
        cdef Program program = self.program
        cdef Py_ssize_t i
        cdef int k
        for k in range(program.layer_count):
            if program.layers[k].early == early:
                layer_gather(&program.layers[k], &self.shared, self.lanes > 1 or not program.layers[k].row_step)
                if self.lanes == 1 or program.layers[k].in_prologue:
                    layer_transpose(&program.layers[k], &self.shared)
        for i in range(self.plan.transposed.count if self.lanes > 1 else 0):
            k = self.plan.transposed.items[i]
            if program.layers[k].early == early and not program.layers[k].in_prologue:
                layer_transpose(&program.layers[k], &self.shared)

    cdef int raise_in_order(self) except -1:
        """Raise what a rule has raised, or what another has that comes before it in the order of the trace."""
        if not self.program.ordered:
            try:
                raise_error()
            except RULE_ERRORS:
                Replay(self.program.reordered(), FORWARD, self.batch, self.exact)
                raise
        return raise_error()

    cdef void invariant_work(self, Workspace *work) noexcept:
        """Workspace on the invariant values, as slots of one lane."""
        work[0] = self.own
        work.base = self.shared.invariant
        work.stride = 1

    cdef void lay_out(self, Workspace *work, double *workspace) noexcept:
        """Lay out a thread's workspace."""
        cdef Program program = self.program
        cdef int i
        work.base = <double *>(<size_t>(workspace + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE * sizeof(double) - 1))
        work.stride = self.stride
        work.weight_grads = work.base + self.plan.slots * self.stride
        work.bias_grads = work.weight_grads + program.weight_grads
        work.packed = work.bias_grads + program.biases
        work.scratch = work.packed + program.pitch * max(self.lanes, 3 * CALLS)
        work.seeds = self.seeds
        work.lanes = self.loops
        for i in range(self.plan.slots if self.stride > TILE else 0):  # lanes that a loop over several slots computes
            memset(slot(work, i) + self.stride - TILE, 0, TILE * sizeof(double))

    cdef void broadcast(self, Workspace *work) noexcept:
        """Write zeros and invariant values to all lanes of their slots."""
        cdef int *broadcasts = self.plan.broadcasts.items
        cdef Py_ssize_t i, j
        cdef double x
        for i in range(0, self.plan.broadcasts.count, 2):
            x = self.shared.invariant[broadcasts[i]] if broadcasts[i] >= 0 else 0.0
            for j in range(self.lanes):
                slot(work, broadcasts[i + 1])[j] = x

    cdef double *sums(self, Py_ssize_t chunk) noexcept nogil:
        """A chunk's sum of the output."""
        return self.chunk_sums + chunk * self.sums_size

    cdef double *chunk_grads(self, Py_ssize_t chunk) noexcept nogil:
        """A chunk's sums of the grads of invariant values: behind that of the output, or of one chunk the result."""
        return self.grads() if self.chunks == 1 else self.sums(chunk) + 1

    # -- without the GIL

    cdef Outcome run_block(self, Workspace *work, Py_ssize_t first, Py_ssize_t live, double *total) noexcept nogil:
        """Compute `live` samples from `first` on."""
        cdef Py_ssize_t width = (live + TILE - 1) // TILE * TILE if work.stride > 1 else 1
        cdef Py_ssize_t i, outputs = self.plan.outputs.count
        cdef int *load = self.plan.loads.items
        cdef int j
        cdef double *into
        cdef const double *column
        cdef Py_ssize_t stride
        for j in range(0, self.plan.loads.count, 2):
            into = slot(work, load[j + 1])
            stride = self.batch.strides[load[j]]
            column = self.batch.columns[load[j]] + first * stride
            for i in range(live):
                into[i] = column[i * stride]
            clear_padding(into, live, width)
        if not steps_forward(&self.plan.forward, &self.shared, work, live, width):
            return FORWARD_RAISED
        if self.out != NULL:
            for j in range(outputs):
                for i in range(live):
                    self.out[(first + i) * outputs + j] = slot(work, self.plan.outputs.items[j])[i]
        if outputs == 1:
            total[0] += lane_total(work, self.plan.outputs.items[0], live)
        if self.backward and not steps_backward(&self.plan.backward, &self.shared, work, live, width):
            return BACKWARD_RAISED
        return DONE

    cdef Outcome run_chunk(self, Workspace *work, Py_ssize_t chunk, Py_ssize_t *failed) noexcept nogil:
        """Compute a chunk, block by block. `failed` becomes the first sample of a block in which one raises."""
        cdef Py_ssize_t first = chunk * self.chunk_samples
        cdef Py_ssize_t end = first + min(self.chunk_samples, self.batch.samples - first)
        cdef Py_ssize_t live
        cdef int64_t work_done = 0
        cdef double *sums = self.sums(chunk)
        cdef Outcome outcome
        sums[0] = 0.0
        if self.backward:
            self.clear_grads(work, self.chunk_grads(chunk))
        while first < end:
            live = min(self.block_samples, end - first)
            outcome = self.run_block(work, first, live, sums)
            if outcome != DONE:
                failed[0] = first
                return outcome
            first += live
            work_done += live * self.sample_cost
            if work_done > SIGNAL_CHECK:
                work_done = 0
                if interrupted():
                    return INTERRUPTED
        if self.backward:
            self.scatter_layers(work)
        return DONE

    cdef void clear_grads(self, Workspace *work, double *into) noexcept nogil:
        """Set the grads of invariant values, which are to be in this array, and those of layers to 0."""
        work.grads = into
        memset(into, 0, self.program.invariants * sizeof(double))
        if self.lanes > 1 or self.program.irregular:
            memset(work.weight_grads, 0, (self.program.weight_grads + self.program.biases) * sizeof(double))

    cdef void scatter_layers(self, Workspace *work) noexcept nogil:
        """Add the grads of the layers' weights and biases to those of the invariant values."""
        cdef int i
        for i in range(self.program.layer_count):
            if self.lanes > 1 or not self.program.layers[i].row_step:
                layer_scatter(&self.program.layers[i], work)

    # -- with the GIL

    def run_thread(self):
        """Take chunks, in a thread of its own. Returns at once if its workspace cannot be allocated."""
        cdef Workspace work
        cdef double *workspace = <double *>PyMem_RawMalloc(self.workspace_size * sizeof(double))
        if workspace != NULL:
            self.lay_out(&work, workspace)
            try:
                self.broadcast(&work)
                self.take_chunks(&work)
            finally:
                PyMem_RawFree(workspace)

    cdef int take_chunks(self, Workspace *work) except -1:
        """Compute chunks until there are no more, or one has raised."""
        cdef Py_ssize_t chunk, sample = -1
        cdef Outcome outcome = INTERRUPTED
        try:
            while self.next < self.chunks and not self.raised:
                chunk = self.next
                self.next += 1
                if <double>self.batch.samples * self.sample_cost < BRIEF:
                    outcome = self.run_chunk(work, chunk, &sample)
                else:
                    with nogil:
                        outcome = self.run_chunk(work, chunk, &sample)
                if outcome == DONE and PyErr_CheckSignals():
                    outcome = INTERRUPTED
                if outcome != DONE:
                    raise_error()
        except BaseException as error:
            self.raised.append((outcome, *self.first_error(outcome, sample, error)))
        return 0

    cdef tuple first_error(self, Outcome outcome, Py_ssize_t first, error):
        """The first sample that raises, of a block that begins with `first`, and the error that is raised first in
        eager code: the samples are computed again one by one, in the order of the trace."""
        cdef Replay replay
        cdef Py_ssize_t sample
        if first < 0 or self.program.ordered or not isinstance(error, RULE_ERRORS):
            return first, error
        for sample in range(first, min(first + self.block_samples, self.batch.samples)):
            replay = Replay(self.program.reordered(), self.mode, self.batch.only(sample), self.exact)
            replay.run(1, False)
            for found, _, raised in replay.raised:
                if found == outcome:
                    return sample, raised
        return first, error

    cdef int run(self, int threads, bint raises=True) except -1:
        """Compute all chunks. Raises what the forward pass raised, with the number of the first sample that did."""
        cdef double cost = <double>self.batch.samples * self.sample_cost
        threads = <int>min(<double>min(threads, self.chunks), cost / WORTH_A_THREAD)
        if threads > 1:
            self.run_shared(threads)
        else:
            self.take_chunks(&self.own)
        if self.raised and raises:
            for outcome, sample, error in sorted(self.raised, key=_by_sample):
                if outcome == INTERRUPTED:
                    raise error
                if outcome == FORWARD_RAISED:
                    raise at_sample(error, self.batch, sample) from None
        return 0

    cdef int run_shared(self, int threads) except -1:
        """Compute the chunks in this thread and in others, and wait for these."""
        cdef list others = []
        try:
            others = start_threads(self.run_thread, threads - 1)
            self.take_chunks(&self.own)
        finally:
            self.next = self.chunks
            for lock in others:
                lock.acquire()
        return 0

    cdef double total(self):
        """The sum of the output over all samples: the chunks' sums, added in their order."""
        cdef double total = 0.0
        cdef Py_ssize_t chunk
        for chunk in range(self.chunks):
            total += self.sums(chunk)[0]
        return total

    cdef double *grads(self) noexcept nogil:
        """The grads of the invariant values, of which the captured leaves are the first."""
        return self.shared.invariant + self.program.invariants

    cdef object gradients(self, int threads):
        """Compute the sum and the grads. Returns the exception of a rule in the backward pass, or None: eager code
        would raise it in backward(), after the forward pass of all samples."""
        cdef Replay forward
        cdef Py_ssize_t chunk
        self.run(threads)
        if not self.raised:
            self.add_chunks()
        if not self.raised:
            return None
        forward = Replay(self.program, FORWARD, self.batch, self.exact)
        forward.run(threads)
        for chunk in range(self.chunks):
            self.sums(chunk)[0] = forward.sums(chunk)[0]
        _, sample, error = min(self.raised, key=_by_sample)
        return at_sample(error, self.batch, sample)

    cdef int add_chunks(self) except -1:
        """Add up the chunks' grads of invariant values, in the order of chunks, and propagate them to the captured
        leaves."""
        cdef Program program = self.program
        cdef double *grads = self.grads()
        cdef double *found
        cdef Py_ssize_t chunk, i
        cdef Workspace work
        if self.chunks != 1:
            memset(grads, 0, program.invariants * sizeof(double))
        for chunk in range(self.chunks if self.chunks > 1 else 0):
            found = self.chunk_grads(chunk)
            for i in range(program.invariants):
                grads[i] += found[i]
        if self.chunks and program.prologue.backward.count:
            self.prologue_backward()
        return 0

    cdef int prologue_backward(self) except -1:
        """From the grads of what the prologue computed to those of the captured leaves."""
        cdef Program program = self.program
        cdef Workspace work
        cdef Py_ssize_t i
        cdef int k
        self.invariant_work(&work)
        work.grads = self.grads()
        for i in range(2 * program.invariants, program.prologue.slots):
            self.shared.invariant[i] = 0.0
        if program.irregular:
            memset(work.weight_grads, 0, (program.weight_grads + program.biases) * sizeof(double))
        if steps_backward(&program.prologue.backward, &self.shared, &work, 1, 1):
            for k in range(program.layer_count):
                if program.layers[k].in_prologue and not program.layers[k].row_step:
                    layer_scatter(&program.layers[k], &work)
            return 0
        try:
            raise_error()
        except BaseException as error:
            self.raised.append((BACKWARD_RAISED, -1, self.first_in_prologue(error)))
        return 0

    cdef object first_in_prologue(self, error):
        """The error that is raised first in eager code, instead of one that the prologue has raised backward."""
        cdef Replay replay
        if self.program.ordered or not isinstance(error, RULE_ERRORS):
            return error
        replay = Replay(self.program.reordered(), self.mode, self.batch, self.exact)
        replay.gradients(1)
        return replay.raised[0][2] if replay.raised else error

    # -- a batch of one sample

    cdef int sample_forward(self) except -1:
        """Compute the outputs, which are then in their slots."""
        cdef double total = 0.0
        cdef Outcome outcome
        self.backward = False
        with nogil:
            outcome = self.run_block(&self.own, 0, 1, &total)
        if outcome != DONE:
            self.raise_sample(outcome)
        return 0

    cdef int raise_sample(self, Outcome outcome) except -1:
        """Raise what a rule has raised, or what another raises before it in eager code."""
        try:
            raise_error()
        except Exception as error:
            raise self.first_error(outcome, 0, error)[1] from None

    cdef object sample_backward(self, Py_ssize_t output):
        """Compute the grads of one output: grads() has them, those of arguments are in their slots. Returns the
        exception of a rule, or None."""
        cdef Program program = self.program
        cdef Workspace *work = &self.own
        cdef Py_ssize_t i
        cdef bint sound
        for i in range(len(program.outputs)):
            self.seeds[i] = i == output
        self.clear_grads(work, self.chunk_grads(0))
        with nogil:
            sound = steps_backward(&self.plan.backward, &self.shared, work, 1, 1)
            if sound:
                self.scatter_layers(work)
        if not sound:
            try:
                self.raise_sample(BACKWARD_RAISED)
            except BaseException as error:
                return error
        self.add_chunks()
        return self.raised.pop()[2] if self.raised else None


cdef list start_threads(target, Py_ssize_t count):
    """Start up to `count` threads, as many as the system allows. Returns a lock for each, which it releases at its end.
    `threading` would wait until each runs, a tenth of a millisecond."""
    from _thread import allocate_lock, start_new_thread

    cdef list locks = []
    while len(locks) < count:
        try:
            lock = allocate_lock()  # it raises RuntimeError, too, where memory is out
            lock.acquire()
            start_new_thread(_run_locked, (target, lock))
        except RuntimeError:
            break
        locks.append(lock)
    return locks


def _run_locked(target, lock):
    try:
        target()
    finally:
        lock.release()


def _by_sample(raised):
    """The order in which errors are raised: interrupts first, then by the sample."""
    return raised[0] != INTERRUPTED, raised[1]


cdef object at_sample(error, Batch batch, Py_ssize_t sample):
    """The error with the number of the sample in its message, if a rule raised it: the number in the batch that was
    given, which becomes `batch.failed`."""
    if sample < 0 or not isinstance(error, RULE_ERRORS):
        return error
    batch.failed = batch.place(sample)
    return type(error)(f"sample {batch.failed}: {error}")
