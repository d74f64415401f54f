# A trace: what a function computed from placeholders, as a list of instructions. The function runs once on
# placeholders, which are Values whose data are NaN and whose flag TRACED their descendants inherit; then the graph
# behind what it returned is translated to instructions.
#
# Gives Trace, call_traced, placeholder, the ops of instructions (DOT and others) and is_computed. Uses arguments.pxi,
# check.pxi, and of _core traces, graph_nodes and parents_of.

# An instruction is a pair, an op and its operands, which are the indices of earlier instructions. Ops are those of the
# engine's table, and these:
cdef enum:
    NUMBER = 240  # a constant; its operand is the float itself
    CAPTURED      # a leaf from outside, whose data are read at every call; its operand is the index of the leaf
    ARGUMENT      # a number that the function is called with; its operand is the index of the argument
    DOT           # bias + a[0] b[0] + a[1] b[1] + ..., in this order: (bias, a[0], b[0], a[1], b[1], ...)

static_check(<int>OP_COUNT <= <int>NUMBER)  # no op of the table has these numbers


def call_traced(function, tuple args, dict kwargs, list outputs):
    """Call the function in a trace of this thread. Returns the tree of its result; the Values and numbers in it are
    appended to `outputs`. Raises TraceError also where the function caught one."""
    trace_begin()
    try:
        tree = tree_flatten(function(*args, **kwargs), outputs, None)
    except IndexError as raised:
        refused = trace_index_error(raised)
        if refused is not None:
            raise refused from raised
        raise
    finally:
        error = trace_end()
    if error is not None:
        raise error
    return tree


def in_trace():
    """Is this thread in a trace?"""
    return trace_here() != NULL


def refuse(str what):
    """Raise TraceError with the line of the user's code that is running."""
    trace_refuse(what)


def placeholder():
    """A Value that stands for an argument."""
    cdef Node *n = leaf_new(NAN)
    n.flags |= TRACED
    return own(object_of(n))


def is_traced(Value value not None):
    """Was it computed from a placeholder?"""
    return value.node.flags & TRACED != 0


cdef inline bint is_computed(int op) noexcept:
    """Has an instruction of this op other instructions for operands?"""
    return op < OP_COUNT or op == DOT


def op_name(int op):
    """The name of an instruction's op in a listing."""
    if 0 <= op < OP_COUNT:
        return RULES[op].name.decode()
    return {NUMBER: "number", CAPTURED: "captured", ARGUMENT: "argument", DOT: "dot"}[op]


# ---- From the graph to instructions --------------------------------------------------------------

