# Value: the Python type that is a node of the graph; its operators, and backward.
#
# The parts, in reading order. Each says in its first lines what it gives and what it uses; all of them may also use
# node.pxd, ops.pxd, capi.pxd, debug.pxd, invariants.pxi, and VALUE and OBJECT below.
#
#   op_table       the op table as an array
#   slabs          the memory of nodes, in order of creation
#   walk           marks of the backward walk, and depth-first orders
#   invariants     assertions of a debug build
#   lifetime       how nodes are freed
#   collector      what the cyclic collector sees
#   numbers        which objects are numbers, and their doubles
#   trace_mode     what Python code may read while a function is traced
#   modes          no_grad
#   anomaly        detect_anomaly
#   affine         bias + w[0] x[0] + w[1] x[1] + ... as one node; layers of such nodes
#   leaf_grads     backward passes after which leaves alone have grads
#   materialize    the nodes that the reference has and this engine keeps in another form
#   user_ops       ops that users define, and blocks of parents
#   operands       operands of any type
#   choices        comparisons, which are conditions in a trace
#   derivatives    derivatives of ops as expressions in Values
#   adjoints       terms of adjoints, and their sums
#   gradient       grad(): gradients apart from the nodes' grads
#   class_members  methods of Value that users replace
#   typeslots      slots of the type that Cython has no syntax for
#   build_info     how this was compiled
#
# The reference is karpathy/micrograd 0.1.0: data and grads have its bits.
# No comment may follow an `include` on its line: cython-lint takes the last word of the line for the file's name.

cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LT, Py_NE, PyObject, PyObject_RichCompare
from libc.math cimport NAN, isfinite
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
    /* Always inline the inline functions of this module: only then is `op` a constant in each operator, and gcc alone
       does not inline them all. Together with operators that need no stack frame, a * b takes 44 instructions, not
       67. */
    #if defined(__GNUC__) && defined(__OPTIMIZE__)
      #undef CYTHON_INLINE
      #define CYTHON_INLINE inline __attribute__((always_inline, unused))
    #endif
    /* What an operator calls where it cannot go on. Inlined, it would need a stack frame in every operator. */
    #if defined(__GNUC__)
      #define ObjectApart __attribute__((noinline)) PyObject
    #else
      #define ObjectApart PyObject
    #endif
    /* The engine is one for the process. Cython binds a module to the interpreter that imports it first, which may be a
       subinterpreter: then the main interpreter could not import it any more. What Cython asks for its number refuses
       subinterpreters. */
    static int64_t number_of_main(PyInterpreterState *interpreter) {
        if (interpreter == PyInterpreterState_Main())
            return PyInterpreterState_GetID(interpreter);
        PyErr_SetString(PyExc_ImportError, "micrograd cannot be imported in a subinterpreter");
        return -1;
    }
    #define PyInterpreterState_GetID number_of_main
    """
    ctypedef PyObject ObjectApart

cdef PyTypeObject *VALUE = <PyTypeObject *>Value
cdef PyTypeObject *OBJECT = <PyTypeObject *>object

include "_core/op_table.pxi"
include "_core/slabs.pxi"
include "_core/walk.pxi"
include "_core/invariants.pxi"
include "_core/lifetime.pxi"
include "_core/collector.pxi"
include "_core/numbers.pxi"
include "_core/trace_mode.pxi"
include "_core/modes.pxi"
include "_core/anomaly.pxi"
include "_core/affine.pxi"
include "_core/leaf_grads.pxi"
include "_core/materialize.pxi"
include "_core/user_ops.pxi"
include "_core/operands.pxi"


# ---- Ops -----------------------------------------------------------------------------------------

cdef inline object value_unary(int op, Value value):
    """The node of op(value). Raises what the rule raises."""
    cdef Node *n
    cdef double r = op_rule(op).forward(value.node.data, 0.0)
    if rule_failed(r):
        op_raised(<PyObject *>value, NULL)
    n = slots_take_here(1)
    if n == NULL:
        return own(value_unary_rest(op, &value.node, r))
    unary_init(n, op, &value.node, r)
    return own(object_of(n))


cdef inline PyObject *result_quick(int op, int form, PyObject *left, Operand b, double y, int flags,
                                   double *r) noexcept:
    """The node of left op y, with `b` as its right operand; r becomes its data. NULL where these are NaN, the newest
    slab is full or a thread is in a mode. It makes no calls, so the compiler saves no registers, which would be a third
    of an operator's instructions."""
    cdef Node *a = node_of(left)
    cdef Node *n
    r[0] = op_rule(op).forward(a.data, y)
    if r[0] != r[0]:
        return NULL
    n = slots_take_here(1)
    if n == NULL:
        return NULL
    slot_init(n, op, form, a.flags & INHERITED | flags, r[0])
    n.a = a
    n.b = b
    Py_INCREF(left)
    check_node(n)
    return object_of(n)


