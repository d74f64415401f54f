# Kernels: the steps of a plan, run over the lanes of a block, forward and backward, without the GIL.
#
# Gives Workspace, Shared, steps_forward, steps_backward, functions on slots and lanes (slot, lane_total and others),
# what gathers, transposes and scatters the weights of a layer (layer_*), and variants. Uses program.pxi, plan.pxi, the
# op table, and the loops of lanes.h.

cdef extern from "_compile/lanes.h" nogil:
    struct Lanes:
        const char *name
        void (*add)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*sub)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*mul)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*neg)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*relu)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*back_linear)(double *d, double slope, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*back_product)(double *d, const double *x, const double *g, int accumulate,
                             Py_ssize_t width) noexcept nogil
        void (*back_relu)(double *d, const double *r, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*dots)(double *base, Py_ssize_t stride, const int *slots, int count, Py_ssize_t width) noexcept nogil
        void (*back_dots)(double *base, Py_ssize_t stride, const int *slots, int count, const int *accumulate,
                          Py_ssize_t width) noexcept nogil
        void (*sum)(double *base, Py_ssize_t stride, const int *slots, int count, Py_ssize_t width) noexcept nogil
        void (*layer)(double *base, Py_ssize_t stride, const int *out, int outputs, const int *into, int inputs,
                      const double *w, const double *numbers, const int *biases, Py_ssize_t width) noexcept nogil
        void (*pack)(const double *base, Py_ssize_t stride, const int *slots, int count, double *packed,
                     Py_ssize_t pitch, Py_ssize_t live) noexcept nogil
        void (*outer)(const double *base, Py_ssize_t stride, const int *slots, int count, const double *packed,
                      Py_ssize_t pitch, double *w, Py_ssize_t live) noexcept nogil
        double (*total)(const double *g, Py_ssize_t width) noexcept nogil
    const Lanes lanes_one
    const Lanes *const *lanes_variants()
    enum:
        LANES_TILE "TILE"

static_check(<int>TILE == <int>LANES_TILE)

cdef struct Workspace:     # of a thread
    double *base           # the first slot
    Py_ssize_t stride      # from one slot to the next
    double *weight_grads   # of layers
    double *bias_grads     # of layers
    double *packed         # lanes x slots, for sums over lanes
    double *scratch        # operands of a variadic op
    double *grads          # of invariant values, the sums over the chunk so far
    double *seeds          # the grad of each output, shared by all threads
    const Lanes *lanes

cdef struct Shared:        # what all threads of a call read
    double *invariant      # invariant values, and behind them their grads
    double *weights        # of layers, outputs x inputs
    double *transposed     # of layers, inputs x outputs
    double *biases         # of layers
    Layer *layers


cdef inline double *slot(Workspace *work, int i) noexcept nogil:
    return work.base + i * work.stride


