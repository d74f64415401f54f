# Layers: their steps over the lanes of a block, without the GIL, and what gathers, transposes and scatters weights.
#
# Gives run_layer, back_layer, layer_gather, layer_transpose, layer_scatter. Uses kernels.pxi, plan.pxi and program.pxi.
#
# With several samples, a lane for each: outputs = weights x inputs, the weights of an output side by side. With one
# sample, the numbers of several outputs fill a vector, and the weights of an input are side by side: `transposed`.

cdef enum:
    CALLS = 8              # of a layer, computed at once with one sample
    NARROW = 4             # a layer of at most as many inputs or outputs


cdef void run_layer(Shared *shared, Workspace *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    """The step LAYER."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], calls = header[4], k
    cdef int *into = s + calls * outputs
    cdef int *biases = into + calls * inputs
    if work.stride == 1:
        run_layer_one(shared, work, header, s)
        return
    for k in range(calls):
        work.lanes.layer(work.base, work.stride, s + k * outputs, outputs, into + k * inputs, inputs,
                         shared.weights + layer.weight_offset,
                         NULL if header[3] else shared.biases + layer.bias_offset, biases + k * outputs, width)


cdef void run_layer_one(Shared *shared, Workspace *work, int *header, int *s) noexcept nogil:
    """The step LAYER with one sample: outputs = inputs of several calls x transposed weights."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], calls = header[4], first = 0
    cdef int *into = s + calls * outputs
    cdef int *biases = into + calls * inputs
    cdef Product p
    p.initial, p.initial_pitch = shared.biases + layer.bias_offset, 0
    p.b, p.b_pitch = shared.transposed + layer.weight_offset, outputs
    p.c_pitch, p.a_step, p.depth, p.columns = outputs, 1, inputs, outputs
    while first < calls:
        p.rows = min(calls - first, <int>CALLS)
        p.c = slot(work, s[first * outputs])
        p.a = numbers_of(work, into + first * inputs, p.rows, inputs, header[5], work.packed, &p.a_pitch)
        if header[3]:
            p.initial = numbers_of(work, biases + first * outputs, p.rows, outputs, header[6],
                                   work.packed + CALLS * layer.pitch, &p.initial_pitch)
        work.lanes.multiply(&p)
        first += p.rows


cdef void back_layer(Shared *shared, Workspace *work, int *header, int *s, Py_ssize_t live,
                     Py_ssize_t width) noexcept nogil:
    """The step BACK_LAYER: weights' grads by `outer`, inputs' grads by `layer` on the transposed weights."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], calls = header[4], k, i
    cdef int *g
    cdef int *into = s + calls * outputs
    cdef int *targets = into + calls * inputs
    cdef int *added = targets + calls * inputs
    if work.stride == 1:
        back_layer_one(shared, work, header, s)
        return
    for k in range(calls):
        g = s + k * outputs
        if header[3] & WEIGHTS:
            weights_gain(layer, work, g, into + k * inputs, live)
        if header[3] & BIASES:
            for i in range(outputs):
                work.bias_grads[layer.bias_offset + i] += lane_total(work, g[i], live)
        if header[3] & INPUTS:
            work.lanes.layer(work.base, work.stride, targets + k * inputs, inputs, g, outputs,
                             shared.transposed + layer.weight_offset, NULL, added + k * inputs, width)


cdef inline void weights_gain(Layer *layer, Workspace *work, int *g, int *x, Py_ssize_t live) noexcept nogil:
    """What the grads of weights gain by a call whose outputs have the grads g and whose inputs are x, both slots."""
    cdef double *w = work.weight_grads + layer.grad_offset
    if min(layer.inputs, layer.outputs) <= NARROW and work.lanes.total_product != NULL:
        narrow_gain(layer, work, g, x, w, live)
    elif layer.transposed:
        work.lanes.pack(work.base, work.stride, g, layer.outputs, work.packed, layer.pitch, live)
        work.lanes.outer(work.base, work.stride, x, layer.inputs, work.packed, layer.pitch, w, live)
    else:
        work.lanes.pack(work.base, work.stride, x, layer.inputs, work.packed, layer.pitch, live)
        work.lanes.outer(work.base, work.stride, g, layer.outputs, work.packed, layer.pitch, w, live)


cdef void narrow_gain(Layer *layer, Workspace *work, int *g, int *x, double *w, Py_ssize_t live) noexcept nogil:
    """What the grads of a narrow layer's weights gain, one by one: there would be more to pack than to multiply. The
    order of the samples is another, so exact loops have it not."""
    cdef int i, j
    for i in range(layer.outputs):
        for j in range(layer.inputs):
            w[j * layer.pitch + i if layer.transposed else i * layer.pitch + j] += lane_product(work, g[i], x[j], live)


cdef inline double *rows_of(Layer *layer, double *invariant) noexcept nogil:
    """The weights of a layer, or their grads, among those of the invariant values. Only of one that has a row_step."""
    return invariant + layer.weights[0]


cdef void back_layer_one(Shared *shared, Workspace *work, int *header, int *s) noexcept nogil:
    """The step BACK_LAYER with one sample, for several calls at once."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int outputs = header[1], inputs = header[2], calls = header[4], first = 0, n, k
    cdef int *into = s + calls * outputs
    cdef const double *g
    cdef const double *x
    cdef Py_ssize_t g_pitch, x_pitch
    while first < calls:
        n = min(calls - first, <int>CALLS)
        g = numbers_of(work, s + first * outputs, n, outputs, header[5], work.packed, &g_pitch)
        if header[3] & WEIGHTS:
            x = numbers_of(work, into + first * inputs, n, inputs, header[6], work.packed + CALLS * layer.pitch,
                           &x_pitch)
            weights_gain_one(layer, work, n, g, g_pitch, x, x_pitch)
        for k in range(n if header[3] & BIASES else 0):
            biases_gain_one(layer, work, g + k * g_pitch)
        if header[3] & INPUTS:
            inputs_gain_one(shared, work, header, into + (calls + first) * inputs, n, g, g_pitch)
        first += n


cdef inline void weights_gain_one(Layer *layer, Workspace *work, int calls, const double *g, Py_ssize_t g_pitch,
                                  const double *x, Py_ssize_t x_pitch) noexcept nogil:
    """What the grads of weights gain by calls whose outputs have the grads g and whose inputs are x: where they are, if
    they stand row by row, or else for layer_scatter()."""
    cdef Product p
    p.depth, p.a_pitch = calls, 1
    if layer.row_step:
        p.c, p.c_pitch = rows_of(layer, work.grads), layer.row_step
    else:
        p.c, p.c_pitch = work.weight_grads + layer.grad_offset, layer.pitch
    if layer.row_step or not layer.transposed:
        p.a, p.a_step, p.rows = g, g_pitch, layer.outputs
        p.b, p.b_pitch, p.columns = x, x_pitch, layer.inputs
    else:
        p.a, p.a_step, p.rows = x, x_pitch, layer.inputs
        p.b, p.b_pitch, p.columns = g, g_pitch, layer.outputs
    p.initial, p.initial_pitch = p.c, p.c_pitch
    work.lanes.multiply(&p)


cdef inline void biases_gain_one(Layer *layer, Workspace *work, const double *g) noexcept nogil:
    """The same of biases, by one call."""
    cdef int i
    for i in range(layer.outputs):
        if layer.row_step:
            work.grads[layer.biases[i]] += g[i]
        else:
            work.bias_grads[layer.bias_offset + i] += g[i]


cdef inline void inputs_gain_one(Shared *shared, Workspace *work, int *header, int *targets, int calls,
                                 const double *g, Py_ssize_t g_pitch) noexcept nogil:
    """What the grads of the inputs of calls gain: grads of outputs x weights. `targets` are those of the first call."""
    cdef Layer *layer = &shared.layers[header[0]]
    cdef int inputs = header[2], i
    cdef double *copy = work.packed + 2 * CALLS * layer.pitch
    cdef Product p
    p.rows, p.depth, p.columns = calls, layer.outputs, inputs
    p.a, p.a_pitch, p.a_step = g, g_pitch, 1
    if layer.row_step:
        p.b, p.b_pitch = rows_of(layer, shared.invariant), layer.row_step
    else:
        p.b, p.b_pitch = shared.weights + layer.weight_offset, inputs
    p.initial, p.initial_pitch = NULL, 0
    if header[8] != ALL_ZEROS:
        p.initial = numbers_of(work, targets + header[4] * inputs, calls, inputs, header[8], copy, &p.initial_pitch)
    if header[7] != SCATTERED:
        p.c, p.c_pitch = slot(work, targets[0]), header[7]
    else:
        p.c, p.c_pitch = copy, inputs
    work.lanes.multiply(&p)
    for i in range(calls * inputs if header[7] == SCATTERED else 0):
        slot(work, targets[i])[0] = copy[i]


cdef inline const double *numbers_of(Workspace *work, const int *slots, int calls, int count, int apart, double *copy,
                                     Py_ssize_t *pitch) noexcept nogil:
    """The numbers in slots of one lane, `count` for each call side by side, and their pitch from call to call. `apart`
    is what the header of the step says of them."""
    cdef int i
    if apart != SCATTERED:
        pitch[0] = apart
        return work.base + slots[0]
    for i in range(calls * count):
        copy[i] = work.base[slots[i]]
    pitch[0] = count
    return copy


# These loops read fields into local variables, since C has to assume that a store to an array changes fields.

cdef void layer_gather(Layer *layer, Shared *shared, bint weights_too) noexcept:
    """Copy biases, and weights too if the steps do not read them where they are, from the invariant values."""
    cdef double *invariant = shared.invariant
    cdef double *weights = shared.weights + layer.weight_offset
    cdef double *biases = shared.biases + layer.bias_offset
    cdef int *indices = layer.weights
    cdef Py_ssize_t i, count = <Py_ssize_t>layer.outputs * layer.inputs
    for i in range(count if weights_too else 0):
        weights[i] = invariant[indices[i]]
    indices = layer.biases
    if indices != NULL:
        count = layer.outputs
        for i in range(count):
            biases[i] = invariant[indices[i]]


cdef void layer_transpose(Layer *layer, Shared *shared) noexcept:
    """Transpose the weights, which layer_gather() has copied if they do not stand row by row."""
    cdef double *weights = shared.weights + layer.weight_offset
    cdef double *transposed = shared.transposed + layer.weight_offset
    cdef Py_ssize_t i = 0, j, k, rows, outputs = layer.outputs, inputs = layer.inputs, step = inputs
    if layer.row_step:
        weights, step = rows_of(layer, shared.invariant), layer.row_step
    while i < outputs:  # rows at once, so that a cache line is written at once
        rows = min(outputs - i, <Py_ssize_t>CACHE_LINE)
        for j in range(inputs):
            for k in range(rows):
                transposed[j * outputs + i + k] = weights[(i + k) * step + j]
        i += rows


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
