# The rules of a compiled program. A trace that was unpickled is checked before a program is made of it. Programs and
# their plans follow from traces; they are checked in the debug build and by the tests. What breaks a rule raises
# ValueError, so that nothing that replays a program has to check it. Gives check_counts(), check_rows() and
# check_program(). Uses Trace, Program and Plan.

cdef enum:
    MOST_ROWS = 1 << 30  # twice as many, and one, are counted in an int


cdef int require(bint holds, str rule) except -1:
    if not holds:
        raise ValueError(f"a compiled program breaks a rule: {rule}")
    return 0


cdef bint is_index(x, Py_ssize_t count) except -1:
    return type(x) is int and 0 <= x < count


cdef bint is_sequence(x) noexcept:
    return type(x) is list or type(x) is tuple


# ---- Traces --------------------------------------------------------------------------------------

def check_counts(state):
    """The fields of a pickled trace, their types checked: instructions, outputs, captured leaves, four counts."""
    require(is_sequence(state) and len(state) == 7, "a trace has seven fields")
    for items in state[:3]:
        require(is_sequence(items) and len(items) <= MOST_ROWS, "instructions, outputs and captured leaves are lists")
    for count in state[3:]:
        require(is_index(count, MOST_ROWS), "counts of arguments and ops are integers of at least 0")
    return state


def check_rows(rows, outputs, captured, arguments):
    """Check the parts of a trace: each row, an instruction, has an op of the table and as many arguments as that takes,
    all of them earlier rows; leaves and arguments exist; outputs are rows."""
    cdef set met = set()
    require(is_index(arguments, MOST_NUMBERS + 1), f"no more than {MOST_NUMBERS} arguments")
    for leaf in captured:
        require(isinstance(leaf, Value), "captured leaves are Values")
        require(not (<Value>leaf).node.flags & TRACED, "captured leaves are from outside of traces")
    for i, row in enumerate(rows):
        require(type(row) is tuple and len(row) == 2 and is_index(row[0], 1 << 16) and is_sequence(row[1]),
                f"instruction {i} is an op and its arguments")
        op, args = row
        if op == NUMBER:
            require(len(args) == 1 and type(args[0]) is float, f"instruction {i} is a float")
        elif op == CAPTURED or op == ARGUMENT:
            require(len(args) == 1 and is_index(args[0], len(captured) if op == CAPTURED else arguments),
                    f"instruction {i} is one of the captured leaves or arguments")
            require((op, args[0]) not in met, f"instruction {i} does not repeat another")
            met.add((op, args[0]))
        else:
            check_op(i, op, len(args))
            for arg in args:
                require(is_index(arg, i), f"instruction {i} reads earlier ones")
    for i in outputs:
        require(is_index(i, len(rows)), "outputs are instructions")


cdef int check_op(i, int op, Py_ssize_t count) except -1:
    """Is there such an op, of so many arguments?"""
    cdef int arity
    if op == DOT:
        return require(count >= 3 and count % 2 == 1, f"instruction {i} is a bias and pairs of factors")
    require(0 < op < OP_COUNT, f"instruction {i} is of an op in the table")
    arity = RULES[op].arity
    return require(count >= 1 if arity == VARIADIC else count == arity, f"instruction {i} has the arguments of its op")


# ---- Programs ------------------------------------------------------------------------------------

def check_program(Program program):
    """Check a program, and its plans for every use."""
    cdef int mode
    check_rows(program.trace.rows, program.trace.outputs, program.trace.captured, program.trace.arguments)
    check_rows(program.rows, program.outputs, program.trace.captured, program.trace.arguments)
    check_uniform(program)
    check_schedule(program)
    check_layers(program)
    check_plan(program, program.once, -1)
    for mode in range(<int>MODES):
        check_plan(program, program.plan(mode), mode)


