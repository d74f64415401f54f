# Tracing: the function runs once on placeholders, ordinary Values whose data are NaN and which hand the flag TRACED
# down; what it returns is the end of an ordinary graph, which is read into rows here. Gives Trace, call_traced(),
# placeholder(). Uses form_of() of arguments, tracing, and the graph.

cdef enum:      # ops of a trace beside the rows of the op table; what they are of stands in place of arguments
    NUMBER = 240  # a number that never changes
    CAPTURED      # a leaf from outside, by its index: its data are read at every call
    ARGUMENT      # a number that the function is called with, by its index
    DOT           # start + a[0] b[0] + a[1] b[1] + ..., in this order: (start, a[0], b[0], a[1], b[1], ...)

static_check(<int>OP_COUNT <= <int>NUMBER)  # the ops of a trace are none of the table's
static_check(OP_COUNT <= 256)     # and those fit into a node's byte

def call_traced(function, tuple args, dict kwargs, list outputs):
    """Call the function in a trace of this thread. Returns the form of its result; the Values and numbers in it are
    appended to `outputs`. Raises TraceError too where the function caught one."""
    trace_begin()
    try:
        form = form_of(function(*args, **kwargs), outputs, None)
    finally:
        error = trace_end()
    if error is not None:
        raise error
    return form


def in_trace():
    """Is this thread in a trace?"""
    return trace_here() != NULL


def refuse(str what):
    """Raise TraceError for the line of the user's that is being run."""
    trace_refuse(what)


def placeholder():
    """A Value in place of a number that is not known yet."""
    cdef Node *n = leaf_new(NAN)
    n.flags |= TRACED
    return own(object_of(n))


def is_traced(Value value not None):
    """Was it computed from a placeholder?"""
    return value.node.flags & TRACED != 0


def op_name(int op):
    """What the op of a row is called in a listing."""
    if 0 <= op < OP_COUNT:
        return RULES[op].name.decode()
    return {NUMBER: "number", CAPTURED: "captured", ARGUMENT: "argument", DOT: "dot"}[op]


# ---- Rows ----------------------------------------------------------------------------------------

@cython.final
cdef class Trace:
    """What `outputs`, Values and numbers, were computed from, down to `placeholders` and captured leaves."""

    cdef readonly tuple rows      # (op, arguments): arguments are indices of earlier rows
    cdef readonly tuple outputs   # rows that the function returned
    cdef readonly tuple captured  # the leaves from outside, Values
    cdef readonly int arguments   # numbers the function is called with
    cdef readonly int read        # ops that stood in the graph, those in fused sums counted singly
    cdef readonly int folded      # of them, computed while tracing
    cdef readonly int shared      # of them, met before
    cdef list made                # the rows so far, while it is made; then None
    cdef list met                 # the leaves so far
    cdef dict known               # (op, arguments) -> row

    def __cinit__(self, list outputs, list placeholders):
        cdef list order, ends = []
        cdef dict row_of = {}
        self.made, self.known, self.met = [], {}, []
        self.arguments = len(placeholders)
        for i in range(self.arguments):
            row_of[PyLong_FromVoidPtr(&(<Value?>placeholders[i]).node)] = self.row(ARGUMENT, (i,))
        order = graph_order(outputs)
        for key in private_leaves(order, outputs):
            row_of[key] = self.number((<Node *>PyLong_AsVoidPtr(key)).data)
        for i in range(len(order)):
            self.take(node_of(PyList_GET_ITEM(<PyObject *>order, i)), row_of)
        for x in outputs:
            if isinstance(x, Value):
                self.take_leaf(&(<Value>x).node, row_of)
                ends.append(row_of[PyLong_FromVoidPtr(&(<Value>x).node)])
            else:
                ends.append(self.number(x))
        self.rows, self.outputs, self.captured = tuple(self.made), tuple(ends), tuple(self.met)
        self.made = self.met = self.known = None

    def __reduce__(self):
        """The ops by name: a row's number in the table is none of another version's business."""
        rows = []
        for op, args in self.rows:
            rows.append((RULES[op].name.decode() if op < OP_COUNT else op, args))
        return _unpickle_trace, (rows, self.outputs, self.captured, self.arguments, self.read, self.folded, self.shared)

    cdef int row(self, int op, tuple args) except -1:
        """The row of an op on rows: an old one if there is one."""
        key = op, args
        found = self.known.get(key)
        if found is not None:
            return found
        self.known[key] = len(self.made)
        self.made.append(key)
        return len(self.made) - 1

    cdef int number(self, double x) except -1:
        """The row of a number. By its bits: 0.0 and -0.0 are equal, and NaN is not equal to itself."""
        cdef bytes bits = struct.pack("d", x)
        found = self.known.get(bits)
        if found is None:
            found = self.known[bits] = len(self.made)
            self.made.append((NUMBER, (x,)))
        return found

    cdef int apply(self, int op, tuple args) except -1:
        """The row of an op: a number where all arguments are, unless the op raises: it will when it is called."""
        cdef list numbers
        cdef int count = len(self.made), row
        cdef double x
        self.read += len(args) - 2 if op == DOT else 1
        if all(self.made[i][0] == NUMBER for i in args):
            numbers = []
            for i in args:
                numbers.append(self.made[i][1][0])
            try:
                x = rule_value(op, numbers)
            except (ArithmeticError, ValueError):
                pass
            else:
                self.folded += 1
                return self.number(x)
        row = self.row(op, args)
        if row < count:
            self.shared += 1
        return row

    cdef int take(self, Node *n, dict row_of) except -1:
        """The row of a node whose parents have theirs."""
        cdef Py_ssize_t i
        cdef Parents parents
        cdef bint bias_last
        cdef int row
        cdef list args
        if n.form == LEAF:
            return 0
        if n.flags & CUSTOM or n.op == 0:
            name = (<object>object_of(n))._op
            raise TraceError(
                f"{f'the op {name!r}' if name else 'an op without a name'} cannot be compiled: its data or its "
                "gradients are computed in Python. Write it with the operators and methods of Value"
            )
        # Leaves are numbered as they are met, and a bias after its weights: as a model lists its parameters.
        parents_of(n, &parents)
        bias_last = n.form == AFFINE and affine_bias(node_affine(n)) != NULL
        for i in range(bias_last, parents.count):
            self.take_leaf(node_of(parent_at(&parents, i)), row_of)
        if bias_last:
            self.take_leaf(node_of(parent_at(&parents, 0)), row_of)
        args = []
        for i in range(parents.count):
            args.append(row_of[PyLong_FromVoidPtr(node_of(parent_at(&parents, i)))])
        if n.form == NUMBER_RIGHT:
            args.append(self.number(n.b.number))
        elif n.form == NUMBER_LEFT:
            args.insert(0, self.number(n.b.number))
        if n.form == AFFINE:
            args = self.products(n, args)
            row = self.apply(DOT, tuple(args)) if len(args) > 1 else args[0]
            if n.op != ADD:
                row = self.apply(n.op, (row,))
        else:
            row = self.apply(n.op, tuple(args))
        row_of[PyLong_FromVoidPtr(n)] = row
        return 0

    cdef int take_leaf(self, Node *n, dict row_of) except -1:
        """The row of a node if it is a leaf; it may have one already."""
        key = PyLong_FromVoidPtr(n)
        if n.form != LEAF or key in row_of:
            return 0
        if n.flags & TRACED:
            raise TraceError("a compiled function uses a Value that was computed in the trace of another call")
        row_of[key] = self.row(CAPTURED, (len(self.met),))
        self.met.append(<object>object_of(n))
        return 0

    cdef list products(self, Node *n, list parents):
        """The arguments of a fused sum as those of a DOT."""
        cdef NodeLayer *layer = n.b.layer
        cdef Py_ssize_t i, count = layer.inputs
        cdef list args = [parents.pop(0) if affine_bias(node_affine(n)) != NULL else self.number(0.0)]
        for i in range(count):
            args += [parents[i], parents[count + i] if layer.nodes != NULL else self.number(layer.data[i])]
        return args