cdef inline void clear_padding(double *x, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """Set the lanes behind the last sample to 0. Nothing reads what is computed there, but loops over vectors compute
    these lanes too, and must not do so from uninitialized memory."""
    cdef Py_ssize_t i
    for i in range(live, width):
        x[i] = 0.0


cdef const Lanes *best = lanes_variants()[0]


def variants():
    """The names of the loops that this machine can run, the one in use by default first."""
    cdef list names = []
    cdef const Lanes *const *found = lanes_variants()
    while found[len(names)] != NULL:
        names.append(found[len(names)].name.decode())
    return names


def use_variant(str name):
    """Use the loops of this name, for tests. Raises ValueError where there are none."""
    global best
    names = variants()
    if name not in names:
        raise ValueError(f"no variant {name!r} here, only {', '.join(names)}")
    best = lanes_variants()[<Py_ssize_t>names.index(name)]


cdef const Lanes *lanes_of(Py_ssize_t width) noexcept nogil:
    """The loops for blocks of this width: 1, or a multiple of TILE."""
    return best if width > 1 else &lanes_one


cdef bint raised() noexcept nogil:
    """Is an exception set? To be asked only where a result is NaN, since it takes the GIL."""
    with gil:
        return PyErr_Occurred() != NULL


cdef double lane_total(Workspace *work, int i, Py_ssize_t live) noexcept nogil:
    """The sum of a slot over the samples."""
    cdef double *x = slot(work, i)
    cdef Py_ssize_t whole = live - live % TILE
    cdef double total = work.lanes.total(x, whole) if whole else 0.0
    for i in range(whole, live):
        total += x[i]
    return total


# ---- Ops that have loops over vectors ------------------------------------------------------------
# The others call their rule for each sample. Only here do kernels know ops by name; the choice of a loop for a gradient
# follows from the op's shape where it can.

cdef inline Partial side_partial(int op, int side) noexcept nogil:
    return RULES[op].d_right if side else RULES[op].d_left


cdef inline bint forward_loop(Workspace *work, int op, double *r, double *a, double *b,
                              Py_ssize_t width) noexcept nogil:
    """Compute r by a loop over vectors. False for an op that has none."""
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
        return False
    return True


cdef inline bint backward_loop(Workspace *work, int op, int side, double *d, double *g, double *a, double *b, double *r,
                               bint accumulate, Py_ssize_t width) noexcept nogil:
    """Compute d, the grad of one operand, by a loop over vectors. False for an op that has none."""
    if RULES[op].shape == LINEAR:
        work.lanes.back_linear(d, side_partial(op, side)(0.0, 0.0, 0.0, 1.0), g, accumulate, width)
    elif RULES[op].shape == PRODUCT:
        work.lanes.back_product(d, a if side else b, g, accumulate, width)
    elif op == RELU:
        work.lanes.back_relu(d, r, g, accumulate, width)
    else:
        return False
    return True


cdef inline bint reduce_loop(Workspace *work, int op, int *s, int count, Py_ssize_t width) noexcept nogil:
    """Compute a variadic op by a loop over vectors. False for an op that has none."""
    if op != SUM:
        return False
    work.lanes.sum(work.base, work.stride, s, count, width)
    return True


# ---- Steps ---------------------------------------------------------------------------------------

cdef struct Step:
    int kind
    int *header
    int *slots
    int count              # of slots


cdef inline int *step_next(int *at, Step *step) noexcept nogil:
    """Read the step at `at`. Returns where the next one is."""
    step.kind = at[0]
    step.header = at + 3
    step.slots = step.header + at[1]
    step.count = at[2]
    return step.slots + step.count


cdef bint apply(Workspace *work, int op, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step APPLY; StepKind has its slots. False with an exception set where the rule raises."""
    cdef double *r = slot(work, s[0])
    cdef double *a = slot(work, s[1])
    cdef double *b = slot(work, s[2])
    cdef Forward forward = RULES[op].forward
    cdef double x
    cdef Py_ssize_t i
    if forward_loop(work, op, r, a, b, width):
        return True
    for i in range(live):
        x = forward(a[i], b[i])
        if x != x and raised():
            return False
        r[i] = x
    clear_padding(r, live, width)
    return True


cdef void reduce(Workspace *work, int op, int *s, int count, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step REDUCE."""
    cdef Py_ssize_t i
    cdef int j
    if reduce_loop(work, op, s, count, width):
        return
    for i in range(live):
        for j in range(1, count):
            work.scratch[j - 1] = slot(work, s[j])[i]
        slot(work, s[0])[i] = RULES[op].reduce(work.scratch, count - 1)
    clear_padding(slot(work, s[0]), live, width)


cdef void run_layer(Shared *shared, Workspace *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    """The step LAYER."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2]
    cdef int *into = s + outputs
    work.lanes.layer(work.base, work.stride, s, outputs, into, inputs, shared.weights + layer.weight_offset,
                     NULL if header[3] else shared.biases + layer.bias_offset, into + inputs, width)


cdef bint steps_forward(IntArray *steps, Shared *shared, Workspace *work, Py_ssize_t live,
                        Py_ssize_t width) noexcept nogil:
    """Run the steps on `live` samples. False with an exception set where a rule raises."""
    cdef int *at = steps.items
    cdef int *end = at + steps.count
    cdef Step step
    while at < end:
        at = step_next(at, &step)
        if step.kind == APPLY:
            if not apply(work, step.header[0], step.slots, live, width):
                return False
        elif step.kind == LAYER:
            run_layer(shared, work, step.header, step.slots, width)
        elif step.kind == DOTS:
            work.lanes.dots(work.base, work.stride, step.slots, step.count, width)
        else:
            reduce(work, step.header[0], step.slots, step.count, live, width)
    return True


cdef bint back_apply(Workspace *work, int *header, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step BACK_APPLY. False with an exception set where the rule raises."""
    cdef int op = header[0], side = header[1], accumulate = header[2]
    cdef double *d = slot(work, s[0])
    cdef double *g = slot(work, s[1])
    cdef double *a = slot(work, s[2])
    cdef double *b = slot(work, s[3])
    cdef double *r = slot(work, s[4])
    cdef Partial partial = side_partial(op, side)
    cdef Py_ssize_t i
    cdef double x
    if backward_loop(work, op, side, d, g, a, b, r, accumulate, width):
        return True
    for i in range(live):
        x = partial(a[i], b[i], r[i], g[i])
        if x != x and raised():
            return False
        d[i] = d[i] + x if accumulate else x
    clear_padding(d, live, width)
    return True


cdef void back_reduce(Workspace *work, int *header, int *s, int count, Py_ssize_t live,
                      Py_ssize_t width) noexcept nogil:
    """The step BACK_REDUCE."""
    cdef int op = header[0]
    cdef Partial partial = side_partial(op, 0)
    cdef double *g = slot(work, s[0])
    cdef double *r = slot(work, s[1])
    cdef double *a
    cdef double *d
    cdef double x
    cdef Py_ssize_t i
    cdef int j, accumulate
    for j in range(2, count, 2):
        accumulate = header[j // 2]
        a = slot(work, s[j])
        d = slot(work, s[j + 1])
        if backward_loop(work, op, 0, d, g, a, a, r, accumulate, width):
            continue
        for i in range(live):
            x = partial(a[i], 0.0, r[i], g[i])
            d[i] = d[i] + x if accumulate else x
        clear_padding(d, live, width)


cdef void back_layer(Shared *shared, Workspace *work, int *header, int *s, Py_ssize_t live,
                     Py_ssize_t width) noexcept nogil:
    """The step BACK_LAYER: weights' grads by `outer`, inputs' grads by `layer` on the transposed weights."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], i
    cdef int *into = s + outputs
    cdef int *targets = into + inputs
    cdef double *w = work.weight_grads + layer.grad_offset
    if header[3] & WEIGHTS:
        if layer.transposed:
            work.lanes.pack(work.base, work.stride, s, outputs, work.packed, layer.pitch, live)
            work.lanes.outer(work.base, work.stride, into, inputs, work.packed, layer.pitch, w, live)
        else:
            work.lanes.pack(work.base, work.stride, into, inputs, work.packed, layer.pitch, live)
            work.lanes.outer(work.base, work.stride, s, outputs, work.packed, layer.pitch, w, live)
        for i in range(outputs):
            work.bias_grads[layer.bias_offset + i] += lane_total(work, s[i], live)
    if header[3] & INPUTS:
        work.lanes.layer(work.base, work.stride, targets, inputs, s, outputs, shared.transposed + layer.weight_offset,
                         NULL, targets + inputs, width)


cdef void seed(Workspace *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    """The step SEED: begin at the grad of an output."""
    cdef double *g = slot(work, s[0])
    cdef Py_ssize_t i
    for i in range(width):
        g[i] = work.seeds[header[0]] + (g[i] if header[1] else 0.0)


cdef bint steps_backward(IntArray *steps, Shared *shared, Workspace *work, Py_ssize_t live,
                         Py_ssize_t width) noexcept nogil:
    """Run the steps on `live` samples. False with an exception set where a rule raises."""
    cdef int *at = steps.items
    cdef int *end = at + steps.count
    cdef Step step
    while at < end:
        at = step_next(at, &step)
        if step.kind == BACK_APPLY:
            if not back_apply(work, step.header, step.slots, live, width):
                return False
        elif step.kind == BACK_LAYER:
            back_layer(shared, work, step.header, step.slots, live, width)
        elif step.kind == BACK_DOTS:
            work.lanes.back_dots(work.base, work.stride, step.slots, step.count, step.header, width)
        elif step.kind == BACK_REDUCE:
            back_reduce(work, step.header, step.slots, step.count, live, width)
        elif step.kind == SEED:
            seed(work, step.header, step.slots, width)
        else:  # COLLECT
            work.grads[step.header[0]] += lane_total(work, step.slots[0], live)
    return True


# ---- Layers --------------------------------------------------------------------------------------

# These loops read fields into local variables, since C has to assume that a store to an array changes fields.

cdef void layer_gather(Layer *layer, Shared *shared) noexcept:
    """Copy weights and biases from the invariant values."""
    cdef double *invariant = shared.invariant
    cdef double *weights = shared.weights + layer.weight_offset
    cdef double *biases = shared.biases + layer.bias_offset
    cdef int *indices = layer.weights
    cdef Py_ssize_t i, count = <Py_ssize_t>layer.outputs * layer.inputs
    for i in range(count):
        weights[i] = invariant[indices[i]]
    indices = layer.biases
    if indices != NULL:
        count = layer.outputs
        for i in range(count):
            biases[i] = invariant[indices[i]]


cdef void layer_transpose(Layer *layer, Shared *shared) noexcept:
    """Transpose the weights that layer_gather() copied."""
    cdef double *weights = shared.weights + layer.weight_offset
    cdef double *transposed = shared.transposed + layer.weight_offset
    cdef Py_ssize_t i, j, outputs = layer.outputs, inputs = layer.inputs
    for i in range(outputs):
        for j in range(inputs):
            transposed[j * outputs + i] = weights[i * inputs + j]


cdef void layer_scatter(Layer *layer, Workspace *work) noexcept nogil:
    """Add the grads of weights and biases to those of the invariant values."""
    cdef double *grads = work.grads
    cdef double *found = work.weight_grads + layer.grad_offset
    cdef int *indices = layer.weights
    cdef Py_ssize_t i, j, outputs = layer.outputs, inputs = layer.inputs
    cdef Py_ssize_t by_output = 1 if layer.transposed else layer.pitch
    cdef Py_ssize_t by_input = layer.pitch if layer.transposed else 1
    for i in range(outputs):
        for j in range(inputs):
            grads[indices[j]] += found[i * by_output + j * by_input]
        indices += inputs
    indices = layer.biases
    found = work.bias_grads + layer.bias_offset
    if indices != NULL:
        for i in range(outputs):
            grads[indices[i]] += found[i]
