# Steps run over the lanes of a block, forward and backward, without the GIL. Gives Work, steps_forward() and
# steps_backward(), the preparation of layers, and variants(). Uses the kinds of steps in plan, and lanes.h.

cdef extern from "_compile/lanes.h" nogil:
    struct Lanes:
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
    enum:
        LANES_TILE "TILE"

static_check(<int>TILE == <int>LANES_TILE)

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


cdef inline double *slot(Work *work, int i) noexcept nogil:
    return work.base + i * work.stride


cdef inline void clear_dead(double *x, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """Lanes past the last row are computed with the others and never looked at. What loops over lanes leave out is
    cleared, so that they hold numbers; and before a sum over all lanes, in which they have to be 0."""
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
    """Use other loops, for tests. Raises ValueError where there are none of that name."""
    global best
    names = variants()
    if name not in names:
        raise ValueError(f"no variant {name!r} here, only {', '.join(names)}")
    best = lanes_variants()[<Py_ssize_t>names.index(name)]


cdef const Lanes *lanes_of(Py_ssize_t width) noexcept nogil:
    """The loops for blocks of this width: 1, or a multiple of TILE."""
    return best if width > 1 else &lanes_one


cdef bint raised() noexcept nogil:
    with gil:
        return PyErr_Occurred() != NULL


cdef double lane_total(Work *work, int i, Py_ssize_t live) noexcept nogil:
    cdef double *x = slot(work, i)
    cdef Py_ssize_t whole = live - live % TILE
    cdef double total = work.lanes.total(x, whole) if whole else 0.0
    for i in range(whole, live):
        total += x[i]
    return total


# ---- Steps ---------------------------------------------------------------------------------------

cdef struct Step:
    int kind
    int *header
    int *slots
    int count             # of slots


cdef inline int *step_next(int *word, Step *step) noexcept nogil:
    """Read the step at `word`. Returns where the next one is."""
    step.kind = word[0]
    step.header = word + 3
    step.slots = step.header + word[1]
    step.count = word[2]
    return step.slots + step.count


cdef bint apply(Work *work, int op, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    cdef double *r = slot(work, s[0])
    cdef double *a = slot(work, s[1])
    cdef double *b = slot(work, s[2])
    cdef Forward forward = RULES[op].forward
    cdef double x
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
            x = forward(a[i], b[i])
            if x != x and raised():
                return False
            r[i] = x
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
        slot(work, s[0])[i] = RULES[op].reduce(work.scratch, count - 1)
    clear_dead(slot(work, s[0]), live, width)


cdef void run_layer(Shared *shared, Work *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2]
    cdef int *into = s + outputs
    work.lanes.layer(work.base, work.stride, s, outputs, into, inputs, shared.weights + layer.place,
                     NULL if header[3] else shared.starts + layer.start, into + inputs, width)


cdef bint steps_forward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """False with an exception set where a rule raises."""
    cdef int *word = code.words
    cdef int *end = word + code.count
    cdef Step step
    while word < end:
        word = step_next(word, &step)
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


cdef void seed(Work *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    cdef double *g = slot(work, s[0])
    cdef Py_ssize_t i
    for i in range(width):
        g[i] = work.seeds[header[0]] + (g[i] if header[1] else 0.0)


cdef bint steps_backward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """False with an exception set where a rule raises."""
    cdef int *word = code.words
    cdef int *end = word + code.count
    cdef Step step
    while word < end:
        word = step_next(word, &step)
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

# In the following what loops read stands in local variables: for all that C knows, the arrays they fill might be it.

cdef void layer_lay_out(Layer *layer, Shared *shared) noexcept:
    cdef double *uniform = shared.uniform
    cdef double *weights = shared.weights + layer.place
    cdef double *starts = shared.starts + layer.start
    cdef int *places = layer.weights
    cdef Py_ssize_t i, count = <Py_ssize_t>layer.outputs * layer.inputs
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
