# Value: the Python type that is a node of the graph; its operators, and backward.
#
# The parts, in reading order; each says in its first lines what it gives and what it uses:
#
#   tables       the op table as an array
#   slabs        where nodes live, in order of creation
#   walk         marks of the backward walk, and depth-first orders
#   invariants   what a debug build asserts
#   lifetime     how nodes die
#   collector    what the cyclic collector sees
#   numbers      what is a number, and which double it is
#   tracing      what Python code may read while a function is traced
#   affine       sums of products as one node; layers of them, hidden or not
#   materialize  the nodes that the reference would have
#   custom       ops of a user's own, and blocks of parents
#   operators    operands of any type
#   members      members of the class that users replace
#   typeslots    slots of the type that Cython has no hook for
#   build        how this was compiled
#
# Nothing may stand behind an `include` in its line: cython-lint takes the last word of it for the name of the file.

cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcpy, memset
from micrograd._core.capi cimport *
from micrograd._core.debug cimport DEBUG, SANITIZE, check, poison, static_check, unpoison
from micrograd._core.node cimport *
from micrograd._core.ops cimport *

import gc  # no-cython-lint: collector_stop() uses it
import sys

cdef extern from *:
    """
    /* The op that an operator computes is a constant only once all inline functions on the way are inlined, and gcc
       decides about them before that. This holds for all inline functions of the module: with operators that need no
       frame it takes a * b from 67 to 44 instructions. */
    #if defined(__GNUC__) && defined(__OPTIMIZE__)
      #undef CYTHON_INLINE
      #define CYTHON_INLINE inline __attribute__((always_inline, unused))
    #endif
    """

cdef PyTypeObject *VALUE = <PyTypeObject *>Value
cdef PyTypeObject *OBJECT = <PyTypeObject *>object

include "_core/tables.pxi"
include "_core/slabs.pxi"
include "_core/walk.pxi"
include "_core/invariants.pxi"
include "_core/lifetime.pxi"
include "_core/collector.pxi"
include "_core/numbers.pxi"
include "_core/tracing.pxi"
include "_core/affine.pxi"
include "_core/materialize.pxi"
include "_core/custom.pxi"
include "_core/operators.pxi"


# ---- Ops -----------------------------------------------------------------------------------------

cdef inline object value_unary(int op, Value value):
    cdef Node *a = &value.node
    cdef Node *n
    cdef double r = op_rule(op).forward(a.data, 0.0)
    if rule_failed(r):
        return op_raised(<PyObject *>value, NULL)
    n = result_new(op, UNARY, a.flags & INHERITED, r)
    n.a = a
    n.b.number = 0.0
    Py_INCREF(<PyObject *>value)
    node_fits(n)
    return own(object_of(n))


cdef inline PyObject *result_quick(int op, int form, PyObject *left, Operand b, double y, int flags) noexcept:
    """left op y, where that is a number and the newest slab has a slot; else NULL. It makes no calls, so the compiler
    saves no registers: a third of an operator's instructions."""
    cdef Node *a = node_of(left)
    cdef double r = op_rule(op).forward(a.data, y)
    cdef Node *n
    if r != r:
        return NULL
    n = slots_take_here(1)
    if n == NULL:
        return NULL
    slot_init(n, op, form, a.flags & INHERITED | flags, r)
    n.a = a
    n.b = b
    Py_INCREF(left)
    node_fits(n)
    return object_of(n)


cdef inline object value_binary(int op, PyObject *left, PyObject *right):
    """left op right. Two Values, a Value and a number, and for an op that commutes a number and a Value, are compiled
    into each operator: they are most of a program. All else is shared."""
    cdef PyObject *o = NULL
    cdef Operand b
    cdef Kind kind
    if Py_TYPE(left) == VALUE:
        if Py_TYPE(right) == VALUE:
            b.node = node_of(right)
            o = result_quick(op, BINARY, left, b, b.node.data, b.node.flags & INHERITED)
            if o != NULL:
                Py_INCREF(right)
        else:
            kind = number_quick(right, &b.number)
            if kind != OTHER:
                o = result_quick(op, NUMBER_RIGHT, left, b, b.number, INTEGER if kind == INT else 0)
    elif op_rule(op).commutes and Py_TYPE(right) == VALUE and number_quick(left, &b.number) != OTHER:
        o = result_quick(op, NUMBER_RIGHT, right, b, b.number, 0)  # as the reference does: 2 * v is v * 2
    return own(o) if o != NULL else value_binary_slow(op, left, right)


