# Value: the Python type that is a node, its operators and birth. Rules: _ops.pxd; backward: _graph.pyx; death:
# _lifetime.pyx.

cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Malloc
from cpython.object cimport PyObject
from micrograd._cpython cimport *
from micrograd._debug cimport DEBUG
from micrograd._fused cimport fused_split
from micrograd._graph cimport (RULES, graph_backward, graph_zero_grad, node_parent, node_parent_count, node_propagate,
                               node_turn_irregular, refused, walking)
from micrograd._invariants cimport node_fits
from micrograd._lifetime cimport Attributes, node_orphan, value_clear, value_dealloc, value_traverse
from micrograd._node cimport *
from micrograd._ops cimport *
from micrograd._slab cimport (SLOT_SIZE, heap, leaf_mark, leaf_new, result_new, slot_init, slot_is_newest,
                              slots_take_side_by_side, trace_here, traces)


cdef extern from *:
    """
    /* Which op an operator computes is known once its functions are inlined, all of them: gcc decides too early. */
    #if defined(__GNUC__) && defined(__OPTIMIZE__)
      #undef CYTHON_INLINE
      #define CYTHON_INLINE inline __attribute__((always_inline, unused))
    #endif
    """


# ---- Nodes ---------------------------------------------------------------------------------------

cdef PyTypeObject *VALUE = <PyTypeObject *>Value
cdef PyTypeObject *OBJECT = <PyTypeObject *>object
heap.value_type = VALUE


cdef bint node_adopt(Node *n, tuple parents, local) except -1:
    """Make `parents` the parents of a node, through `local` gradients or, with None, through a user's Python code.
    Is one of them irregular?"""
    cdef Py_ssize_t i, count = len(parents)
    cdef Block *block
    cdef int flags = 0
    for parent in parents:
        if not isinstance(parent, Value):
            raise TypeError(f"a parent must be a Value, not {type(parent).__name__!r}")
    if local is not None:
        given, local = local, []
        for x in given:
            local.append(to_double(x, "a local gradient"))
        if len(local) != count:
            raise ValueError(f"{count} parents, but {len(local)} local gradients")
    block = <Block *>PyMem_Malloc(sizeof(Block) + count * (sizeof(Node *) + sizeof(double)))
    if block == NULL:
        raise MemoryError
    block.count = count
    block.local = NULL if local is None else <double *>(block.parents + count)
    for i in range(count):
        block.parents[i] = &(<Value>parents[i]).node
        Py_INCREF(<PyObject *>parents[i])
        flags |= block.parents[i].flags
        if local is not None:
            block.local[i] = local[i]
    node_orphan(n)  # the Python code above may have given it other parents
    n.b.block = block
    n.a = NULL
    n.form = BLOCK
    n.flags = n.flags & ~(END | MADE) | flags & TRACED
    node_fits(n)
    return flags & IRREGULAR != 0


cdef int node_begin(Node *n) except -1:
    """__new__ has run, __init__ has not."""
    kind = <object>Py_TYPE(object_of(n))
    n.flags |= FRESH | IRREGULAR | END
    if kind is not Value and kind._backward is not Value._backward:
        n.flags |= CUSTOM
    if traces != NULL:
        leaf_mark(n)
    return 0


cdef inline int node_begin_late(Node *n) except -1:
    """The same, where users replaced `Value.__new__` by what makes instances of subclasses with object.__new__()."""
    return node_begin(n) if n.form == LEAF and not n.flags & END else 0


cdef inline void node_settle(Node *n, bint irregular) noexcept nogil:
    """__init__ has run. Until then a node counts as irregular, so that what is made of it meanwhile inherits that."""
    if n.flags & FRESH:
        n.flags &= ~FRESH
        if not irregular and not n.flags & CUSTOM:
            n.flags &= ~IRREGULAR


