# Kernels: an op on lanes, forward and backward, by a loop over vectors or by its rule, without the GIL.
#
# Gives Workspace, Shared, functions on slots and lanes (slot, lane_total and others), forward_loop, backward_loop,
# reduce_loop, overwrites, and variants. Uses program.pxi, the op table, and the loops of lanes.h.

cdef extern from "_compile/lanes.h" nogil:
    ctypedef void (*LanesGain)(double *x, const double *a, const double *b, const double *r, const double *g,
                               Py_ssize_t width) noexcept nogil
    struct Product:
        double *c
        const double *initial
        const double *a
        const double *b
        Py_ssize_t c_pitch
        Py_ssize_t initial_pitch
        Py_ssize_t a_pitch
        Py_ssize_t a_step
        Py_ssize_t b_pitch
        int rows
        int depth
        int columns
    struct Lanes:
        void (*add)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*sub)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*mul)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*neg)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*relu)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*less)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*less_equal)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*equal)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*not_ "not")(double *r, const double *c, Py_ssize_t width) noexcept nogil
        void (*then)(double *r, const double *c, const double *a, double other, Py_ssize_t width) noexcept nogil
        void (*otherwise)(double *r, const double *c, const double *a, double other, Py_ssize_t width) noexcept nogil
        void (*maximum)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*minimum)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*back_linear)(double *d, double slope, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*back_product)(double *d, const double *x, const double *g, int accumulate,
                             Py_ssize_t width) noexcept nogil
        void (*back_relu)(double *d, const double *r, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*back_then)(double *d, const double *c, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*back_otherwise)(double *d, const double *c, const double *g, int accumulate,
                               Py_ssize_t width) noexcept nogil
        void (*back_greater)(double *d, const double *a, const double *b, const double *g, int accumulate,
                             Py_ssize_t width) noexcept nogil
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
        void (*dot_run)(double *base, Py_ssize_t stride, const int *header, const int *slots, int count,
                        Py_ssize_t width) noexcept nogil
        void (*back_dot_run)(double *base, Py_ssize_t stride, const int *header, const int *slots, int count,
                             Py_ssize_t width) noexcept nogil
        void (*dots_one)(double *base, const int *slots, int count) noexcept nogil
        void (*back_dots_one)(double *base, const int *slots, int count, const int *accumulate) noexcept nogil
        void (*multiply)(const Product *p) noexcept nogil
        void (*exp)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*log)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*tanh)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*tanh_slope)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*sigmoid)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*softplus)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*sqrt)(double *r, const double *a, Py_ssize_t width) noexcept nogil
        void (*div)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*power)(double *r, const double *a, const double *b, Py_ssize_t width) noexcept nogil
        void (*logsumexp)(double *base, Py_ssize_t stride, const int *slots, int count,
                          Py_ssize_t width) noexcept nogil
        void (*logsumexp_one)(double *base, const int *slots, int count) noexcept nogil
        void (*max)(double *base, Py_ssize_t stride, const int *slots, int count, Py_ssize_t width) noexcept nogil
        void (*back_tanh)(double *d, const double *r, const double *g, int accumulate, Py_ssize_t width) noexcept nogil
        void (*back_tanh_slope)(double *d, const double *a, const double *g, int accumulate,
                                Py_ssize_t width) noexcept nogil
        void (*back_sigmoid)(double *d, const double *r, const double *g, int accumulate,
                             Py_ssize_t width) noexcept nogil
        void (*back_softplus)(double *d, const double *a, const double *g, int accumulate,
                              Py_ssize_t width) noexcept nogil
        void (*back_logsumexp)(double *d, const double *a, const double *r, const double *g, int accumulate,
                               Py_ssize_t width) noexcept nogil
        double (*total_product)(const double *a, const double *b, Py_ssize_t width) noexcept nogil
        LanesGain gain_log
        LanesGain gain_sqrt
        LanesGain gain_dividend
        LanesGain gain_divisor
        LanesGain gain_power
        bint (*all_finite)(const double *r, Py_ssize_t width) noexcept nogil
    struct Variant:
        const char *name
        const Lanes *fast
        const Lanes *exact
    const Variant *const *lanes_variants()
    enum:
        LANES_TILE "TILE"
        LANES_DOT_SLOTS
        LANES_BACK_DOT_SLOTS
        LANES_BACK_DOT_FLAGS

