# A program: the instructions of a trace, lowered, in the order in which they are computed. Those that are invariant,
# the same for all samples, are computed once a call, by the prologue. Of the others, sums of weights times the same
# inputs are computed together, as a layer.
#
# Gives Program, Layer, IntArray, Mode and TILE. Uses trace.pxi, lower.pxi, plan.pxi, and in a debug build check.pxi.

cdef enum:
    TILE = 8                  # lanes, and lengths of other arrays of numbers, are padded to a multiple of it

cdef struct IntArray:
    int *items
    Py_ssize_t count

cdef struct Layer:            # sums of products of weights and the same inputs: a matrix
    int outputs
    int inputs
    int *weights              # outputs x inputs indices of invariant values
    int *biases               # an index for each output; NULL if biases vary from sample to sample
    Py_ssize_t weight_offset  # where its weights begin among those of all layers
    Py_ssize_t grad_offset    # where their grads begin
    int bias_offset           # where its biases begin
    bint transposed           # the weights' grads are inputs x outputs, so that the longer side is contiguous
    int pitch                 # length of that side, padded

cdef enum Mode:
    FORWARD                   # no gradients
    CAPTURED_ONLY             # gradients of the captured leaves
    ALL                       # and of the arguments
    MODES


cdef class Plan  # in plan.pxi


cdef IntArray int_array_new(list items) except *:
    cdef IntArray ints
    cdef Py_ssize_t i
    ints.count = len(items)
    ints.items = <int *>PyMem_Malloc(max(ints.count, 1) * sizeof(int))
    if ints.items == NULL:
        raise MemoryError
    for i in range(ints.count):
        ints.items[i] = items[i]
    return ints