cdef int node_spell_out(Node *n) except -1:
    """Make of a node what the reference would have, for whoever walks the graph: a fused sum becomes small nodes, and
    an op's number gets a node of its own. Not an exponent: that is part of the op, as in `**2`."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *leaf
    if n.form == FUSED:
        fused_split(n)
    if (n.form != NUMBER_RIGHT or n.op == POW) and n.form != NUMBER_LEFT:
        return 0
    leaf = leaf_new(n.b.number)
    leaf.flags |= SHOWN
    if n.flags & WALKED:
        if n.form == NUMBER_RIGHT:
            leaf.grad = rule.d_right(n.a.data, n.b.number, n.data, n.grad)
        else:
            leaf.grad = rule.d_left(n.b.number, n.a.data, n.data, n.grad)
        refused(leaf.grad, leaf)
    if n.form == NUMBER_LEFT:
        n.b.node = n.a
        n.a = leaf
    else:
        n.b.node = leaf
    n.form = BINARY
    return 0


cdef int ask_trace(Node *n, str what, bint change) except -1:
    if n.flags & TRACED or trace_here() != NULL:
        from micrograd._compile import check_access
        check_access(<object>object_of(n), what, change)
    return 0


cdef bint node_is_told(Node *n) except -1:
    """May its data be read without a TraceError?"""
    if n.flags & TRACED or trace_here() != NULL:
        from micrograd._compile import is_told
        return is_told(<object>object_of(n))
    return True


cdef inline object attributes(object value):
    """The __dict__, made where there is none. By way of `object`: Cython refuses it on the type that declares it."""
    return value.__dict__


cdef object backward_function(Node *n):
    """The function that was assigned to `_backward`, or None."""
    cdef PyObject *held = node_attributes(n)[0]
    return None if held == NULL or Py_TYPE(held) != <PyTypeObject *>Attributes else (<Attributes>held).function


cdef Attributes attributes_that_hold(Node *n):
    """The attributes of a node, made into such as hold a `_backward`."""
    cdef PyObject **held = node_attributes(n)
    cdef Attributes made
    if held[0] == NULL or Py_TYPE(held[0]) != <PyTypeObject *>Attributes:
        made = Attributes()  # first: it may set off the collector, and that any Python code
        if held[0] == NULL or Py_TYPE(held[0]) != <PyTypeObject *>Attributes:
            if held[0] != NULL:
                made.update(<object>held[0])
                Py_DECREF(held[0])
            if Py_TYPE(object_of(n)) == VALUE:
                made.owner = object_of(n)
            Py_INCREF(<PyObject *>made)
            held[0] = <PyObject *>made
    return <Attributes>held[0]


# ---- Numbers and operands ------------------------------------------------------------------------

cdef enum Kind:
    FAILED = -1  # an exception is set
    OTHER        # neither a Value nor a number
    NODE
    FLOAT
    INT


cdef inline Kind number_quick(PyObject *o, double *x) noexcept:
    """A float, or an int of one digit, which are read without a call; OTHER for all else."""
    if PyFloat_CheckExact(o):
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyLong_CheckExact(o) and int_is_short(o):
        x[0] = <double>short_int(o)
        return INT
    return OTHER


cdef inline bint has_number(PyObject *o) noexcept:
    """Has its type __float__ or __index__?"""
    cdef PyNumberMethods *methods = Py_TYPE(o).tp_as_number
    return methods != NULL and (methods.nb_float != NULL or methods.nb_index != NULL)


cdef object scalar_of(object o):
    """What is to be converted for an object that has __float__ or __index__: of an array without dimensions its item,
    None where it stands for more or less than one real number. (float() also takes arrays of one element, text, dates,
    masked elements, and drops imaginary parts.)"""
    dtype = getattr(o, "dtype", None)
    if dtype is not None:
        if getattr(o, "shape", ()) != () or getattr(dtype, "kind", "f") in "cSUMm":
            return None
        if type(o).__module__.startswith("numpy.ma") and o.mask:
            return None
        if hasattr(o, "__len__"):
            o = o.item()
    return None if isinstance(o, complex) or hasattr(o, "__len__") or not has_number(<PyObject *>o) else o


ctypedef Kind (*NumberLike)(object o, double *x) noexcept  # leaves an exception set


cdef Kind number_like(object o, double *x) except FAILED:
    cdef object scalar = scalar_of(o)
    if scalar is None:
        return OTHER
    x[0] = scalar
    return INT if Py_TYPE(<PyObject *>scalar).tp_as_number.nb_index != NULL else FLOAT


cdef Kind number_slow(PyObject *o, double *x) noexcept:
    """A number that is not exactly a float: whatever has __float__ or __index__, but no text and no array with
    dimensions. FAILED with an exception set where it raises."""
    if PyFloat_Check(o):  # of a subclass, as NumPy's float64 is
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyLong_Check(o):
        x[0] = PyLong_AsDouble(o)
        return FAILED if x[0] == -1.0 and PyErr_Occurred() != NULL else INT
    if not has_number(o):
        return OTHER
    return (<NumberLike>number_like)(<object>o, x)


cdef inline Kind operand(PyObject *o, Node **n, double *x) noexcept:
    cdef Kind kind
    if Py_TYPE(o) == VALUE:
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    kind = number_quick(o, x)
    if kind != OTHER:
        return kind
    if PyType_IsSubtype(Py_TYPE(o), VALUE):
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    return number_slow(o, x)


cdef bint double_read(PyObject *o, str what, double *x) noexcept:
    """A number as a double; False with an exception set, that names `what`, where it is none."""
    cdef Kind kind = number_quick(o, x)
    cdef PyObject *name
    if kind != OTHER:
        return True
    kind = number_slow(o, x)
    if kind == OTHER:
        name = PyObject_GetAttrString(<PyObject *>Py_TYPE(o), "__name__")
        if name != NULL:
            PyErr_Format(PyExc_TypeError, "%U must be a real number, not %R", <PyObject *>what, name)
            Py_DECREF(name)
    return kind > OTHER


cdef double to_double(object o, str what) except? -1.0:
    cdef double x
    if not double_read(<PyObject *>o, what, &x):
        own(NULL)
    return x


# ---- Ops -----------------------------------------------------------------------------------------

cdef tuple SEQUENCES = (str, bytes, list, tuple)


cdef bint may_be_of_one_call(PyObject *o) except -1:
    """Is it a Value that may have other data at the next call? One that is NaN in a trace has no part in an error."""
    cdef Node *n
    if o == NULL or not PyType_IsSubtype(Py_TYPE(o), VALUE):
        return False
    n = node_of(o)
    return n.data == n.data if n.flags & TRACED else not node_is_told(n)


cdef object op_raised(PyObject *left, PyObject *right):
    """Raise what a rule raised. A trace is told, if the error is of this one call: the function may catch it, and what
    it does then would be kept for good."""
    if traces == NULL or trace_here() == NULL:
        return own(NULL)
    try:
        return own(NULL)
    except Exception as error:
        if may_be_of_one_call(left) or may_be_of_one_call(right):
            from micrograd._compile import note_raised
            note_raised(error)
        raise


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


cdef refuse_operands(int op, left, right):
    """NotImplemented, so that another type may have its say. Sequences have none but would blame the Value; of methods,
    which are no operators, nobody else is asked."""
    if type(left) in SEQUENCES or type(right) in SEQUENCES or not RULES[op].name.startswith(b"__"):
        names = type(left).__name__, type(right).__name__
        raise TypeError("unsupported operand type(s) for {}: '{}' and '{}'".format(RULES[op].symbol.decode(), *names))
    return NotImplemented


cdef object value_binary_slow(int op, PyObject *left, PyObject *right):
    cdef Node *a = NULL
    cdef Node *b = NULL
    cdef Node *n
    cdef double x, y, r
    cdef Kind kind_left, kind_right
    if PyErr_Occurred() != NULL:  # the op has been tried, and raised
        return op_raised(left, right)
    kind_left = operand(left, &a, &x)
    kind_right = operand(right, &b, &y)
    if kind_left <= OTHER or kind_right <= OTHER:
        if kind_left == FAILED or kind_right == FAILED:
            return own(NULL)
        return refuse_operands(op, <object>left, <object>right)
    r = RULES[op].forward(x, y)
    if rule_failed(r):
        return op_raised(left, right)
    if a == NULL and (op == ADD or op == MUL):
        a, b = b, a
        y = x
        left = right
    if a == NULL:
        n = result_new(op, NUMBER_LEFT, b.flags & INHERITED, r)
        n.a = b
        n.b.number = x
        Py_INCREF(right)
    elif b == NULL:
        n = result_new(op, NUMBER_RIGHT, a.flags & INHERITED | (INTEGER if kind_right == INT else 0), r)
        n.a = a
        n.b.number = y
        Py_INCREF(left)
    else:
        n = result_new(op, BINARY, (a.flags | b.flags) & INHERITED, r)
        n.a = a
        n.b.node = b
        Py_INCREF(left)
        Py_INCREF(right)
    node_fits(n)
    return own(object_of(n))


cdef inline PyObject *result_quick(int op, int form, PyObject *left, Operand b, double y, int flags) noexcept:
    """left op y, where that is a number and the newest slab has room; else NULL. Nothing here is a call, so that no
    register has to be put by: a third of an operator's instructions."""
    cdef Node *a = node_of(left)
    cdef double r = op_rule(op).forward(a.data, y)
    cdef Node *n
    if r != r:
        return NULL
    n = slots_take_side_by_side(1)
    if n == NULL:
        return NULL
    slot_init(n, op, form, a.flags & INHERITED | flags, r)
    n.a = a
    n.b = b
    Py_INCREF(left)
    node_fits(n)
    return object_of(n)


