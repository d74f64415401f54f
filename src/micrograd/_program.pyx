# cython: boundscheck=True, wraparound=True
# From rows to a program: those that do not depend on the arguments are set apart, to be computed once a call; the rest
# is put into steps on slots, each a row of lanes, that are used again when what they hold has had its last reader. The
# rows come from _lower.pyx; who runs the steps is _steps.pyx.

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from micrograd._core.debug cimport DEBUG
from micrograd._core cimport RULES
from micrograd._lower cimport Lowered, pick
from micrograd._core.ops cimport ADD, LINEAR, OP_COUNT, PRODUCT, RELU
from micrograd._trace cimport ARGUMENT, CAPTURED, DOT, NUMBER, Trace


cdef Code code_new(list words) except *:
    cdef Code code
    cdef Py_ssize_t i
    code.count = len(words)
    code.words = <int *>PyMem_Malloc(max(code.count, 1) * sizeof(int))
    if code.words == NULL:
        raise MemoryError
    for i in range(code.count):
        code.words[i] = words[i]
    return code


@cython.final
cdef class Program:
    """A trace ready to be replayed."""

    def __cinit__(self, Trace trace):
        cdef Lowered lowered = Lowered(trace)
        self.trace = trace
        self.plans = [None] * MODES
        self.numbers = []
        self.rows, self.outputs = tuple(lowered.rows), tuple(lowered.outputs)
        self.uniform = tuple(lowered.uniform)
        self.widest = lowered.widest
        self.place_uniforms()
        self.group()
        self.once = plan_once(self)
        if DEBUG:
            from micrograd._check import check_program
            check_program(self)

    def __dealloc__(self):
        cdef int i
        PyMem_Free(self.constants.words)
        for i in range(self.layer_count):
            PyMem_Free(self.layers[i].weights)
            PyMem_Free(self.layers[i].starts)
        PyMem_Free(self.layers)

    def __reduce__(self):
        return _unpickle, (self.trace,)

    cdef int place_uniforms(self) except -1:
        """Captured leaves first, in their order, used or not."""
        cdef list places = []
        self.uniforms = len(self.trace.captured)
        self.place = {}
        for i in range(len(self.rows)):
            op, args = self.rows[i]
            if not self.uniform[i]:
                continue
            if op == CAPTURED:
                self.place[i] = args[0]
                continue
            self.place[i] = self.uniforms
            if op == NUMBER:
                places.append(self.uniforms)
                self.numbers.append(args[0])
            self.uniforms += 1
        self.constants = code_new(places)
        return 0

    cdef int group(self) except -1:
        """Put sums of weights times the same inputs together: a layer. It stands where the first of them stood; a start
        that varies has to be there by then."""
        cdef dict open_groups = {}, position = {}
        cdef list schedule = []
        cdef tuple group
        cdef int i, at
        self.layer_groups = []
        for i in range(len(self.rows)):
            op, args = self.rows[i]
            if self.uniform[i]:
                continue
            if op == DOT and self.uniform[args[1]]:
                key = tuple(args[2::2]), self.uniform[args[0]]
                at = open_groups.get(key, -1)
                if at >= 0 and (self.uniform[args[0]] or position.get(args[0], -1) < at):
                    schedule[at].append(i)
                    position[i] = at
                    continue
                open_groups[key] = len(schedule)
            if op != ARGUMENT:
                position[i] = len(schedule)
                schedule.append([i])
        self.schedule = tuple(map(tuple, schedule))
        for group in self.schedule:
            if self.is_layer(group):
                self.layer_groups.append(group)
        self.layers = <Layer *>PyMem_Malloc(max(len(self.layer_groups), 1) * sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for group in self.layer_groups:
            self.add_layer(group)
        return 0

    cdef bint is_layer(self, tuple group):
        op, args = self.rows[group[0]]
        return op == DOT and self.uniform[args[1]]

    cdef int add_layer(self, tuple group) except -1:
        cdef Layer *layer = &self.layers[self.layer_count]
        cdef list first = self.rows[group[0]][1]
        layer.outputs = len(group)
        layer.inputs = len(first) // 2
        layer.place = self.weights
        layer.start = self.starts
        layer.turned = layer.outputs > layer.inputs
        layer.pitch = (max(layer.outputs, layer.inputs) + TILE - 1) // TILE * TILE
        layer.grads = self.grads
        layer.weights = layer.starts = NULL
        self.weights += <Py_ssize_t>layer.outputs * layer.inputs
        self.grads += <Py_ssize_t>min(layer.outputs, layer.inputs) * layer.pitch
        self.pitch = max(self.pitch, layer.pitch)
        self.starts += layer.outputs
        self.layer_count += 1
        weights, starts = [], []
        for i in group:
            starts.append(self.rows[i][1][0])
            weights += self.rows[i][1][1::2]
        layer.weights = code_new(pick(self.place, weights)).words
        if self.uniform[first[0]]:
            layer.starts = code_new(pick(self.place, starts)).words
        return 0

    def counts(self, bint gradients):
        """Instructions and slots that a row takes."""
        cdef Plan plan = self.plan(CAPTURED_ONLY if gradients else FORWARD)
        return plan.steps, plan.slots

    cdef Plan plan(self, int mode):
        if self.plans[mode] is None:
            self.plans[mode] = plan_rows(self, mode)
        return self.plans[mode]


def _unpickle(*state):
    """The program of a trace that was unpickled; otherwise ValueError."""
    if len(state) != 1 or not isinstance(state[0], Trace):
        raise ValueError("a compiled program breaks a rule: it is made of a trace")
    return Program(state[0])


# ---- Plans ---------------------------------------------------------------------------------------

@cython.final
cdef class Plan:
    """Steps on slots: forward, and backward if there is one."""

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
