# The rules of a compiled program. An unpickled trace is checked before a program is made of it. Programs and plans are
# made of checked traces, so that the debug build and the tests alone check them. What breaks a rule raises ValueError;
# code that replays a program relies on the rules.
#
# Gives check_counts, check_instructions and check_program. Uses arguments.pxi, trace.pxi, program.pxi, plan.pxi.

cdef enum:
    MOST_INSTRUCTIONS = 1 << 30  # ids of Steps, up to twice as many and one, are ints


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
        require(is_sequence(items) and len(items) <= MOST_INSTRUCTIONS,
                "instructions, outputs and captured leaves are lists")
    for count in state[3:]:
        require(is_index(count, MOST_INSTRUCTIONS), "counts of arguments and ops are integers of at least 0")
    return state


def check_instructions(instructions, outputs, captured, arguments):
    """Check the parts of a trace: each instruction has an op and as many operands as that takes, all of them earlier
    instructions; leaves and arguments exist; outputs are instructions."""
    cdef set met = set()
    require(is_index(arguments, MOST_NUMBERS + 1), f"no more than {MOST_NUMBERS} arguments")
    for leaf in captured:
        require(isinstance(leaf, Value), "captured leaves are Values")
        require(not (<Value>leaf).node.flags & TRACED, "captured leaves are from outside of traces")
    for i, instruction in enumerate(instructions):
        require(type(instruction) is tuple and len(instruction) == 2 and is_index(instruction[0], 1 << 16)
                and is_sequence(instruction[1]) and len(instruction[1]) <= MOST_INSTRUCTIONS,
                f"instruction {i} is an op and its operands")
        op, operands = instruction
        if op == NUMBER:
            require(len(operands) == 1 and type(operands[0]) is float, f"instruction {i} is a float")
        elif op == CAPTURED or op == ARGUMENT:
            require(len(operands) == 1 and is_index(operands[0], len(captured) if op == CAPTURED else arguments),
                    f"instruction {i} is one of the captured leaves or arguments")
            require((op, operands[0]) not in met, f"instruction {i} does not repeat another")
            met.add((op, operands[0]))
        else:
            check_op(i, op, len(operands))
            for operand in operands:
                require(is_index(operand, i), f"instruction {i} reads earlier ones")
    for i in outputs:
        require(is_index(i, len(instructions)), "outputs are instructions")


cdef int check_op(i, int op, Py_ssize_t count) except -1:
    """Check that there is such an op, and that it takes so many operands."""
    cdef int arity
    if op == DOT:
        return require(count >= 3 and count % 2 == 1, f"instruction {i} is a bias and pairs of factors")
    require(0 < op < OP_COUNT, f"instruction {i} is of an op in the table")
    arity = RULES[op].arity
    return require(count >= 1 if arity == VARIADIC else count == arity, f"instruction {i} has the operands of its op")


# ---- Programs ------------------------------------------------------------------------------------

def check_program(Program program):
    """Check a program, and its plans for every use."""
    cdef int mode
    cdef Trace trace = program.trace
    check_instructions(trace.instructions, trace.outputs, trace.captured, trace.arguments)
    check_instructions(program.instructions, program.outputs, trace.captured, trace.arguments)
    check_invariants(program)
    check_groups(program)
    check_layers(program)
    check_plan(program, program.prologue, -1)
    for mode in range(<int>MODES):
        check_plan(program, program.plan(mode), mode)


cdef int check_invariants(Program program) except -1:
    """Invariant instructions have an index each, captured leaves the first ones, numbers the next."""
    cdef Py_ssize_t i
    cdef int op, index, captured = len(program.trace.captured)
    cdef set indices = set()
    for i in range(program.code.count):
        op = program.code.items[i].op
        if is_computed(op):
            require(program.invariant[i] == all(program.invariant[operand] for operand in program.code.operands_of(i)),
                    "what depends on nothing that varies is invariant")
        else:
            require(program.invariant[i] == (op != ARGUMENT), "arguments vary, leaves and numbers do not")
        index = program.index_of[i]
        require((program.invariant[i] != 0) == (index >= 0), "an invariant instruction has an index")
        if index >= 0:
            require(index < program.invariants and index not in indices, "an index is one instruction's")
            require((op == CAPTURED) == (index < captured), "captured leaves come first")
            require(is_computed(op) == (index >= program.leaves), "then numbers")
            indices.add(index)
    for index, number in pairs_of(&program.constants):
        require(captured <= index < program.leaves, "a number has an index that exists")
    return 0