cdef inline object value_binary(int op, PyObject *left, PyObject *right):
    """left op right. Two Values, a Value and a number, and the sum or product of a number and a Value are compiled into
    each operator: they are most of a program. What else there is, is shared."""
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
    elif (op == ADD or op == MUL) and Py_TYPE(right) == VALUE and number_quick(left, &b.number) != OTHER:
        o = result_quick(op, NUMBER_RIGHT, right, b, b.number, 0)  # as the reference does: 2 * v is v * 2
    return own(o) if o != NULL else value_binary_slow(op, left, right)


# ---- Value ---------------------------------------------------------------------------------------

cdef tuple node_children(Node *n):
    cdef Py_ssize_t i
    cdef list children = []
    node_spell_out(n)
    for i in range(node_parent_count(n)):
        children.append(<object>object_of(node_parent(n, i)))
    return tuple(children)


@cython.auto_pickle(False)
cdef class _Absent:
    """An attribute that is not there, and says so fast: what NumPy's numbers look up before they leave `number * value`
    to us. Without it Python 3.11 spends half of such a product on the text of an AttributeError that nobody reads."""


cdef PyObject *absent_get(PyObject *absent, PyObject *owner, PyObject *kind) noexcept:
    PyErr_SetObject(PyExc_AttributeError, ARRAY_UFUNC)
    return NULL


