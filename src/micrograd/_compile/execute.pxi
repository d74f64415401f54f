# A program replayed: blocks of rows, a lane a row, that belong to chunks, whose sums and gradients are added up in the
# order of the rows, whoever computed them. Gives Replay. Uses Program, Plan, Batch, and the steps of kernels.

cdef enum:
    WORKING_SET = 32768   # bytes of slots that a block should fit into
    LEAST_LANES = 16
    MOST_LANES = 128
    CHUNKS = 64           # at most, whatever the rows, and so
    CHUNK_ROWS = 256      # at least
    LINE = 8              # doubles in a line of the cache, at which slots begin
    STEP_COST = 16        # of a step on a lane, in multiplications
    SIGNAL_CHECK = 1 << 24    # as many are some ms
    WORTH_A_THREAD = 1 << 21  # as many are what it takes to start a thread, 0.1 to 0.2 ms
    BRIEF = 1 << 14           # as many are some us: too few to let other threads have the GIL and wait for it


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
    """One replay of a program over a batch: what its threads share, and what comes of it."""

    cdef Program program
    cdef Plan plan
    cdef Batch batch
    cdef Shared shared
    cdef double *memory
    cdef double *seeds
    cdef double *out             # rows x outputs, where these are asked for
    cdef object out_owner        # whose memory that is: a thread may write to it after its caller was interrupted
    cdef double *partials        # of each chunk its sum and the grads of uniform values
    cdef bint backward
    cdef Py_ssize_t lanes        # of a slot
    cdef Py_ssize_t stride       # from one slot to the next
    cdef Py_ssize_t room         # doubles that a thread needs
    cdef Work own                # of the thread that calls; its room is in `memory`
    cdef Py_ssize_t block_rows
    cdef Py_ssize_t chunk_rows
    cdef Py_ssize_t chunks
    cdef Py_ssize_t row_cost     # in multiplications
    cdef Py_ssize_t next         # the chunk to be computed next
    cdef list raised             # (outcome, row, exception)

    def __cinit__(self, Program program, int mode, Batch batch):
        cdef Py_ssize_t i, fitting, rows, doubles
        cdef int u = program.uniforms
        if not 0 <= mode < MODES:
            raise ValueError(f"no mode {mode}")
        if batch.count != program.trace.arguments:
            raise ValueError(f"a program of {program.trace.arguments} arguments is given {batch.count}")
        self.program = program
        self.plan = program.plan(mode)
        self.batch = batch
        self.backward = mode != FORWARD
        fitting = WORKING_SET // (max(self.plan.slots, 1) * sizeof(double)) // TILE * TILE
        self.block_rows = min(max(fitting, LEAST_LANES), MOST_LANES)
        self.chunk_rows = max(CHUNK_ROWS, batch.rows // CHUNKS + (batch.rows % CHUNKS != 0))
        self.chunks = batch.rows // self.chunk_rows + (batch.rows % self.chunk_rows != 0)
        rows = min(self.chunk_rows, batch.rows)
        self.lanes = 1 if rows == 1 else (min(self.block_rows, rows) + TILE - 1) // TILE * TILE
        self.stride = self.lanes
        if self.lanes > 1 and self.lanes // TILE % 2 == 0:
            self.stride += TILE  # rows of slots an even number of cache lines apart would share few sets of the cache
        self.room = (LINE + self.plan.slots * self.stride + program.grads + program.starts
                     + program.pitch * self.lanes + <Py_ssize_t>program.widest)
        self.row_cost = program.weights + STEP_COST * self.plan.steps
        self.raised = []
        # Each term is a product of two ints at most, so that the sum of them cannot wrap; times eight it could.
        doubles = (2 * <Py_ssize_t>u + 2 * program.weights + program.starts + len(program.outputs)
                   + self.chunks * (1 + <Py_ssize_t>u) + self.room)
        if doubles > PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(double):
            raise MemoryError
        self.memory = <double *>PyMem_Malloc(doubles * sizeof(double))
        if self.memory == NULL:
            raise MemoryError
        self.shared.layers = program.layers
        self.shared.uniform = self.memory
        self.shared.weights = self.shared.uniform + 2 * u
        self.shared.turned = self.shared.weights + program.weights
        self.shared.starts = self.shared.turned + program.weights
        self.seeds = self.shared.starts + program.starts
        self.partials = self.seeds + len(program.outputs)
        for i in range(len(program.outputs)):
            self.seeds[i] = 1.0
        self.lay_out(&self.own, self.partials + self.chunks * (1 + u))
        if batch.rows:
            self.compute_uniforms()
            self.splat(&self.own)

    cdef int compute_uniforms(self) except -1:
        """What does not vary from row to row: read the captured leaves, compute what depends on them alone, and lay the
        weights of layers out."""
        cdef Program program = self.program
        cdef tuple captured = program.trace.captured
        cdef PyObject **leaves = tuple_items(<PyObject *>captured)
        cdef double *uniform = self.shared.uniform
        cdef Work work
        cdef Py_ssize_t i, count = len(captured)
        cdef int k
        for i in range(count):
            uniform[i] = node_of(leaves[i]).data
        for i in range(program.constants.count):
            uniform[program.constants.words[i]] = program.numbers[i]
        if program.once.forward.count:
            self.uniform_work(&work)
            if not steps_forward(&program.once.forward, &self.shared, &work, 1, 1):
                own(NULL)
        for k in range(program.layer_count):
            layer_lay_out(&program.layers[k], &self.shared)
        for i in range(self.plan.turned.count):
            layer_turn(&program.layers[self.plan.turned.words[i]], &self.shared)
        return 0

    cdef void uniform_work(self, Work *work) noexcept:
        """The uniform values as slots of one lane."""
        work.base = self.shared.uniform
        work.stride = 1
        work.lanes = lanes_of(1)
        work.scratch = self.own.scratch

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef void lay_out(self, Work *work, double *room) noexcept:
        """Where in its room a thread finds what."""
        cdef Program program = self.program
        work.base = <double *>(<size_t>(room + LINE - 1) & ~<size_t>(LINE * sizeof(double) - 1))
        work.stride = self.stride
        work.weights = work.base + self.plan.slots * self.stride
        work.starts = work.weights + program.grads
        work.packed = work.starts + program.starts
        work.scratch = work.packed + program.pitch * self.lanes
        work.seeds = self.seeds
        work.lanes = lanes_of(self.lanes)

    cdef void splat(self, Work *work) noexcept:
        """What is the same in all lanes."""
        cdef int *splats = self.plan.splats.words
        cdef Py_ssize_t i, j
        cdef double x
        for i in range(0, self.plan.splats.count, 2):
            x = self.shared.uniform[splats[i]] if splats[i] >= 0 else 0.0
            for j in range(self.lanes):
                slot(work, splats[i + 1])[j] = x

    # -- without the GIL

    cdef Outcome run_block(self, Work *work, Py_ssize_t first, Py_ssize_t live, double *total) noexcept nogil:
        """Rows from `first` on, `live` of them."""
        cdef Py_ssize_t width = (live + TILE - 1) // TILE * TILE if work.stride > 1 else 1
        cdef Py_ssize_t i, outputs = self.plan.outputs.count
        cdef int *load = self.plan.loads.words
        cdef int j
        cdef double *into
        cdef const double *column
        cdef Py_ssize_t step
        for j in range(0, self.plan.loads.count, 2):
            into = slot(work, load[j + 1])
            step = self.batch.steps[load[j]]
            column = self.batch.columns[load[j]] + first * step
            for i in range(live):
                into[i] = column[i * step]
            clear_dead(into, live, width)
        if not steps_forward(&self.plan.forward, &self.shared, work, live, width):
            return FORWARD_RAISED
        if self.out != NULL:
            for j in range(outputs):
                for i in range(live):
                    self.out[(first + i) * outputs + j] = slot(work, self.plan.outputs.words[j])[i]
        if outputs == 1:
            total[0] += lane_total(work, self.plan.outputs.words[0], live)
        if self.backward and not steps_backward(&self.plan.backward, &self.shared, work, live, width):
            return BACKWARD_RAISED
        return DONE

    cdef Outcome run_chunk(self, Work *work, Py_ssize_t chunk, Py_ssize_t *failed) noexcept nogil:
        """The rows of a chunk, block by block; its sum and grads go to its place in `partials`. `failed` becomes the
        first row that raises."""
        cdef Py_ssize_t first = chunk * self.chunk_rows
        cdef Py_ssize_t end = first + min(self.chunk_rows, self.batch.rows - first)
        cdef Py_ssize_t live, work_done = 0
        cdef double *partial = self.partials + chunk * (1 + self.program.uniforms)
        cdef Outcome outcome
        work.grads = partial + 1
        memset(partial, 0, (1 + self.program.uniforms) * sizeof(double))
        memset(work.weights, 0, (self.program.grads + self.program.starts) * sizeof(double))
        while first < end:
            live = min(self.block_rows, end - first)
            outcome = self.run_block(work, first, live, partial)
            if outcome != DONE:
                failed[0] = self.find_row(work, first, live, outcome)
                return outcome
            first += live
            work_done += live * self.row_cost
            if work_done > SIGNAL_CHECK:
                work_done = 0
                if interrupted():
                    return INTERRUPTED
        if self.backward:
            self.spread_layers(work)
        return DONE

    cdef Py_ssize_t find_row(self, Work *work, Py_ssize_t first, Py_ssize_t live, Outcome outcome) noexcept nogil:
        """The first row of a block to raise, which runs again row by row: eager code would have met that row first."""
        cdef Py_ssize_t row
        cdef double total = 0.0
        if live > 1:
            for row in range(first, first + live):
                with gil:
                    PyErr_Clear()
                if self.run_block(work, row, 1, &total) == outcome:
                    return row
        return first

    cdef void spread_layers(self, Work *work) noexcept nogil:
        cdef int i
        for i in range(self.program.layer_count):
            layer_spread(&self.program.layers[i], work)

    # -- with the GIL

    def work(self):
        """What a thread does that shares the chunks. One for which there is no memory leaves them to the others."""
        cdef Work work
        cdef double *room = <double *>PyMem_RawMalloc(self.room * sizeof(double))
        if room != NULL:
            self.lay_out(&work, room)
            try:
                self.splat(&work)
                self.take_chunks(&work)
            finally:
                PyMem_RawFree(room)

    cdef int take_chunks(self, Work *work) except -1:
        """Compute chunks until there are no more, or one has raised."""
        cdef Py_ssize_t chunk, row = -1
        cdef Outcome outcome = INTERRUPTED
        try:
            while self.next < self.chunks and not self.raised:
                chunk = self.next
                self.next += 1
                if <double>self.batch.rows * self.row_cost < BRIEF:
                    outcome = self.run_chunk(work, chunk, &row)
                else:
                    with nogil:
                        outcome = self.run_chunk(work, chunk, &row)
                if outcome == DONE and PyErr_CheckSignals():
                    outcome = INTERRUPTED
                if outcome != DONE:
                    own(NULL)
        except BaseException as error:
            self.raised.append((outcome, row, error))
        return 0

    cdef int run(self, int threads) except -1:
        """Compute all chunks. Raises what a row raised going forward, with the number of the first such row."""
        threads = <int>min(<double>min(threads, self.chunks), <double>self.batch.rows * self.row_cost / WORTH_A_THREAD)
        if threads > 1:
            self.run_shared(threads)
        else:
            self.take_chunks(&self.own)
        if self.raised:
            for outcome, row, error in sorted(self.raised, key=_by_row):
                if outcome == INTERRUPTED:
                    raise error
                if outcome == FORWARD_RAISED:
                    raise at_row(error, row) from None
        return 0

    cdef int run_shared(self, int threads) except -1:
        cdef list others = []
        try:
            others = start_threads(self.work, threads - 1)
            self.take_chunks(&self.own)
        finally:
            self.next = self.chunks
            for lock in others:
                lock.acquire()
        return 0

    cdef double total(self):
        """The sum of the output over all rows: of the chunks' sums, in their order."""
        cdef double total = 0.0
        cdef Py_ssize_t chunk
        for chunk in range(self.chunks):
            total += self.partials[chunk * (1 + self.program.uniforms)]
        return total

    cdef double *grads(self) noexcept:
        """Of the uniform values, of which the captured leaves are the first."""
        return self.shared.uniform + self.program.uniforms

    cdef object gradients(self, int threads):
        """Compute the sum and the grads. Returns what a rule raised on the way back: eager code would raise it in
        backward(), once all rows have gone forward."""
        cdef Replay forward
        self.run(threads)
        if not self.raised:
            self.add_partials()
        if not self.raised:
            return None
        forward = Replay(self.program, FORWARD, self.batch)
        forward.run(threads)
        for chunk in range(self.chunks):
            self.partials[chunk * (1 + self.program.uniforms)] = forward.partials[chunk * (1 + self.program.uniforms)]
        _, row, error = min(self.raised, key=_by_row)
        return at_row(error, row)

    cdef int add_partials(self) except -1:
        """Add up the grads of uniform values that chunks have found, in the order of the chunks, and send them on to
        the captured leaves."""
        cdef Program program = self.program
        cdef double *grads = self.grads()
        cdef double *partial = self.partials + 1
        cdef Py_ssize_t i
        cdef Work work
        memset(grads, 0, program.uniforms * sizeof(double))
        for _ in range(self.chunks):
            for i in range(program.uniforms):
                grads[i] += partial[i]
            partial += 1 + program.uniforms
        self.uniform_work(&work)
        if self.chunks and not steps_backward(&program.once.backward, &self.shared, &work, 1, 1):
            try:
                own(NULL)
            except BaseException as error:
                self.raised.append((BACKWARD_RAISED, -1, error))
        return 0

    # -- a batch of one row

    cdef int row_forward(self) except -1:
        cdef double total = 0.0
        cdef Outcome outcome
        self.backward = False
        with nogil:
            outcome = self.run_block(&self.own, 0, 1, &total)
        if outcome != DONE:
            own(NULL)
        return 0

    cdef object row_backward(self, Py_ssize_t output):
        """The grads of one output: as gradients() leaves them, those of arguments in their
        slots. Returns what a rule raised."""
        cdef Program program = self.program
        cdef Work *work = &self.own
        cdef Py_ssize_t i
        cdef bint sound
        for i in range(len(program.outputs)):
            self.seeds[i] = i == output
        work.grads = self.partials + 1
        memset(work.grads, 0, program.uniforms * sizeof(double))
        memset(work.weights, 0, (program.grads + program.starts) * sizeof(double))
        with nogil:
            sound = steps_backward(&self.plan.backward, &self.shared, work, 1, 1)
            if sound:
                self.spread_layers(work)
        if not sound:
            try:
                own(NULL)
            except BaseException as error:
                return error
        self.add_partials()
        return self.raised.pop()[2] if self.raised else None


cdef list start_threads(target, Py_ssize_t count):
    """As many threads as the system gives, up to a count: for each a lock that it lets go of at its end. (Those of
    `threading` are waited for until they run, a tenth of a millisecond each.)"""
    from _thread import allocate_lock, start_new_thread

    cdef list locks = []
    while len(locks) < count:
        lock = allocate_lock()
        lock.acquire()
        try:
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


def _by_row(raised):
    return raised[0] != INTERRUPTED, raised[1]


cdef object at_row(error, row):
    """The error of a rule, with the number of the row in its text."""
    if row < 0 or not isinstance(error, (ArithmeticError, ValueError)):
        return error
    return type(error)(f"row {row}: {error}")
