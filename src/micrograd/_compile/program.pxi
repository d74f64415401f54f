# A program: the instructions of a trace, lowered, in the order in which they are computed. Those that are invariant,
# the same for all samples, are computed once a call, by the prologue; the others for each sample.
#
# The order is by levels: an instruction's level is higher than those of its operands. So instructions of a level do not
# depend on each other, and those of one op form a group, whose results are side by side. Sums of products of weights
# and the same inputs form a group of their own, the outputs of a layer.
#
# Gives Program, Group, Layer, IntArray, Mode and TILE. Uses trace.pxi, lower.pxi, plan.pxi, and in a debug build
# check.pxi.

cdef enum:
    TILE = 8                  # lanes, and lengths of other arrays of numbers, are padded to a multiple of it

cdef struct IntArray:
    int *items
    Py_ssize_t count
    Py_ssize_t room

cdef struct Group:            # instructions that do not depend on each other
    int op
    int first                 # of its instructions, in `order`
    int count
    int layer                 # the layer whose outputs they are, or -1
    int calls                 # of that layer: each has count / calls of the instructions, one call after the other

cdef struct Layer:            # sums of products of weights and inputs: a matrix, and biases unless these vary
    int outputs
    int inputs
    int *weights              # outputs x inputs indices of invariant values
    int *biases               # an index for each output; NULL if biases are not the same in all calls of the layer
    Py_ssize_t weight_offset  # where its weights begin among those of all layers
    Py_ssize_t grad_offset    # where their grads begin
    int bias_offset           # where its biases begin
    bint transposed           # the weights' grads are inputs x outputs, so that the longer side is contiguous
    bint early                # weights and biases are leaves and numbers: the prologue may compute the layer
    bint in_prologue          # does the prologue compute it?
    int row_step              # from an output's weights to the next one's among the invariant values, or 0
    int pitch                 # length of the longer side, padded

cdef struct Placed:           # an instruction, while they are sorted
    int varies
    int level
    int op
    int index

cdef enum Mode:
    FORWARD                   # no gradients
    CAPTURED_ONLY             # gradients of the captured leaves
    ALL                       # and of the arguments
    MODES


cdef class Plan  # in plan.pxi


# ---- Arrays of ints ------------------------------------------------------------------------------

cdef int push(IntArray *ints, int x) except -1:
    """Append an int."""
    if ints.count == ints.room:
        grow(ints, 1)
    ints.items[ints.count] = x
    ints.count += 1
    return 0


cdef int grow(IntArray *ints, Py_ssize_t more) except -1:
    """Make room for some more."""
    ints.items = <int *>array_grow(ints.items, &ints.room, ints.count + more, sizeof(int))
    return 0


cdef int extend(IntArray *ints, const int *items, Py_ssize_t count) except -1:
    if ints.room - ints.count < count:
        grow(ints, count)
    if count:  # C's memcpy takes no NULL, not even for nothing
        memcpy(ints.items + ints.count, items, count * sizeof(int))
        ints.count += count
    return 0


cdef int *ints_new(Py_ssize_t count, int filled) except NULL:
    """An array of ints, all the same."""
    cdef int *items = <int *>PyMem_Malloc(max(count, 1) * sizeof(int))
    cdef Py_ssize_t i
    if items == NULL:
        raise MemoryError
    for i in range(count):
        items[i] = filled
    return items


cdef bytes ints_key(const int *items, Py_ssize_t count, Py_ssize_t step):
    """Ints that stand `step` apart, as a key of a dict."""
    cdef bytes key = PyBytes_FromStringAndSize(NULL, count * sizeof(int))
    cdef int *into = <int *>PyBytes_AS_STRING(key)
    cdef Py_ssize_t i
    for i in range(count):
        into[i] = items[i * step]
    return key


cdef list ints_of(IntArray *ints):
    cdef Py_ssize_t i
    cdef list items = []
    for i in range(ints.count):
        items.append(ints.items[i])
    return items


cdef int before(const void *a, const void *b) noexcept nogil:
    """Compare two instructions for sorting: prologue first, then by level, op and index."""
    cdef const Placed *p = <const Placed *>a
    cdef const Placed *q = <const Placed *>b
    return differ(p, q) or p.index - q.index