cdef list weights_of(const int *items, Py_ssize_t count):
    cdef Py_ssize_t i
    cdef list found = []
    for i in range(count):
        found.append(items[i])
    return found


cdef int check_groups(Program program) except -1:
    """What is computed is computed once, after what it reads, the prologue first; a group has one op."""
    cdef set done = set()
    cdef int g
    cdef Py_ssize_t i
    for i in range(program.code.count):
        if not is_computed(program.code.items[i].op):
            done.add(i)
    for g in range(program.group_count):
        group = program.ordered_from(program.groups[g].first, program.groups[g].count)
        require(len(group) > 0, "a group has instructions")
        for i in group:
            require(0 <= i < program.code.count and i not in done, "an instruction is computed once")
            require(program.code.items[i].op == program.groups[g].op, "a group has one op")
            require(program.group_of[i] == g, "an instruction knows its group")
            require((program.invariant[i] != 0) == (g < program.prologue_groups), "the prologue comes first")
            for operand in program.code.operands_of(i):
                require(operand in done, "an instruction is computed after what it reads")
        done.update(group)
    return require(len(done) == program.code.count, "every instruction is computed")


cdef int check_layers(Program program) except -1:
    cdef Layer *layer
    cdef Group *group
    cdef int g, k
    for g in range(program.group_count):
        group = &program.groups[g]
        require(group.calls == 1 or group.layer >= 0 and group.calls > 0, "a layer has calls")
        if group.layer < 0:
            continue
        require(group.layer < program.layer_count, "a layer exists")
        layer = &program.layers[group.layer]
        require(layer.outputs > 0 and layer.inputs > 0 and group.count == group.calls * layer.outputs,
                "a group has the outputs of its calls")
        for k in range(group.calls):
            check_call(program, layer, program.ordered_from(group.first + k * layer.outputs, layer.outputs))
        require(g >= program.prologue_groups or layer.early and layer.in_prologue,
                "the prologue has layers of leaves and numbers")
        check_layer_sizes(program, layer)
    return 0


cdef int check_call(Program program, Layer *layer, list group) except -1:
    """Check the outputs of one call of a layer."""
    cdef tuple operands, first = program.code.operands_of(group[0])
    cdef list weights = [], biases = []
    for i in group:
        operands = program.code.operands_of(i)
        require(program.code.items[<Py_ssize_t>i].op == DOT and len(operands) == 1 + 2 * layer.inputs,
                "a layer is of sums over its inputs")
        require(operands[2::2] == first[2::2], "they share the inputs")
        for operand in operands[1::2]:
            weights.append(program.index_of[<Py_ssize_t>operand])
        biases.append(program.index_of[<Py_ssize_t>operands[0]])
    require(weights == weights_of(layer.weights, len(weights)), "calls of a layer have its weights")
    return require(layer.biases == NULL or biases == weights_of(layer.biases, len(biases)),
                   "calls of a layer have its biases")


cdef int check_layer_sizes(Program program, Layer *layer) except -1:
    cdef int shorter = min(layer.outputs, layer.inputs), longer = max(layer.outputs, layer.inputs)
    cdef Py_ssize_t i
    require(layer.transposed == (layer.outputs > layer.inputs), "the longer side of the weights is contiguous")
    require(longer <= layer.pitch <= program.pitch and layer.pitch % TILE == 0, "the pitch holds the longer side")
    require(0 <= layer.weight_offset <= program.weights - <Py_ssize_t>layer.outputs * layer.inputs,
            "weights are in the workspace")
    require(0 <= layer.grad_offset <= program.weight_grads - <Py_ssize_t>shorter * layer.pitch,
            "grads are in the workspace")
    require(0 <= layer.bias_offset <= program.biases - layer.outputs, "biases are in the workspace")
    for i in range(<Py_ssize_t>layer.outputs * layer.inputs):
        require(0 <= layer.weights[i] < program.invariants, "a weight has an index")
        require(layer.weights[i] < program.leaves or not layer.early, "early weights are leaves and numbers")
    return 0