cdef PyObject *ARRAY_UFUNC = PyUnicode_InternFromString("__array_ufunc__")
(<PyTypeObject *>_Absent).tp_descr_get = absent_get


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
        if walking and not n.flags & FRESH and (parents or n.form != LEAF):
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
        node_spell_out(n)
        if n.form == BLOCK:
            grads = []
            for i in range(n.b.block.count if n.op or n.b.block.local != NULL else 0):
                if n.op:
                    grads.append(RULES[n.op].d_left(n.b.block.parents[i].data, 0.0, n.data, 1.0))
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
        node_spell_out(&self.node)
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
        if not node_propagate(&self.node):
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


# ---- Members that users replace ------------------------------------------------------------------
# `Value.tanh = mine` works as for any class. Code that computes without looking members up in the class, as fused sums
# do, asks here whether an op's member is still the class's own. CPython gives a class another version at each change.

cdef enum:
    NO_VERSION = 0xffffffff

cdef struct Members:
    unsigned int version         # of the class when its members were compared
    unsigned int fields_version  # the same if `data` and `grad` were its own, else NO_VERSION
    bint[OP_COUNT] ops           # were the method, or the operators, of an op?
    Py_ssize_t changes           # 0 while all are own, else another number for each other set of members
    Py_ssize_t states            # how many sets were found so far

cdef Members members
cdef dict own_members = {}
cdef dict found_members = {}
cdef object class_members = Value.__dict__


cdef tuple op_members(int op):
    """The names of an op's members: its method, or the operator and, if there is one, the reflected operator."""
    cdef str name = RULES[op].name.decode()
    return name, name.replace("__", "__r", 1) if name.startswith("__") else f"__{name}__"


cdef tuple SUM_MEMBERS = op_members(ADD) + op_members(MUL)


cdef bint members_are(tuple names) except -1:
    for name in names:
        if found_members.get(name) is not own_members.get(name):
            return False
    return True