cdef int check_uniform(Program program) except -1:
    """What does not vary has a place of its own, captured leaves the first ones."""
    cdef Py_ssize_t i
    cdef set places = set()
    require(len(program.uniform) == len(program.rows), "each instruction varies or not")
    for i, (op, args) in enumerate(program.rows):
        if op == NUMBER or op == CAPTURED or op == ARGUMENT:
            require(program.uniform[i] == (op != ARGUMENT), "arguments vary, leaves and numbers do not")
        else:
            require(program.uniform[i] == all(program.uniform[arg] for arg in args), "what varies has a reason to")
        require(program.uniform[i] == (i in program.place), "what does not vary has a place")
        if program.uniform[i]:
            place = program.place[i]
            require(is_index(place, program.uniforms) and place not in places, "a place is one instruction's")
            require((op == CAPTURED) == (place < len(program.trace.captured)), "captured leaves come first")
            places.add(place)
    require(program.constants.count == len(program.numbers), "a number has a place")
    for i in range(program.constants.count):
        require(0 <= program.constants.words[i] < program.uniforms, "a number has a place that exists")
    return 0


cdef int check_schedule(Program program) except -1:
    """Instructions that vary are computed once each, and after what they read."""
    cdef set done = set()
    for row, (op, args) in enumerate(program.rows):
        if program.uniform[row] or op == ARGUMENT:
            done.add(row)
    for group in program.schedule:
        require(len(group) > 0, "a group has instructions")
        for row in group:
            require(is_index(row, len(program.rows)) and row not in done, "an instruction is computed once")
            for arg in program.rows[row][1]:
                require(arg in done, "an instruction is computed after what it reads")
        done.update(group)
    return require(len(done) == len(program.rows), "every instruction is computed")


cdef int check_layers(Program program) except -1:
    cdef Layer *layer
    cdef Py_ssize_t k, i
    cdef int shorter, longer
    require(program.layer_count == len(program.layer_groups), "a layer is a group")
    for k in range(program.layer_count):
        layer = &program.layers[k]
        shorter, longer = min(layer.outputs, layer.inputs), max(layer.outputs, layer.inputs)
        require(shorter > 0 and layer.outputs == len(program.layer_groups[k]), "a layer has the outputs of its group")
        for row in program.layer_groups[k]:
            op, args = program.rows[row]
            require(op == DOT and len(args) == 1 + 2 * layer.inputs, "a layer is of sums over its inputs")
            first = program.rows[program.layer_groups[k][0]][1]
            require(list(args[2::2]) == list(first[2::2]), "they share the inputs")
            require(all(program.uniform[arg] for arg in args[1::2]), "weights do not vary")
        require(layer.turned == (layer.outputs > layer.inputs), "the longer side of the weights is contiguous")
        require(longer <= layer.pitch <= program.pitch and layer.pitch % TILE == 0, "the pitch holds the longer side")
        require(0 <= layer.place <= program.weights - <Py_ssize_t>layer.outputs * layer.inputs,
                "weights are in the workspace")
        require(0 <= layer.grads <= program.grads - <Py_ssize_t>shorter * layer.pitch, "grads are in the workspace")
        require(0 <= layer.start <= program.starts - layer.outputs, "biases are in the workspace")
        for i in range(<Py_ssize_t>layer.outputs * layer.inputs):
            require(0 <= layer.weights[i] < program.uniforms, "a weight has a place")
        for i in range(layer.outputs if layer.starts != NULL else 0):
            require(0 <= layer.starts[i] < program.uniforms, "a bias has a place")
    return 0


# ---- Plans ---------------------------------------------------------------------------------------