# ---- Backward ------------------------------------------------------------------------------------

cdef inline bint binary_send(Node *n) noexcept:
    """Add to the grads of two parents what the node's grad sends them. False with an exception set where a rule raises;
    what was added before that stays."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef Node *b = n.b.node
    cdef double x = a.data, y = b.data, g = n.grad
    cdef double sent
    if n.op == ADD:  # half of all ops, and a product by 1.0 less in chains of grads that await each other
        a.grad += g
        b.grad += g
    elif n.op == MUL:  # most of the other half. By a column of the table, backward takes 9 % more instructions
        a.grad += y * g
        b.grad += x * g
    elif rule.shape == LINEAR:
        a.grad += SLOPE_LEFT[n.op] * g
        b.grad += SLOPE_RIGHT[n.op] * g
    else:
        sent = rule.d_left(x, y, n.data, g)
        if send_failed(sent, a):
            return False
        a.grad += sent
        sent = rule.d_right(x, y, n.data, g)
        if send_failed(sent, b):
            return False
        b.grad += sent
    return True


cdef inline bint unary_send(Node *n) noexcept:
    """The same for one parent, of an op on it or on it and a number."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef double sent
    if n.form == NUMBER_LEFT:
        sent = rule.d_right(n.b.number, a.data, n.data, n.grad)
    elif rule.shape == LINEAR:
        sent = SLOPE_LEFT[n.op] * n.grad
    elif rule.shape == PRODUCT:
        sent = n.b.number * n.grad
    else:
        sent = rule.d_left(a.data, n.b.number, n.data, n.grad)
    if rule_failed(sent):
        return False
    a.grad += sent
    return True


cdef inline Node *node_step(Node *n, Walk *walk) noexcept:
    """Send to the parents, and in a walk mark them. Returns the oldest node that was handled: with an affine node
    others may have been. NULL with an exception set where a rule raises."""
    node_fits(n)
    if n.form == BINARY:
        if not binary_send(n):
            return NULL
        walk_mark(walk, n.a)
        walk_mark(walk, n.b.node)
    elif n.form == AFFINE:
        return affine_step(n, walk)
    elif n.form == BLOCK:
        block_step(n, walk)
    elif n.form != LEAF:
        if not unary_send(n):
            return NULL
        walk_mark(walk, n.a)
    return n


cdef int backward_ordered(Node *root) except -1:
    """Backward over a graph in slabs, where creation order is a topological order: from the root down the slots, each
    marked node sends to its parents and marks them. Slabs without a mark are skipped."""
    cdef Walk walk = Walk(slab_of(root), 1, 0, 0, engine.materialized)
    cdef Node *n = root
    cdef Node *oldest
    root.flags |= PENDING
    engine.walking = True
    while n != NULL:
        while walk.here:
            check(n >= slab_slot(walk.slab, 0), "the marks of a slab are in it")
            if n.flags & PENDING:
                n.flags = (n.flags & ~PENDING) | WALKED
                walk.here -= 1
                oldest = node_step(n, &walk)
                if oldest == NULL:
                    walk_unmark(&walk, n, NULL)
                    return -1
                n = oldest
            n = slot_before(n, 1)
        n = walk_next_slab(&walk)
        if n != NULL and walk.slabs % SLABS_A_SIGNAL_CHECK == 0 and walk_disturbed(&walk):
            return backward_rest(&walk, n)
    engine.walking = False
    marks_are_gone()
    return 0


