# Slots: the second pass of a plan, from ids to slots.
#
# Gives Slots. Uses plan.pxi and program.pxi.

cdef int slots_apart(const int *slots, int calls, int count) noexcept:
    """How far apart the slots of one call and of the next are, `count` each, if those of each are side by side."""
    cdef int k, first = slots[0], step = slots[count] - first if calls > 1 else 0
    for k in range(calls * count):
        if slots[k] != first + k // count * step + k % count:
            return SCATTERED
    return step


cdef int layer_apart(int kind, const int *header, int k, const int *slots, int zeros) noexcept:
    """What the header of a step of a layer, LAYER or BACK_LAYER, has at k: how far apart are these slots? `zeros` is
    the slot of zeros."""
    cdef int outputs = header[1], inputs = header[2], last = header[3], calls = header[4], i
    if kind == LAYER:
        slots += calls * outputs
        if k == 5:
            return slots_apart(slots, calls, inputs)
        return slots_apart(slots + calls * inputs, calls, outputs) if last else SCATTERED
    if k == 5:
        return slots_apart(slots, calls, outputs)
    slots += calls * (outputs + inputs * (k - 6))
    if not last & (WEIGHTS if k == 6 else INPUTS):
        return SCATTERED
    for i in range(calls * inputs):
        if slots[i] != zeros:
            return slots_apart(slots, calls, inputs)
    return ALL_ZEROS if k == 8 else slots_apart(slots, calls, inputs)