cdef inline object value_binary(int op, PyObject *left, PyObject *right):
    """left op right. The common operands are compiled into each operator: two Values, a Value and a number, and for an
    op that commutes a number and a Value. value_binary_rest() does the others."""
    cdef PyObject *o = NULL
    cdef double r = NAN
    cdef Operand b
    cdef Kind kind
    if Py_TYPE(left) == VALUE:
        if Py_TYPE(right) == VALUE:
            b.node = node_of(right)
            o = result_quick(op, BINARY, left, b, b.node.data, b.node.flags & INHERITED, &r)
            if o != NULL:
                Py_INCREF(right)
        else:
            kind = number_quick(right, &b.number)
            if kind != OTHER:
                o = result_quick(op, NUMBER_RIGHT, left, b, b.number, INTEGER if kind == INT else 0, &r)
    elif op_rule(op).commutes and Py_TYPE(right) == VALUE and number_quick(left, &b.number) != OTHER:
        o = result_quick(op, NUMBER_RIGHT, right, b, b.number, 0, &r)  # as the reference does: 2 * v is v * 2
    return own(o if o != NULL else value_binary_rest(left, right, op, r))


include "_core/choices.pxi"


# ---- Backward ------------------------------------------------------------------------------------

cdef inline bint binary_step(Node *n) noexcept:
    """Propagate the node's grad to its two parents. False with an exception set where a rule raises; what was added
    before that stays."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef Node *b = n.b.node
    cdef double x = a.data, y = b.data, g = n.grad
    cdef double gain
    if n.op == ADD:  # half of all ops. Without a product by 1.0, the next node waits less for its grad
        a.grad += g
        b.grad += g
    elif n.op == MUL:  # most of the other half. Testing the table's shape instead takes 9 % more instructions
        a.grad += y * g
        b.grad += x * g
    elif rule.shape == LINEAR:
        a.grad += SLOPE_LEFT[n.op] * g
        b.grad += SLOPE_RIGHT[n.op] * g
    else:
        gain = rule.d_left(x, y, n.data, g)
        if partial_failed(gain, a):
            return False
        a.grad += gain
        gain = rule.d_right(x, y, n.data, g)
        if partial_failed(gain, b):
            return False
        b.grad += gain
    return True


cdef inline bint unary_step(Node *n) noexcept:
    """Propagate the node's grad to its one parent; the other operand, if the op has two, is a number. False with an
    exception set where the rule raises."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef double gain
    if n.form == NUMBER_LEFT:
        gain = rule.d_right(n.b.number, a.data, n.data, n.grad)
    elif rule.shape == LINEAR:
        gain = SLOPE_LEFT[n.op] * n.grad
    elif rule.shape == PRODUCT:
        gain = n.b.number * n.grad
    else:
        gain = rule.d_left(a.data, n.b.number, n.data, n.grad)
    if rule_failed(gain):
        return False
    a.grad += gain
    return True


