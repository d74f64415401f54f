# Plans: the steps that compute a program, forward and backward, on slots. A slot is an array of lanes, one for each
# sample of a block; it is used again after the last step that reads what it holds.
#
# Gives Plan, plan_sample, plan_prologue, partial_reads and StepKind. Uses program.pxi, trace.pxi, pick of lower.pxi,
# and the columns of the op table.

cdef enum StepKind:   # header; slots
    APPLY             # op;                               result, a, b
    REDUCE            # op;                               result, operands
    DOTS              # -;                                result, bias, a[0], b[0], a[1], b[1], ...
    LAYER             # layer, outputs, inputs, varying;  outputs, inputs, and the biases if these vary
    BACK_APPLY        # op, side, accumulate;             target, grad, a, b, result
    BACK_REDUCE       # op, accumulate...;                grad, result, then operand and target in turn
    BACK_DOTS         # accumulate...;                    grad, then a, b, the target of a and that of b in turn
    BACK_LAYER        # layer, outputs, inputs, wanted;   grads, inputs, and if wanted targets and what is added to
    SEED              # output, accumulate;               target
    COLLECT           # invariant value;                  grad

cdef enum:
    NO_TARGET = -1    # BACK_DOTS: in place of a target, where no grad is needed
    WEIGHTS = 1       # BACK_LAYER: grads of the weights and biases are wanted
    INPUTS = 2        # BACK_LAYER: grads of the inputs are wanted


@cython.final
cdef class Plan:
    """Steps on slots: forward, and backward if there is one."""

    cdef IntArray forward     # for each step: kind, length of header, number of slots, header, slots
    cdef IntArray backward
    cdef IntArray loads       # pairs of an argument and its slot
    cdef IntArray broadcasts  # pairs of an invariant value, or -1 for zeros, and its slot
    cdef IntArray outputs     # the slots of the outputs
    cdef IntArray transposed  # layers whose transposed weights are read, for the grads of their inputs
    cdef IntArray grads       # pairs of an argument and the slot of its grad
    cdef readonly int slots
    cdef readonly int steps

    def __dealloc__(self):
        PyMem_Free(self.forward.items)
        PyMem_Free(self.backward.items)
        PyMem_Free(self.loads.items)
        PyMem_Free(self.broadcasts.items)
        PyMem_Free(self.outputs.items)
        PyMem_Free(self.transposed.items)
        PyMem_Free(self.grads.items)


# ---- What a plan asks of ops ---------------------------------------------------------------------

cdef bint passes_nothing(int op):
    """Is the gradient that the op passes on always 0?"""
    return RULES[op].shape == LINEAR and RULES[op].d_left(0.0, 0.0, 0.0, 1.0) == 0.0


cdef int partial_reads(int op, int side):
    """What the partial of one side reads, a set of Read."""
    return RULES[op].right_reads if side else RULES[op].left_reads


# ---- Steps ---------------------------------------------------------------------------------------