cdef int backward_general(Entry *roots, Py_ssize_t count) except -1:
    """Backward from roots whose grads are there already, for graphs that creation order says too little about, and with
    a user's `_backward`."""
    cdef Order order = Order(NULL, 0, 0)
    cdef Node *n
    order_sort(roots, count, &order)
    try:
        while order.count:
            if is_stale(&order.items[order.count - 1]):
                order_renew(&order)
            n = order.items[order.count - 1].node
            n.flags |= WALKED
            if n.flags & CUSTOM:
                (<object>object_of(n))._backward()
            elif node_step(n, NULL) == NULL:
                own(NULL)
            if is_stale(&order.items[order.count - 1]):  # by its own `_backward`
                order_renew(&order)
            if order.count % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
                own(NULL)
            order.count -= 1
            Py_DECREF(object_of(n))
    finally:
        order_release(&order)
    return 0


cdef int graph_backward(Node *root) except -1:
    cdef Entry entry = Entry(root, root.form == AFFINE)
    root.grad = 1.0
    if root.flags & IRREGULAR or engine.late_nodes or engine.walking:  # walking: a signal handler, called from the walk
        return backward_general(&entry, 1)
    return backward_ordered(root) if root.form != LEAF else 0


# ---- Value ---------------------------------------------------------------------------------------