cdef inline Node *node_step(Node *n, Walk *walk) noexcept:
    """Propagate a node's grad to its parents, and in a walk mark them. Returns the oldest node that was handled: an
    affine node is handled together with others of its layer. NULL with an exception set where a rule raises."""
    check_node(n)
    if n.form == BINARY:
        if not binary_step(n):
            return NULL
        walk_mark(walk, n.a)
        walk_mark(walk, n.b.node)
    elif n.form == AFFINE:
        return affine_step(n, walk)
    elif n.form == BLOCK:
        block_step(n, walk)
    elif n.form != LEAF:
        if not unary_step(n):
            return NULL
        walk_mark(walk, n.a)
    return n


cdef inline int backward_ordered(Node *root, bint retain) except -1:
    """Backward without a sort, since creation order is a topological order: go from the root's slot to older slots;
    each marked node propagates its grad to its parents and marks them. Slabs without marks are skipped."""
    cdef Walk walk = Walk(slab_of(root), 1, 0, 0, engine.materialized, retain)
    cdef Node *n = root
    cdef Node *oldest
    root.flags |= PENDING
    engine.walking = True
    while n != NULL:
        while walk.here:
            check(n >= slab_slot(walk.slab, 0), "a walk finds the marks that it counts in a slab")
            if n.flags & PENDING:
                n.flags = (n.flags & ~PENDING) | WALKED
                walk.here -= 1
                oldest = node_step(n, &walk) if retain else node_step_clearing(n, &walk)
                if oldest == NULL:
                    walk_unmark(&walk, n, NULL)
                    return -1
                n = oldest
            n = slot_before(n, 1)
        n = walk_next_slab(&walk)
        if n != NULL and walk.slabs % SLABS_A_SIGNAL_CHECK == 0 and walk_interrupted(&walk):
            return backward_rest(&walk, n)
    engine.walking = False
    check_no_marks()
    return 0


cdef int graph_backward(Node *root, bint retain) except -1:
    """Backward from this root, in creation order if that is a topological order of its graph. `retain`: do nodes that
    are not leaves keep their grads?"""
    cdef Entry entry = Entry(root, False)  # the sort finds out itself whether it is affine
    cdef double one = 1.0
    root.grad = one if retain or root.form != LEAF else root.grad + one
    if root.flags & IRREGULAR or engine.late_nodes or engine.walking or in_mode() and is_checked():
        # walking: in a signal handler during a walk
        return backward_general(&entry, 1, NULL if retain else &one)
    if root.form == LEAF:
        return 0
    return backward_ordered(root, True) if retain else backward_ordered(root, False)


# ---- Value ---------------------------------------------------------------------------------------