@cython.final
cdef class Steps:
    """Collects the steps of a plan. Until slots are allocated, what they will hold has ids: an instruction's index is
    the id of its result, `count` more the id of its grad."""

    cdef Program program
    cdef list needs       # does an instruction need a grad?
    cdef list forward     # (kind, header, ids)
    cdef list backward
    cdef list transposed  # layers whose inputs need grads
    cdef int count        # of instructions
    cdef int ids          # the next new id
    cdef set written      # instructions whose grad has been written
    cdef bint prologue    # invariant instructions: all grads have been written, by the samples

    def __cinit__(self, Program program, list needs, bint prologue):
        self.program = program
        self.needs = needs
        self.forward, self.backward, self.transposed = [], [], []
        self.count = len(program.instructions)
        self.ids = 2 * self.count + 1
        self.written = set()
        self.prologue = prologue

    cdef int grad(self, int i):
        return self.count + i

    cdef int zeros(self):
        """A slot of zeros."""
        return 2 * self.count

    cdef tuple target(self, int i):
        """The id of an instruction's grad, and whether to accumulate: has it been written before?"""
        cdef bint accumulate = self.prologue or i in self.written
        self.written.add(i)
        return self.grad(i), accumulate

    cdef int compute(self, int i) except -1:
        """Append the step that computes an instruction."""
        op, operands = self.program.instructions[i]
        if op == DOT:
            self.forward.append((DOTS, [], [i, *operands]))
        elif RULES[op].reduce != NULL:
            self.forward.append((REDUCE, [op], [i, *operands]))
        else:
            self.forward.append((APPLY, [op], [i, operands[0], operands[-1]]))
        return 0

    cdef int propagate(self, int i) except -1:
        """From an instruction's grad to those of its operands."""
        cdef int side
        op, operands = self.program.instructions[i]
        if not self.needs[i] or not self.prologue and i not in self.written:
            return 0
        if op == DOT:
            self.propagate_dot(i, operands)
        elif RULES[op].reduce != NULL:
            self.propagate_reduce(i, op, operands)
        else:
            for side in range(len(operands)):
                if self.needs[operands[side]]:
                    self.propagate_side(op, side, operands[side], self.grad(i), operands[0], operands[-1], i)
        return 0

    # A step names only what it reads, so that no slot is kept for the rest: in the place of an operand or a result that
    # the op's partial does not read it names the grad, which it reads in any case.

    cdef int propagate_side(self, int op, int side, int operand, int grad, int a, int b, int result) except -1:
        """From the grad of an op's result to that of one operand."""
        cdef int reads = partial_reads(op, side)
        target, accumulate = self.target(operand)
        self.backward.append((BACK_APPLY, [op, side, accumulate], [
            target, grad, a if reads & A else grad, b if reads & B else grad, result if reads & R else grad,
        ]))
        return 0

    cdef int pass_on(self, int operand, int grad) except -1:
        """Add a grad, as it is, to that of an operand."""
        return self.propagate_side(ADD, 0, operand, grad, operand, operand, operand)

    cdef int propagate_dot(self, int i, operands) except -1:
        """propagate() of a DOT: one step for all products, and one for the bias."""
        cdef int a, b, k, grad = self.grad(i)
        cdef list ids = [grad], accumulates = []
        if self.needs[operands[0]]:
            self.pass_on(operands[0], grad)
        for k in range(1, len(operands), 2):
            a, b = operands[k], operands[k + 1]
            if self.needs[a] or self.needs[b]:
                ids += [a if self.needs[b] else grad, b if self.needs[a] else grad]
                for operand in (a, b):
                    target, accumulate = self.target(operand) if self.needs[operand] else (NO_TARGET, False)
                    ids.append(target)
                    accumulates.append(accumulate)
        if accumulates:
            self.backward.append((BACK_DOTS, accumulates, ids))
        return 0

    cdef int propagate_reduce(self, int i, int op, operands) except -1:
        """propagate() of a variadic op: one step for all operands."""
        cdef int reads = partial_reads(op, 0), grad = self.grad(i)
        cdef list ids = [grad, i if reads & R else grad], accumulates = []
        for operand in operands:
            if self.needs[operand]:
                target, accumulate = self.target(operand)
                ids += [operand if reads & A else grad, target]
                accumulates.append(accumulate)
        self.backward.append((BACK_REDUCE, [op, *accumulates], ids))
        return 0

    # -- layers

    cdef int compute_layer(self, int index, tuple group) except -1:
        """Append the step that computes the outputs of a layer."""
        cdef list inputs = self.program.layer_inputs(group), biases = []
        cdef bint varying = self.program.layers[index].biases == NULL
        for i in group if varying else ():
            biases.append(self.program.instructions[i][1][0])
        self.forward.append((LAYER, [index, len(group), len(inputs), varying], [*group, *inputs, *biases]))
        return 0

    cdef int propagate_layer(self, int index, tuple group) except -1:
        """From the grads of a layer's outputs to those of its weights, biases and inputs."""
        cdef list inputs = self.program.layer_inputs(group), grads = [], targets = [], initial = []
        cdef int i, wanted = 0
        if not any(i in self.written for i in group):
            return 0
        for i in group:
            grads.append(self.grad(i) if i in self.written else self.zeros())
            bias = self.program.instructions[i][1][0]
            if i in self.written and self.needs[bias] and not self.program.invariant[bias]:
                self.pass_on(bias, self.grad(i))
        if self.weights_need_grads(group):
            wanted |= WEIGHTS
        if any(self.needs[x] for x in inputs):
            wanted |= INPUTS
            self.transposed.append(index)
            self.target_inputs(inputs, targets, initial)
        if wanted:
            read = inputs if wanted & WEIGHTS else grads[:1] * len(inputs)
            self.backward.append((BACK_LAYER, [index, len(group), len(inputs), wanted],
                                  [*grads, *read, *targets, *initial]))
        for x, target in zip(inputs, targets):
            if self.needs[x] and target != self.grad(x):
                self.pass_on(x, target)
        return 0

    cdef bint weights_need_grads(self, tuple group):
        """Do any of a layer's weights and invariant biases?"""
        for i in group:
            if any(self.program.invariant[x] and self.needs[x] for x in self.program.instructions[i][1]):
                return True
        return False

    cdef int target_inputs(self, list inputs, list targets, list initial) except -1:
        """Append the ids to which a layer writes the grads of its inputs, all different, and those of what it adds the
        grads to: the same, or zeros. An input that needs no grad, or occurs a second time, gets a new id."""
        cdef set met = set()
        for x in inputs:
            if self.needs[x] and x not in met:
                target, accumulate = self.target(x)
                met.add(x)
            else:
                target, accumulate = self.ids, False
                self.ids += 1
            targets.append(target)
            initial.append(target if accumulate else self.zeros())
        return 0


cdef list encode_steps(list steps, dict slot):
    """The steps as ints, with slots for ids."""
    cdef list items = []
    for kind, header, ids in steps:
        items += [kind, len(header), len(ids), *header]
        for i in ids:
            items.append(slot[i] if i != NO_TARGET else NO_TARGET)
    return items


# ---- The plans of a program ----------------------------------------------------------------------