@cython.final
cdef class Slots:
    """Allocates the slots of a draft, and encodes its steps."""

    cdef Draft draft
    cdef Program program
    cdef Plan plan
    cdef int *slot              # of an id, or -1
    cdef int *last              # the last step that names an id, or -1
    cdef char *used             # of a slot
    cdef Py_ssize_t room        # of `used`
    cdef Py_ssize_t lowest      # no slot below it is free
    cdef int steps              # of the draft
    cdef Py_ssize_t collecting  # where the last step in the array is a COLLECT, its end

    def __cinit__(self, Draft draft):
        self.draft, self.program = draft, draft.program
        self.plan = Plan()
        self.slot, self.last = ints_new(draft.next_id, -1), ints_new(draft.next_id, -1)

    def __dealloc__(self):
        PyMem_Free(self.slot)
        PyMem_Free(self.last)
        PyMem_Free(self.used)

    cdef Plan finish(self):
        cdef Plan plan = self.plan
        cdef Py_ssize_t i
        self.steps = self.find_last(&self.draft.forward, 0)
        self.steps = self.find_last(&self.draft.backward, self.steps)
        if self.draft.prologue:
            self.fix_invariants()
        else:
            self.keep_outputs()
            self.load()
        self.encode(&self.draft.backward, &plan.backward, self.encode(&self.draft.forward, &plan.forward, 0))
        for output in self.program.outputs if not self.draft.prologue else ():
            push(&plan.outputs, self.slot[<int>output])
        for i in range(self.program.code.count if not self.draft.prologue else 0):
            if self.program.code.items[i].op == ARGUMENT and self.slot[self.draft.grad(<int>i)] >= 0:
                push(&plan.grads, self.program.operands(<int>i)[0])
                push(&plan.grads, self.slot[self.draft.grad(<int>i)])
        for i in sorted(set(ints_of(&self.draft.transposed))):
            push(&plan.transposed, i)
        return plan

    # -- how long an id needs its slot

    cdef int find_last(self, IntArray *steps, int at) noexcept:
        """Note the last step at which each id needs its slot; the first step is number `at`. Returns the next number.
        """
        cdef int *next = steps.items
        cdef int *end = next + steps.count
        cdef Step step
        cdef int k
        while next < end:
            next = step_next(next, &step)
            for k in range(step.count):
                if step.slots[k] != NO_TARGET:
                    self.last[step.slots[k]] = at
            at += 1
        return at

    cdef void fix_invariants(self) noexcept:
        """In the prologue, values and their grads have slots of their own."""
        cdef Program program = self.program
        cdef Py_ssize_t i
        for i in range(program.code.count):
            if program.invariant[i]:
                self.slot[i] = program.index_of[i]
                self.slot[self.draft.grad(<int>i)] = program.invariants + program.index_of[i]
                self.last[i] = self.last[self.draft.grad(<int>i)] = self.steps
        self.slot[self.draft.zeros], self.last[self.draft.zeros] = 2 * program.invariants, self.steps
        self.plan.slots = 2 * program.invariants + 1

    cdef int keep_outputs(self) except -1:
        """Broadcasts, which the next block reads too, outputs, and grads of arguments need their slots after all steps.
        """
        cdef Program program = self.program
        cdef Py_ssize_t i
        for output in program.outputs:
            self.last[<int>output] = self.steps
        for i in range(program.code.count):
            if program.invariant[i] and self.last[i] >= 0:
                self.last[i] = self.steps
            elif program.code.items[i].op == ARGUMENT and self.last[self.draft.grad(<int>i)] >= 0:
                self.last[self.draft.grad(<int>i)] = self.steps
        if self.last[self.draft.zeros] >= 0:
            self.last[self.draft.zeros] = self.steps
        return 0

    cdef int load(self) except -1:
        """Give slots to arguments and broadcasts, which are there before the first step."""
        cdef Program program = self.program
        cdef Py_ssize_t i
        for i in range(program.code.count):
            if program.code.items[i].op == ARGUMENT and self.last[i] >= 0:
                push(&self.plan.loads, program.operands(<int>i)[0])
                push(&self.plan.loads, self.allocate(<int>i))
        for i in range(program.code.count):
            if program.invariant[i] and self.last[i] >= 0:
                push(&self.plan.broadcasts, program.index_of[i])
                push(&self.plan.broadcasts, self.allocate(<int>i))
        if self.last[self.draft.zeros] >= 0:
            push(&self.plan.broadcasts, -1)
            push(&self.plan.broadcasts, self.allocate(self.draft.zeros))
        return 0

    # -- allocation

    cdef int range_of(self, int count) except -1:
        """The first of `count` free slots that are side by side."""
        cdef Py_ssize_t at = self.lowest
        cdef char *found
        while True:
            found = <char *>memchr(self.used + at, 0, self.room - at) if self.room > at else NULL
            if found == NULL:
                self.enlarge(count)
                continue
            if at == self.lowest:
                self.lowest = found - self.used
            at = found - self.used
            if self.room - at < count:
                self.enlarge(count)
                continue
            found = <char *>memchr(self.used + at, 1, count)
            if found == NULL:
                memset(self.used + at, 1, count)
                self.plan.slots = max(self.plan.slots, <int>at + count)
                return <int>at
            at = found - self.used

    cdef int enlarge(self, int more) except -1:
        cdef Py_ssize_t before = self.room
        self.used = <char *>array_grow(self.used, &self.room, max(before, self.plan.slots) + more, sizeof(char))
        memset(self.used + before, 0, self.room - before)
        if before == 0:  # the prologue begins with slots of its own
            memset(self.used, 1, self.plan.slots)
        return 0

    cdef int allocate(self, int id) except -1:
        """A slot for this id alone."""
        self.slot[id] = self.range_of(1)
        return self.slot[id]

    cdef int allocate_step(self, Step *step) except -1:
        """Give slots to the ids of a step that have none: side by side to the results, or the grads, of a group, and to
        others that the step names for the first time."""
        cdef int k, id, group, at, others = 0, count = self.draft.count
        for k in range(step.count):
            id = step.slots[k]
            if id == NO_TARGET or self.slot[id] >= 0:
                continue
            group = self.program.group_of[id if id < count else id - count] if id < 2 * count else -1
            if group >= 0 and not self.program.invariant[id if id < count else id - count]:
                self.allocate_group(&self.program.groups[group], 0 if id < count else count)
            else:
                self.slot[id] = -2
                others += 1
        at = self.range_of(others) if others else 0
        for k in range(step.count if others else 0):
            id = step.slots[k]
            if id != NO_TARGET and self.slot[id] == -2:
                self.slot[id] = at
                at += 1
        return 0

    cdef int allocate_group(self, Group *group, int offset) except -1:
        """Slots for the results of a group, or with the offset of grads, for these."""
        cdef int k, id, at = self.range_of(group.count)
        for k in range(group.count):
            id = self.program.order[group.first + k] + offset
            if self.last[id] >= 0:
                self.slot[id] = at + k
            else:
                self.used[at + k] = 0
                self.lowest = min(self.lowest, at + k)
        return 0

    cdef int overwrite(self, Step *step, int at) except -1:
        """Let a step of a whole group, whose number is `at`, write its results over an operand that nothing needs
        afterwards, if its loop reads each lane before it writes it."""
        cdef int count = step.header[1 if step.kind == APPLY else 2], operands = step.count // count, j, k
        cdef int first = step.slots[0], offset = 0 if first < self.draft.count else self.draft.count
        cdef int group = self.program.group_of[first - offset]
        if (group < 0 or self.program.groups[group].count != count
                or not overwrites(step.header[0], step.kind == BACK_APPLY)):
            return 0
        for k in range(count):
            if (self.slot[step.slots[k]] >= 0
                    or step.slots[k] - offset != self.program.order[self.program.groups[group].first + k]):
                return 0
        for j in range(1, operands):
            if self.may_overwrite(step, count, j, at):
                for k in range(count):
                    self.slot[step.slots[k]] = self.slot[step.slots[j * count + k]]
                    self.last[step.slots[j * count + k]] = -1
                return 0
        return 0

    cdef bint may_overwrite(self, Step *step, int count, int operand, int at) noexcept:
        """Are the slots of this operand side by side and not needed afterwards, and does no instruction of the step
        read that of another?"""
        cdef int *ids = step.slots + operand * count
        cdef int k, other, s, base = self.slot[ids[0]]
        for k in range(count):
            if self.last[ids[k]] != at or self.slot[ids[k]] != base + k:
                return False
        for other in range(count, step.count):
            s = self.slot[step.slots[other]]
            if base <= s < base + count and s != base + other % count:
                return False
        return True

    cdef void free_step(self, Step *step, int at) noexcept:
        """Free the slots that nothing needs after this step, whose number is `at`."""
        cdef int k, id
        for k in range(step.count):
            id = step.slots[k]
            if id != NO_TARGET and self.last[id] == at:
                self.used[self.slot[id]] = 0
                self.lowest = min(self.lowest, self.slot[id])
                self.last[id] = -1

    # -- steps

    cdef int encode(self, IntArray *drafted, IntArray *steps, int at) except -1:
        """Append the steps of a draft, with slots. Returns the number of the step after them."""
        cdef int *next = drafted.items
        cdef int *end = next + drafted.count
        cdef Step step
        while next < end:
            next = step_next(next, &step)
            if step.kind == APPLY or step.kind == BACK_APPLY:
                self.overwrite(&step, at)
            self.allocate_step(&step)
            if step.kind == APPLY:
                self.encode_runs(steps, &step, step.header[1], step.header + 2)
            elif step.kind == BACK_APPLY:
                self.encode_runs(steps, &step, step.header[2], step.header + 3)
            elif step.kind == COLLECT:
                self.encode_collect(steps, &step)
            elif step.kind == DOTS or step.kind == BACK_DOTS:
                self.encode_dots(steps, &step)
            elif step.kind == LAYER or step.kind == BACK_LAYER:
                self.encode_layer(steps, &step)
            else:
                self.encode_step(steps, &step)
                if step.kind == LOOKUP or step.kind == BACK_LOOKUP:
                    self.plan.work += step.count - 2
            self.free_step(&step, at)
            check_signals(at)
            at += 1
        return at

    cdef int encode_step(self, IntArray *steps, Step *step) except -1:
        cdef int k, id
        push(steps, step.kind)
        push(steps, step.header_count)
        push(steps, step.count)
        extend(steps, step.header, step.header_count)
        for k in range(step.count):
            id = step.slots[k]
            push(steps, self.slot[id] if id != NO_TARGET else NO_TARGET)
        self.plan.steps += 1
        self.plan.work += 1
        return 0

    cdef int encode_layer(self, IntArray *steps, Step *step) except -1:
        """Append a step of a layer, and say how far apart the slots of its calls are."""
        cdef int *header
        cdef int k, zeros = self.slot[self.draft.zeros]
        self.encode_step(steps, step)
        header = steps.items + steps.count - step.count - step.header_count
        self.plan.work += header[4] - 1
        for k in range(5, step.header_count):
            header[k] = layer_apart(step.kind, header, k, header + step.header_count, zeros)
        return 0

    cdef int encode_collect(self, IntArray *steps, Step *step) except -1:
        """Append to the run before, or begin one."""
        cdef int *run = steps.items + steps.count - 6
        cdef int i = self.slot[step.slots[0]]
        if (steps.count >= 6 and self.collecting == steps.count and run[3] + run[4] == step.header[0]
                and run[5] + run[4] == i):
            run[4] += 1
            self.plan.work += 1
            return 0
        push(steps, COLLECT)
        push(steps, 2)
        push(steps, 1)
        push(steps, step.header[0])
        push(steps, 1)
        push(steps, i)
        self.collecting = steps.count
        self.plan.steps += 1
        self.plan.work += 1
        return 0

    cdef int encode_runs(self, IntArray *steps, Step *step, int count, const int *accumulate) except -1:
        """Cut a step of `count` instructions into runs, in which the slots of each operand are equally far apart."""
        cdef int operands = step.count // count, first = 0, end, j
        cdef bint back = step.kind == BACK_APPLY
        while first < count:
            end = self.run_end(step, count, first, accumulate if back else NULL)
            push(steps, step.kind)
            push(steps, 4 + BACK_OPERANDS if back else 4)
            push(steps, operands)
            push(steps, step.header[0])
            if back:
                push(steps, step.header[1])
                push(steps, accumulate[first])
            push(steps, end - first)
            for j in range(0 if back else 1, operands):
                push(steps, self.distance(step, count, first, j) if end - first > 1 else 1)
            for j in range(operands):
                push(steps, self.slot[step.slots[j * count + first]])
            self.plan.steps += 1
            self.plan.work += end - first
            first = end
        return 0

    cdef inline int distance(self, Step *step, int count, int k, int operand) noexcept:
        """How far the slot of an operand of instruction k + 1 is from that of instruction k."""
        cdef int *ids = step.slots + operand * count + k
        return self.slot[ids[1]] - self.slot[ids[0]]

    cdef int run_end(self, Step *step, int count, int first, const int *accumulate) noexcept:
        """The end of the run that begins with instruction `first`. Targets that are all the same are added to from the
        second on."""
        cdef int operands = step.count // count, end = first + 1, j, d
        cdef bint goes_on = True
        while end < count and goes_on:
            for j in range(operands):
                d = self.distance(step, count, end - 1, j)
                if d != self.distance(step, count, first, j) or (j == 0 and accumulate == NULL and d != 1):
                    goes_on = False
                if j == 0 and accumulate != NULL and accumulate[end] != (1 if d == 0 else accumulate[first]):
                    goes_on = False
            if goes_on:
                end += 1
        return end

    # -- sums of products: those whose factors' slots are equally far apart from one term to the next are a run

    cdef int encode_dots(self, IntArray *steps, Step *step) except -1:
        """Append the sums of a step, in runs or one by one."""
        cdef int count = step.header[0], width = step.count // count, first = 0, end, k
        while first < count:
            end = self.dots_end(step, width, first)
            if end > first and not self.mixes_targets(step, width, first, end):
                self.encode_dot_run(steps, step, width, first, end)
                self.plan.steps += 1
            else:
                end = max(end, first + 1)
                for k in range(first, end):
                    self.encode_dot(steps, step, width, k)
                self.plan.steps += end - first
            first = end
        self.plan.work += count
        return 0

    cdef int encode_dot(self, IntArray *steps, Step *step, int width, int k) except -1:
        """Append a step of one sum."""
        cdef int flags = (width - 1) // 2 if step.kind == BACK_DOTS else 0, j
        push(steps, step.kind)
        push(steps, flags)
        push(steps, width)
        extend(steps, step.header + 1 + k * flags, flags)
        for j in range(width):
            push(steps, self.slot_of(step.slots[k * width + j]))
        return 0

    cdef int encode_dot_run(self, IntArray *steps, Step *step, int width, int first, int end) except -1:
        """Append a step of the sums from the first one on."""
        cdef bint back = step.kind == BACK_DOTS
        cdef int lead = 1 if back else 2, fields = 4 if back else 2, terms = (width - lead) // fields, k, j
        cdef int *ids = step.slots + first * width
        push(steps, BACK_DOT_RUN if back else DOT_RUN)
        push(steps, 1 + fields + (2 * (end - first) if back else 0))
        push(steps, (lead + fields) * (end - first))
        push(steps, terms)
        for j in range(lead, lead + fields):
            push(steps, self.term_step(ids + j, fields, terms))
        for k in range(first, end if back else first):
            push(steps, step.header[1 + 2 * terms * k])
            push(steps, step.header[2 + 2 * terms * k])
        for k in range(first, end):
            for j in range(lead + fields):
                push(steps, self.slot_of(step.slots[k * width + j]))
        return 0

    cdef inline int slot_of(self, int id) noexcept:
        return self.slot[id] if id != NO_TARGET else NO_TARGET

    cdef int term_step(self, const int *ids, int fields, int terms) noexcept:
        """How far apart the slots of a factor of all terms are, or of its targets, or SCATTERED."""
        cdef int k, step = self.slot_of(ids[fields]) - self.slot_of(ids[0]) if terms > 1 else 0
        for k in range(1, terms):
            if (self.slot_of(ids[k * fields]) - self.slot_of(ids[(k - 1) * fields]) != step
                    or (ids[k * fields] == NO_TARGET) != (ids[0] == NO_TARGET)):
                return SCATTERED
        return step

    cdef int dots_end(self, Step *step, int width, int first) noexcept:
        """The end of the run that begins with this sum; the same if it is none."""
        cdef bint back = step.kind == BACK_DOTS
        cdef int lead = 1 if back else 2, fields = 4 if back else 2, terms = (width - lead) // fields, end = first, j
        cdef int *ids = step.slots + first * width
        cdef int *at = ids
        while end < step.header[0]:
            for j in range(lead, lead + fields):
                if (self.term_step(at + j, fields, terms) != self.term_step(ids + j, fields, terms)
                        or self.term_step(at + j, fields, terms) == SCATTERED
                        or (at[j] == NO_TARGET) != (ids[j] == NO_TARGET)):
                    return end
            for j in range(2 * terms if back else 0):
                if step.header[1 + 2 * terms * end + j] != step.header[1 + 2 * terms * end + j % 2]:
                    return end
            end += 1
            at += width
        return end

    cdef bint mixes_targets(self, Step *step, int width, int first, int end) except -1:
        """Does it depend on the order of products whether a target is written? In a run those of a come first. Both
        factors may have the same targets, as in a sum of squares, but not one for all terms."""
        cdef set targets = set()
        cdef int *ids
        cdef int k, j
        cdef bint same = True, one = False
        for k in range(first, end if step.kind == BACK_DOTS else first):
            ids = step.slots + k * width
            for j in range(3, width, 4):
                one |= j > 3 and (ids[j] == ids[3] != NO_TARGET or ids[j + 1] == ids[4] != NO_TARGET)
                same &= ids[j] == ids[j + 1]
        if same or one or step.slots[first * width + 3] == NO_TARGET or step.slots[first * width + 4] == NO_TARGET:
            return one
        for k in range(first, end):
            for j in range(k * width + 3, (k + 1) * width, 4):
                targets.add(step.slots[j])
        for k in range(first, end):
            for j in range(k * width + 4, (k + 1) * width, 4):
                if step.slots[j] in targets:
                    return True
        return False