cdef inline int differ(const Placed *p, const Placed *q) noexcept nogil:
    """Are they of different levels or ops? The sign says which comes first."""
    if p.varies != q.varies:
        return p.varies - q.varies
    return p.level - q.level if p.level != q.level else p.op - q.op


cdef Py_ssize_t crowd_end(const Placed *placed, Py_ssize_t i, Py_ssize_t count) noexcept:
    """Of sorted instructions, the end of those that have level and op of instruction i."""
    cdef Py_ssize_t j = i + 1
    while j < count and not differ(placed + i, placed + j):
        j += 1
    return j


# ---- Programs ------------------------------------------------------------------------------------

@cython.final
cdef class Program:
    """A trace ready to be replayed. `ordered` keeps the order of the trace, one instruction after the other, which
    raises errors in eager code's order."""

    cdef readonly Trace trace
    cdef Instructions code        # as in the trace, with the sums of products that were found
    cdef readonly tuple outputs   # the instructions that the function returned
    cdef char *invariant          # is an instruction the same for all samples?
    cdef readonly int invariants  # number of invariant values: captured leaves, numbers, what the prologue computes
    cdef int leaves               # how many of them are captured leaves and numbers
    cdef int *index_of            # of an invariant instruction among the invariant values, or -1
    cdef IntArray constants       # pairs of an invariant value that is a number, and the number's index
    cdef Group *groups            # those of the prologue, then those of a sample
    cdef int group_count
    cdef int prologue_groups
    cdef int *order               # the instructions of all groups
    cdef int ordered_count        # how many
    cdef int *group_of            # the group of an instruction, or -1
    cdef readonly Plan prologue   # what is computed once a call
    cdef list plans               # by mode
    cdef dict layer_keys          # numbers of layers, while groups are made
    cdef Layer *layers
    cdef int layer_count
    cdef Py_ssize_t weights       # of all layers together
    cdef Py_ssize_t weight_grads  # their padded size
    cdef int biases
    cdef int pitch                # the longest
    cdef bint irregular           # has a layer no row_step?
    cdef int widest               # operands of the longest instruction
    cdef readonly bint ordered
    cdef Program in_order         # the same, ordered, once it was needed

    def __cinit__(self, Trace trace, bint ordered=False):
        cdef Lowered lowered = Lowered(trace)
        self.trace, self.ordered, self.layer_keys = trace, ordered, {}
        self.plans = [None] * MODES
        self.code = lowered.code
        self.widest = lowered.widest
        self.invariant, lowered.invariant = lowered.invariant, NULL
        self.outputs = tuple(lowered.outputs)
        self.find_order()
        self.index_invariants()
        self.make_layers()
        self.layer_keys = None
        self.prologue = plan_prologue(self)
        if DEBUG:
            check_program(self)

    def __dealloc__(self):
        cdef int i
        for i in range(self.layer_count):
            PyMem_Free(self.layers[i].weights)
            PyMem_Free(self.layers[i].biases)
        PyMem_Free(self.layers)
        PyMem_Free(self.groups)
        PyMem_Free(self.order)
        PyMem_Free(self.group_of)
        PyMem_Free(self.index_of)
        PyMem_Free(self.constants.items)
        PyMem_Free(self.invariant)

    def __reduce__(self):
        return _unpickle_program, (self.trace,)

    # -- for listings and checks

    @property
    def instructions(self):
        """(op, operands) of each instruction."""
        return self.code.as_tuples()

    @property
    def schedule(self):
        """The instructions that are computed for each sample, one by one, but the outputs of a layer together."""
        cdef list parts = []
        cdef int g, k, count
        for g in range(self.prologue_groups, self.group_count):
            count = self.groups[g].count // self.groups[g].calls if self.groups[g].layer >= 0 else 1
            for k in range(0, self.groups[g].count, count):
                parts.append(tuple(self.ordered_from(self.groups[g].first + k, count)))
        return tuple(parts)

    cdef list ordered_from(self, int first, int count):
        """Instructions in the order in which they are computed."""
        cdef list members = []
        cdef int k
        for k in range(first, first + count):
            members.append(self.order[k])
        return members

    def is_invariant(self, Py_ssize_t i):
        """Is an instruction the same for all samples?"""
        return 0 <= i < self.code.count and self.invariant[i] != 0

    def counts(self, bint gradients):
        """The instructions and slots of the plan for a sample."""
        cdef Plan plan = self.plan(CAPTURED_ONLY if gradients else FORWARD)
        return plan.work, plan.slots

    cdef Plan plan(self, int mode):
        if self.plans[mode] is None:
            self.plans[mode] = plan_sample(self, mode)
        return self.plans[mode]

    cdef Program reordered(self):
        """The same program in the order of the trace."""
        if self.in_order is None:
            self.in_order = self if self.ordered else Program(self.trace, True)
        return self.in_order

    # -- order

    cdef inline const int *operands(self, int i) noexcept:
        return self.code.operands + self.code.items[i].first

    cdef int find_order(self) except -1:
        """Sort the instructions by level and op, and group them."""
        cdef Py_ssize_t i, j, count = self.code.count, computed = 0
        cdef int *level = NULL
        cdef Placed *placed = <Placed *>PyMem_Malloc(max(count, 1) * sizeof(Placed))
        if placed == NULL:
            raise MemoryError
        try:
            level = self.find_levels(placed)
            computed = self.place(placed, level)
            self.order = ints_new(computed, 0)
            self.group_of = ints_new(count, -1)
            self.groups = <Group *>PyMem_Calloc(max(computed, 1), sizeof(Group))
            if self.groups == NULL:
                raise MemoryError
            i = 0
            while i < computed:
                j = crowd_end(placed, i, computed)
                check_signals(self.group_count)
                self.group(placed + i, j - i)
                if not placed[i].varies:
                    self.prologue_groups = self.group_count
                i = j
        finally:
            PyMem_Free(placed)
            PyMem_Free(level)
        return 0

    cdef Py_ssize_t place(self, Placed *placed, const int *level) noexcept:
        """Sort the computed instructions by their levels. Returns how many they are."""
        cdef Py_ssize_t i, count = 0
        for i in range(self.code.count):
            if is_computed(self.code.items[i].op):
                placed[count] = Placed(not self.invariant[i], level[i], self.code.items[i].op, <int>i)
                count += 1
        qsort(placed, count, sizeof(Placed), before)
        return count

    cdef int *find_levels(self, Placed *placed) except NULL:
        """The level of each instruction. `placed` is memory to use."""
        cdef Py_ssize_t i
        cdef int *level = ints_new(self.code.count, 0)
        try:
            for i in range(self.code.count):
                check_signals(i)
                level[i] = <int>i if self.ordered else self.level_after(i, level)
            if not self.ordered:
                self.choose_levels(placed, level)
        except BaseException:
            PyMem_Free(level)
            raise
        return level

    cdef int choose_levels(self, Placed *placed, int *level) except -1:
        """Give each instruction its lowest level, which `level` has, or the highest that it can have where more
        instructions of its op have the same."""
        cdef int *highest = NULL
        cdef int *low_crowd = NULL
        cdef int *high_crowd = NULL
        cdef Py_ssize_t i
        cdef int lowest
        try:
            highest = self.highest_levels(level)
            low_crowd = self.crowds(placed, level)
            if PyErr_CheckSignals():
                raise_error()
            high_crowd = self.crowds(placed, highest)
            for i in range(self.code.count):
                check_signals(i)
                lowest = self.level_after(i, level)  # higher than at first, where an operand's is
                level[i] = highest[i] if lowest > level[i] or high_crowd[i] > low_crowd[i] else lowest
        finally:
            PyMem_Free(highest)
            PyMem_Free(low_crowd)
            PyMem_Free(high_crowd)
        return 0

    cdef int level_after(self, Py_ssize_t i, const int *level) noexcept:
        """The level of an instruction whose operands have theirs. Invariant ones are computed before all others."""
        cdef const int *operands = self.operands(<int>i)
        cdef int k, found = 0
        for k in range(self.code.items[i].count if is_computed(self.code.items[i].op) else 0):
            if self.invariant[operands[k]] == self.invariant[i]:
                found = max(found, level[operands[k]])
        return found + 1

    cdef int *highest_levels(self, const int *level) except NULL:
        """The highest level that each instruction can have if the last ones keep theirs."""
        cdef Py_ssize_t i
        cdef const int *operands
        cdef int k, last = 0
        cdef int *highest
        for i in range(self.code.count):
            last = max(last, level[i])
        highest = ints_new(self.code.count, last)
        for i in range(self.code.count - 1, -1, -1):
            operands = self.operands(<int>i)
            for k in range(self.code.items[i].count if is_computed(self.code.items[i].op) else 0):
                if self.invariant[operands[k]] == self.invariant[i]:
                    highest[operands[k]] = min(highest[operands[k]], highest[i] - 1)
        return highest

    cdef int *crowds(self, Placed *placed, const int *level) except NULL:
        """For each instruction, how many of its op have the same level."""
        cdef int *crowd = ints_new(self.code.count, 0)
        cdef Py_ssize_t i = 0, j, k, count = self.place(placed, level)
        while i < count:
            j = crowd_end(placed, i, count)
            for k in range(i, j):
                crowd[placed[k].index] = <int>(j - i)
            i = j
        return crowd

    cdef int group(self, const Placed *placed, Py_ssize_t count) except -1:
        """Append the groups of these instructions of a level, all of one op: layers first, then the others."""
        cdef Py_ssize_t k
        cdef int i
        cdef list plain = []
        cdef dict layers = {}
        for k in range(count):
            i = placed[k].index
            if placed[k].op == DOT and not self.ordered and self.has_weights(i):
                layers.setdefault(self.layer_key(i), []).append((self.operands(i)[1], i))
            else:
                plain.append(i)
        for key, members in list(layers.items()):
            if len(members) == 1 and not placed[0].varies:
                plain.append(layers.pop(key)[0][1])
        self.group_layers(placed[0].op, layers.values())
        if plain:
            self.add_group(placed[0].op, sorted(plain), -1, 1)
        return 0

    cdef int group_layers(self, int op, calls) except -1:
        """Append groups for these calls of layers, lists of outputs with their first weights. Outputs are sorted by
        these, as the weights of most layers stand; calls of the same weights and biases are a group."""
        cdef dict layers = {}
        cdef list outputs
        for call in calls:
            outputs = []
            for _, i in sorted(call):
                outputs.append(i)
            layers.setdefault(self.weights_key(outputs), []).append(outputs)
        for key, called in layers.items():
            outputs = []
            for call in called:
                outputs += call
            self.add_group(op, outputs, self.layer_keys.setdefault(key, len(self.layer_keys)), <int>len(called))
        return 0

    cdef int add_group(self, int op, list members, int layer, int calls) except -1:
        cdef int g = self.group_count
        self.groups[g] = Group(op, self.ordered_count, <int>len(members), layer, calls)
        self.group_count += 1
        for i in members:
            check_signals(self.ordered_count)
            self.order[self.ordered_count] = i
            self.group_of[i] = g
            self.ordered_count += 1
        return 0

    cdef bint has_weights(self, int i) noexcept:
        """Has a sum of products weights, by which a layer can be known? They are the first factors. Those of a sample
        are invariant; those in the prologue are leaves or numbers, and factors are swapped if they come second."""
        cdef int *operands = self.code.operands + self.code.items[i].first
        cdef int k, count = self.code.items[i].count
        if not self.invariant[i]:
            return self.invariant[operands[1]] != 0
        if self.are_leaves(operands + 1, count - 1):
            return True
        if not self.are_leaves(operands + 2, count - 2):
            return False
        for k in range(1, count, 2):
            operands[k], operands[k + 1] = operands[k + 1], operands[k]
        return True

    cdef bint are_leaves(self, const int *operands, Py_ssize_t count) noexcept:
        """Are every other of these operands leaves or numbers?"""
        cdef Py_ssize_t k
        for k in range(0, count, 2):
            if is_computed(self.code.items[operands[k]].op):
                return False
        return True

    cdef bytes layer_key(self, int i):
        """Sums of one level belong to one layer if these are equal: inputs, and whether biases vary."""
        cdef const int *operands = self.operands(i)
        cdef bytes inputs = ints_key(operands + 2, (self.code.items[i].count - 1) // 2, 2)
        return inputs + (b"i" if self.invariant[operands[0]] else b"v")

    # -- invariant values

    cdef int index_invariants(self) except -1:
        """Captured leaves come first, in their order, used or not; then numbers, then what the prologue computes."""
        cdef Py_ssize_t i
        cdef int k
        self.invariants = len(self.trace.captured)
        self.index_of = ints_new(self.code.count, -1)
        for i in range(self.code.count):
            if self.code.items[i].op == CAPTURED:
                self.index_of[i] = self.operands(<int>i)[0]
            elif self.code.items[i].op == NUMBER:
                push(&self.constants, self.invariants)
                push(&self.constants, self.operands(<int>i)[0])
                self.index_of[i] = self.invariants
                self.invariants += 1
        self.leaves = self.invariants
        for k in range(self.ordered_count):
            if self.invariant[self.order[k]]:
                self.index_of[self.order[k]] = self.invariants
                self.invariants += 1
        return 0

    # -- layers

    cdef int make_layers(self) except -1:
        """Make the layers that groups are calls of."""
        cdef int g
        self.layers = <Layer *>PyMem_Calloc(self.group_count + 1, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for g in range(self.group_count):
            if self.groups[g].layer >= 0:
                if self.groups[g].layer == self.layer_count:
                    self.add_layer(&self.groups[g])
                self.layers[self.groups[g].layer].in_prologue |= g < self.prologue_groups
        return 0

    cdef bytes weights_key(self, list outputs):
        """Calls are of one layer if these are equal: weights, and biases if they are invariant."""
        cdef list parts = []
        cdef int i
        cdef bint biases = self.has_biases(outputs)
        for i in outputs:
            parts.append(ints_key(self.operands(i) + 1, (self.code.items[i].count - 1) // 2, 2))
            if biases:
                parts.append(ints_key(self.operands(i), 1, 1))
        return b"".join(parts) + bytes((biases,)) + str(len(outputs)).encode()

    cdef bint has_biases(self, list outputs) except -1:
        """Are the biases of a layer leaves, numbers, or for a sample invariant? Otherwise each call has its own."""
        cdef int i, bias
        for i in outputs:
            bias = self.operands(i)[0]
            if not self.invariant[bias] or self.invariant[i] and is_computed(self.code.items[bias].op):
                return False
        return True

    cdef int add_layer(self, Group *group) except -1:
        """Fill in the next layer: its offsets among those of all layers, and the indices of weights and biases."""
        cdef Layer *layer = &self.layers[self.layer_count]
        cdef const int *operands
        cdef int k, j, at = 0
        layer.outputs = group.count // group.calls
        layer.inputs = (self.code.items[self.order[group.first]].count - 1) // 2
        layer.weight_offset, layer.grad_offset, layer.bias_offset = self.weights, self.weight_grads, self.biases
        layer.transposed = layer.outputs > layer.inputs
        layer.pitch = (max(layer.outputs, layer.inputs) + TILE - 1) // TILE * TILE
        layer.early = True
        self.layer_count += 1
        layer.weights = ints_new(<Py_ssize_t>layer.outputs * layer.inputs, 0)
        if self.has_biases(self.ordered_from(group.first, layer.outputs)):
            layer.biases = ints_new(layer.outputs, 0)
        for k in range(layer.outputs):
            operands = self.operands(self.order[group.first + k])
            if layer.biases != NULL:
                layer.biases[k] = self.index_of[operands[0]]
                layer.early &= layer.biases[k] < self.leaves
            for j in range(layer.inputs):
                layer.weights[at] = self.index_of[operands[2 * j + 1]]
                layer.early &= layer.weights[at] < self.leaves
                at += 1
        self.find_row_step(layer)
        self.weights += <Py_ssize_t>layer.outputs * layer.inputs
        self.weight_grads += <Py_ssize_t>min(layer.outputs, layer.inputs) * layer.pitch
        self.biases += layer.outputs
        self.pitch = max(self.pitch, layer.pitch)
        return 0

    cdef void find_row_step(self, Layer *layer) noexcept:
        """The weights of most layers stand row by row, as they are captured, perhaps with a bias behind each row."""
        cdef Py_ssize_t i, j
        cdef int step = layer.inputs if layer.outputs == 1 else layer.weights[layer.inputs] - layer.weights[0]
        layer.row_step = 0
        for i in range(layer.outputs):
            for j in range(layer.inputs):
                if layer.weights[i * layer.inputs + j] != layer.weights[0] + i * step + j:
                    self.irregular = True
                    return
        if step < layer.inputs:
            self.irregular = True
        else:
            layer.row_step = step


def _unpickle_program(*state):
    """The program of a pickled trace. Raises ValueError if the state is not a trace."""
    if len(state) != 1 or not isinstance(state[0], Trace):
        raise ValueError("a compiled program breaks a rule: a program is pickled as its trace")
    return Program(state[0])