static_check(<int>TILE == <int>LANES_TILE)
static_check(<int>DOT_SLOTS == <int>LANES_DOT_SLOTS)
static_check(<int>BACK_DOT_SLOTS == <int>LANES_BACK_DOT_SLOTS)
static_check(<int>BACK_DOT_FLAGS == <int>LANES_BACK_DOT_FLAGS)

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


cdef const Variant *variant = lanes_variants()[0]


def variants():
    """The names of the loops that this machine can run, those in use by default first."""
    cdef list names = []
    cdef const Variant *const *found = lanes_variants()
    while found[len(names)] != NULL:
        names.append(found[len(names)].name.decode())
    return names


def use_variant(str name):
    """Use the loops of this name, for tests. Raises ValueError where there are none."""
    global variant
    names = variants()
    if name not in names:
        raise ValueError(f"no variant {name!r} here, only {', '.join(names)}")
    variant = lanes_variants()[<Py_ssize_t>names.index(name)]


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


cdef inline double lane_product(Workspace *work, int i, int j, Py_ssize_t live) noexcept nogil:
    """The sum of the products of two slots over the samples."""
    cdef double *x = slot(work, i)
    cdef double *y = slot(work, j)
    cdef Py_ssize_t k, whole = live - live % TILE
    cdef double total = work.lanes.total_product(x, y, whole) if whole else 0.0
    for k in range(whole, live):
        total += x[k] * y[k]
    return total


# ---- Ops that have loops over vectors ------------------------------------------------------------
# The others call their rule for each sample. Only here do kernels know ops by name; the choice of a loop for a gradient
# follows from the op's shape where it can.

cdef inline Partial side_partial(int op, int side) noexcept nogil:
    return RULES[op].d_right if side else RULES[op].d_left


cdef enum Computed:  # by a loop over vectors
    NOTHING           # the op has none
    FINITE            # the result; where it is not finite, the rule has to give it, or raise
    ALL_LANES         # the result


cdef inline Computed forward_loop(Workspace *work, int op, double *r, const double *a, const double *b,
                                  Py_ssize_t width) noexcept nogil:
    """Compute r by a loop over vectors."""
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
    elif op == LESS:
        work.lanes.less(r, a, b, width)
    elif op == LESS_EQUAL:
        work.lanes.less_equal(r, a, b, width)
    elif op == THEN or op == GUARD:
        work.lanes.then(r, a, b, -0.0 if op == THEN else 0.5, width)
    elif op == OTHERWISE:
        work.lanes.otherwise(r, a, b, -0.0, width)
    elif op == EQUAL:
        work.lanes.equal(r, a, b, width)
    elif op == NOT:
        work.lanes.not_(r, a, width)
    elif op == AND:
        work.lanes.then(r, a, b, 0.0, width)
    elif op == OR:
        work.lanes.otherwise(r, a, b, 1.0, width)
    elif op == MAXIMUM:
        work.lanes.maximum(r, a, b, width)
    elif op == MINIMUM:
        work.lanes.minimum(r, a, b, width)
    elif op == MASKED:
        work.lanes.mul(r, a, b, width)
        work.lanes.then(r, a, r, 0.0, width)
    elif op == DETACH:
        memmove(r, a, width * sizeof(double))  # r may be a
    elif work.lanes.exp == NULL:
        return NOTHING
    elif op == TANH:
        work.lanes.tanh(r, a, width)
    elif op == TANH_SLOPE:
        work.lanes.tanh_slope(r, a, width)
    elif op == SIGMOID:
        work.lanes.sigmoid(r, a, width)
    elif op == SOFTPLUS:
        work.lanes.softplus(r, a, width)
    elif op == EXP:
        work.lanes.exp(r, a, width)
        return FINITE
    elif op == LOG:
        work.lanes.log(r, a, width)
        return FINITE
    elif op == SQRT:
        work.lanes.sqrt(r, a, width)
        return FINITE
    elif op == DIV or op == RATIO:
        work.lanes.div(r, a, b, width)
        return FINITE
    elif op == POW:
        work.lanes.power(r, a, b, width)
        return FINITE
    else:
        return NOTHING
    return ALL_LANES