@cython.no_gc
@cython.c_api_binop_methods(True)
cdef class Value:
    """A number that remembers how it was computed.

    `Value(data)` is a leaf; arithmetic and the methods below make new Values from old ones; `backward()` on the last
    one fills in the `grad` of all it was computed from.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> c = (a * b + 10).tanh()
    >>> c.backward()
    >>> c.data, a.grad
    (0.999329299739067, -0.0040228520490775965)

    `data` is anything `float()` takes, but no string and no array. The further arguments are for ops of your own: the
    Values it was computed from (`_children`, `children` or `_prev`), what to show as `_op`, a `label`, and either
    `local_grads`, d(this)/d(child) for each child, or a function assigned to `_backward` afterwards.
    Third by position is `_op` if it is a string and `local_grads` if it is a tuple or list.

    Raises TypeError where `data` is not a real number, OverflowError where it is an int too large for a float,
    ValueError where the lengths of children and local_grads differ.
    """

    __array_priority__ = -1.0  # above NumPy's scalars, which leave `scalar * value` to us; below its arrays
    __array_ufunc__ = _Absent()
    label = ""

    def __init__(self, data, _children=(), _op="", label=None, *, children=(), _prev=(), local_grads=None):
        cdef Node *n = &self.node
        cdef bint irregular = False
        cdef tuple parents = tuple(_children) or tuple(children) or tuple(_prev)
        if isinstance(_op, (tuple, list)):
            local_grads, _op = _op, ""
        if local_grads is not None and not parents and not local_grads:
            local_grads = None
        if engine.walking and not n.flags & FRESH and (parents or n.form != LEAF):
            raise RuntimeError("cannot rebuild a Value while backward() walks its graph")
        node_begin_late(n)
        self.data = data
        n.grad = 0.0
        node_orphan(n)
        if parents or local_grads:
            irregular = not (n.flags & FRESH and Py_TYPE(<PyObject *>self) == VALUE and slot_is_newest(n))
            node_turn_irregular(n, 0)
            if node_adopt(n, parents, local_grads):
                irregular = True
        node_settle(n, irregular)
        if _op:
            self._op = _op
        if label is not None:
            self.label = label

    @property
    def data(self):
        """The value, a float. Assigning takes whatever the constructor takes; backward() reads it when it runs."""
        check_told(&self.node, "reading .data of")
        return self.node.data

    @data.setter
    def data(self, value):
        check_changed(&self.node, "assigning .data of")
        members_look()  # where the class was changed, value_setattro() comes here until then
        self.node.data = to_double(value, "Value.data")

    @data.deleter
    def data(self):
        raise AttributeError("a Value keeps its data")

    @property
    def grad(self):
        """d(root)/d(self), a float, summed over the backward passes since it was last set."""
        check_told(&self.node, "reading .grad of")
        return self.node.grad

    @grad.setter
    def grad(self, value):
        check_told(&self.node, "assigning .grad of")
        self.node.grad = to_double(value, "Value.grad")

    @grad.deleter
    def grad(self):
        raise AttributeError("a Value keeps its grad")

    def item(self):
        """The value, a float, as `data`.

        >>> Value(2).item()
        2.0
        """
        check_told(&self.node, "reading .item() of")
        return self.node.data

    def backward(self):
        """Set `grad` to 1 and add to the grad of every Value this one was computed from.

        Grads accumulate: a second pass adds to the first, at intermediate nodes too.

        >>> x = Value(3.0)
        >>> (x * x).backward()
        >>> x.grad
        6.0

        Raises what Python raises where a derivative does not exist (ZeroDivisionError for `Value(0.0)**0.5`); the
        grads so far stay.
        """
        check_told(&self.node, "backward() of")
        graph_backward(&self.node)

    def zero_grad(self):
        """Set the grad of this Value, and of every Value it was computed from, to 0.0.

        >>> x = Value(3.0)
        >>> y = x * x
        >>> y.backward()
        >>> y.zero_grad()
        >>> x.grad
        0.0
        """
        check_told(&self.node, "zero_grad() of")
        graph_zero_grad(&self.node)

    # -- arithmetic: the row of the op table says what it computes

    def __add__(left, right):
        """left + right."""
        return value_binary(ADD, <PyObject *>left, <PyObject *>right)

    def __sub__(left, right):
        """left - right."""
        return value_binary(SUB, <PyObject *>left, <PyObject *>right)

    def __mul__(left, right):
        """left * right."""
        return value_binary(MUL, <PyObject *>left, <PyObject *>right)

    def __truediv__(left, right):
        """left * right**-1. Raises ZeroDivisionError where right is 0."""
        return value_binary(DIV, <PyObject *>left, <PyObject *>right)

    def __pow__(left, right, modulus=None):
        """left**right. Raises ZeroDivisionError and OverflowError as floats do, ValueError for a complex result."""
        return value_binary(POW, <PyObject *>left, <PyObject *>right) if modulus is None else NotImplemented

    def __neg__(self):
        """-x."""
        return value_unary(NEG, self)

    def __abs__(self):
        """abs(x), as `x.abs()`."""
        return value_unary(ABS, self)

    def relu(self):
        """max(0, x)."""
        return value_unary(RELU, self)

    def tanh(self):
        """Hyperbolic tangent."""
        return value_unary(TANH, self)

    def exp(self):
        """e**x. Raises OverflowError above 709.78."""
        return value_unary(EXP, self)

    def log(self):
        """Natural logarithm. Raises ValueError for x <= 0."""
        return value_unary(LOG, self)

    def sigmoid(self):
        """1 / (1 + e**-x), without overflow."""
        return value_unary(SIGMOID, self)

    def sqrt(self):
        """Square root. Raises ValueError for x < 0; backward() raises ZeroDivisionError at 0."""
        return value_unary(SQRT, self)

    def sin(self):
        """Sine of x radians."""
        return value_unary(SIN, self)

    def cos(self):
        """Cosine of x radians."""
        return value_unary(COS, self)

    def abs(self):
        """|x|, with derivative 0 at 0."""
        return value_unary(ABS, self)

    def softplus(self):
        """log(1 + e**x), without overflow."""
        return value_unary(SOFTPLUS, self)

    # -- the graph, for whoever draws, inspects or extends it

    @property
    def _children(self):
        """The Values it was computed from, a tuple: `(a, a)` for a + a."""
        return node_children(&self.node)

    @property
    def _prev(self):
        """The Values it was computed from, a set."""
        return set(node_children(&self.node))

    @property
    def _op(self):
        """What computed it: '+', '*', '**2', 'tanh' ...; '' for a leaf."""
        cdef Node *n = &self.node
        if node_attributes(n)[0] != NULL and "_op" in attributes(self):
            return attributes(self)["_op"]
        if n.op == POW and n.form == NUMBER_RIGHT:
            return f"**{int(n.b.number) if n.flags & INTEGER and n.b.number.is_integer() else n.b.number}"
        return RULES[n.op].symbol.decode()

    @_op.setter
    def _op(self, op):
        attributes(self)["_op"] = op

    @_op.deleter
    def _op(self):
        attributes(self).pop("_op", None)

    @property
    def _local_grads(self):
        """d(self)/d(child) for each of `_children`, a tuple; empty where a Python `_backward` computes them."""
        cdef Node *n = &self.node
        cdef double[2] d
        check_told(n, "reading ._local_grads of")
        node_materialize(n)
        if n.form == BLOCK:
            grads = []
            for i in range(n.b.block.count if n.op or n.b.block.local != NULL else 0):
                if n.op:
                    grads.append(RULES[n.op].d_left(node_of(n.b.block.parents[i]).data, 0.0, n.data, 1.0))
                else:
                    grads.append(n.b.block.local[i])
            return tuple(grads)
        if n.form == LEAF:
            return ()
        d[0] = RULES[n.op].d_left(n.a.data, n.b.node.data if n.form == BINARY else n.b.number, n.data, 1.0)
        if rule_failed(d[0]):
            return own(NULL)
        if n.form != BINARY:
            return (d[0],)
        d[1] = RULES[n.op].d_right(n.a.data, n.b.node.data, n.data, 1.0)
        return own(NULL) if rule_failed(d[1]) else (d[0], d[1])

    @property
    def _backward(self):
        """backward()'s step at this node, to call or to replace: add to the children's grads what `grad` sends them."""
        function = backward_function(&self.node)
        node_materialize(&self.node)
        return self._propagate if function is None else function

    @_backward.setter
    def _backward(self, function):
        if not callable(function):
            raise TypeError(f"Value._backward must be callable, not {type(function).__name__!r}")
        cdef Attributes held = attributes_that_hold(&self.node)
        _replaced = held.function  # goes at the end, and what that runs finds the new one
        held.function = function
        node_turn_irregular(&self.node, CUSTOM)

    @_backward.deleter
    def _backward(self):
        cdef Attributes held
        if backward_function(&self.node) is not None:
            held = attributes_that_hold(&self.node)
            _replaced = held.function
            held.function = None

    def _propagate(self):
        check_told(&self.node, "calling ._backward of")
        if node_step(&self.node, NULL) == NULL:
            own(NULL)

    # Truth, equality and hash of Values are those of any object. The arguments of a function that is compiled may be
    # numbers elsewhere, though, and what a comparison of numbers would say is not known in a trace.

    def __bool__(self):
        check_told(&self.node, "the truth of")
        return True

    def __hash__(self):  # for subclasses; a Value's own slot is that of any object
        return OBJECT.tp_hash(<PyObject *>self)

    def __richcmp__(self, other, int comparison):
        cdef bint both = isinstance(other, Value)
        if both:
            check_told(&(<Value>other).node, "comparing")
        if both or PyNumber_Check(<PyObject *>other):
            check_told(&self.node, "comparing")
        return NotImplemented

    def __repr__(self):
        if not node_is_told(&self.node):
            return "Value(data=?, grad=?)"
        return f"Value(data={self.node.data}, grad={self.node.grad})"

    def __format__(self, spec):
        if not spec:
            return str(self)
        check_told(&self.node, "formatting")
        return format(self.node.data, spec)

    def __reduce__(self):
        # A copy, or what is unpickled, is a leaf: data, grad and attributes, without the graph behind them.
        check_told(&self.node, "copying or pickling")
        kind = Value if type(self) is _UserOp else type(self)
        kept = {k: v for k, v in attributes(self).items() if k != "_op"}
        return _bare, (kind,), (self.node.data, self.node.grad, kept)

    def __setstate__(self, state):
        node_begin_late(&self.node)
        self.data, self.grad, kept = state
        node_settle(&self.node, self.node.form != LEAF)
        attributes(self).update(kept)


def _bare(kind):
    """A Value of the kind, its __init__ not run: what unpickling starts from."""
    return kind.__new__(kind)


# Values made with children and no local gradients, whose `_backward` is a closure that holds them in turn. As instances
# of an ordinary subclass they are tracked by the cyclic collector, which plain Values are not.
cdef object _UserOp = type("Value", (Value,), {"__doc__": Value.__doc__, "__module__": __name__})

include "_core/members.pxi"
include "_core/typeslots.pxi"

members_note()

include "_core/build.pxi"
