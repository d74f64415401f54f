# Steps: those of a plan, run over the lanes of a block, forward and backward, without the GIL.
#
# Gives Step, step_next, steps_forward, steps_backward. Uses kernels.pxi, layers.pxi, plan.pxi and program.pxi.

cdef struct Step:
    int kind
    int *header
    int header_count
    int *slots
    int count              # of slots


cdef inline int *step_next(int *at, Step *step) noexcept nogil:
    """Read the step at `at`. Returns where the next one is."""
    step.kind = at[0]
    step.header_count = at[1]
    step.count = at[2]
    step.header = at + 3
    step.slots = step.header + at[1]
    return step.slots + step.count


# With one sample, a slot is one number, and a run of instructions is computed by the loops over lanes: the numbers of
# an operand are read where they are if they are side by side, or else copied.

cdef enum:
    RUN = 64               # instructions that are computed at once


cdef inline const double *side_by_side(const double *x, Py_ssize_t step, Py_ssize_t count, double *copy) noexcept nogil:
    """`count` numbers that stand `step` apart."""
    cdef Py_ssize_t k
    cdef double same = x[0]
    if step == 1:
        return x
    for k in range(count if step == 0 else 0):
        copy[k] = same
    for k in range(count if step != 0 else 0):
        copy[k] = x[k * step]
    return copy


cdef bint compute(Workspace *work, int op, double *r, const double *a, const double *b, Py_ssize_t live,
                  Py_ssize_t width) noexcept nogil:
    """An op on lanes. False with an exception set where the rule raises."""
    cdef Forward forward = RULES[op].forward
    cdef Computed computed = forward_loop(work, op, r, a, b, width)
    cdef double x
    cdef Py_ssize_t i
    if computed == ALL_LANES or computed == FINITE and work.lanes.all_finite(r, live):
        return True
    for i in range(live):
        if computed == FINITE and isfinite(r[i]):
            continue
        x = forward(a[i], b[i])
        if x != x and raised():
            return False
        r[i] = x
    clear_padding(r, live, width)
    return True


cdef inline bint are_together(Workspace *work, Py_ssize_t width) noexcept nogil:
    """May slots that are side by side be computed by one loop? It also computes lanes between them, at most TILE."""
    return work.stride - width <= TILE


cdef inline bint all_finite(Workspace *work, const double *r, int count, Py_ssize_t live) noexcept nogil:
    """Are the results in slots side by side finite?"""
    cdef int k
    if work.stride == 1:
        return work.lanes.all_finite(r, count)
    for k in range(count):
        if not work.lanes.all_finite(r + k * work.stride, live):
            return False
    return True