cdef Plan plan_prologue(Program program):
    """The plan for what is computed once a call. The slot of a value is its index, that of its grad `invariants` more.
    """
    cdef Steps steps = Steps(program, find_needs(program, CAPTURED_ONLY), True)
    cdef Plan plan = Plan()
    cdef dict slot = {}
    for i, index in program.index_of.items():
        slot[i] = index
        slot[steps.grad(i)] = program.invariants + index
        if is_computed(program.instructions[i][0]):
            steps.compute(i)
    for i in reversed(program.index_of):
        if is_computed(program.instructions[i][0]):
            steps.propagate(i)
    plan.forward = int_array_new(encode_steps(steps.forward, slot))
    plan.backward = int_array_new(encode_steps(steps.backward, slot))
    plan.slots = 2 * program.invariants
    plan.steps = len(steps.forward)
    return plan


cdef list find_needs(Program program, int mode):
    """Which instructions need a grad: those that depend on captured leaves, or, if arguments get grads, on these."""
    cdef list needs = []
    for op, operands in program.instructions:
        if op == NUMBER or mode == FORWARD:
            needs.append(False)
        elif op == CAPTURED or op == ARGUMENT:
            needs.append(op == CAPTURED or mode == ALL)
        else:
            needs.append((op == DOT or not passes_nothing(op)) and any(needs[operand] for operand in operands))
    return needs


cdef Plan plan_sample(Program program, int mode):
    """The plan for what is computed for each sample."""
    cdef Steps steps = Steps(program, find_needs(program, mode), False)
    cdef int layer = 0
    cdef tuple group
    for group in program.schedule:
        if program.is_layer(group):
            steps.compute_layer(layer, group)
            layer += 1
        else:
            steps.compute(group[0])
    if mode != FORWARD:
        for k, output in enumerate(program.outputs):
            if steps.needs[output]:
                target, accumulate = steps.target(output)
                steps.backward.append((SEED, [k, accumulate], [target]))
        for group in reversed(program.schedule):
            if program.is_layer(group):
                layer -= 1
                steps.propagate_layer(layer, group)
            else:
                steps.propagate(group[0])
        for i in sorted(steps.written):
            if program.invariant[i]:
                steps.backward.append((COLLECT, [program.index_of[i]], [steps.grad(i)]))
    return plan_slots(steps)


# ---- Slots ---------------------------------------------------------------------------------------

cdef Plan plan_slots(Steps steps):
    """Allocate slots and encode the steps. Arguments and broadcasts are in their slots before the first step."""
    cdef Program program = steps.program
    cdef Plan plan = Plan()
    cdef dict last = last_steps(steps), slot = {}
    cdef list loads = [], broadcasts = [], grads = []
    for i, (op, operands) in enumerate(program.instructions):
        if i in last and op == ARGUMENT:
            loads += [operands[0], len(slot)]
            slot[i] = len(slot)
        elif i in last and program.invariant[i]:
            broadcasts += [program.index_of[i], len(slot)]
            slot[i] = len(slot)
    if steps.zeros() in last:
        broadcasts += [-1, len(slot)]
        slot[steps.zeros()] = len(slot)
    plan.slots = allocate_slots(steps.forward + steps.backward, last, slot)
    for i, (op, operands) in enumerate(program.instructions):
        if op == ARGUMENT and steps.grad(i) in slot:
            grads += [operands[0], slot[steps.grad(i)]]
    plan.forward = int_array_new(encode_steps(steps.forward, slot))
    plan.backward = int_array_new(encode_steps(steps.backward, slot))
    plan.loads = int_array_new(loads)
    plan.broadcasts = int_array_new(broadcasts)
    plan.outputs = int_array_new(pick(slot, program.outputs))
    plan.grads = int_array_new(grads)
    plan.transposed = int_array_new(steps.transposed)
    plan.steps = len(steps.forward) + len(steps.backward)
    return plan


cdef dict last_steps(Steps steps):
    """The last step at which each id needs its slot. Broadcasts, which the next block reads too, outputs, and grads of
    arguments need theirs after all steps."""
    cdef list all_steps = steps.forward + steps.backward
    cdef dict last = {}
    for at, (kind, header, ids) in enumerate(all_steps):
        for i in ids:
            last[i] = at
    for i in steps.program.outputs:
        last[i] = len(all_steps)
    for i, (op, operands) in enumerate(steps.program.instructions):
        if steps.program.invariant[i] and i in last:
            last[i] = len(all_steps)
        elif op == ARGUMENT and steps.grad(i) in last:
            last[steps.grad(i)] = len(all_steps)
    if steps.zeros() in last:
        last[steps.zeros()] = len(all_steps)
    return last


cdef int allocate_slots(list all_steps, dict last, dict slot) except -1:
    """Give slots to the other ids, each from its first step to its last. Returns the number of slots."""
    cdef list free = []
    cdef int slots = len(slot)
    for at, (kind, header, ids) in enumerate(all_steps):
        for i in ids:
            if i != NO_TARGET and i not in slot:
                if not free:
                    free.append(slots)
                    slots += 1
                slot[i] = free.pop()
        for i in set(ids):
            if i != NO_TARGET and last[i] == at:
                free.append(slot[i])
    return slots