@cython.no_gc
@cython.c_api_binop_methods(True)
cdef class Value:
    """A number that remembers how it was computed.

    `Value(data)` is a leaf; arithmetic and the methods below make new Values from others; `backward()` adds to the
    `grad` of every Value that a result was computed from.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> c = (a * b + 10).tanh()
    >>> c.backward()
    >>> c.data, a.grad
    (0.999329299739067, -0.0040228520490775965)

    `data` is anything `float()` takes, except strings and arrays. The other arguments are for ops that you define: the
    Values it was computed from (`_children`, `children` or `_prev`), its `_op` and `label`, and either `local_grads`,
    d(this)/d(child) for each child, or a function assigned to `_backward` afterwards.
    The third positional argument is `_op` if it is a string, `local_grads` if it is a tuple or list.

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
            raise RuntimeError("cannot call __init__ of a Value again while backward() walks graphs")
        node_begin_late(n)
        self.data = data
        n.grad = 0.0
        node_drop_parents(n)
        if parents or local_grads:
            local_grads = checked_locals(parents, local_grads)
        if (parents or local_grads) and makes_leaves():
            node_forget_op(n)
            _op = ""
        elif parents or local_grads:
            irregular = not (n.flags & FRESH and Py_TYPE(<PyObject *>self) == VALUE and slot_is_newest(n))
            node_make_irregular(n, 0)
            if node_adopt(n, parents, local_grads):
                irregular = True
            if in_mode() and is_checked():
                node_note(n, _op)
                if drops_parents():
                    node_forget_op(n)
                    irregular, _op = False, ""
        node_settle(n, irregular)
        if _op:
            self._op = _op
        if label is not None:
            self.label = label

    @property
    def data(self):
        """The value, a float. Assigning takes whatever the constructor takes; backward() reads it when it runs."""
        trace_check_read(&self.node, "reading .data of")
        return self.node.data

    @data.setter
    def data(self, value):
        trace_check_change(&self.node, "assigning .data of")
        members_refresh()  # after a change of the class, value_setattro() takes its slow way until this was called
        self.node.data = to_double(value, "Value.data")

    @data.deleter
    def data(self):
        raise AttributeError("a Value keeps its data")

    @property
    def grad(self):
        """d(root)/d(self), a float, summed over the backward passes since it was last set."""
        trace_check_read(&self.node, "reading .grad of")
        return self.node.grad

    @grad.setter
    def grad(self, value):
        trace_check_read(&self.node, "assigning .grad of")
        self.node.grad = to_double(value, "Value.grad")

    @grad.deleter
    def grad(self):
        raise AttributeError("a Value keeps its grad")

    def item(self):
        """The value, a float, as `data`.

        >>> Value(2).item()
        2.0
        """
        trace_check_read(&self.node, "reading .item() of")
        return self.node.data

    def detach(self):
        """A new leaf with the same data, through which no gradient flows back.

        >>> x = Value(3.0)
        >>> y = x * x.detach()
        >>> y.backward()
        >>> y.data, x.grad
        (9.0, 3.0)

        In a compiled function it has the data of each call.
        """
        if self.node.flags & TRACED or traces != NULL and trace_here() != NULL:
            return value_unary(DETACH, self)
        return own(object_of(leaf_new(self.node.data)))

    def backward(self, *, bint retain_grads=True, create_graph=False):
        """Set `grad` to 1 and add to the grad of every Value this one was computed from.

        Grads accumulate: a second pass adds to the first, at intermediate nodes too.

        >>> x = Value(3.0)
        >>> (x * x).backward()
        >>> x.grad
        6.0

        With `retain_grads=False` only leaves have grads afterwards, and accumulate them as in PyTorch; all other grads
        of the graph are 0.0, and what they were before does not count.

        >>> x = Value(3.0)
        >>> h = 2 * x
        >>> y = h * h + h
        >>> y.backward(retain_grads=False)
        >>> y.backward(retain_grads=False)
        >>> x.grad, h.grad, y.grad
        (52.0, 0.0, 0.0)

        Raises what Python raises where a derivative does not exist (ZeroDivisionError for `Value(0.0)**0.5`); the
        grads so far stay, with `retain_grads=False` those of leaves. Raises TypeError for `create_graph`: a grad is a
        float, and micrograd.grad() gives Values.
        """
        if create_graph:
            raise TypeError("a grad is a float, so backward() has no create_graph: use micrograd.grad(output, inputs, "
                            "create_graph=True), which returns the gradients as Values")
        trace_check_read(&self.node, "backward() of")
        graph_backward(&self.node, retain_grads)

    def zero_grad(self):
        """Set the grad of this Value, and of every Value it was computed from, to 0.0.

        >>> x = Value(3.0)
        >>> y = x * x
        >>> y.backward()
        >>> y.zero_grad()
        >>> x.grad
        0.0
        """
        trace_check_read(&self.node, "zero_grad() of")
        graph_zero_grad(&self.node)

    # -- arithmetic: ops.pxd has what each op computes

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

    def __pos__(self):
        """The Value itself."""
        return self

    def __abs__(self):
        """abs(x), as `x.abs()`."""
        return value_unary(ABS, self)

    def exp(self):
        """e**x. Raises OverflowError above 709.78."""
        return value_unary(EXP, self)

    def expm1(self):
        """e**x - 1, exact near 0. Raises OverflowError above 709.78."""
        return value_unary(EXPM1, self)

    def log(self):
        """Natural logarithm. Raises ValueError for x <= 0."""
        return value_unary(LOG, self)

    def log2(self):
        """Logarithm to base 2. Raises ValueError for x <= 0."""
        return value_unary(LOG2, self)

    def log10(self):
        """Logarithm to base 10. Raises ValueError for x <= 0."""
        return value_unary(LOG10, self)

    def log1p(self):
        """log(1 + x), exact near 0. Raises ValueError for x <= -1."""
        return value_unary(LOG1P, self)

    def sqrt(self):
        """Square root. Raises ValueError for x < 0; backward() raises ZeroDivisionError at 0."""
        return value_unary(SQRT, self)

    def cbrt(self):
        """Cube root, of negative x too; backward() raises ZeroDivisionError at 0."""
        return value_unary(CBRT, self)

    def reciprocal(self):
        """x**-1. Raises ZeroDivisionError at 0."""
        return self**-1

    def sin(self):
        """Sine of x radians. Raises ValueError for infinities."""
        return value_unary(SIN, self)

    def cos(self):
        """Cosine of x radians. Raises ValueError for infinities."""
        return value_unary(COS, self)

    def tan(self):
        """Tangent of x radians. Raises ValueError for infinities."""
        return value_unary(TAN, self)

    def asin(self):
        """Arc sine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
        return value_unary(ASIN, self)

    def acos(self):
        """Arc cosine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
        return value_unary(ACOS, self)

    def atan(self):
        """Arc tangent, in radians."""
        return value_unary(ATAN, self)

    def atan2(self, other):
        """Angle of the point (other, x), in radians, from -pi to pi. backward() raises ZeroDivisionError at (0, 0)."""
        return value_binary(ATAN2, <PyObject *>self, <PyObject *>other)

    def sinh(self):
        """Hyperbolic sine. Raises OverflowError for |x| > 710.47."""
        return value_unary(SINH, self)

    def cosh(self):
        """Hyperbolic cosine. Raises OverflowError for |x| > 710.47."""
        return value_unary(COSH, self)

    def tanh(self):
        """Hyperbolic tangent."""
        return value_unary(TANH, self)

    def erf(self):
        """Error function, 2 / sqrt(pi) times the integral of e**(-t**2) from 0 to x."""
        return value_unary(ERF, self)

    def abs(self):
        """|x|, with derivative 0 at 0."""
        return value_unary(ABS, self)

    def clamp(self, min=None, max=None):
        """x, but no less than `min` and no greater than `max`: Values, numbers, or None for no bound.

        >>> Value(3.0).clamp(max=2.0).data
        2.0

        The gradient goes to x where it is within the bounds or equal to one, else to the bound. If min is greater than
        max, the result is max. Raises TypeError where both are None.
        """
        if min is None and max is None:
            raise TypeError("clamp() needs min or max")
        clamped = self if min is None else value_binary(CLAMP_MIN, <PyObject *>self, <PyObject *>min)
        return clamped if max is None else value_binary(CLAMP_MAX, <PyObject *>clamped, <PyObject *>max)

    def relu(self):
        """max(0, x)."""
        return value_unary(RELU, self)

    def leaky_relu(self, negative_slope=0.01):
        """x if x > 0, else negative_slope * x. A slope that is a Value has a gradient too, as in PyTorch's prelu."""
        return value_binary(LEAKY_RELU, <PyObject *>self, <PyObject *>negative_slope)

    def elu(self, alpha=1.0):
        """x if x > 0, else alpha * (e**x - 1). An alpha that is a Value has a gradient too."""
        return value_binary(ELU, <PyObject *>self, <PyObject *>alpha)

    def selu(self):
        """1.0507009873554805 * x.elu(1.6732632423543772), the self-normalizing one of Klambauer et al. (2017)."""
        return self.elu(1.6732632423543772) * 1.0507009873554805

    def sigmoid(self):
        """1 / (1 + e**-x), without overflow."""
        return value_unary(SIGMOID, self)

    def softplus(self):
        """log(1 + e**x), without overflow."""
        return value_unary(SOFTPLUS, self)

    def softsign(self):
        """x / (1 + |x|)."""
        return value_unary(SOFTSIGN, self)

    def silu(self):
        """x * sigmoid(x)."""
        return value_unary(SILU, self)

    def mish(self):
        """x * tanh(softplus(x))."""
        return value_unary(MISH, self)

    def gelu(self, approximate="none"):
        """x times the probability that a standard normal variable is below x; with approximate="tanh", gelu_tanh().

        Raises ValueError for other strings.
        """
        if approximate == "none":
            return value_unary(GELU, self)
        if approximate == "tanh":
            return value_unary(GELU_TANH, self)
        raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")

    def gelu_tanh(self):
        """The approximation of gelu() by tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))."""
        return value_unary(GELU_TANH, self)

    # -- what NumPy's functions call for arrays of objects, where it has other names

    arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2

    def conjugate(self):
        """The Value itself."""
        return self

    # -- the graph, to be drawn, inspected or extended

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
        trace_check_read(&self.node, "reading ._local_grads of")
        return node_local_grads(&self.node)

    @property
    def _backward(self):
        """backward()'s step at this node, to call or to replace: it propagates `grad` to the grads of the children."""
        function = backward_function(&self.node)
        node_materialize(&self.node)
        return self._propagate if function is None else function

    @_backward.setter
    def _backward(self, function):
        if not callable(function):
            raise TypeError(f"Value._backward must be callable, not {type(function).__name__!r}")
        if self.node.form == LEAF and drops_parents():  # of an op of the user's, whose result is a leaf here
            return
        cdef Attributes held = attributes_that_hold(&self.node)
        _replaced = held.function  # freed on return: Python code that runs then sees the new function
        held.function = function
        node_make_irregular(&self.node, CUSTOM)

    @_backward.deleter
    def _backward(self):
        cdef Attributes held
        if backward_function(&self.node) is not None:
            held = attributes_that_hold(&self.node)
            _replaced = held.function
            held.function = None

    def _propagate(self):
        trace_check_read(&self.node, "calling ._backward of")
        if node_step(&self.node, NULL) == NULL:
            raise_error()

    # Truth, equality and hash of Values are those of any object. In a trace, truth and equality raise: a function that
    # is also called with plain numbers would mean theirs, and in a trace the numbers are not known.

    def __bool__(self):
        trace_check_read(&self.node, "the truth of")
        return True

    def __hash__(self):  # for subclasses; a Value's own slot is that of any object
        return OBJECT.tp_hash(<PyObject *>self)

    def __richcmp__(self, other, int comparison):
        return compared(self, other, comparison)

    def __repr__(self):
        if not trace_may_read(&self.node):
            return "Value(data=?, grad=?)"
        return f"Value(data={self.node.data}, grad={self.node.grad})"

    def __format__(self, spec):
        if not isinstance(spec, str):  # format() raises SystemError
            raise TypeError(f"__format__() argument must be str, not {type(spec).__name__}")
        if not spec:
            return str(self)
        trace_check_read(&self.node, "formatting")
        return format(self.node.data, spec)

    def __reduce__(self):
        # A copy, or an unpickled Value, is a leaf: it has data, grad and attributes, and no parents.
        trace_check_read(&self.node, "copying or pickling")
        kind = Value if type(self) is _UserOp else type(self)
        kept = {k: v for k, v in attributes(self).items() if k != "_op"}
        return _bare, (kind,), (self.node.data, self.node.grad, kept)

    def __setstate__(self, state):
        node_begin_late(&self.node)
        self.data, self.grad, kept = state
        node_settle(&self.node, self.node.form != LEAF)
        attributes(self).update(kept)


def _bare(kind):
    """A Value of this class whose __init__ has not run, for unpickling."""
    return kind.__new__(kind)


# The class of Values made with children and no local gradients. Their `_backward` is usually a closure that holds them,
# a reference cycle. Instances of an ordinary subclass are tracked by the cyclic collector; plain Values are not.
cdef object _UserOp = type("Value", (Value,), {"__doc__": Value.__doc__, "__module__": __name__})

include "_core/derivatives.pxi"
include "_core/adjoints.pxi"
include "_core/gradient.pxi"
include "_core/class_members.pxi"
include "_core/typeslots.pxi"

members_init()

include "_core/build_info.pxi"