cdef bint apply(Workspace *work, int *header, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step APPLY; StepKind has its header and slots. False with an exception set where the rule raises."""
    cdef double *r = slot(work, s[0])
    cdef double *a = slot(work, s[1])
    cdef double *b = slot(work, s[2])
    cdef Computed computed
    if header[1] == 1:
        return compute(work, header[0], r, a, b, live, width)
    if header[2] == header[3] == 1 and are_together(work, width):
        computed = forward_loop(work, header[0], r, a, b, (header[1] - 1) * work.stride + width)
        if computed == ALL_LANES or computed == FINITE and all_finite(work, r, header[1], live):
            return True
    return apply_run(work, header, r, a, b, live, width)


cdef bint apply_run(Workspace *work, int *header, double *r, double *a, double *b, Py_ssize_t live,
                    Py_ssize_t width) noexcept nogil:
    """apply() of several instructions, one after the other, or with one sample RUN at a time."""
    cdef Py_ssize_t k = 0, n = 1, step_a = header[2] * work.stride, step_b = header[3] * work.stride
    cdef double[2][RUN] copies
    while k < header[1]:
        if work.stride > 1:
            if not compute(work, header[0], r + k * work.stride, a + k * step_a, b + k * step_b, live, width):
                return False
        else:
            n = min(<Py_ssize_t>RUN, header[1] - k)
            if not compute(work, header[0], r + k, side_by_side(a + k * step_a, step_a, n, copies[0]),
                           side_by_side(b + k * step_b, step_b, n, copies[1]), n, n):
                return False
        k += n
    return True


cdef void reduce(Workspace *work, int op, int *s, int count, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step REDUCE."""
    cdef Py_ssize_t i
    cdef int j
    cdef double *r = slot(work, s[0])
    cdef Computed computed = reduce_loop(work, op, s, count, width)
    if computed == ALL_LANES or computed == FINITE and work.lanes.all_finite(r, live):
        return
    for i in range(live):
        if computed == FINITE and isfinite(r[i]):
            continue
        for j in range(1, count):
            work.scratch[j - 1] = slot(work, s[j])[i]
        r[i] = RULES[op].reduce(work.scratch, count - 1)
    clear_padding(r, live, width)


cdef bint indexed_reduce(Workspace *work, int op, int *s, int count, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step INDEXED_REDUCE. False with an exception set where there is no such index."""
    cdef double *r = slot(work, s[0])
    cdef double *indices = slot(work, s[count - 1])
    cdef Py_ssize_t i, index
    for i in range(live):
        index = index_of(indices[i], count - 2, op != TAKE)
        if index < 0:
            return False
        if op == TAKE:
            r[i] = slot(work, s[1 + index])[i]
    if op == TAKE:
        clear_padding(r, live, width)
    else:  # ENTROPY_NORMALIZER
        reduce(work, LOGSUMEXP, s, count - 1, live, width)
    return True


cdef bint look_up(Shared *shared, Workspace *work, int *header, int *s, Py_ssize_t live,
                  Py_ssize_t width) noexcept nogil:
    """The step LOOKUP: a row of a table for each sample. False with an exception set where there is no such index."""
    cdef int columns = header[1], k
    cdef Py_ssize_t i, index
    cdef int *row
    cdef double *indices = slot(work, s[columns])
    for i in range(live):
        index = index_of(indices[i], header[0], False)
        if index < 0:
            return False
        row = header + 2 + index * columns
        for k in range(columns):
            slot(work, s[k])[i] = shared.invariant[row[k]]
    for k in range(columns if live < width else 0):
        clear_padding(slot(work, s[k]), live, width)
    return True


cdef bint steps_forward(IntArray *steps, Shared *shared, Workspace *work, Py_ssize_t live,
                        Py_ssize_t width) noexcept nogil:
    """Run the steps on `live` samples. False with an exception set where a rule raises."""
    cdef int *at = steps.items
    cdef int *end = at + steps.count
    cdef Step step
    while at < end:
        at = step_next(at, &step)
        if step.kind == APPLY:
            if not apply(work, step.header, step.slots, live, width):
                return False
        elif step.kind == LAYER:
            run_layer(shared, work, step.header, step.slots, width)
        elif step.kind == DOTS and work.stride == 1:
            work.lanes.dots_one(work.base, step.slots, step.count)
        elif step.kind == DOTS:
            work.lanes.dots(work.base, work.stride, step.slots, step.count, width)
        elif step.kind == DOT_RUN:
            work.lanes.dot_run(work.base, work.stride, step.header, step.slots, step.count, width)
        elif step.kind == REDUCE:
            reduce(work, step.header[0], step.slots, step.count, live, width)
        elif step.kind == INDEXED_REDUCE:
            if not indexed_reduce(work, step.header[0], step.slots, step.count, live, width):
                return False
        elif not look_up(shared, work, step.header, step.slots, live, width):  # LOOKUP
            return False
    return True


cdef bint differentiate(Workspace *work, int op, int side, double *d, const double *g, const double *a,
                        const double *b, const double *r, bint accumulate, Py_ssize_t live,
                        Py_ssize_t width) noexcept nogil:
    """A partial on lanes: d becomes, or gains, the grad of one operand. False with an exception set where the rule
    raises."""
    cdef Partial partial = side_partial(op, side)
    cdef Py_ssize_t i
    cdef double x
    if backward_loop(work, op, side, d, g, a, b, r, accumulate, width):
        return True
    if gain_loop(work, op, side) != NULL:
        return gain(work, op, side, d, g, a, b, r, accumulate, live, width)
    for i in range(live):
        x = partial(a[i], b[i], r[i], g[i])
        if x != x and raised():
            return False
        d[i] = d[i] + x if accumulate else x
    clear_padding(d, live, width)
    return True


cdef bint gain(Workspace *work, int op, int side, double *d, const double *g, const double *a, const double *b,
               const double *r, bint accumulate, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """differentiate() by a loop over vectors, RUN lanes at a time, and by the rule where that gives no finite number.
    """
    cdef LanesGain loop = gain_loop(work, op, side)
    cdef double[RUN] x
    cdef Py_ssize_t first = 0, i, n
    while first < live:
        n = min(<Py_ssize_t>RUN, live - first)
        loop(x, a + first, b + first, r + first, g + first, n)
        if not work.lanes.all_finite(x, n):
            for i in range(n):
                if not isfinite(x[i]):
                    x[i] = side_partial(op, side)(a[first + i], b[first + i], r[first + i], g[first + i])
                    if x[i] != x[i] and raised():
                        return False
        if accumulate:
            work.lanes.add(d + first, d + first, x, n)
        else:
            memcpy(d + first, x, n * sizeof(double))
        first += n
    clear_padding(d, live, width)
    return True


cdef bint back_apply(Workspace *work, int *header, int *s, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """The step BACK_APPLY. False with an exception set where the rule raises."""
    cdef int op = header[0], side = header[1], accumulate = header[2], j
    cdef double *at[BACK_OPERANDS]
    cdef bint together = are_together(work, width)
    for j in range(BACK_OPERANDS):
        at[j] = slot(work, s[j])
        together &= header[4 + j] == 1
    if header[3] == 1:
        return differentiate(work, op, side, at[0], at[1], at[2], at[3], at[4], accumulate, live, width)
    if together and backward_loop(work, op, side, at[0], at[1], at[2], at[3], at[4], accumulate,
                                  (header[3] - 1) * work.stride + width):
        return True
    return back_apply_run(work, header, at, live, width)


cdef bint back_product_one(Workspace *work, int *header, double **at) noexcept nogil:
    """back_apply() of products with one sample, if they have one factor, whose grad is a sum, or which scales the grads
    of others."""
    cdef int accumulate = header[2], count = header[3], target_step = header[4], step = header[6 if header[1] else 7]
    cdef const double *x = at[2 if header[1] else 3]
    cdef Product p
    if target_step == 1 and header[5] == 1 and step == 0:
        work.lanes.back_linear(at[0], x[0], at[1], accumulate, count)
        return True
    if target_step != 0:
        return False
    p.c, p.initial = at[0], at[0] if accumulate else NULL
    p.a, p.b, p.a_step, p.b_pitch = at[1], x, header[5], step
    p.c_pitch = p.initial_pitch = p.a_pitch = 0
    p.rows, p.columns, p.depth = 1, 1, count
    work.lanes.multiply(&p)
    return True


cdef bint back_apply_run(Workspace *work, int *header, double **at, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """back_apply() of several instructions, one after the other, or with one sample RUN at a time."""
    cdef int op = header[0], side = header[1], accumulate = header[2], j
    cdef Py_ssize_t k = 0, n = 1
    cdef const double *x[BACK_OPERANDS]
    cdef Py_ssize_t[BACK_OPERANDS] step
    cdef double[BACK_OPERANDS][RUN] copies
    cdef bint sound
    if work.stride == 1 and RULES[op].shape == PRODUCT and back_product_one(work, header, at):
        return True
    for j in range(BACK_OPERANDS):
        step[j] = header[4 + j] * work.stride
    while k < header[3]:
        if work.stride > 1:
            sound = differentiate(work, op, side, at[0] + k * step[0], at[1] + k * step[1], at[2] + k * step[2],
                                  at[3] + k * step[3], at[4] + k * step[4], accumulate, live, width)
        else:
            n = min(<Py_ssize_t>RUN, header[3] - k)
            for j in range(1, BACK_OPERANDS):
                x[j] = side_by_side(at[j] + k * step[j], step[j], n, copies[j])
            if step[0] == 1:
                sound = differentiate(work, op, side, at[0] + k, x[1], x[2], x[3], x[4], accumulate, n, n)
            else:
                sound = differentiate(work, op, side, copies[0], x[1], x[2], x[3], x[4], False, n, n)
                spread(at[0] + k * step[0], step[0], copies[0], n, accumulate)
        if not sound:
            return False
        accumulate |= step[0] == 0
        k += n
    return True


cdef inline void spread(double *d, Py_ssize_t step, const double *x, Py_ssize_t count, bint accumulate) noexcept nogil:
    """Write to numbers that stand `step` apart, or add; to one number, if `step` is 0, from the second on."""
    cdef Py_ssize_t k
    if step == 0:
        if not accumulate:
            d[0] = 0.0
        for k in range(count):
            d[0] += x[k]
    else:
        for k in range(count):
            d[k * step] = d[k * step] + x[k] if accumulate else x[k]


cdef void back_reduce(Workspace *work, int *header, int *s, int count, Py_ssize_t live,
                      Py_ssize_t width) noexcept nogil:
    """The step BACK_REDUCE. No partial of a variadic op raises."""
    cdef int op = header[0], j
    cdef double *g = slot(work, s[0])
    cdef double *r = slot(work, s[1])
    cdef double *a
    if work.stride == 1:
        back_reduce_one(work, op, header + 1, s + 2, (count - 2) // 2, r[0], g[0], -1)
        return
    for j in range(2, count, 2):
        a = slot(work, s[j])
        differentiate(work, op, 0, slot(work, s[j + 1]), g, a, a, r, header[j // 2], live, width)


cdef void back_reduce_one(Workspace *work, int op, const int *accumulate, const int *pairs, int count, double r,
                          double g, int index) noexcept nogil:
    """back_reduce() of one sample: `count` pairs of an operand and its target, RUN of them at a time. An operand at
    `index` gets nothing."""
    cdef double[RUN] a, rs, gs, gains
    cdef double *d
    cdef int k = 0, j, n
    while k < count:
        n = min(<int>RUN, count - k)
        for j in range(n):
            a[j], rs[j], gs[j] = work.base[pairs[2 * (k + j)]], r, g
        differentiate(work, op, 0, gains, gs, a, a, rs, False, n, n)
        for j in range(n):
            if pairs[2 * (k + j) + 1] != NO_TARGET:
                d = work.base + pairs[2 * (k + j) + 1]
                d[0] = (d[0] if accumulate[k + j] else 0.0) + (gains[j] if k + j != index else 0.0)
        k += n


cdef void back_indexed(Workspace *work, int *header, int *s, int count, Py_ssize_t live,
                       Py_ssize_t width) noexcept nogil:
    """The step BACK_INDEXED, RUN lanes at a time."""
    cdef Py_ssize_t first = 0
    if work.stride == 1 and header[0] == ENTROPY_NORMALIZER:
        back_reduce_one(work, LOGSUMEXP, header + 1, s + 3, (count - 3) // 2, slot(work, s[1])[0], slot(work, s[0])[0],
                        <int>slot(work, s[2])[0])
        return
    while first + RUN < live:
        back_indexed_run(work, header, s, count, first, RUN, RUN)
        first += RUN
    back_indexed_run(work, header, s, count, first, live - first, width - first)


cdef void back_indexed_run(Workspace *work, int *header, int *s, int count, Py_ssize_t first, Py_ssize_t live,
                           Py_ssize_t width) noexcept nogil:
    """What all items get that are not at the index; then, for each lane, what the one at the index gets, in place of
    that. No partial of an op with an index raises."""
    cdef Partial partial = RULES[header[0]].d_left
    cdef double *g = slot(work, s[0]) + first
    cdef double *r = slot(work, s[1]) + first
    cdef double *indices = slot(work, s[2]) + first
    cdef double[RUN] before
    cdef Py_ssize_t i
    cdef int j
    for i in range(live):
        j = <int>indices[i]
        before[i] = slot(work, s[4 + 2 * j])[first + i] if header[1 + j] else 0.0
    for j in range((count - 3) // 2):
        if s[4 + 2 * j] != NO_TARGET:
            not_at_index(work, header[0], slot(work, s[4 + 2 * j]) + first, g, slot(work, s[3 + 2 * j]) + first, r,
                         header[1 + j], live, width)
    for i in range(live):
        j = <int>indices[i]
        if s[4 + 2 * j] != NO_TARGET:
            slot(work, s[4 + 2 * j])[first + i] = before[i] + partial(slot(work, s[3 + 2 * j])[first + i], 1.0, r[i],
                                                                      g[i])


cdef inline void not_at_index(Workspace *work, int op, double *d, const double *g, const double *a, const double *r,
                              bint accumulate, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """What an item of an op with an index gets where it is not the one at the index."""
    if op == ENTROPY_NORMALIZER:
        differentiate(work, LOGSUMEXP, 0, d, g, a, a, r, accumulate, live, width)
    elif not accumulate:  # TAKE
        memset(d, 0, width * sizeof(double))


cdef void back_look_up(Workspace *work, int *header, int *s, Py_ssize_t live) noexcept nogil:
    """The step BACK_LOOKUP: each sample's grads go to the row that it took."""
    cdef int columns = header[1], k
    cdef double *indices = slot(work, s[columns])
    cdef Py_ssize_t i
    cdef int *row
    for i in range(live):
        row = header + 2 + <Py_ssize_t>indices[i] * columns
        for k in range(columns):
            work.grads[row[k]] += slot(work, s[k])[i]


cdef void seed(Workspace *work, int *header, int *s, Py_ssize_t width) noexcept nogil:
    """The step SEED: begin at the grad of an output."""
    cdef double *g = slot(work, s[0])
    cdef Py_ssize_t i
    for i in range(width):
        g[i] = work.seeds[header[0]] + (g[i] if header[1] else 0.0)


cdef void collect(Workspace *work, int *header, int *s, Py_ssize_t live) noexcept nogil:
    """The step COLLECT: add the grads of invariant values to those of the chunk."""
    cdef double *grads = work.grads + header[0]
    cdef Py_ssize_t k, count = header[1]
    cdef double *found = slot(work, s[0])
    if work.stride == 1:
        for k in range(count):
            grads[k] += found[k]
    else:
        for k in range(count):
            grads[k] += lane_total(work, s[0] + <int>k, live)


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
        elif step.kind == BACK_DOTS and work.stride == 1:
            work.lanes.back_dots_one(work.base, step.slots, step.count, step.header)
        elif step.kind == BACK_DOTS:
            work.lanes.back_dots(work.base, work.stride, step.slots, step.count, step.header, width)
        elif step.kind == BACK_DOT_RUN:
            work.lanes.back_dot_run(work.base, work.stride, step.header, step.slots, step.count, width)
        elif step.kind == BACK_REDUCE:
            back_reduce(work, step.header, step.slots, step.count, live, width)
        elif step.kind == BACK_INDEXED:
            back_indexed(work, step.header, step.slots, step.count, live, width)
        elif step.kind == BACK_LOOKUP:
            back_look_up(work, step.header, step.slots, live)
        elif step.kind == SEED:
            seed(work, step.header, step.slots, width)
        else:  # COLLECT
            collect(work, step.header, step.slots, live)
    return True