@cython.final
cdef class Trace:
    """What `outputs`, Values and numbers, were computed from, down to `placeholders` and captured leaves."""

    cdef readonly tuple instructions  # (op, operands)
    cdef readonly tuple outputs       # the instructions that the function returned
    cdef readonly tuple captured      # the leaves from outside, Values
    cdef readonly int arguments       # how many numbers the function is called with
    cdef readonly int read            # ops in the graph; each product and addition of an affine node counts
    cdef readonly int folded          # of them, those on numbers, computed while tracing
    cdef readonly int shared          # of them, those that are the same as an earlier one
    cdef list made                    # while the trace is made, the instructions so far; then None
    cdef list leaves                  # and the captured leaves so far
    cdef dict known                   # instruction -> its index

    def __cinit__(self, list outputs, list placeholders):
        cdef list order, results = []
        cdef dict index_of = {}  # of the instruction that computes a node
        self.made, self.known, self.leaves = [], {}, []
        self.arguments = len(placeholders)
        for i in range(self.arguments):
            index_of[PyLong_FromVoidPtr(&(<Value?>placeholders[i]).node)] = self.put(ARGUMENT, (i,))
        order = graph_nodes(outputs)
        for key in private_leaves(order, outputs):
            index_of[key] = self.number((<Node *>PyLong_AsVoidPtr(key)).data)
        for i in range(len(order)):
            self.read_node(node_of(PyList_GET_ITEM(<PyObject *>order, i)), index_of)
        for x in outputs:
            if isinstance(x, Value):
                self.read_leaf(&(<Value>x).node, index_of)
                results.append(index_of[PyLong_FromVoidPtr(&(<Value>x).node)])
            else:
                results.append(self.number(x))
        self.instructions, self.outputs, self.captured = tuple(self.made), tuple(results), tuple(self.leaves)
        self.made = self.leaves = self.known = None

    def __reduce__(self):
        """Ops of the table are pickled by name: their numbers may change between versions."""
        named = []
        for op, operands in self.instructions:
            named.append((RULES[op].name.decode() if op < OP_COUNT else op, operands))
        counts = self.arguments, self.read, self.folded, self.shared
        return _unpickle_trace, (named, self.outputs, self.captured, *counts)

    # These three return the index of an instruction: of an earlier one if that is the same.

    cdef int put(self, int op, tuple operands) except -1:
        key = op, operands
        found = self.known.get(key)
        if found is not None:
            return found
        self.known[key] = len(self.made)
        self.made.append(key)
        return len(self.made) - 1

    cdef int number(self, double x) except -1:
        """Numbers are the same if their bits are: 0.0 == -0.0, and NaN != NaN."""
        cdef bytes bits = struct.pack("d", x)
        found = self.known.get(bits)
        if found is None:
            found = self.known[bits] = len(self.made)
            self.made.append((NUMBER, (x,)))
        return found

    cdef int apply(self, int op, tuple operands) except -1:
        """An op on numbers is folded. If that raises, it stays an instruction, which raises when the program runs."""
        cdef list numbers
        cdef int count = len(self.made), index
        cdef double x
        self.read += len(operands) - 2 if op == DOT else 1
        if all(self.made[i][0] == NUMBER for i in operands):
            numbers = []
            for i in operands:
                numbers.append(self.made[i][1][0])
            try:
                x = rule_value(op, numbers)
            except (ArithmeticError, ValueError):
                pass
            else:
                self.folded += 1
                return self.number(x)
        index = self.put(op, operands)
        if index < count:
            self.shared += 1
        return index

    cdef int read_node(self, Node *n, dict index_of) except -1:
        """Put the instructions of a node whose parents are in `index_of`."""
        cdef Parents parents
        cdef Py_ssize_t i
        cdef bint bias_last
        cdef int index
        cdef list operands
        if n.form == LEAF:
            return 0
        if n.flags & CUSTOM or n.op == NO_OP:
            name = (<object>object_of(n))._op
            raise TraceError(
                f"{f'the op {name!r}' if name else 'an op without a name'} cannot be compiled: its data or its "
                "gradients are computed in Python. Write it with the operators and methods of Value"
            )
        # Leaves are numbered in the order in which they are read, a bias after its weights, as in parameters().
        parents_of(n, &parents)
        bias_last = n.form == AFFINE and affine_bias(node_affine(n)) != NULL
        for i in range(bias_last, parents.count):
            self.read_leaf(node_of(parent_at(&parents, i)), index_of)
        if bias_last:
            self.read_leaf(node_of(parent_at(&parents, 0)), index_of)
        operands = []
        for i in range(parents.count):
            operand = index_of.get(PyLong_FromVoidPtr(node_of(parent_at(&parents, i))))
            if operand is None:
                raise TraceError("a Value that was computed from itself cannot be compiled")
            operands.append(operand)
        if n.form == NUMBER_RIGHT:
            operands.append(self.number(n.b.number))
        elif n.form == NUMBER_LEFT:
            operands.insert(0, self.number(n.b.number))
        if n.form == AFFINE:
            operands = self.products(n, operands)
            index = self.apply(DOT, tuple(operands)) if len(operands) > 1 else operands[0]
            if n.op != ADD:
                index = self.apply(n.op, (index,))
        else:
            index = self.apply(n.op, tuple(operands))
        index_of[PyLong_FromVoidPtr(n)] = index
        return 0

    cdef int read_leaf(self, Node *n, dict index_of) except -1:
        """Put the instruction of a captured leaf, unless the node is no leaf or has its instruction."""
        key = PyLong_FromVoidPtr(n)
        if n.form != LEAF or key in index_of:
            return 0
        if n.flags & TRACED:
            raise TraceError("a compiled function uses a Value that was computed in the trace of another call")
        index_of[key] = self.put(CAPTURED, (len(self.leaves),))
        self.leaves.append(<object>object_of(n))
        return 0

    cdef list products(self, Node *n, list parents):
        """The operands of an affine node's DOT, given the instructions of its parents."""
        cdef NodeLayer *layer = n.b.layer
        cdef Py_ssize_t i, count = layer.inputs
        cdef list operands = [parents.pop(0) if affine_bias(node_affine(n)) != NULL else self.number(0.0)]
        for i in range(count):
            operands += [parents[i], parents[count + i] if layer.nodes != NULL else self.number(layer.data[i])]
        return operands


