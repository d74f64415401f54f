# cython: boundscheck=True, wraparound=True
# Tracing: the function runs once on placeholders, ordinary Values whose data are NaN and which hand the flag TRACED
# down; what it returns is the end of an ordinary graph. The graph is read into rows here. What is made of the rows is
# in _lower.pyx and _program.pyx.

import struct
import sys

cimport cython
from cpython.object cimport PyObject
from libc.math cimport NAN
from micrograd._cpython cimport Py_REFCNT, PyList_GET_ITEM, own
from micrograd._batch cimport form_of
from micrograd._core cimport Value
from micrograd._debug cimport static_check
from micrograd._graph cimport RULES, node_parent, node_parent_count
from micrograd._node cimport (CUSTOM, FRESH, FUSED, LEAF, MADE, NUMBER_LEFT, NUMBER_RIGHT, SHOWN, TRACED, Fused, Node,
                              node_of, node_sum, object_of, sum_bias)
from micrograd._ops cimport ADD, OP_COUNT, op_reduce, rule_failed
from micrograd._slab cimport Tracing, leaf_new, trace_begin, trace_end, trace_here

static_check(<int>OP_COUNT <= <int>NUMBER)  # the ops of a trace are none of the table's
static_check(OP_COUNT <= 256)     # and those fit into a node's byte

cdef extern from "Python.h":
    object PyLong_FromVoidPtr(void *p)
    void *PyLong_AsVoidPtr(object o)


class TraceError(RuntimeError):
    """A compiled function does what its trace cannot show: the message names the line, and what to do instead.

    >>> import micrograd
    >>> @micrograd.compile
    ... def f(x):
    ...     return x if x.data > 0 else -x
    >>> f(1.0)
    Traceback (most recent call last):
        ...
    micrograd.TraceError: <doctest ...>, line 3: reading .data of a Value that depends on the arguments of a compiled
    function: ...
    """

    __module__ = "micrograd"


ADVICE = (
    "Express it in ops, such as relu(), abs() and those of micrograd.functional, or decide it outside and hand it in "
    "as a static keyword argument"
)


cdef dict refused = {}  # by the number of a trace: the first TraceError in it, which the function may have caught


def refuse(str what):
    """Raise TraceError for the line of the user's that is being run."""
    error = TraceError(f"{user_line()}: {what}")
    note(error)
    raise error


def note_raised(error):
    """An op in this thread's trace raised `error` for data that may be other at the next call."""
    note(TraceError(
        f"{user_line()}: {type(error).__name__} ({error}) is raised for the data of a Value that comes from outside of "
        f"a compiled function, and caught: the trace would keep for good what is true of one call. {ADVICE}"
    ))


cdef int note(error) except -1:
    cdef Tracing *trace = trace_here()
    if trace != NULL and not in_finalizer():
        refused.setdefault(trace.number, error)
    return 0


cdef bint in_finalizer() except -1:
    """Is this a `__del__` that happens to run in the trace? Python reports its errors, and the function goes on."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_trace":
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


cdef str user_line():
    """The line of the user's that is being run."""
    frame = sys._getframe()
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("micrograd.") and name not in ("copy", "copyreg", "pickle"):
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def check(Value value not None, str what, bint change):
    """Raise TraceError for what would be of one call only: `what` is asked, or changed, of a Value in a trace."""
    if value.node.flags & TRACED:
        refuse(f"{what} a Value that depends on the arguments of a compiled function: the trace would keep for good "
               f"what is true of one call. {ADVICE}")
    if change:
        if not (value.node.flags & FRESH and is_made(&value.node, trace_here())):
            refuse(f"{what} a Value while a compiled function is traced: that would happen once, not at every call. Do "
                   f"it outside, or make a new Value. {ADVICE}")
    elif not is_told(value):
        refuse(f"{what} a Value that comes from outside of a compiled function, or was computed from one: it may "
               f"change, and the trace would keep for good what is true of one call. {ADVICE}")


def in_trace():
    """Is this thread in a trace?"""
    return trace_here() != NULL


