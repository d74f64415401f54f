# Plans: the steps of a program on slots, each a row of lanes, that are used again when what they hold has had its last
# reader. Gives Plan, plan_once() and plan_rows(), and the kinds of steps. Uses Program.

cdef enum StepKind:   # header; slots
    APPLY             # op;                              result, a, b
    REDUCE            # op;                              result, arguments
    DOTS              # -;                               result, start, a[0], b[0], a[1], b[1], ...
    LAYER             # layer, outputs, inputs, starts;  outputs, inputs, and the starts if they are not of the layer
    BACK_APPLY        # op, side, add;                   what gains, grad, a, b, result
    BACK_REDUCE       # op, adds;                        grad, result, then argument and what gains in turn
    BACK_DOTS         # adds;                            grad, then a, b and what gains of each in turn, or -1
    BACK_LAYER        # layer, outputs, inputs, what;    grads, inputs, what gains, and what it starts from
    SEED              # output, add;                     what gains
    COLLECT           # uniform;                         grad

cdef enum:
    WEIGHTS = 1       # BACK_LAYER: of the weights and biases
    INPUTS = 2        # BACK_LAYER: of the inputs

@cython.final
cdef class Plan:
    """Steps on slots: forward, and backward if there is one."""

    cdef Code forward
    cdef Code backward
    cdef Code loads           # pairs of argument and slot
    cdef Code splats          # pairs of uniform value and slot
    cdef Code outputs         # the slots of the outputs
    cdef Code turned          # layers whose inputs need grads
    cdef Code grads           # pairs of argument and the slot of its grad
    cdef readonly int slots   # lanes of numbers it works on
    cdef readonly int steps

    def __dealloc__(self):
        PyMem_Free(self.forward.words)
        PyMem_Free(self.backward.words)
        PyMem_Free(self.loads.words)
        PyMem_Free(self.splats.words)
        PyMem_Free(self.outputs.words)
        PyMem_Free(self.grads.words)
        PyMem_Free(self.turned.words)


cdef bint sends_nothing(int op):
    return RULES[op].shape == LINEAR and RULES[op].d_left(0.0, 0.0, 0.0, 1.0) == 0.0


