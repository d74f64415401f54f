# The rules of plans, as check.pxi has those of traces and programs.
#
# Gives check_plan. Uses check.pxi, program.pxi, plan.pxi, slots.pxi.

@cython.final
cdef class PlanCheck:
    """Goes through the steps of a plan: slots exist, are written before they are read, and are named only if read."""

    cdef Program program
    cdef Plan plan
    cdef bint prologue
    cdef set written
    cdef set now            # slots that the step at hand writes
    cdef int kind
    cdef int *header
    cdef int header_count
    cdef int *slots
    cdef int count          # of slots

    cdef int check_slot(self, int slot) except -1:
        return require(0 <= slot < self.plan.slots, "a slot exists")

    cdef int check_slot_read(self, int slot) except -1:
        self.check_slot(slot)
        require(slot in self.written, "a slot is written before it is read")
        return require(slot not in self.now, "a step does not overwrite what it reads")

    cdef int check_read(self, int i) except -1:
        require(0 <= i < self.count, "a slot exists")
        return self.check_slot_read(self.slots[i])

    cdef int check_write(self, int i, bint accumulate) except -1:
        if accumulate:
            self.check_read(i)
        require(0 <= i < self.count and 0 <= self.slots[i] < self.plan.slots, "a slot exists")
        self.now.add(self.slots[i])
        return 0

    cdef int check_steps(self, IntArray *steps) except -1:
        cdef int *at = steps.items
        cdef int *end = at + steps.count
        while at < end:
            require(end - at >= 3, "a step is a kind, two lengths, a header and slots")
            self.kind, self.header_count, self.count = at[0], at[1], at[2]
            require(self.header_count >= 0 and self.count >= 0
                    and <Py_ssize_t>self.header_count + self.count <= end - at - 3, "a step is as long as it says")
            self.header = at + 3
            self.slots = self.header + self.header_count
            self.now = set()
            if self.kind <= LOOKUP:
                self.check_forward()
            else:
                self.check_backward()
            self.written |= self.now
            at = self.slots + self.count
        return 0

    cdef int check_shape(self, bint header, bint slots) except -1:
        require(header, f"a step of kind {self.kind} has its header")
        return require(slots, f"a step of kind {self.kind} has its slots")

    cdef int check_forward(self) except -1:
        cdef int i, first = 1
        cdef Layer *layer
        if self.kind == APPLY:
            self.check_shape(self.header_count == 4 and self.header[1] > 0, self.count == 3)
            return self.check_apply()
        elif self.kind == REDUCE:
            self.check_shape(self.header_count == 1, 1 < self.count <= self.program.widest + 1)
            check_rule(self.header[0], True)
        elif self.kind == INDEXED_REDUCE:
            self.check_shape(self.header_count == 1, 1 < self.count <= self.program.widest + 1)
            check_rule(self.header[0], True)
            require(has_index(self.header[0]), "an op has an index")
        elif self.kind == LOOKUP:
            self.check_table()
            first = self.header[1]
        elif self.kind == DOT_RUN:
            self.check_shape(self.header_count == 3 and self.header[0] > 0,
                             self.count > 0 and self.count % DOT_SLOTS == 0)
            return self.check_dot_run()
        elif self.kind == DOTS:
            self.check_shape(self.header_count == 0, self.count >= 4 and self.count % 2 == 0)
        else:
            layer = self.check_layer(LAYER, LAYER_HEADER)
            first = self.header[4] * layer.outputs
            self.check_shape(self.header[3] == (layer.biases == NULL),
                             self.count == (first + self.header[4] * layer.inputs
                                            + (first if layer.biases == NULL else 0)))
            self.check_apart()
            require(slots_apart(self.slots, 1, first) == 0, "the outputs of a layer are side by side")
        # Loops over lanes may write what they have computed before they have read the rest.
        for i in range(first):
            require(0 <= i < self.count, "a step has a result")
            self.check_write(i, False)
        require(len(self.now) == first, "results have slots of their own")
        for i in range(first, self.count):
            self.check_read(i)
        return 0

    cdef int check_dot_run(self) except -1:
        cdef int i, k
        for i in range(0, self.count, DOT_SLOTS):
            self.check_read(i + 1)
            for k in range(self.header[0]):
                self.check_slot_read(self.slots[i + 2] + k * self.header[1])
                self.check_slot_read(self.slots[i + 3] + k * self.header[2])
        for i in range(0, self.count, DOT_SLOTS):
            self.check_write(i, False)
        for i in range(0, self.count, DOT_SLOTS):  # results are written before later sums are computed
            require(self.slots[i + 1] not in self.now, "a step does not overwrite what it reads")
            for k in range(self.header[0]):
                require(self.slots[i + 2] + k * self.header[1] not in self.now
                        and self.slots[i + 3] + k * self.header[2] not in self.now,
                        "a step does not overwrite what it reads")
        return require(len(self.now) == self.count // DOT_SLOTS, "results have slots of their own")

    cdef int check_table(self) except -1:
        cdef int k
        self.check_shape(self.header_count >= 2 and self.header[0] >= 0 and self.header[1] > 0
                         and self.header_count - 2 == <Py_ssize_t>self.header[0] * self.header[1],
                         not self.prologue and self.count == self.header[1] + 1)
        for k in range(2, self.header_count):
            require(0 <= self.header[k] < self.program.invariants, "an invariant value exists")
        return 0

    cdef int check_apply(self) except -1:
        cdef int k
        check_rule(self.header[0], False)
        for k in range(self.header[1]):
            self.check_slot(self.slots[0] + k)
            self.check_slot_read(self.slots[1] + k * self.header[2])
            self.check_slot_read(self.slots[2] + k * self.header[3])
            self.now.add(self.slots[0] + k)
        for k in range(self.header[1]):
            self.check_overwritten(self.slots[1] + k * self.header[2], k)
            self.check_overwritten(self.slots[2] + k * self.header[3], k)
        return 0

    cdef int check_overwritten(self, int slot, int k) except -1:
        """A run may write a result over an operand of the same instruction."""
        return require(slot not in self.now or slot == self.slots[0] + k, "a step does not overwrite what it reads")

    cdef Layer *check_layer(self, int kind, int size) except NULL:
        """The layer that the header of a step names, after its size was checked."""
        cdef Layer *layer
        require(self.kind == kind, f"there is no step of kind {self.kind} here")
        require(self.header_count == size and 0 <= self.header[0] < self.program.layer_count, "a layer exists")
        layer = &self.program.layers[self.header[0]]
        require(self.header[1] == layer.outputs and self.header[2] == layer.inputs, "a step is of its layer's size")
        require(0 < self.header[4] <= self.count, "a step has calls of its layer")
        return layer

    cdef int check_apart(self) except -1:
        """Check what the header of a step of a layer says of its slots."""
        cdef int k, zeros = 2 * self.program.invariants if self.prologue else -1
        for index, i in pairs_of(&self.plan.broadcasts):
            zeros = i if index < 0 else zeros
        for k in range(5, self.header_count):
            require(self.header[k] == layer_apart(self.kind, self.header, k, self.slots, zeros),
                    "a step knows how far apart its slots are")
        return 0

    cdef int check_backward(self) except -1:
        cdef int k
        if self.kind == BACK_APPLY:
            self.check_back_apply()
        elif self.kind == BACK_REDUCE:
            self.check_back_reduce()
        elif self.kind == BACK_DOTS:
            self.check_back_dots()
        elif self.kind == BACK_DOT_RUN:
            self.check_back_dot_run()
        elif self.kind == BACK_LAYER:
            self.check_back_layer(self.check_layer(BACK_LAYER, BACK_LAYER_HEADER))
        elif self.kind == BACK_INDEXED:
            self.check_back_indexed()
        elif self.kind == BACK_LOOKUP:
            self.check_table()
            for k in range(self.count):
                self.check_read(k)
        elif self.kind == SEED:
            require(not self.prologue, "the prologue has no seeds")
            self.check_shape(self.header_count == 2 and 0 <= self.header[0] < len(self.program.outputs),
                             self.count == 1)
            self.check_write(0, self.header[1])
        else:
            require(self.kind == COLLECT and not self.prologue, f"there is no step of kind {self.kind} here")
            self.check_shape(self.header_count == 2 and self.header[1] > 0 and self.header[0] >= 0
                             and self.header[0] + self.header[1] <= self.program.invariants, self.count == 1)
            for k in range(self.header[1]):
                self.check_slot_read(self.slots[0] + k)
        return 0

    cdef int check_operand(self, int i, bint is_read, int grad) except -1:
        """Check the slot of an operand: that of the grad where the gradient does not depend on the operand."""
        self.check_read(i)
        return require(is_read or self.slots[i] == self.slots[grad], "a step names only slots that it reads")

    cdef int check_back_apply(self) except -1:
        cdef int reads, j, k, slot
        cdef int *header = self.header
        self.check_shape(self.header_count == 4 + BACK_OPERANDS and header[3] > 0, self.count == BACK_OPERANDS)
        check_rule(header[0], False)
        require(0 <= header[1] < RULES[header[0]].arity, "a side is one of the op's arguments")
        reads = partial_reads(header[0], header[1])
        for j in range(2, BACK_OPERANDS):
            require(reads & (A, B, R)[j - 2] or self.slots[j] == self.slots[1] and header[4 + j] == header[5],
                    "a step names only slots that it reads")
        for k in range(header[3]):
            for j in range(1, BACK_OPERANDS):
                self.check_slot_read(self.slots[j] + k * header[4 + j])
        for k in range(header[3]):
            slot = self.slots[0] + k * header[4]
            self.check_slot(slot)
            require(not header[2] or slot in self.written, "what is added to is written")
            self.now.add(slot)
        for k in range(header[3]):
            for j in range(1, BACK_OPERANDS):
                require(self.slots[j] + k * header[4 + j] not in self.now
                        or self.slots[j] + k * header[4 + j] == self.slots[0] + k * header[4],
                        "a step does not overwrite what it reads")
        return 0

    cdef int check_back_reduce(self) except -1:
        cdef int i, reads
        self.check_shape(self.header_count >= 1, self.count == 2 * self.header_count)
        check_rule(self.header[0], True)
        reads = partial_reads(self.header[0], 0)
        self.check_read(0)
        self.check_operand(1, reads & R, 0)
        for i in range(2, self.count, 2):
            self.check_operand(i, reads & A, 0)
        for i in range(2, self.count, 2):
            self.check_target(i + 1, self.header[i // 2])
        return 0

    cdef int check_back_dots(self) except -1:
        cdef int i
        self.check_shape(self.header_count % 2 == 0, self.count == 1 + 2 * self.header_count)
        self.check_read(0)
        for i in range(1, self.count, 4):
            self.check_operand(i, self.slots[i + 3] != NO_TARGET, 0)
            self.check_operand(i + 1, self.slots[i + 2] != NO_TARGET, 0)
        for i in range(1, self.count, 4):
            self.check_target(i + 2, self.header[(i - 1) // 2])
            self.check_target(i + 3, self.header[(i - 1) // 2 + 1])
        return 0

    cdef int check_back_dot_run(self) except -1:
        """The targets of the first factors of all sums, then those of the second ones; all else is read before."""
        cdef int i, k, side, target, step
        cdef int *header = self.header
        self.check_shape(self.header_count > BACK_DOT_FLAGS and header[0] > 0 and self.count % BACK_DOT_SLOTS == 0,
                         self.count // BACK_DOT_SLOTS * 2 == self.header_count - BACK_DOT_FLAGS)
        for i in range(0, self.count, BACK_DOT_SLOTS):
            self.check_read(i)
            for side in range(2):
                target = self.slots[i + 3 + side]
                require((target == NO_TARGET) == (self.slots[3 + side] == NO_TARGET), "all sums have targets, or none")
                for k in range(header[0]):
                    self.check_slot_read(self.slots[i + 2 - side] + k * header[2 - side])
                require(target != NO_TARGET or self.slots[i + 2 - side] == self.slots[i] and header[2 - side] == 0,
                        "a step names only slots that it reads")
        for side in range(2):
            step = header[3 + side]
            for i in range(0, self.count if self.slots[3 + side] != NO_TARGET else 0, BACK_DOT_SLOTS):
                require(step != 0 or header[0] == 1, "the terms of a sum have targets of their own")
                for k in range(header[0]):
                    target = self.slots[i + 3 + side] + k * step
                    self.check_slot(target)
                    require(not header[BACK_DOT_FLAGS + 2 * (i // BACK_DOT_SLOTS) + side] or target in self.written
                            or target in self.now, "what is added to is written")
                    require(header[BACK_DOT_FLAGS + 2 * (i // BACK_DOT_SLOTS) + side] or target not in self.now,
                            "what is written is not lost")
                    self.now.add(target)
        for i in range(0, self.count, BACK_DOT_SLOTS):
            require(self.slots[i] not in self.now, "a step does not overwrite what it reads")
            for k in range(2 * header[0]):
                require(self.slots[i + 1 + k % 2] + k // 2 * header[1 + k % 2] not in self.now,
                        "a step does not overwrite what it reads")
        return 0

    cdef int check_back_indexed(self) except -1:
        cdef int i, reads
        self.check_shape(self.header_count >= 1, self.count == 1 + 2 * self.header_count)
        check_rule(self.header[0], True)
        require(has_index(self.header[0]), "an op has an index")
        reads = partial_reads(self.header[0], 0)
        self.check_read(0)
        self.check_operand(1, reads & R, 0)
        self.check_read(2)
        for i in range(3, self.count, 2):
            self.check_operand(i, reads & A and self.slots[i + 1] != NO_TARGET, 0)
        for i in range(3, self.count, 2):
            require(self.slots[i + 1] not in self.now, "targets have slots of their own")
            self.check_target(i + 1, self.header[(i - 1) // 2])
        return 0

    cdef int check_target(self, int i, bint accumulate) except -1:
        """A slot that is written after all of the step has been read, perhaps more than once."""
        if self.slots[i] == NO_TARGET:
            return 0
        require(0 <= self.slots[i] < self.plan.slots, "a slot exists")
        require(not accumulate or self.slots[i] in self.written or self.slots[i] in self.now,
                "what is added to is written")
        self.now.add(self.slots[i])
        return 0

    cdef int check_back_layer(self, Layer *layer) except -1:
        cdef int i, grads = self.header[4] * layer.outputs, inputs = self.header[4] * layer.inputs
        cdef int targets = grads + inputs
        self.check_shape(0 < self.header[3] <= (WEIGHTS | INPUTS | BIASES)
                         and (layer.biases != NULL or not self.header[3] & BIASES),
                         self.count == targets + (2 * inputs if self.header[3] & INPUTS else 0))
        self.check_apart()
        for i in range(grads):
            self.check_read(i)
        for i in range(grads, targets):
            self.check_operand(i, self.header[3] & WEIGHTS, 0)
        if self.header[3] & INPUTS:
            require(self.header[0] in ints_of(&self.plan.transposed), "a layer is transposed for its inputs")
            for i in range(targets + inputs, self.count):  # what is added to: the target itself, or zeros
                self.check_read(i)
            for i in range(targets, targets + inputs):
                self.check_write(i, False)
            require(len(self.now) == inputs, "targets have slots of their own")
        return 0


cdef int check_rule(int op, bint variadic) except -1:
    require(0 < op < OP_COUNT, "an op is one of the table")
    return require((RULES[op].reduce != NULL) == variadic, "a step is of an op of its kind")


cdef list pairs_of(IntArray *ints):
    cdef list items = ints_of(ints)
    require(len(items) % 2 == 0, "loads, broadcasts and grads of arguments are pairs")
    return list(zip(items[::2], items[1::2]))


cdef int check_plan(Program program, Plan plan, int mode) except -1:
    """Check a plan; mode -1 is the prologue."""
    cdef PlanCheck check = PlanCheck()
    check.program, check.plan, check.prologue = program, plan, mode == -1
    check.written = set()
    if check.prologue:
        require(plan.slots > 2 * program.invariants, "an invariant value and its grad have a slot each")
        check.written.update(range(program.leaves))
    else:
        require(plan.outputs.count == len(program.outputs), "outputs have slots")
    check_loads(check)
    check.check_steps(&plan.forward)
    if check.prologue:  # grads, which come from the samples, and zeros
        check.written.update(range(program.invariants, 2 * program.invariants + 1))
    for i in ints_of(&plan.outputs):
        require(i in check.written, "an output is computed")
    require(mode > FORWARD or check.prologue or not plan.backward.count,
            "without gradients there are no steps backward")
    check.check_steps(&plan.backward)
    for i in ints_of(&plan.transposed):
        require(0 <= i < program.layer_count, "a layer exists")
    for argument, i in pairs_of(&plan.grads):
        require(0 <= argument < program.trace.arguments, "an argument exists")
        require(i in check.written, "its grad is computed")
    return 0


cdef int check_loads(PlanCheck check) except -1:
    """What is in slots before the first step."""
    cdef list loads = pairs_of(&check.plan.loads), broadcasts = pairs_of(&check.plan.broadcasts)
    for argument, _ in loads:
        require(0 <= argument < check.program.trace.arguments, "an argument exists")
    for index, _ in broadcasts:
        require(-1 <= index < check.program.invariants, "an invariant value exists")
    for _, i in loads + broadcasts:
        require(0 <= i < check.plan.slots, "what is loaded has a slot")
        require(i not in check.written, "no two are loaded to one slot")
        check.written.add(i)
    return 0
