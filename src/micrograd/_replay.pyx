# Replaying a program: its steps run over blocks of rows, a lane a row, without the GIL. Blocks belong to chunks, whose
# sums and gradients are added up in the order of the rows, whoever computed them.

import functools

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from libc.string cimport memcpy, memset
from micrograd._batch cimport Batch, form_of
from micrograd._core cimport Value
from micrograd._cpython cimport Py_INCREF, PyErr_CheckSignals, PyErr_Clear, PyErr_Occurred, PyList_GET_ITEM, own
from micrograd._graph cimport RULES
from micrograd._node cimport BLOCK, INHERITED, TRACED, Block, Node, node_of, object_of
from micrograd._ops cimport ADD, LINEAR, MUL, NEG, NO_OP, PRODUCT, RELU, SUB, SUM, Partial, op_reduce
from micrograd._program cimport (ALL, APPLY, BACK_APPLY, BACK_DOTS, BACK_LAYER, BACK_REDUCE, CAPTURED_ONLY,
                                 DOTS, FORWARD, INPUTS, LAYER, SEED, TILE, WEIGHTS, Code, Layer, Plan, Program)
from micrograd._slab cimport result_new


cdef extern from "_lanes.h" nogil:
    ctypedef struct Lanes:
        const char *name
        void (*add)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*sub)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*mul)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*neg)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*relu)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*back_linear)(double *d, double slope, const double *g, int add, Py_ssize_t width) noexcept nogil
        void (*back_product)(double *d, const double *x, const double *g, int add, Py_ssize_t width) noexcept nogil
        void (*back_relu)(double *d, const double *r, const double *g, int add, Py_ssize_t width) noexcept nogil
        void (*dots)(double *base, Py_ssize_t stride, const int *slots, int count, Py_ssize_t width) noexcept nogil
        void (*back_dots)(double *base, Py_ssize_t stride, const int *slots, int count, const int *adds,
                          Py_ssize_t width) noexcept nogil
        void (*sum)(double *base, Py_ssize_t stride, const int *slots, int count, Py_ssize_t width) noexcept nogil
        void (*layer)(double *base, Py_ssize_t stride, const int *out, int outputs, const int *into, int inputs,
                      const double *w, const double *numbers, const int *starts, Py_ssize_t width) noexcept nogil
        void (*pack)(const double *base, Py_ssize_t stride, const int *slots, int count, double *packed,
                     Py_ssize_t pitch, Py_ssize_t live) noexcept nogil
        void (*outer)(const double *base, Py_ssize_t stride, const int *slots, int count, const double *packed,
                      Py_ssize_t pitch, double *w, Py_ssize_t live) noexcept nogil
        double (*total)(const double *g, Py_ssize_t width) noexcept nogil
    const Lanes lanes_one
    const Lanes *const *lanes_variants()

cdef enum:
    WORKING_SET = 32768   # bytes of slots that a block should fit into
    LEAST_LANES = 16
    MOST_LANES = 128
    CHUNKS = 64           # at most, whatever the rows, and so
    CHUNK_ROWS = 256      # at least

cdef const Lanes *best = lanes_variants()[0]


def variants():
    """The names of the loops that this machine can run, the one in use by default first."""
    cdef list names = []
    cdef const Lanes *const *found = lanes_variants()
    while found[len(names)] != NULL:
        names.append(found[len(names)].name.decode())
    return names


def use_variant(str name):
    """Use other loops, for tests. Raises ValueError where there are none of that name."""
    global best
    names = variants()
    if name not in names:
        raise ValueError(f"no variant {name!r} here, only {', '.join(names)}")
    best = lanes_variants()[<Py_ssize_t>names.index(name)]


cdef struct Work:         # what a thread works on
    double *base          # slots
    Py_ssize_t stride
    double *weights       # grads of layers' weights
    double *starts        # grads of layers' starts
    double *packed        # slots side by side, lane after lane
    double *scratch       # arguments of an op of any number of them
    double *grads         # grads of uniform values, of the chunk at hand
    double *seeds         # the grad of each output
    const Lanes *lanes