@cython.final
cdef class Steps:
    """Collects the steps of a plan. Slots are named by ids: a row's number for its data, `count` more for its grad."""

    cdef Program program
    cdef list needs       # does a row need a grad?
    cdef list forward     # (kind, header, ids)
    cdef list backward
    cdef list turned      # layers whose inputs need grads
    cdef int count        # rows
    cdef int ids          # ids given away
    cdef set begun        # rows whose grad has got something already
    cdef bint once        # uniform rows: all grads have got something, namely from the rows that vary

    def __cinit__(self, Program program, list needs, bint once):
        self.program = program
        self.needs = needs
        self.forward, self.backward, self.turned = [], [], []
        self.count = len(program.rows)
        self.ids = 2 * self.count + 1
        self.begun = set()
        self.once = once

    cdef int zero(self):
        """The id of a slot of zeros."""
        return 2 * self.count

    cdef tuple gain(self, int row):
        """The id of a row's grad, and whether something is in it already."""
        cdef bint add = self.once or row in self.begun
        self.begun.add(row)
        return self.count + row, add

    cdef int compute(self, int row) except -1:
        op, args = self.program.rows[row]
        if op == DOT:
            self.forward.append((DOTS, [], [row, *args]))
        elif RULES[op].reduce != NULL:
            self.forward.append((REDUCE, [op], [row, *args]))
        else:
            self.forward.append((APPLY, [op], [row, args[0], args[-1]]))
        return 0

    cdef int send(self, int row) except -1:
        """What backward has to do at a row."""
        cdef int g = self.count + row, side
        op, args = self.program.rows[row]
        if not self.needs[row] or not self.once and row not in self.begun:
            return 0
        if op == DOT:
            if self.needs[args[0]]:
                self.back_apply(ADD, 0, args[0], g, [args[0], args[0], row])
            ids, adds = [g], []
            for i in range(1, len(args), 2):
                ids += [args[i], args[i + 1]]
                for arg in args[i:i + 2]:
                    target, add = self.gain(arg) if self.needs[arg] else (-1, False)
                    ids.append(target)
                    adds.append(add)
            self.backward.append((BACK_DOTS, adds, ids))
        elif RULES[op].reduce != NULL:
            ids, adds = [g, row], []
            for arg in args:
                if self.needs[arg] and not sends_nothing(op):
                    target, add = self.gain(arg)
                    ids += [arg, target]
                    adds.append(add)
            self.backward.append((BACK_REDUCE, [op, *adds], ids))
        else:
            for side in range(len(args)):
                if self.needs[args[side]]:
                    self.back_apply(op, side, args[side], g, [args[0], args[-1], row])
        return 0

    cdef int back_apply(self, int op, int side, int target, int g, list reads) except -1:
        cdef list args = list(reads)
        gains, add = self.gain(target)
        # What a rule does not look at need not be kept for it: any slot that is alive will do.
        if RULES[op].shape == LINEAR:
            args = [g, g, g]
        elif op == RELU:
            args = [g, g, args[2]]
        elif RULES[op].shape == PRODUCT:
            args = [args[0], g, g] if side else [g, args[1], g]
        self.backward.append((BACK_APPLY, [op, side, add], [gains, g, *args]))
        return 0

    cdef int compute_layer(self, int index, tuple group) except -1:
        cdef list args = self.program.rows[group[0]][1]
        cdef list starts = []
        cdef bint varying = self.program.layers[index].starts == NULL
        for row in group if varying else ():
            starts.append(self.program.rows[row][1][0])
        self.forward.append((LAYER, [index, len(group), len(args) // 2, varying], [*group, *args[2::2], *starts]))
        return 0

    cdef int send_layer(self, int index, tuple group) except -1:
        cdef list args = self.program.rows[group[0]][1], inputs = args[2::2], grads = [], gains = [], starts = []
        cdef int what = 0, row
        cdef bint weighed = False
        if not any(row in self.begun for row in group):
            return 0
        for row in group:
            start = self.program.rows[row][1][0]
            grads.append(self.count + row if row in self.begun else self.zero())
            weighed |= any(self.program.uniform[arg] and self.needs[arg] for arg in self.program.rows[row][1])
            if row in self.begun and self.needs[start] and not self.program.uniform[start]:
                self.back_apply(ADD, 0, start, self.count + row, [start, start, row])
        if weighed:
            what = WEIGHTS
        if any(self.needs[arg] for arg in inputs):
            what |= INPUTS
            self.turned.append(index)
            met = set()
            for arg in inputs:
                if self.needs[arg] and arg not in met:
                    target, add = self.gain(arg)
                    met.add(arg)
                else:  # it needs none, or is an input twice
                    target, add = self.ids, False
                    self.ids += 1
                gains.append(target)
                starts.append(target if add else self.zero())
        if what:
            self.backward.append((BACK_LAYER, [index, len(group), len(inputs), what],
                                  [*grads, *inputs, *gains, *starts]))
            for arg, target in zip(inputs, gains):
                if self.needs[arg] and target != self.count + arg:
                    self.back_apply(ADD, 0, arg, target, [arg, arg, arg])
        return 0


cdef list place_steps(list steps, dict slot):
    """The steps as words, with slots for ids."""
    cdef list words = []
    for kind, header, ids in steps:
        words += [kind, len(header), len(ids), *header]
        for i in ids:
            words.append(-1 if i == -1 else slot[i])
    return words


cdef Plan plan_once(Program program):
    """What does not vary. Each value has its place, and `uniforms` further on its grad."""
    cdef list needs = []
    cdef Steps steps
    cdef Plan plan = Plan()
    cdef dict slot = {}
    for row in range(len(program.rows)):
        needs.append(program.uniform[row] and program.rows[row][0] != NUMBER)
    steps = Steps(program, needs, True)
    for row, place in program.place.items():
        slot[row] = place
        slot[steps.count + row] = program.uniforms + place
        if program.rows[row][0] < OP_COUNT or program.rows[row][0] == DOT:
            steps.compute(row)
    for row in reversed(program.place):
        if program.rows[row][0] < OP_COUNT or program.rows[row][0] == DOT:
            steps.send(row)
    plan.forward = code_new(place_steps(steps.forward, slot))
    plan.backward = code_new(place_steps(steps.backward, slot))
    plan.slots = 2 * program.uniforms
    plan.steps = len(steps.forward)
    return plan


cdef list find_needs(Program program, int mode):
    """Which rows need a grad: those that captured leaves, or arguments if they are to have one, lie behind."""
    cdef list needs = []
    for op, args in program.rows:
        if op == NUMBER or mode == FORWARD:
            needs.append(False)
        elif op == CAPTURED or op == ARGUMENT:
            needs.append(op == CAPTURED or mode == ALL)
        else:
            needs.append((op == DOT or not sends_nothing(op)) and any(needs[arg] for arg in args))
    return needs


cdef Plan plan_rows(Program program, int mode):
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
        for i, row in enumerate(program.outputs):
            if steps.needs[row]:
                target, add = steps.gain(row)
                steps.backward.append((SEED, [i, add], [target]))
        for group in reversed(program.schedule):
            if program.is_layer(group):
                layer -= 1
                steps.send_layer(layer, group)
            else:
                steps.send(group[0])
        for row in sorted(steps.begun):
            if program.uniform[row]:
                steps.backward.append((COLLECT, [program.place[row]], [steps.count + row]))
    return plan_slots(steps)


cdef Plan plan_slots(Steps steps):
    """Give every id a slot from its first step to its last. Arguments are there from the start; numbers that are the
    same in all lanes, outputs and the grads of arguments stay to the end."""
    cdef Program program = steps.program
    cdef Plan plan = Plan()
    cdef list all_steps = steps.forward + steps.backward
    cdef list free = [], loads = [], splats = [], grads = []
    cdef dict last = {}, slot = {}
    cdef int slots = 0, at, row
    cdef list kept = list(program.outputs)
    for at, (kind, header, ids) in enumerate(all_steps):
        for i in ids:
            last[i] = at
    for row, (op, args) in enumerate(program.rows):
        if (row in last or row in program.outputs) and (op == ARGUMENT or program.uniform[row]):
            slot[row] = slots
            if op == ARGUMENT:
                loads += [args[0], slots]
            else:
                splats += [program.place[row], slots]
                kept.append(row)
            slots += 1
        if op == ARGUMENT and steps.count + row in last:
            kept.append(steps.count + row)
    if steps.zero() in last:
        slot[steps.zero()] = slots
        splats += [-1, slots]
        slots += 1
    kept.append(steps.zero())
    for i in kept:
        last[i] = len(all_steps)
    for at, (kind, header, ids) in enumerate(all_steps):
        for i in ids:
            if i != -1 and i not in slot:
                if not free:
                    free.append(slots)
                    slots += 1
                slot[i] = free.pop()
        for i in set(ids):
            if i != -1 and last[i] == at:
                free.append(slot[i])
    for row, (op, args) in enumerate(program.rows):
        if op == ARGUMENT and steps.count + row in slot:
            grads += [args[0], slot[steps.count + row]]
    plan.forward = code_new(place_steps(steps.forward, slot))
    plan.backward = code_new(place_steps(steps.backward, slot))
    plan.loads = code_new(loads)
    plan.splats = code_new(splats)
    plan.outputs = code_new(pick(slot, program.outputs))
    plan.grads = code_new(grads)
    plan.turned = code_new(steps.turned)
    plan.slots = slots
    plan.steps = len(steps.forward) + len(steps.backward)
    return plan