def is_told(Value value not None):
    """May its data be read here? In a trace only if they follow from numbers written in the function."""
    cdef Tracing *trace = trace_here()
    cdef Node *n = &value.node
    cdef Py_ssize_t i
    cdef list todo = [value]
    cdef set seen = set()
    if n.flags & TRACED or trace == NULL:
        return not n.flags & TRACED
    while todo:
        last = todo.pop()
        n = &(<Value>last).node
        key = PyLong_FromVoidPtr(n)
        if is_made(n, trace) or key in seen:
            continue
        if n.form == LEAF or n.flags & TRACED:
            return False
        seen.add(key)
        for i in range(node_parent_count(n)):
            todo.append(<object>object_of(node_parent(n, i)))
    n = &value.node
    if n.form != FUSED:  # so that what is read at every step of a long computation is not walked through each time
        n.flags |= MADE
        n.place = trace.number
    return True


cdef bint is_made(Node *n, Tracing *trace) noexcept:
    """Is it marked as computed from this trace's own numbers? Nodes made for the number of an op do not count."""
    return n.flags & (MADE | SHOWN) == MADE and n.place == trace.number


def call_traced(function, tuple args, dict kwargs, list outputs):
    """Call the function in a trace of this thread. Returns the form of its result; the Values and numbers in it are
    appended to `outputs`. Raises TraceError too where the function caught one."""
    cdef unsigned int number
    trace_begin()
    number = trace_here().number
    try:
        form = form_of(function(*args, **kwargs), outputs, None)
        if number in refused:
            raise refused[number]
        return form
    finally:
        trace_end()
        refused.pop(number, None)


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
        return _unpickle, (rows, self.outputs, self.captured, self.arguments, self.read, self.folded, self.shared)

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
        cdef Py_ssize_t i, count = node_parent_count(n)
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
        bias_last = n.form == FUSED and sum_bias(node_sum(n)) != NULL
        for i in range(bias_last, count):
            self.take_leaf(node_parent(n, i), row_of)
        if bias_last:
            self.take_leaf(node_parent(n, 0), row_of)
        args = []
        for i in range(count):
            args.append(row_of[PyLong_FromVoidPtr(node_parent(n, i))])
        if n.form == NUMBER_RIGHT:
            args.append(self.number(n.b.number))
        elif n.form == NUMBER_LEFT:
            args.insert(0, self.number(n.b.number))
        if n.form == FUSED:
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
        cdef Fused *fused = n.b.fused
        cdef Py_ssize_t i, count = fused.count
        cdef list args = [parents.pop(0) if sum_bias(node_sum(n)) != NULL else self.number(0.0)]
        for i in range(count):
            args += [parents[i], parents[count + i] if fused.nodes != NULL else self.number(fused.numbers[i])]
        return args


def _unpickle(*state):
    """What was pickled, where it keeps to the rules; otherwise ValueError."""
    from micrograd._check import check_counts, check_rows

    cdef Trace trace = Trace([], [])
    rows, outputs, captured, *counts = check_counts(state)
    trace.rows, trace.outputs, trace.captured = rows_by_number(rows), tuple(outputs), tuple(captured)
    trace.arguments, trace.read, trace.folded, trace.shared = counts
    check_rows(trace.rows, trace.outputs, trace.captured, trace.arguments)
    return trace


cdef tuple rows_by_number(rows):
    cdef dict numbers = {RULES[op].name.decode(): op for op in range(1, <int>OP_COUNT)}
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
    elif op_reduce(op) != NULL:
        packed = struct.pack(f"{len(numbers)}d", *numbers)
        r = op_reduce(op)(<double *><char *>packed, len(numbers))
    else:
        r = RULES[op].forward(numbers[0], numbers[1] if len(numbers) > 1 else 0.0)
        if rule_failed(r):
            own(NULL)
    return r


cdef list graph_order(list outputs):
    """The nodes behind the Values among the outputs, parents first; of a node's parents the first first."""
    cdef Py_ssize_t i
    cdef Node *n
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
        for i in range(node_parent_count(n) - 1, -1, -1):
            if PyLong_FromVoidPtr(node_parent(n, i)) not in seen:
                todo.append(<object>object_of(node_parent(n, i)))
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
    cdef Py_ssize_t i, weights, count = node_parent_count(n)
    if n.form != FUSED:
        for i in range(count):
            count_reference(counted, node_parent(n, i))
        return 0
    weights = count - (n.b.fused.count if n.b.fused.nodes != NULL else 0)
    if count_reference(counted, node_sum(n).row) == Py_REFCNT(node_sum(n).row):
        for i in range(weights):
            count_reference(counted, node_parent(n, i))
    if count_reference(counted, n.b.fused) == n.b.fused.held:
        for i in range(weights, count):
            count_reference(counted, node_parent(n, i))
    return 0