def _unpickle_trace(*state):
    """The trace that was pickled. Raises ValueError if it breaks a rule."""
    cdef Trace trace = Trace([], [])
    instructions, outputs, captured, *counts = check_counts(state)
    trace.instructions, trace.outputs, trace.captured = ops_by_number(instructions), tuple(outputs), tuple(captured)
    trace.arguments, trace.read, trace.folded, trace.shared = counts
    check_instructions(trace.instructions, trace.outputs, trace.captured, trace.arguments)
    return trace


cdef tuple ops_by_number(instructions):
    """Pickled instructions with the numbers of their ops; those of unknown ops as they are."""
    cdef dict numbers = {RULES[op].name.decode(): op for op in range(1, <int>OP_COUNT)}
    numbers["highest"] = numbers["max"]  # its name in 0.1
    cdef list found = []
    for pair in instructions:
        if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is str:
            pair = numbers.get(pair[0], pair[0]), pair[1]
        found.append(pair)
    return tuple(found)


cdef double rule_value(int op, list numbers) except? -1.0:
    """The op on numbers, by its rule."""
    cdef double r, x, y
    cdef Py_ssize_t i
    if op == DOT:
        r = numbers[0]
        for i in range(1, len(numbers), 2):
            x, y = numbers[i], numbers[i + 1]
            r += x * y
    elif RULES[op].reduce != NULL:
        packed = struct.pack(f"{len(numbers)}d", *numbers)
        r = RULES[op].reduce(<double *><char *>packed, len(numbers))
    else:
        r = RULES[op].forward(numbers[0], numbers[1] if len(numbers) > 1 else 0.0)
        if rule_failed(r):
            raise_error()
    return r


cdef list private_leaves(list order, list outputs):
    """The addresses of leaves that only the graph refers to, so that nothing can change their data: a `Value(2.0)` in
    the function, and what functional makes of a number. A node is private if all references to it come from private
    nodes and from `outputs`; these are the private nodes that are leaves."""
    cdef Node *n
    cdef Py_ssize_t i
    cdef dict counted = {}  # references from private nodes, by the address of a node or of what affine nodes share
    cdef list private = []
    for i in range(len(outputs)):
        count_reference(counted, node_of(PyList_GET_ITEM(<PyObject *>outputs, i)))
    for i in range(len(order) - 1, -1, -1):
        n = node_of(PyList_GET_ITEM(<PyObject *>order, i))
        key = PyLong_FromVoidPtr(n)
        if Py_REFCNT(object_of(n)) > counted.get(key, 0) + 1:  # `order` holds it too
            continue
        if n.form == LEAF and not n.flags & (TRACED | CUSTOM):
            private.append(key)
        count_parents(counted, n)
    return private


cdef int count_reference(dict counted, void *p) except -1:
    key = PyLong_FromVoidPtr(p)
    counted[key] = counted.get(key, 0) + 1
    return counted[key]


cdef int count_parents(dict counted, Node *n) except -1:
    """Count the references that a private node holds. Affine nodes share weights and inputs: the references that these
    hold are counted when all nodes that share them have been found private."""
    cdef Parents parents
    cdef Py_ssize_t i
    parents_of(n, &parents)
    if n.form != AFFINE:
        for i in range(parents.count):
            count_reference(counted, node_of(parent_at(&parents, i)))
        return 0
    if count_reference(counted, node_affine(n).weights) == Py_REFCNT(node_affine(n).weights):
        for i in range(parents.split):
            count_reference(counted, node_of(parent_at(&parents, i)))
    if count_reference(counted, n.b.layer) == n.b.layer.holders:
        for i in range(parents.split, parents.count):
            count_reference(counted, node_of(parent_at(&parents, i)))
    return 0