cdef struct Shared:       # what all threads of a call read
    double *uniform       # values, and then their grads
    double *weights       # of layers, outputs x inputs
    double *turned        # of layers, inputs x outputs
    double *starts        # of layers
    Layer *layers


cdef bint interrupted() noexcept nogil:
    with gil:
        return PyErr_CheckSignals() != 0


cdef bint raised() noexcept nogil:
    with gil:
        return PyErr_Occurred() != NULL


cdef inline double *slot(Work *work, int i) noexcept nogil:
    return work.base + i * work.stride


cdef inline void clear_dead(double *x, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """Lanes past the last row are computed with the others and never looked at. What loops over lanes leave out is
    cleared, so that they hold numbers; and before a sum over all lanes, in which they have to be 0."""
    cdef Py_ssize_t i
    for i in range(live, width):
        x[i] = 0.0


cdef double lane_total(Work *work, int i, Py_ssize_t live) noexcept nogil:
    cdef double *x = slot(work, i)
    cdef Py_ssize_t whole = live - live % TILE
    cdef double total = work.lanes.total(x, whole) if whole else 0.0
    for i in range(whole, live):
        total += x[i]
    return total


# ---- Steps ---------------------------------------------------------------------------------------

cdef bint apply(Work *work, int op, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef double *r = slot(work, s[0])
    cdef double *a = slot(work, s[1])
    cdef double *b = slot(work, s[2])
    cdef Py_ssize_t i
    if op == ADD:
        work.lanes.add(r, a, b, width)
    elif op == SUB:
        work.lanes.sub(r, a, b, width)
    elif op == MUL:
        work.lanes.mul(r, a, b, width)
    elif op == NEG:
        work.lanes.neg(r, a, width)
    elif op == RELU:
        work.lanes.relu(r, a, width)
    else:
        for i in range(live):
            r[i] = RULES[op].forward(a[i], b[i])
            if r[i] != r[i] and raised():
                return False
        clear_dead(r, live, width)
    return True


cdef void reduce(Work *work, int op, int *s, int count, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i
    cdef int j
    if op == SUM:
        work.lanes.sum(work.base, work.stride, s, count, width)
        return
    for i in range(live):
        for j in range(1, count):
            work.scratch[j - 1] = slot(work, s[j])[i]
        slot(work, s[0])[i] = op_reduce(op)(work.scratch, count - 1)
    clear_dead(slot(work, s[0]), live, width)


cdef bint steps_forward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """False with an exception set where a rule raises."""
    cdef int *word = code.words
    cdef int *end = word + code.count
    cdef int *header
    cdef int *s
    cdef Layer *layer
    cdef int kind, count
    while word < end:
        kind = word[0]
        header = word + 3
        s = header + word[1]
        count = word[2]
        word = s + count
        if kind == APPLY:
            if not apply(work, header[0], s, live, width):
                return False
        elif kind == LAYER:
            layer = &shared.layers[header[0]]
            work.lanes.layer(work.base, work.stride, s, header[1], s + header[1], header[2],
                             shared.weights + layer.place, NULL if header[3] else shared.starts + layer.start,
                             s + header[1] + header[2], width)
        elif kind == DOTS:
            work.lanes.dots(work.base, work.stride, s, count, width)
        else:
            reduce(work, header[0], s, count, live, width)
    return True


cdef bint back_apply(Work *work, int *header, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef int op = header[0], add = header[2]
    cdef double *d = slot(work, s[0])
    cdef double *g = slot(work, s[1])
    cdef double *a = slot(work, s[2])
    cdef double *b = slot(work, s[3])
    cdef double *r = slot(work, s[4])
    cdef Partial partial = RULES[op].d_right if header[1] else RULES[op].d_left
    cdef Py_ssize_t i
    cdef double sent
    if RULES[op].shape == LINEAR:
        work.lanes.back_linear(d, partial(0.0, 0.0, 0.0, 1.0), g, add, width)
    elif RULES[op].shape == PRODUCT:
        work.lanes.back_product(d, a if header[1] else b, g, add, width)
    elif op == RELU:
        work.lanes.back_relu(d, r, g, add, width)
    else:
        for i in range(live):
            sent = partial(a[i], b[i], r[i], g[i])
            if sent != sent and raised():
                return False
            d[i] = d[i] + sent if add else sent
        clear_dead(d, live, width)
    return True


cdef void back_reduce(Work *work, int *header, int *s, int count, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef Partial partial = RULES[header[0]].d_left
    cdef bint linear = RULES[header[0]].shape == LINEAR
    cdef double *g = slot(work, s[0])
    cdef double *r = slot(work, s[1])
    cdef double *a
    cdef double *d
    cdef double sent
    cdef Py_ssize_t i
    cdef int j, add
    for j in range(2, count, 2):
        add = header[j // 2]
        a = slot(work, s[j])
        d = slot(work, s[j + 1])
        if linear:
            work.lanes.back_linear(d, partial(0.0, 0.0, 0.0, 1.0), g, add, width)
            continue
        for i in range(live):
            sent = partial(a[i], 0.0, r[i], g[i])
            d[i] = d[i] + sent if add else sent
        clear_dead(d, live, width)


cdef void back_layer(Shared *shared, Work *work, int *header, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], i
    cdef int *into = s + outputs
    cdef int *gains = into + inputs
    cdef double *w = work.weights + layer.grads
    if header[3] & WEIGHTS:
        if layer.turned:
            work.lanes.pack(work.base, work.stride, s, outputs, work.packed, layer.pitch, live)
            work.lanes.outer(work.base, work.stride, into, inputs, work.packed, layer.pitch, w, live)
        else:
            work.lanes.pack(work.base, work.stride, into, inputs, work.packed, layer.pitch, live)
            work.lanes.outer(work.base, work.stride, s, outputs, work.packed, layer.pitch, w, live)
        for i in range(outputs):
            work.starts[layer.start + i] += lane_total(work, s[i], live)
    if header[3] & INPUTS:
        work.lanes.layer(work.base, work.stride, gains, inputs, s, outputs, shared.turned + layer.place, NULL,
                         gains + inputs, width)


cdef bint steps_backward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """False with an exception set where a rule raises."""
    cdef int *word = code.words
    cdef int *end = word + code.count
    cdef int *header
    cdef int *s
    cdef double *g
    cdef Py_ssize_t i
    cdef int kind, count
    while word < end:
        kind = word[0]
        header = word + 3
        s = header + word[1]
        count = word[2]
        word = s + count
        if kind == BACK_APPLY:
            if not back_apply(work, header, s, live, width):
                return False
        elif kind == BACK_LAYER:
            back_layer(shared, work, header, s, live, width)
        elif kind == BACK_DOTS:
            work.lanes.back_dots(work.base, work.stride, s, count, header, width)
        elif kind == BACK_REDUCE:
            back_reduce(work, header, s, count, live, width)
        elif kind == SEED:
            g = slot(work, s[0])
            for i in range(width):
                g[i] = work.seeds[header[0]] + (g[i] if header[1] else 0.0)
        else:  # COLLECT
            work.grads[header[0]] += lane_total(work, s[0], live)
    return True


# ---- Blocks and chunks ---------------------------------------------------------------------------

cdef enum Outcome:
    DONE
    FORWARD_RAISED
    BACKWARD_RAISED
    INTERRUPTED

cdef enum:
    SIGNAL_CHECK = 1 << 24  # multiplications, or
    STEP_COST = 16          # as many for a step on a lane: some 10 ms


# In the following what loops read stands in local variables: for all that C knows, the arrays they fill might be it.

cdef void layer_lay_out(Layer *layer, Shared *shared) noexcept:
    cdef double *uniform = shared.uniform
    cdef double *weights = shared.weights + layer.place
    cdef double *starts = shared.starts + layer.start
    cdef int *places = layer.weights
    cdef Py_ssize_t i, count = layer.outputs * layer.inputs
    for i in range(count):
        weights[i] = uniform[places[i]]
    places = layer.starts
    if places != NULL:
        count = layer.outputs
        for i in range(count):
            starts[i] = uniform[places[i]]


cdef void layer_turn(Layer *layer, Shared *shared) noexcept:
    cdef double *weights = shared.weights + layer.place
    cdef double *turned = shared.turned + layer.place
    cdef Py_ssize_t i, j, outputs = layer.outputs, inputs = layer.inputs
    for i in range(outputs):
        for j in range(inputs):
            turned[j * outputs + i] = weights[i * inputs + j]


cdef void layer_spread(Layer *layer, Work *work) noexcept nogil:
    """Add the grads of weights and starts to those of the uniform values that these are."""
    cdef double *grads = work.grads
    cdef double *found = work.weights + layer.grads
    cdef int *places = layer.weights
    cdef Py_ssize_t i, j, outputs = layer.outputs, inputs = layer.inputs
    cdef Py_ssize_t by_output = 1 if layer.turned else layer.pitch
    cdef Py_ssize_t by_input = layer.pitch if layer.turned else 1
    for i in range(outputs):
        for j in range(inputs):
            grads[places[j]] += found[i * by_output + j * by_input]
        places += inputs
    places = layer.starts
    found = work.starts + layer.start
    if places != NULL:
        for i in range(outputs):
            grads[places[i]] += found[i]


@cython.final
cdef class Call:
    """One call of a program: what its threads share, and what comes of it."""

    cdef Program program
    cdef Plan plan
    cdef Batch batch
    cdef Shared shared
    cdef double *memory
    cdef double *seeds
    cdef double *scratch
    cdef double *out             # rows x outputs, where these are asked for
    cdef object out_owner        # whose memory that is: a thread may write to it after its caller was interrupted
    cdef double *partials        # of each chunk its sum and the grads of uniform values
    cdef bint backward
    cdef Py_ssize_t block_rows
    cdef Py_ssize_t chunk_rows
    cdef Py_ssize_t chunks
    cdef Py_ssize_t next         # the chunk to be computed next
    cdef list raised             # (outcome, row, exception)

    def __cinit__(self, Program program, int mode, Batch batch):
        cdef Py_ssize_t i, lanes
        cdef int u = program.uniforms
        self.program = program
        self.plan = program.plan(mode)
        self.batch = batch
        self.backward = mode != FORWARD
        lanes = WORKING_SET // (max(self.plan.slots, 1) * sizeof(double)) // TILE * TILE
        self.block_rows = min(max(lanes, LEAST_LANES), MOST_LANES)
        self.chunk_rows = max(CHUNK_ROWS, (batch.rows + CHUNKS - 1) // CHUNKS)
        self.chunks = (batch.rows + self.chunk_rows - 1) // self.chunk_rows
        self.raised = []
        self.memory = <double *>PyMem_Malloc(
            (2 * u + 2 * program.weights + program.starts + len(program.outputs) + self.chunks * (1 + u)
             + program.widest)
            * sizeof(double))
        if self.memory == NULL:
            raise MemoryError
        self.shared.layers = program.layers
        self.shared.uniform = self.memory
        self.shared.weights = self.shared.uniform + 2 * u
        self.shared.turned = self.shared.weights + program.weights
        self.shared.starts = self.shared.turned + program.weights
        self.seeds = self.shared.starts + program.starts
        self.scratch = self.seeds + len(program.outputs)
        self.partials = self.scratch + program.widest
        for i in range(len(program.outputs)):
            self.seeds[i] = 1.0
        if batch.rows:
            self.compute_uniforms()

    cdef int compute_uniforms(self) except -1:
        """What does not vary from row to row: read the captured leaves, compute what depends on them alone, and lay the
        weights of layers out."""
        cdef Program program = self.program
        cdef list captured = program.trace.captured
        cdef double *uniform = self.shared.uniform
        cdef Work work
        cdef Py_ssize_t i
        cdef int k
        for i in range(len(captured)):
            uniform[i] = node_of(PyList_GET_ITEM(<PyObject *>captured, i)).data
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
        work.lanes = &lanes_one
        work.scratch = self.scratch

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef Work *work_new(self, Py_ssize_t lanes) except NULL:
        """Room for a thread, with what is the same in all lanes in place."""
        cdef Program program = self.program
        cdef Py_ssize_t i, j, stride = lanes
        cdef int *splats = self.plan.splats.words
        cdef Work *work
        cdef double x
        if lanes > 1 and lanes // TILE % 2 == 0:
            stride += TILE  # rows of slots an even number of cache lines apart would share few sets of the cache
        work = <Work *>PyMem_RawMalloc(sizeof(Work) + 64 + (
            self.plan.slots * stride + program.grads + program.starts + program.pitch * lanes + program.widest)
            * sizeof(double))
        if work == NULL:
            raise MemoryError
        work.base = <double *>((<size_t>(work + 1) + 63) & ~<size_t>63)
        work.stride = stride
        work.weights = work.base + self.plan.slots * stride
        work.starts = work.weights + program.grads
        work.packed = work.starts + program.starts
        work.scratch = work.packed + program.pitch * lanes
        work.seeds = self.seeds
        work.lanes = best if lanes > 1 else &lanes_one
        for i in range(0, self.plan.splats.count, 2):
            x = self.shared.uniform[splats[i]] if splats[i] >= 0 else 0.0
            for j in range(lanes):
                slot(work, splats[i + 1])[j] = x
        return work

    # -- without the GIL

    cdef Outcome run_block(self, Work *work, Py_ssize_t first, Py_ssize_t live, double *total) noexcept nogil:
        """Rows from `first` on, `live` of them."""
        cdef Py_ssize_t width = (live + TILE - 1) // TILE * TILE if work.lanes != &lanes_one else 1
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
        cdef Py_ssize_t end = min(first + self.chunk_rows, self.batch.rows)
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
            work_done += live * (self.program.weights + STEP_COST * self.plan.steps)
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

    cdef Py_ssize_t lanes(self):
        cdef Py_ssize_t rows = min(self.chunk_rows, self.batch.rows)
        return 1 if rows == 1 else (min(self.block_rows, rows) + TILE - 1) // TILE * TILE

    def work(self):
        """Take chunks and compute them until there are no more, or one has raised."""
        cdef Work *work = NULL
        cdef Py_ssize_t chunk, row = -1
        cdef Outcome outcome = INTERRUPTED
        try:
            work = self.work_new(self.lanes())
            while self.next < self.chunks and not self.raised:
                chunk = self.next
                self.next += 1
                with nogil:
                    outcome = self.run_chunk(work, chunk, &row)
                if outcome == DONE and PyErr_CheckSignals():
                    outcome = INTERRUPTED
                if outcome != DONE:
                    own(NULL)
        except BaseException as error:
            self.raised.append((outcome, row, error))
        finally:
            PyMem_RawFree(work)

    cdef int run(self, int threads) except -1:
        """Compute all chunks. Raises what a row raised going forward, with the number of the first such row."""
        cdef list others = []
        try:
            if threads > 1 and self.chunks > 1:
                others = start_threads(self.work, min(threads, self.chunks) - 1)
            self.work()
        finally:
            self.next = self.chunks
            for thread in others:
                thread.join()
        for outcome, row, error in sorted(self.raised, key=_by_row):
            if outcome == INTERRUPTED:
                raise error
            if outcome == FORWARD_RAISED:
                raise at_row(error, row) from None
        return 0

    cdef double total(self):
        """The sum of the output over all rows: of the chunks' sums, in their order."""
        cdef double total = 0.0
        cdef Py_ssize_t chunk
        for chunk in range(self.chunks):
            total += self.partials[chunk * (1 + self.program.uniforms)]
        return total

    cdef object gradients(self, int threads):
        """Compute the sum and the grads of captured leaves, which come to stand behind the uniform values. Returns what
        a rule raised on the way back: eager code would raise it in backward(), once all rows have gone forward."""
        cdef Call forward
        self.run(threads)
        if not self.raised:
            self.add_partials()
        if not self.raised:
            return None
        forward = Call(self.program, FORWARD, self.batch)
        forward.run(threads)
        for chunk in range(self.chunks):
            self.partials[chunk * (1 + self.program.uniforms)] = forward.partials[chunk * (1 + self.program.uniforms)]
        _, row, error = min(self.raised, key=_by_row)
        return at_row(error, row)

    cdef int add_partials(self) except -1:
        """Add up the grads of uniform values that chunks have found, in the order of the chunks, and send them on to
        the captured leaves."""
        cdef Program program = self.program
        cdef double *grads = self.shared.uniform + program.uniforms
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

    cdef list sample(self, list leaves, list values):
        """The outputs of a batch of one row, each a node. Its parents: the captured leaves, and `values`, which are the
        Values among `leaves`."""
        cdef Program program = self.program
        cdef list captured = program.trace.captured, parents = captured + values, nodes = []
        cdef Work *work = self.work_new(1)
        cdef double total = 0.0
        cdef Py_ssize_t i, outputs = len(program.outputs)
        cdef Outcome outcome
        cdef double data
        try:
            self.backward = False
            with nogil:
                outcome = self.run_block(work, 0, 1, &total)
            if outcome != DONE:
                own(NULL)
            for i in range(outputs):
                data = slot(work, self.plan.outputs.words[i])[0]
                nodes.append(self.sample_node(work, i, data, leaves, parents) if parents else Value(data))
        finally:
            PyMem_RawFree(work)
        return nodes

    cdef object sample_node(self, Work *work, Py_ssize_t output, double data, list leaves, list parents):
        cdef Program program = self.program
        cdef Plan plan = self.plan
        cdef Py_ssize_t i, j, captured = len(program.trace.captured)
        cdef bint sound
        cdef double *local
        for i in range(len(program.outputs)):
            self.seeds[i] = i == output
        work.grads = self.partials + 1
        memset(work.grads, 0, program.uniforms * sizeof(double))
        memset(work.weights, 0, (program.grads + program.starts) * sizeof(double))
        with nogil:
            sound = steps_backward(&plan.backward, &self.shared, work, 1, 1)
            if sound:
                self.spread_layers(work)
        if not sound:
            try:
                own(NULL)
            except BaseException as error:
                return node_that_raises(data, parents, error)
        self.add_partials()
        if self.raised:
            return node_that_raises(data, parents, self.raised.pop()[2])
        local = <double *>PyMem_Malloc(max(len(parents), 1) * sizeof(double))
        if local == NULL:
            raise MemoryError
        try:
            memcpy(local, self.shared.uniform + program.uniforms, captured * sizeof(double))
            j = captured
            for i in range(len(leaves)):
                if isinstance(leaves[i], Value):
                    local[j] = 0.0
                    for k in range(0, plan.grads.count, 2):
                        if plan.grads.words[k] == i:
                            local[j] = slot(work, plan.grads.words[k + 1])[0]
                    j += 1
            return node_with_grads(data, parents, local)
        finally:
            PyMem_Free(local)


cdef list start_threads(target, Py_ssize_t count):
    """As many threads as the system gives, up to a count."""
    from threading import Thread

    cdef list threads = []
    while len(threads) < count:
        thread = Thread(target=target, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
    return threads


def _by_row(raised):
    return raised[0] != INTERRUPTED, raised[1]


cdef object at_row(error, row):
    """The error of a rule, with the number of the row in its text."""
    if row < 0 or not isinstance(error, (ArithmeticError, ValueError)):
        return error
    return type(error)(f"row {row}: {error}")


# ---- What a program is called for ----------------------------------------------------------------

cdef object node_with_grads(double data, list parents, const double *local):
    """A node of the eager graph with these parents and d(node)/d(parent)."""
    cdef Py_ssize_t i, count = len(parents)
    cdef int flags = 0
    cdef Block *block = <Block *>PyMem_Malloc(sizeof(Block) + count * (sizeof(Node *) + sizeof(double)))
    cdef Node *n
    if block == NULL:
        raise MemoryError
    block.count = count
    block.local = <double *>(block.parents + count)
    for i in range(count):
        block.parents[i] = node_of(PyList_GET_ITEM(<PyObject *>parents, i))
        block.local[i] = local[i]
        flags |= block.parents[i].flags
    try:
        n = result_new(NO_OP, BLOCK, flags & INHERITED, data)
    except MemoryError:
        PyMem_Free(block)
        raise
    for i in range(count):
        Py_INCREF(object_of(block.parents[i]))
    n.a = NULL
    n.b.block = block
    return own(object_of(n))


def _raise(error):
    raise error


cdef object node_that_raises(double data, list parents, error):
    """A node whose backward raises."""
    value = Value(data, parents)
    value._backward = functools.partial(_raise, error)
    return value


@cython.final
cdef class Traced:
    """What a function was traced to: a program, the form of what it computes, and the places of its captured leaves
    among those of the function."""

    cdef readonly Program program
    cdef readonly object form
    cdef readonly list places

    def __init__(self, Program program, form, list places):
        self.program, self.form, self.places = program, form, places

    def __reduce__(self):
        return Traced, (self.program, self.form, self.places)

    def reduce(self, Batch batch, bint mean, int threads):
        """The sum or mean over the rows, as a node whose parents are the captured leaves."""
        cdef Call call = Call(self.program, CAPTURED_ONLY, batch)
        cdef double scale = 1.0 / batch.rows if mean else 1.0
        cdef list captured = self.program.trace.captured
        call.seeds[0] = scale
        error = call.gradients(threads)
        if error is not None:
            return node_that_raises(call.total() * scale, captured, error)
        if not captured:
            return Value(call.total() * scale)
        return node_with_grads(call.total() * scale, captured, call.shared.uniform + self.program.uniforms)

    def value_and_grad(self, Batch batch, int threads, double[::1] grads):
        """The sum over the rows; `grads` is filled with those of the captured leaves."""
        cdef Call call = Call(self.program, CAPTURED_ONLY, batch)
        cdef Py_ssize_t i
        error = call.gradients(threads)
        if error is not None:
            raise error
        for i in range(len(self.program.trace.captured)):
            grads[i] = call.shared.uniform[self.program.uniforms + i]
        return call.total()

    def map(self, Batch batch, int threads, double[::1] out):
        """The outputs of each row, into `out`, rows x outputs."""
        cdef Call call = Call(self.program, FORWARD, batch)
        if out.shape[0]:
            call.out = &out[0]
            call.out_owner = out
            call.run(threads)

    def sample(self, list leaves):
        """The outputs for one sample, as nodes whose parents are the captured leaves and the Values among `leaves`."""
        cdef list values = [leaf for leaf in leaves if isinstance(leaf, Value)]
        cdef Call call = Call(self.program, ALL if values else CAPTURED_ONLY, Batch.of_sample(leaves))
        return call.sample(leaves, values)


# The ways of a compiled function that are walked again and again; None where it has to be traced first, and in general
# wherever there is more to do.

def known_reduce(dict known, tuple args, bint mean, int threads):
    """The sum or mean over the rows of a batch without keyword arguments."""
    cdef Batch batch = Batch(args)
    cdef Traced traced = known.get((batch.shapes, (), ()))
    if traced is None or traced.form is not None or batch.rows == 0:
        return None
    return traced.reduce(batch, mean, threads)


def known_sample(dict known, tuple args):
    """One Value of a sample without keyword arguments."""
    cdef list leaves = []
    cdef list forms = []
    cdef Py_ssize_t i
    cdef Traced traced
    for i in range(len(args)):
        forms.append(form_of(args[i], leaves, i))
    traced = known.get((tuple(forms), (), ()))
    if traced is None or traced.form is not None:
        return None
    for leaf in leaves:
        if isinstance(leaf, Value) and (<Value>leaf).node.flags & TRACED:
            return None
    return traced.sample(leaves)[0]