cdef inline bint backward_loop(Workspace *work, int op, int side, double *d, const double *g, const double *a,
                               const double *b, const double *r, bint accumulate, Py_ssize_t width) noexcept nogil:
    """Compute d, the grad of one operand, by a loop over vectors. False for an op that has none."""
    if RULES[op].shape == LINEAR:
        work.lanes.back_linear(d, side_partial(op, side)(0.0, 0.0, 0.0, 1.0), g, accumulate, width)
    elif RULES[op].shape == PRODUCT:
        work.lanes.back_product(d, a if side else b, g, accumulate, width)
    elif op == RELU:
        work.lanes.back_relu(d, r, g, accumulate, width)
    elif op == THEN or op == GUARD:
        work.lanes.back_then(d, a, g, accumulate, width)
    elif op == OTHERWISE:
        work.lanes.back_otherwise(d, a, g, accumulate, width)
    elif op == MAXIMUM:
        work.lanes.back_greater(d, b if side else a, a if side else b, g, accumulate, width)
    elif op == MINIMUM:
        work.lanes.back_greater(d, a if side else b, b if side else a, g, accumulate, width)
    elif work.lanes.exp == NULL:
        return False
    elif op == TANH:
        work.lanes.back_tanh(d, r, g, accumulate, width)
    elif op == TANH_SLOPE:
        work.lanes.back_tanh_slope(d, a, g, accumulate, width)
    elif op == SIGMOID:
        work.lanes.back_sigmoid(d, r, g, accumulate, width)
    elif op == SOFTPLUS:
        work.lanes.back_softplus(d, a, g, accumulate, width)
    elif op == EXP:
        work.lanes.back_product(d, r, g, accumulate, width)
    elif op == LOGSUMEXP:
        work.lanes.back_logsumexp(d, a, r, g, accumulate, width)
    else:
        return False
    return True


cdef inline LanesGain gain_loop(Workspace *work, int op, int side) noexcept nogil:
    """The loop over vectors for a partial that may raise; NULL for one that has none."""
    if op == LOG:
        return work.lanes.gain_log
    if op == SQRT:
        return work.lanes.gain_sqrt
    if op == DIV:
        return work.lanes.gain_divisor if side else work.lanes.gain_dividend
    return work.lanes.gain_power if op == POW and not side else NULL


cdef inline Computed reduce_loop(Workspace *work, int op, int *s, int count, Py_ssize_t width) noexcept nogil:
    """Compute a variadic op by a loop over vectors."""
    if op == SUM:
        work.lanes.sum(work.base, work.stride, s, count, width)
    elif work.lanes.exp == NULL:
        return NOTHING
    elif op == MAX:
        work.lanes.max(work.base, work.stride, s, count, width)
    elif op == LOGSUMEXP:
        if work.stride == 1:
            work.lanes.logsumexp_one(work.base, s, count)
        else:
            work.lanes.logsumexp(work.base, work.stride, s, count, width)
        return FINITE
    else:
        return NOTHING
    return ALL_LANES


cdef bint overwrites(int op, bint backward) noexcept:
    """May the result, or the grad, be written over an operand? Only by loops that need no rule afterwards."""
    if RULES[op].shape != NONLINEAR or op == RELU or op == TANH or op == TANH_SLOPE or op == SIGMOID or op == SOFTPLUS:
        return True
    if op == THEN or op == OTHERWISE or op == GUARD:
        return True
    return backward and op == EXP
