# A trace: what a function computed from placeholders, as a list of instructions. The function runs once on
# placeholders, which are Values whose data are NaN and whose flag TRACED their descendants inherit; then the graph
# behind what it returned is translated to instructions.
#
# Gives Trace, call_traced and placeholder. Uses arguments.pxi, instructions.pxi, check.pxi, and of _core traces,
# graph_nodes, times_materialized and parents_of.

def call_traced(function, tuple args, dict kwargs, list outputs, bint exact=True):
    """Call the function in a trace of this thread, for a program with eager code's roundings if it is `exact`. Returns
    the tree of its result; the Values and numbers in it are appended to `outputs`. Raises TraceError also where the
    function caught one."""
    trace_begin(exact)
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


# ---- From the graph to instructions --------------------------------------------------------------

@cython.final
cdef class GraphReader:
    """Reads a graph into instructions: one for each node, but for what is folded or known."""

    cdef Instructions code
    cdef tuple outputs     # their instructions
    cdef list leaves       # captured so far
    cdef int read          # as in Trace
    cdef int folded
    cdef int shared
    cdef Table known       # the instructions by a hash of what they are
    cdef Table nodes       # those of nodes, by the address of the node; and references to what affine nodes share
    cdef dict embeddings   # by their number, pairs of a column and the node that selects from it
    cdef int *operands     # of the instruction at hand
    cdef double *numbers   # the operands, where all are numbers
    cdef Py_ssize_t operand_room
    cdef Py_ssize_t number_room

    def __cinit__(self):
        self.code, self.leaves, self.embeddings = Instructions(), [], {}

    def __dealloc__(self):
        PyMem_Free(self.known.entries)
        PyMem_Free(self.nodes.entries)
        PyMem_Free(self.operands)
        PyMem_Free(self.numbers)

    cdef int read_graph(self, list outputs, list placeholders) except -1:
        """Put the instructions of all nodes behind the outputs, and note those of the outputs."""
        cdef list order, indices = []
        cdef int i
        for i in range(len(placeholders)):
            table_entry(&self.nodes, &(<Value?>placeholders[i]).node).index = self.put(ARGUMENT, &i, 1)
        order = graph_nodes(outputs)
        table_grow(&self.nodes, self.nodes.count + len(order))
        table_grow(&self.known, self.known.count + len(order))
        self.read_private_leaves(order, outputs)
        self.find_embeddings(order)
        for i in range(len(order)):
            check_signals(i)
            self.read_node(node_of(PyList_GET_ITEM(<PyObject *>order, i)))
        for x in outputs:
            indices.append(self.operand(&(<Value>x).node) if isinstance(x, Value) else self.number(x))
        self.code.shrink()
        self.outputs = tuple(indices)
        return 0

    # -- private leaves

    cdef int read_private_leaves(self, list order, list outputs) except -1:
        """Put the numbers of leaves that only the graph refers to, so that nothing can change their data: a
        `Value(2.0)` in the function, and what functional makes of a number. A node is private if all references to it
        come from private nodes and from `outputs`; these are the private nodes that are leaves."""
        cdef Node *n
        cdef Entry *entry
        cdef Py_ssize_t i
        for i in range(len(outputs)):
            self.count_reference(node_of(PyList_GET_ITEM(<PyObject *>outputs, i)))
        for i in range(len(order) - 1, -1, -1):
            check_signals(i)
            n = node_of(PyList_GET_ITEM(<PyObject *>order, i))
            entry = table_entry(&self.nodes, n)
            if Py_REFCNT(object_of(n)) > <Py_ssize_t>entry.references + 1:  # `order` holds it too
                continue
            if n.form == LEAF and not n.flags & (TRACED | CUSTOM):
                entry.index = self.number(n.data)
            self.count_parents(n)
        return 0

    cdef inline Py_ssize_t count_reference(self, void *p) except -1:
        """Count a reference from a private node to a node, or to what affine nodes share. Returns how many so far."""
        cdef Entry *entry = table_entry(&self.nodes, p)
        entry.references += 1
        return entry.references

    cdef int count_parents(self, Node *n) except -1:
        """Count the references that a private node holds. Affine nodes share weights and inputs: the references that
        these hold are counted when all nodes that share them have been found private."""
        cdef Parents parents
        cdef Py_ssize_t i
        parents_of(n, &parents)
        if n.form != AFFINE:
            for i in range(parents.count):
                self.count_reference(node_of(parent_at(&parents, i)))
            return 0
        if self.count_reference(node_affine(n).weights) == Py_REFCNT(node_affine(n).weights):
            for i in range(parents.split):
                self.count_reference(node_of(parent_at(&parents, i)))
        if self.count_reference(n.b.layer) == n.b.layer.holders:
            for i in range(parents.split, parents.count):
                self.count_reference(node_of(parent_at(&parents, i)))
        return 0

    # -- embeddings

    cdef int find_embeddings(self, list order) except -1:
        cdef Node *n
        cdef Py_ssize_t i
        for i in range(len(order)):
            n = node_of(PyList_GET_ITEM(<PyObject *>order, i))
            if n.op == TAKE and n.index:
                self.embeddings.setdefault(n.index, []).append((n.grad, order[i]))
        return 0

    cdef int read_rows(self, list columns) except -1:
        """Put the leaves of an embedding row by row, as parameters() lists them; each of the nodes reads a column."""
        cdef Parents parents
        cdef Node *leaf
        cdef Py_ssize_t row = 0, rows = 1
        columns.sort()
        while row < rows:
            for _, value in columns:
                parents_of(&(<Value>value).node, &parents)
                rows = parents.count - 1  # the last parent is the index
                leaf = node_of(parent_at(&parents, row))
                if leaf.form == LEAF:
                    self.operand(leaf)
            row += 1
        return 0

    # -- instructions: these return the index of one, of an earlier one if that is the same

    cdef int put(self, int op, const int *operands, int count) except -1:
        cdef uint64_t key = mixed(op, count)
        cdef Instructions code = self.code
        cdef Instruction *item
        cdef Entry *entry
        cdef int i
        for i in range(count):
            key = mixed(key, operands[i])
        key = key or 1
        table_reserve(&self.known)
        entry = table_home(&self.known, key)
        while entry.key != 0:
            if entry.key == key:
                item = &code.items[entry.index]
                if (item.op == op and item.count == count
                        and memcmp(code.operands + item.first, operands, count * sizeof(int)) == 0):
                    return entry.index
            entry = table_next(&self.known, entry)
        entry.index = code.append(op, operands, count)
        entry.key = key
        self.known.count += 1
        return entry.index

    cdef int number(self, double x) except -1:
        """Numbers are the same if their bits are: 0.0 == -0.0, and NaN != NaN."""
        cdef uint64_t key
        cdef Entry *entry
        cdef double other
        memcpy(&key, &x, sizeof(double))
        key = mixed(NUMBER, key) or 1
        table_reserve(&self.known)
        entry = table_home(&self.known, key)
        while entry.key != 0:
            if entry.key == key and self.code.items[entry.index].op == NUMBER:
                other = self.code.number_at(entry.index)
                if memcmp(&other, &x, sizeof(double)) == 0:
                    return entry.index
            entry = table_next(&self.known, entry)
        entry.index = self.code.append_number(x)
        entry.key = key
        self.known.count += 1
        return entry.index

    cdef int operand(self, Node *n) except -1:
        """The instruction of a parent. A leaf from outside may have none yet."""
        cdef Entry *entry = table_entry(&self.nodes, n)
        cdef int leaf = len(self.leaves)
        if entry.index < 0:
            if n.form != LEAF:
                raise TraceError("a Value that was computed from itself cannot be compiled")
            if n.flags & TRACED:
                raise TraceError("a compiled function uses a Value that was computed in the trace of another call")
            self.leaves.append(<object>object_of(n))
            entry.index = self.put(CAPTURED, &leaf, 1)
        return entry.index

    cdef int apply(self, int op, int count) except -1:
        """An op on `operands`. If all are numbers, it is folded. If that raises, it stays an instruction, which raises
        when the program runs."""
        cdef Py_ssize_t before = self.code.count
        cdef double x
        cdef int index
        self.read += count - 2 if op == DOT else 1
        if self.read_numbers(count):
            try:
                x = rule_value(op, self.numbers, count)
            except (ArithmeticError, ValueError):
                pass
            else:
                self.folded += 1
                return self.number(x)
        index = self.put(op, self.operands, count)
        if index < before:
            self.shared += 1
        return index

    cdef bint read_numbers(self, int count) except -1:
        """Read the operands into `numbers`. False if not all are."""
        cdef int i
        for i in range(count):
            if self.code.items[self.operands[i]].op != NUMBER:
                return False
        if self.number_room < max(count, 2):
            self.numbers = <double *>array_grow(self.numbers, &self.number_room, count, sizeof(double))
        for i in range(count):
            self.numbers[i] = self.code.number_at(self.operands[i])
        return True

    # -- nodes

    cdef int reserve(self, Py_ssize_t count) except -1:
        """Make room for the operands of an instruction."""
        if count > MOST_INSTRUCTIONS:
            raise MemoryError  # counts are ints
        if count > self.operand_room:
            self.operands = <int *>array_grow(self.operands, &self.operand_room, count, sizeof(int))
        return 0

    cdef int read_node(self, Node *n) except -1:
        """Put the instructions of a node whose parents have theirs, unless they are leaves."""
        cdef Parents parents
        cdef Py_ssize_t i
        cdef int index
        cdef bint left = n.form == NUMBER_LEFT, right = n.form == NUMBER_RIGHT
        if n.form == LEAF:
            return 0
        if n.flags & CUSTOM or n.op == NO_OP:
            name = (<object>object_of(n))._op
            raise TraceError(
                f"{f'the op {name!r}' if name else 'an op without a name'} cannot be compiled: its data or its "
                "gradients are computed in Python. Write it with the operators and methods of Value"
            )
        if n.op == TAKE and n.index in self.embeddings:
            self.read_rows(self.embeddings.pop(n.index))
        parents_of(n, &parents)
        if n.form == AFFINE:
            index = self.read_affine(n, &parents)
        else:
            self.reserve(parents.count + 1)
            for i in range(parents.count):
                self.operands[left + i] = self.operand(node_of(parent_at(&parents, i)))
            if left or right:
                self.operands[0 if left else 1] = self.number(n.b.number)
            index = self.apply(n.op, parents.count + (left or right))
        table_entry(&self.nodes, n).index = index
        return 0

    cdef int read_affine(self, Node *n, Parents *parents) except -1:
        """Put a DOT and the activation. Leaves are numbered in the order in which they are read, a bias after its
        weights, as in parameters()."""
        cdef NodeLayer *layer = n.b.layer
        cdef Py_ssize_t i, inputs = layer.inputs
        cdef bint biased = affine_bias(node_affine(n)) != NULL
        self.reserve(2 * inputs + 1)
        for i in range(parents.count - biased):
            self.operands[1 + 2 * i if i < inputs else 2 * (i - inputs) + 2] = self.operand(
                node_of(parent_at(parents, biased + i)))
        self.operands[0] = self.operand(node_of(parent_at(parents, 0))) if biased else self.number(0.0)
        for i in range(inputs if layer.nodes == NULL else 0):
            self.operands[2 * i + 2] = self.number(layer.data[i])
        if inputs:
            self.operands[0] = self.apply(DOT, 2 * inputs + 1)
        return self.operands[0] if n.op == ADD else self.apply(n.op, 1)