def _unpickle_trace(*state):
    """What was pickled, where it keeps to the rules; otherwise ValueError."""
    cdef Trace trace = Trace([], [])
    rows, outputs, captured, *counts = check_counts(state)
    trace.rows, trace.outputs, trace.captured = rows_by_number(rows), tuple(outputs), tuple(captured)
    trace.arguments, trace.read, trace.folded, trace.shared = counts
    check_rows(trace.rows, trace.outputs, trace.captured, trace.arguments)
    return trace


cdef tuple rows_by_number(rows):
    cdef dict numbers = {RULES[op].name.decode(): op for op in range(1, <int>OP_COUNT)}
    numbers["highest"] = numbers["max"]  # its name in 0.1
    cdef list found = []
    for row in rows:
        if type(row) is tuple and len(row) == 2 and type(row[0]) is str:
            row = numbers.get(row[0], row[0]), row[1]
        found.append(row)
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
            own(NULL)
    return r


cdef list graph_order(list outputs):
    """The nodes behind the Values among the outputs, parents first; of a node's parents the first first."""
    cdef Py_ssize_t i
    cdef Node *n
    cdef Parents parents
    cdef list order = []
    cdef list todo = []
    cdef set seen = set(), done = set()
    for x in reversed(outputs):
        if isinstance(x, Value):
            todo.append(x)
    while todo:
        n = node_of(PyList_GET_ITEM(<PyObject *>todo, len(todo) - 1))
        key = PyLong_FromVoidPtr(n)
        if key in seen:
            if key not in done:
                done.add(key)
                order.append(todo[-1])
            del todo[-1]
            continue
        seen.add(key)
        parents_of(n, &parents)
        for i in range(parents.count - 1, -1, -1):
            if PyLong_FromVoidPtr(node_of(parent_at(&parents, i))) not in seen:
                todo.append(<object>parent_at(&parents, i))
    return order


cdef list private_leaves(list order, list outputs):
    """Leaves that nobody can reach any more, so that their data are numbers for good: `Value(2.0)`, written in the
    function, and what functional makes of a number. All references to such a leaf come from nodes of the graph that
    are as private as it is."""
    cdef Node *n
    cdef Py_ssize_t i
    cdef dict counted = {}  # references to nodes, and to rows and samples of fused sums, that are accounted for
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
    """Count what a private node holds. What sums share holds its own once, and is private with the last of the sums."""
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