@cython.final
cdef class Program:
    """A trace ready to be replayed."""

    cdef readonly Trace trace
    cdef readonly tuple instructions  # as in the trace, with the sums of products that were found
    cdef readonly tuple outputs       # the instructions that the function returned
    cdef readonly tuple invariant     # is an instruction the same for all samples?
    cdef readonly tuple schedule      # the others, in groups: (instruction,), or the outputs of a layer
    cdef readonly int invariants      # number of invariant values: first the captured leaves
    cdef dict index_of                # of an invariant instruction among the invariant values
    cdef IntArray constants           # the indices of numbers among the invariant values
    cdef list numbers                 # and those numbers
    cdef readonly Plan prologue       # what is computed once a call
    cdef list plans                   # by mode
    cdef list layer_groups
    cdef Layer *layers
    cdef int layer_count
    cdef Py_ssize_t weights           # of all layers together
    cdef Py_ssize_t weight_grads      # their padded size
    cdef int biases
    cdef int pitch                    # the longest
    cdef int widest                   # operands of the longest instruction

    def __cinit__(self, Trace trace):
        cdef Lowered lowered = Lowered(trace)
        self.trace = trace
        self.plans = [None] * MODES
        self.numbers = []
        self.instructions, self.outputs = lowered.code.as_tuples(), tuple(lowered.outputs)
        self.invariant = tuple(map(bool, lowered.invariant[:lowered.code.count]))
        self.widest = lowered.widest
        self.index_invariants()
        self.group()
        self.make_layers()
        self.prologue = plan_prologue(self)
        if DEBUG:
            check_program(self)

    def __dealloc__(self):
        cdef int i
        PyMem_Free(self.constants.items)
        for i in range(self.layer_count):
            PyMem_Free(self.layers[i].weights)
            PyMem_Free(self.layers[i].biases)
        PyMem_Free(self.layers)

    def __reduce__(self):
        return _unpickle_program, (self.trace,)

    cdef int index_invariants(self) except -1:
        """Captured leaves come first, in their order, used or not."""
        cdef list indices = []
        self.invariants = len(self.trace.captured)
        self.index_of = {}
        for i in range(len(self.instructions)):
            op, operands = self.instructions[i]
            if not self.invariant[i]:
                continue
            if op == CAPTURED:
                self.index_of[i] = operands[0]
                continue
            self.index_of[i] = self.invariants
            if op == NUMBER:
                indices.append(self.invariants)
                self.numbers.append(operands[0])
            self.invariants += 1
        self.constants = int_array_new(indices)
        return 0

    cdef int group(self) except -1:
        """Put sums of weights times the same inputs into one group, in the place of the first of them. A sum whose
        bias varies joins only if the bias is computed before that place."""
        cdef dict open_groups = {}, position = {}
        cdef list schedule = []
        cdef int i, at
        for i in range(len(self.instructions)):
            op, operands = self.instructions[i]
            if self.invariant[i]:
                continue
            if op == DOT and self.invariant[operands[1]]:
                key = tuple(operands[2::2]), self.invariant[operands[0]]
                at = open_groups.get(key, -1)
                if at >= 0 and (self.invariant[operands[0]] or position.get(operands[0], -1) < at):
                    schedule[at].append(i)
                    position[i] = at
                    continue
                open_groups[key] = len(schedule)
            if op != ARGUMENT:
                position[i] = len(schedule)
                schedule.append([i])
        self.schedule = tuple(map(tuple, schedule))
        return 0

    cdef bint is_layer(self, tuple group):
        """Is a group of the schedule a layer: sums of products whose weights are invariant?"""
        op, operands = self.instructions[group[0]]
        return op == DOT and self.invariant[operands[1]]

    cdef list layer_inputs(self, tuple group):
        return list(self.instructions[group[0]][1][2::2])

    cdef int make_layers(self) except -1:
        cdef tuple group
        self.layer_groups = []
        for group in self.schedule:
            if self.is_layer(group):
                self.layer_groups.append(group)
        self.layers = <Layer *>PyMem_Malloc(max(len(self.layer_groups), 1) * sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for group in self.layer_groups:
            self.add_layer(group)
        return 0

    cdef int add_layer(self, tuple group) except -1:
        """Fill in the next layer: its offsets among those of all layers, and the indices of weights and biases."""
        cdef Layer *layer = &self.layers[self.layer_count]
        cdef list weights = [], biases = []
        layer.outputs, layer.inputs = len(group), len(self.layer_inputs(group))
        layer.weight_offset, layer.grad_offset, layer.bias_offset = self.weights, self.weight_grads, self.biases
        layer.transposed = layer.outputs > layer.inputs
        layer.pitch = (max(layer.outputs, layer.inputs) + TILE - 1) // TILE * TILE
        layer.weights = layer.biases = NULL
        self.weights += <Py_ssize_t>layer.outputs * layer.inputs
        self.weight_grads += <Py_ssize_t>min(layer.outputs, layer.inputs) * layer.pitch
        self.biases += layer.outputs
        self.pitch = max(self.pitch, layer.pitch)
        self.layer_count += 1
        for i in group:
            biases.append(self.instructions[i][1][0])
            weights += self.instructions[i][1][1::2]
        layer.weights = int_array_new(pick(self.index_of, weights)).items
        if self.invariant[biases[0]]:
            layer.biases = int_array_new(pick(self.index_of, biases)).items
        return 0

    def counts(self, bint gradients):
        """The instructions and slots of the plan for a sample."""
        cdef Plan plan = self.plan(CAPTURED_ONLY if gradients else FORWARD)
        return plan.steps, plan.slots

    cdef Plan plan(self, int mode):
        if self.plans[mode] is None:
            self.plans[mode] = plan_sample(self, mode)
        return self.plans[mode]


def _unpickle_program(*state):
    """The program of a pickled trace. Raises ValueError if the state is not a trace."""
    if len(state) != 1 or not isinstance(state[0], Trace):
        raise ValueError("a compiled program breaks a rule: a program is pickled as its trace")
    return Program(state[0])