@cython.final
cdef class Walk:
    """One plan, step by step: slots exist, and are written before they are read."""

    cdef Program program
    cdef Plan plan
    cdef bint once
    cdef set written
    cdef set now            # slots that the step at hand writes
    cdef int kind
    cdef int *header
    cdef int header_count
    cdef int *slots
    cdef int count          # of slots

    cdef int check_read(self, int i) except -1:
        require(0 <= i < self.count and 0 <= self.slots[i] < self.plan.slots, "a slot exists")
        require(self.slots[i] in self.written, "a slot is written before it is read")
        return require(self.slots[i] not in self.now, "what a step reads it does not overwrite")

    cdef int check_write(self, int i, bint add) except -1:
        if add:
            self.check_read(i)
        require(0 <= i < self.count and 0 <= self.slots[i] < self.plan.slots, "a slot exists")
        self.now.add(self.slots[i])
        return 0

    cdef int check_code(self, Code *code) except -1:
        """The steps of a code."""
        cdef int *word = code.words
        cdef int *end = word + code.count
        while word < end:
            require(end - word >= 3, "a step is a kind, two lengths, a header and slots")
            self.kind, self.header_count, self.count = word[0], word[1], word[2]
            require(self.header_count >= 0 and self.count >= 0
                    and <Py_ssize_t>self.header_count + self.count <= end - word - 3, "a step is as long as it says")
            self.header = word + 3
            self.slots = self.header + self.header_count
            self.now = set()
            if self.kind <= LAYER:
                self.check_forward()
            else:
                self.check_backward()
            self.written |= self.now
            word = self.slots + self.count
        return 0

    cdef int check_shape(self, bint header, bint slots) except -1:
        require(header, f"a step of kind {self.kind} has its header")
        return require(slots, f"a step of kind {self.kind} has its slots")

    cdef int check_forward(self) except -1:
        cdef int i, first = 1
        cdef Layer *layer
        if self.kind == APPLY:
            self.check_shape(self.header_count == 1, self.count == 3)
            check_rule(self.header[0], False)
        elif self.kind == REDUCE:
            self.check_shape(self.header_count == 1, 1 < self.count <= self.program.widest + 1)
            check_rule(self.header[0], True)
        elif self.kind == DOTS:
            self.check_shape(self.header_count == 0, self.count >= 4 and self.count % 2 == 0)
        else:
            layer = self.check_layer(LAYER)
            first = layer.outputs
            self.check_shape(self.header[3] == (layer.starts == NULL),
                             self.count == first + layer.inputs + (first if layer.starts == NULL else 0))
        # Loops over lanes may write what they have computed before they have read the rest.
        for i in range(first):
            require(0 <= i < self.count, "a step has a result")
            self.check_write(i, False)
        require(len(self.now) == first, "results have slots of their own")
        for i in range(first, self.count):
            self.check_read(i)
        return 0

    cdef Layer *check_layer(self, int kind) except NULL:
        """The layer that the header of a step names, and its outputs and inputs."""
        cdef Layer *layer
        require(self.kind == kind and not self.once, f"there is no step of kind {self.kind} here")
        require(self.header_count == 4 and 0 <= self.header[0] < self.program.layer_count, "a layer exists")
        layer = &self.program.layers[self.header[0]]
        require(self.header[1] == layer.outputs and self.header[2] == layer.inputs, "a step is of its layer's size")
        return layer

    cdef int check_backward(self) except -1:
        cdef int i, outputs = len(self.program.outputs)
        if self.kind == BACK_APPLY:
            self.check_shape(self.header_count == 3, self.count == 5)
            check_rule(self.header[0], False)
            require(0 <= self.header[1] < RULES[self.header[0]].arity, "a side is one of the op's arguments")
            for i in range(1, 5):
                self.check_read(i)
            self.check_write(0, self.header[2])
        elif self.kind == BACK_REDUCE:
            self.check_shape(self.header_count >= 1, self.count == 2 * self.header_count)
            check_rule(self.header[0], True)
            self.check_read(0)
            self.check_read(1)
            for i in range(2, self.count, 2):
                self.check_read(i)
            for i in range(2, self.count, 2):
                self.check_gain(i + 1, self.header[i // 2])
        elif self.kind == BACK_DOTS:
            self.check_shape(self.header_count % 2 == 0, self.count == 1 + 2 * self.header_count)
            self.check_read(0)
            for i in range(1, self.count, 4):
                self.check_read(i)
                self.check_read(i + 1)
            for i in range(1, self.count, 4):
                self.check_gain(i + 2, self.header[(i - 1) // 2])
                self.check_gain(i + 3, self.header[(i - 1) // 2 + 1])
        elif self.kind == BACK_LAYER:
            self.check_back_layer(self.check_layer(BACK_LAYER))
        elif self.kind == SEED:
            require(not self.once, "what is computed once has no seeds")
            self.check_shape(self.header_count == 2 and 0 <= self.header[0] < outputs, self.count == 1)
            self.check_write(0, self.header[1])
        else:
            require(self.kind == COLLECT and not self.once, f"there is no step of kind {self.kind} here")
            self.check_shape(self.header_count == 1 and 0 <= self.header[0] < self.program.uniforms, self.count == 1)
            self.check_read(0)
        return 0

    cdef int check_gain(self, int i, bint add) except -1:
        """A slot that gains something after all of the step has been read, perhaps from several arguments; -1 for what
        needs no grad."""
        if self.slots[i] == -1:
            return 0
        require(0 <= self.slots[i] < self.plan.slots, "a slot exists")
        require(not add or self.slots[i] in self.written or self.slots[i] in self.now, "what is added to is written")
        self.now.add(self.slots[i])
        return 0

    cdef int check_back_layer(self, Layer *layer) except -1:
        cdef int i, gains = layer.outputs + layer.inputs
        cdef bint inputs = self.header[3] & INPUTS != 0
        self.check_shape(0 < self.header[3] <= (WEIGHTS | INPUTS),
                         self.count == gains + (2 * layer.inputs if inputs else 0))
        for i in range(gains):
            self.check_read(i)
        if inputs:
            require(self.header[0] in words_of(&self.plan.turned), "a layer is transposed for its inputs")
            for i in range(gains + layer.inputs, self.count):  # each start is the gain itself, or zeros
                self.check_read(i)
            for i in range(gains, gains + layer.inputs):
                self.check_write(i, False)
            require(len(self.now) == layer.inputs, "what gains has a slot of its own")
        return 0


cdef int check_rule(int op, bint many) except -1:
    require(0 < op < OP_COUNT, "an op is one of the table")
    return require((RULES[op].reduce != NULL) == many, "a step is of an op of its kind")


cdef list words_of(Code *code):
    cdef Py_ssize_t i
    cdef list words = []
    for i in range(code.count):
        words.append(code.words[i])
    return words


cdef int check_plan(Program program, Plan plan, int mode) except -1:
    """Check a plan; mode -1 is what is computed once a call."""
    cdef Walk walk = Walk()
    cdef list words
    cdef Py_ssize_t i
    walk.program, walk.plan, walk.once = program, plan, mode == -1
    walk.written = set()
    if walk.once:
        require(plan.slots == 2 * program.uniforms, "what is computed once has two slots a place")
        walk.written.update(range(len(program.trace.captured)), words_of(&program.constants))
    words = words_of(&plan.loads) + words_of(&plan.splats)
    require(plan.loads.count % 2 == 0 and plan.splats.count % 2 == 0, "loads and broadcasts are pairs")
    for i in range(0, len(words), 2):
        if i < plan.loads.count:
            require(0 <= words[i] < program.trace.arguments, "an argument exists")
        else:
            require(-1 <= words[i] < program.uniforms, "a place exists")
        require(0 <= words[i + 1] < plan.slots, "what is there from the start has a slot")
        require(words[i + 1] not in walk.written, "no two share it")
        walk.written.add(words[i + 1])
    walk.check_code(&plan.forward)
    if walk.once:
        walk.written.update(range(program.uniforms, 2 * program.uniforms))  # grads, which the rows that vary begin
    outputs = words_of(&plan.outputs)
    require(walk.once or len(outputs) == len(program.outputs), "outputs have slots")
    for i in outputs:
        require(i in walk.written, "an output is computed")
    require(mode > FORWARD or walk.once or not plan.backward.count, "what goes forward only has no other steps")
    walk.check_code(&plan.backward)
    for i in words_of(&plan.turned):
        require(0 <= i < program.layer_count, "a layer exists")
    words = words_of(&plan.grads)
    require(len(words) % 2 == 0, "grads of arguments are pairs")
    for i in range(0, len(words), 2):
        require(0 <= words[i] < program.trace.arguments, "an argument exists")
        require(words[i + 1] in walk.written, "its grad is computed")
    return 0