cdef int members_compare() except -1:
    global found_members
    cdef dict before = found_members
    cdef int op
    getattr(Value, "data")  # gives the class a version
    found_members = {}
    for name in own_members:
        found_members[name] = class_members.get(name)
    if found_members != before:
        members.states += 1
        members.changes = 0 if found_members == own_members else members.states
    for op in range(1, <int>OP_COUNT):
        members.ops[op] = members_are(op_members(op))
    members.version = members.fields_version = type_version(VALUE)
    if members.version == 0 or not members_are(("data", "grad")):
        members.fields_version = NO_VERSION
    return 0


cdef int members_note() except -1:
    """Note the members as they are at first."""
    for op in range(1, <int>OP_COUNT):
        for name in op_members(op):
            own_members[name] = class_members.get(name)
    for name in ("data", "grad"):
        own_members[name] = class_members[name]
    return members_compare()


cdef int members_look() except -1:
    """Compare the members, if the class was changed."""
    return 0 if members.version == type_version(VALUE) and members.version else members_compare()


cdef bint sums_are_own(int op) except -1:
    """Does Value add, multiply and compute this op as the table says?"""
    members_look()
    return members.ops[<int>ADD] and members.ops[<int>MUL] and members.ops[op]


cdef bint sums_as_value(PyTypeObject *kind) noexcept:
    """Does a subclass add and multiply as Value did at first? Runs no Python code, whatever its metaclass is."""
    for name in SUM_MEMBERS:
        if _PyType_Lookup(kind, <PyObject *>name) != PyDict_GetItem(own_members, name):
            return False
    return True


cdef Py_ssize_t member_changes() except -1:
    """0 while Value's members are its own, else a number that is another one for each other set of members."""
    members_look()
    return members.changes


# ---- The type's slots that Cython has no hook for ------------------------------------------------

cdef PyObject *value_alloc(PyTypeObject *kind, Py_ssize_t count) except NULL:
    """Memory for a Value of no subclass: those have their own allocation, CPython's. object.__new__() comes here."""
    cdef Node *n = leaf_new(0.0)
    node_begin(n)
    return object_of(n)


cdef PyObject *value_new(PyTypeObject *kind, PyObject *args, PyObject *keywords) except NULL:
    cdef tuple positional
    cdef dict named
    cdef PyObject *o
    if kind == VALUE:
        positional = <tuple>args
        named = <dict>keywords if keywords != NULL else {}
        if not (len(positional) > 1 and positional[1] or named and (
                named.get("_children") or named.get("children") or named.get("_prev"))):
            return value_alloc(kind, 0)
        if len(positional) > 2 and isinstance(positional[2], (tuple, list)) or named.get("local_grads") is not None:
            o = object_of(result_new(NO_OP, LEAF, END, 0.0))
        else:
            kind = <PyTypeObject *>_UserOp
    if kind != VALUE:
        o = kind.tp_alloc(kind, 0)
    try:
        node_begin(node_of(o))
    except BaseException:  # a metaclass may raise anything
        Py_DECREF(o)
        raise
    return o


cdef initproc value_init = VALUE.tp_init


cdef PyObject *value_vectorcall(PyObject *kind, PyObject *const *args, size_t nargsf, PyObject *names) except NULL:
    cdef Py_ssize_t i, count = PyVectorcall_NARGS(nargsf)
    if count == 1 and names == NULL and VALUE.tp_init == value_init and VALUE.tp_new == value_new:
        return object_of(leaf_new(to_double(<object>args[0], "Value.data")))
    found = []
    for i in range(count):
        found.append(<object>args[i])
    positional = tuple(found)
    named = {}
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            named[name] = <object>args[count + i]
    return PyType_Type.tp_call(kind, <PyObject *>positional, <PyObject *>named)


# Getters of `data` and `grad` that call Cython's, which need a stack frame, in a trace only.

ctypedef PyObject *(*getter)(PyObject *o, void *closure) noexcept

cdef extern from "Python.h":
    ctypedef struct PyGetSetDef:
        getter get
    ctypedef struct PyGetSetDescrObject:
        PyGetSetDef *d_getset


cdef getter getter_replace(str name, getter quick) except NULL:
    """Put another function in the place of a property's getter, which is returned."""
    cdef PyObject *descriptor = <PyObject *>class_members[name]
    cdef PyGetSetDef *property_ = (<PyGetSetDescrObject *>descriptor).d_getset
    cdef getter replaced = property_.get
    property_.get = quick
    return replaced


