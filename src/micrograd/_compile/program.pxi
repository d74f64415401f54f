# From rows to a program: those that do not depend on the arguments are set apart, to be computed once a call; the rest
# is put into an order, sums over the same inputs together as a layer. Gives Program, Layer and Code. Uses Lowered; the
# steps of a program are in plan.

cdef enum:
    TILE = 8          # lanes, and other rows of numbers, are handled so many at a time

cdef struct Layer:    # sums of products over the same inputs: a matrix
    int outputs
    int inputs
    int *weights      # outputs x inputs of uniform values
    int *starts       # uniform values, one an output; NULL where they vary from row to row
    Py_ssize_t place  # where its weights begin among those of all layers
    bint turned       # are grads of weights kept as inputs x outputs? so that the longer side is in a row
    int pitch         # length of such a row, with room to the next multiple of TILE
    Py_ssize_t grads  # where they begin among those of all layers
    int start         # where its starts begin among those of all layers

cdef struct Code:     # steps in a row: kind, length of header, number of slots, header, slots
    int *words
    Py_ssize_t count


cdef enum Mode:
    FORWARD        # no gradients
    CAPTURED_ONLY  # gradients of the captured leaves
    ALL            # and of the arguments
    MODES


cdef class Plan  # in plan.pxi


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

    cdef readonly Trace trace
    cdef readonly tuple rows       # as in the trace, with the sums of products that were found
    cdef readonly tuple outputs    # rows that the function returned
    cdef readonly tuple uniform    # does a row not depend on the arguments?
    cdef readonly tuple schedule   # rows that vary, in groups: (row,), or the outputs of a layer
    cdef dict place                # row -> its place in the array of uniform values
    cdef list layer_groups
    cdef Layer *layers
    cdef int layer_count
    cdef Py_ssize_t weights        # of all layers together
    cdef Py_ssize_t grads          # likewise
    cdef int starts
    cdef int pitch                 # the longest
    cdef int widest                # arguments of an op of any number of them
    cdef readonly int uniforms     # uniform values: first the captured leaves
    cdef Code constants            # places of numbers; their values are in `numbers`
    cdef list numbers
    cdef readonly Plan once        # what is computed once a call
    cdef list plans                # by mode

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
            check_program(self)

    def __dealloc__(self):
        cdef int i
        PyMem_Free(self.constants.words)
        for i in range(self.layer_count):
            PyMem_Free(self.layers[i].weights)
            PyMem_Free(self.layers[i].starts)
        PyMem_Free(self.layers)

    def __reduce__(self):
        return _unpickle_program, (self.trace,)

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


def _unpickle_program(*state):
    """The program of a trace that was unpickled; otherwise ValueError."""
    if len(state) != 1 or not isinstance(state[0], Trace):
        raise ValueError("a compiled program breaks a rule: it is made of a trace")
    return Program(state[0])