cdef double rule_value(int op, const double *x, int count) except? -1.0:
    """The op on numbers, by its rule."""
    cdef double r
    cdef int i
    if op == DOT:
        r = x[0]
        for i in range(1, count, 2):
            r += x[i] * x[i + 1]
    elif RULES[op].reduce != NULL:
        r = RULES[op].reduce(x, count)
    else:
        r = RULES[op].forward(x[0], x[1] if count > 1 else 0.0)
        if rule_failed(r):
            raise_error()
    return r


cdef GraphReader graph_read(list outputs, list placeholders):
    """The graph behind the outputs, read. It is read again if Python code, such as a signal handler's, looked at a
    neuron meanwhile: then the graph has nodes that a reader does not know."""
    cdef GraphReader reader
    cdef Py_ssize_t before
    while True:
        before, reader = times_materialized(), GraphReader()
        try:
            reader.read_graph(outputs, placeholders)
        except TraceError:
            if times_materialized() == before:
                raise
        if times_materialized() == before:
            return reader


@cython.final
cdef class Trace:
    """What `outputs`, Values and numbers, were computed from, down to `placeholders` and captured leaves."""

    cdef Instructions code
    cdef readonly tuple outputs       # the instructions that the function returned
    cdef readonly tuple captured      # the leaves from outside, Values
    cdef readonly int arguments       # how many numbers the function is called with
    cdef readonly int read            # ops in the graph; each product and addition of an affine node counts
    cdef readonly int folded          # of them, those on numbers, computed while tracing
    cdef readonly int shared          # of them, those that are the same as an earlier one

    def __cinit__(self, list outputs, list placeholders):
        cdef GraphReader reader = graph_read(outputs, placeholders)
        self.code, self.outputs = reader.code, reader.outputs
        self.captured, self.arguments = tuple(reader.leaves), len(placeholders)
        self.read, self.folded, self.shared = reader.read, reader.folded, reader.shared

    @property
    def instructions(self):
        """Pairs (op, operands)."""
        return self.code.as_tuples()

    def __reduce__(self):
        """Ops of the table are pickled by name: their numbers may change between versions."""
        cdef list named = []
        for op, operands in self.instructions:
            named.append((RULES[op].name.decode() if op < OP_COUNT else op, operands))
        counts = self.arguments, self.read, self.folded, self.shared
        return _unpickle_trace, (named, self.outputs, self.captured, *counts)


def _unpickle_trace(*state):
    """The trace that was pickled. Raises ValueError if it breaks a rule."""
    cdef Trace trace = Trace([], [])
    instructions, outputs, captured, *counts = check_counts(state)
    instructions = ops_by_number(instructions)
    trace.outputs, trace.captured = tuple(outputs), tuple(captured)
    trace.arguments, trace.read, trace.folded, trace.shared = counts
    check_instructions(instructions, trace.outputs, trace.captured, trace.arguments)
    for op, operands in instructions:
        trace.code.append_tuple(op, operands)
    trace.code.shrink()
    return trace


cdef tuple ops_by_number(instructions):
    """Pickled instructions with the numbers of their ops and tuples of operands; what is none, as it is."""
    cdef dict numbers = {RULES[op].name.decode(): op for op in range(1, <int>OP_COUNT)}
    numbers["highest"] = numbers["max"]  # its name in 0.1
    cdef list found = []
    for pair in instructions:
        if type(pair) is tuple and len(pair) == 2 and is_sequence(pair[1]):
            op = numbers.get(pair[0], pair[0]) if type(pair[0]) is str else pair[0]
            pair = op, tuple(pair[1])
        found.append(pair)
    return tuple(found)