cdef PyObject *data_get(PyObject *o, void *closure) noexcept:
    if node_of(o).flags & TRACED or traces != NULL:
        return data_get_told(o, closure)
    return PyFloat_FromDouble(node_of(o).data)


cdef PyObject *grad_get(PyObject *o, void *closure) noexcept:
    if node_of(o).flags & TRACED or traces != NULL:
        return grad_get_told(o, closure)
    return PyFloat_FromDouble(node_of(o).grad)


cdef getter data_get_told = getter_replace("data", data_get)
cdef getter grad_get_told = getter_replace("grad", grad_get)
cdef PyObject *DATA = PyUnicode_InternFromString("data")
cdef PyObject *GRAD = PyUnicode_InternFromString("grad")


cdef int value_setattro(PyObject *o, PyObject *name, PyObject *value) noexcept:
    """`data` and `grad` without the search for a descriptor. (Not so for reading: a tp_getattro of one's own costs the
    interpreter's shortcut for methods, 50 ns a call of v.relu(), and saves 15 ns a read.)"""
    if (Py_TYPE(o) == VALUE and value != NULL and PyFloat_CheckExact(value)
            and type_version(VALUE) == members.fields_version and traces == NULL):
        if name == DATA:
            node_of(o).data = PyFloat_AS_DOUBLE(value)
            return 0
        if name == GRAD:
            node_of(o).grad = PyFloat_AS_DOUBLE(value)
            return 0
    return PyObject_GenericSetAttr(o, name, value)


cdef int setattro_assign(str name, of_object) except -1:
    """Make value_setattro the type's slot by way of its members, which `super().__setattr__` finds in a subclass."""
    setattr(Value, name, PyDescr_NewWrapper(VALUE, (<PyWrapperDescrObject *>of_object).d_base, <void *>value_setattro))


if VALUE.tp_basicsize != SLOT_SIZE:
    raise ImportError(f"a Value takes {VALUE.tp_basicsize} bytes here, not the {SLOT_SIZE} of its slot")
Py_INCREF(<PyObject *>VALUE)  # for good: the Values in slabs hold no references to their type
VALUE.tp_new = value_new
VALUE.tp_alloc = value_alloc
VALUE.tp_vectorcall = value_vectorcall
VALUE.tp_dealloc = value_dealloc
VALUE.tp_hash = OBJECT.tp_hash
VALUE.tp_traverse = value_traverse
VALUE.tp_clear = value_clear
setattro_assign("__setattr__", object.__setattr__)
setattro_assign("__delattr__", object.__delattr__)
Value.__name__ = "Value"  # what messages say, as they do of a class that is written in Python

# Values made with children and no local gradients, whose `_backward` is a closure that holds them in turn. As instances
# of an ordinary subclass they are tracked by the cyclic collector, which plain Values are not.
cdef object _UserOp = type("Value", (Value,), {"__doc__": Value.__doc__, "__module__": __name__})

members_note()

# The rows of the op table that are methods of Value, for tests and tools: {name: (symbol, arity)}.
OPS = {
    RULES[op].name.decode(): (RULES[op].symbol.decode(), RULES[op].arity)
    for op in range(OP_COUNT) if RULES[op].arity != MANY and (RULES[op].name[0] != b"_" or RULES[op].name[1] == b"_")
}


# ---- The build -----------------------------------------------------------------------------------

cdef extern from *:
    """
    #if defined(__clang__)
      static const char built_by[] = "clang " __clang_version__;
    #elif defined(__GNUC__)
      static const char built_by[] = "gcc " __VERSION__;
    #elif defined(_MSC_VER)
      static const char built_by[] = "MSVC " Py_STRINGIFY(_MSC_VER);
    #else
      static const char built_by[] = "another compiler";
    #endif
    #if defined(MICROGRAD_PLAIN)
      enum { built_plain = 1 };
    #else
      enum { built_plain = 0 };
    #endif
    """
    const char[] built_by
    const int built_plain
    const int CYTHON_HEX_VERSION

# How this was compiled, for reports: {what: value}.
BUILD = {
    "compiler": built_by.decode().strip(),
    "cython": f"{CYTHON_HEX_VERSION >> 24}.{CYTHON_HEX_VERSION >> 16 & 255}.{CYTHON_HEX_VERSION >> 8 & 255}",
    "debug": bool(DEBUG),
    "plain": built_plain != 0,
}
