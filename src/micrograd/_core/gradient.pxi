# grad(): gradients of an output by inputs, which changes no grad. A pass has adjoints of its own for the nodes: numbers
# or, where the results can be differentiated again, Values. It goes through nodes in the order of backward(), but
# computes only what the inputs need.
#
# A number is what backward() adds up, by the partials of the op table. A Value is the sum of the terms that children
# send, one node where that is possible. A term is a child's adjoint times a slope: an expression of derivatives.pxi, or
# a weight or input of an affine node.
#
# Gives grad. Uses walk.pxi, materialize.pxi, affine.pxi, lifetime.pxi, trace_mode.pxi, anomaly.pxi, derivatives.pxi,
# adjoints.pxi.

# ---- The order -----------------------------------------------------------------------------------

cdef int nodes_behind(Node *root, Order *order) except -1:
    """Push the root and its ancestors, children first, with a reference to each. Leaves may be left out."""
    cdef Py_ssize_t i
    cdef Node *n
    cdef Entry root_entry = Entry(root, False)
    if not (root.flags & IRREGULAR or engine.late_nodes or engine.walking):
        if root.form == LEAF or nodes_ordered(root, order):
            return 0
    order_sort(&root_entry, 1, order)
    i = 0
    while i < order.count:
        n = order.items[i].node
        if n.form == AFFINE and n.flags & CUSTOM:  # a user's `_backward` adds to the grads of what Python code sees
            node_materialize(n)
        if is_stale(&order.items[i]):  # since then, or by a signal handler in the sort
            order_renew(order)
            i = 0
        i += 1
    for i in range(order.count // 2):
        order.items[i], order.items[order.count - 1 - i] = order.items[order.count - 1 - i], order.items[i]
    return 0


cdef bint nodes_ordered(Node *root, Order *order) except -1:
    """nodes_behind() in creation order, by the marks that backward() uses. False, with nothing pushed, where a signal
    handler has made it no topological order."""
    cdef Walk walk = Walk(slab_of(root), 1, 0, 0, engine.materialized, True)  # its end clears no grads
    cdef Node *n = root
    cdef Parents parents
    cdef Py_ssize_t i
    root.flags |= PENDING
    engine.walking = True
    while n != NULL:
        while walk.here:
            if n.flags & PENDING:
                n.flags &= ~PENDING
                walk.here -= 1
                if not order_push(order, n):
                    walk_unmark(&walk, n, NULL)
                    raise_error()
                Py_INCREF(object_of(n))
                parents_of(n, &parents)
                for i in range(parents.count):
                    walk_mark(&walk, node_of(parent_at(&parents, i)))
            n = slot_before(n, 1)
        n = walk_next_slab(&walk)
        if n != NULL and walk.slabs % SLABS_A_SIGNAL_CHECK == 0 and walk_interrupted(&walk):
            walk_unmark(&walk, n, NULL)
            if PyErr_Occurred() != NULL:
                raise_error()
            order_release(order)
            return False
    engine.walking = False
    check_no_marks()
    return True


# ---- The pass ------------------------------------------------------------------------------------

cdef enum:
    TERMS_A_NODE = 4        # for which there is room at first, and how many at most
    TERMS = 4096

cdef struct Passed:         # a node of the pass
    Node *node              # held by `order`, or by the caller
    bint needed             # is its adjoint needed for a result?
    bint reached            # is it the output, or a parent of a node of the pass?
    bint result             # is it an input, whose adjoint is a result?
    int inner               # of how many parents is the adjoint needed?
    unsigned int index      # of an affine node
    Layer *layer            # of an affine node, with a hold on it, since Python code may materialize the node; or NULL
    PyObject *weights       # likewise, a reference to the node's tuple
    double adjoint          # where adjoints are numbers
    double gain             # of an affine node: the adjoint of its preactivation
    PyObject *value         # where adjoints are objects: a reference to a Value or a float; NULL for 0
    PyObject *scope         # likewise, a reference to the condition of all terms that have one; NULL for none
    bint always             # is there a term without a condition?
    Terms terms             # likewise, until they are summed


@cython.final
@cython.auto_pickle(False)
@cython.no_gc
cdef class _Pass(_TermPool):
    """A pass from an output to inputs."""

    cdef Order order        # the nodes behind the output, children first
    cdef Passed *nodes      # these, then leaves among the inputs and the output
    cdef Py_ssize_t count
    cdef unsigned int *table  # by the address of a node, 1 + its index in `nodes`, of which 2**32 fit no memory; or 0
    cdef size_t mask
    cdef bint in_values     # are adjoints objects?
    cdef bint in_parts      # and products with an invariant factor computed in another order?
    cdef object scope       # where choices are behind the node at hand: the condition under which it has an adjoint

    def __dealloc__(self):
        cdef Passed *p
        cdef Py_ssize_t i
        for i in range(self.count):
            p = &self.nodes[i]
            self.drop(&p.terms)
            Py_XDECREF(p.value)
            Py_XDECREF(p.scope)
            if p.layer != NULL:
                layer_release(p.layer)
                weights_unref(p.weights)
                dead_release()
        order_release(&self.order)
        PyMem_Free(self.nodes)
        PyMem_Free(self.table)

    # -- the nodes

    cdef int prepare(self, Node *root, list inputs) except -1:
        """Find the nodes behind the output, and which of their adjoints the inputs need."""
        cdef Py_ssize_t i, behind, room, size = 4
        cdef Passed *found
        nodes_behind(root, &self.order)
        room = self.order.count + len(inputs) + 1
        while size < 4 * room:
            size *= 2
        self.mask = size - 1
        self.nodes = <Passed *>PyMem_Calloc(room, sizeof(Passed))
        self.table = <unsigned int *>PyMem_Calloc(size, sizeof(unsigned int))
        if self.nodes == NULL or self.table == NULL:
            raise MemoryError
        for i in range(self.order.count):
            self.add(self.order.items[i].node)
        self.add(root).reached = True
        behind = self.count
        for x in inputs:
            found = self.add(&(<Value>x).node)
            found.needed = found.result = True
        for i in range(behind - 1, -1, -1):  # not inputs that are computed from the output: they pass nothing on
            self.find_needed(&self.nodes[i])
        return 0

    cdef inline unsigned int *entry(self, Node *n) noexcept:
        """The node's entry in the table, or where it would be."""
        cdef size_t i = <size_t>(<uint64_t><uintptr_t>n * 0x9E3779B97F4A7C15ULL >> 20) & self.mask
        while self.table[i] and self.nodes[self.table[i] - 1].node != n:
            i = (i + 1) & self.mask
        return &self.table[i]

    cdef inline Passed *find(self, Node *n) noexcept:
        """A node of the pass; NULL for others, which are leaves."""
        cdef unsigned int found = self.entry(n)[0]
        return &self.nodes[found - 1] if found else NULL

    cdef inline Passed *wanted(self, PyObject *parent) noexcept:
        """The node, if its adjoint is needed; else NULL."""
        cdef Passed *p = self.find(node_of(parent))
        return p if p != NULL and p.needed else NULL

    cdef Passed *add(self, Node *n) noexcept:
        """Add a node if it is not there."""
        cdef unsigned int *entry = self.entry(n)
        if not entry[0]:
            self.nodes[self.count].node = n
            self.count += 1
            entry[0] = self.count
        return &self.nodes[entry[0] - 1]

    cdef int find_needed(self, Passed *p) except -1:
        """Find out whether the adjoint is needed; the parents' are known. Parents of an op without a gradient are
        reached, but nothing needs its adjoint."""
        cdef Node *n = p.node
        cdef Passed *parent
        cdef Parents parents
        cdef Py_ssize_t i
        cdef bint passes = RULES[n.op].shape != ZERO
        if n.form == LEAF:
            return 0
        parents_of(n, &parents)
        for i in range(parents.count):
            parent = self.find(node_of(parent_at(&parents, i)))
            if parent != NULL:
                parent.reached = True
                p.inner += parent.needed and passes
        p.needed = p.needed or p.inner > 0
        if n.form == AFFINE and p.inner:
            p.layer, p.index, p.weights = n.b.layer, n.index, node_affine(n).weights
            p.layer.holders += 1
            Py_INCREF(p.weights)
        return 0

    cdef int run(self, bint in_values) except -1:
        """Compute the adjoints. The first one is 1."""
        cdef Py_ssize_t i = 0, until = NODES_A_SIGNAL_CHECK
        cdef bint was_walking = engine.walking, checked = is_checked()
        cdef Tracing *trace = trace_here()
        self.in_values, self.in_parts = in_values, trace != NULL and not trace.exact
        if in_values:
            self.make_room(min(TERMS_A_NODE * self.count + 1, TERMS))
        self.nodes[0].adjoint = 1.0
        engine.walking = True  # Python code that runs meanwhile cannot give nodes other parents
        if trace != NULL:
            trace.sides += 1  # what raises may belong to a side of a choice that is not taken
        try:
            while i < self.count:
                if in_values:
                    i = self.visit_in_values(i)
                elif checked:
                    i = self.visit_checked(i)
                else:
                    i = self.visit(i)
                if i >= until:
                    until = i + NODES_A_SIGNAL_CHECK
                    if PyErr_CheckSignals():
                        raise_error()
        finally:
            engine.walking = was_walking
            if trace != NULL:
                trace.sides -= 1
        return 0

    cdef object result(self, Value x):
        """The gradient by an input; None if the output was not computed from it."""
        cdef Passed *p = self.find(&x.node)
        if not p.reached:
            return None
        if not self.in_values:
            return p.adjoint
        if p.value == NULL:
            return own(object_of(leaf_new(0.0)))
        if not is_any_value(p.value):
            return own(object_of(leaf_new(<object>p.value)))
        # The gradient of a * b by a is b: the result is another node, whose grad is its own. In a trace there are none.
        return <object>p.value * 1.0 if p.terms.taken and trace_here() == NULL else <object>p.value

    # -- adjoints as numbers

    cdef Py_ssize_t visit(self, Py_ssize_t i) except -1:
        """Add what the adjoint of a node gives to its parents' adjoints. Returns the index of the next node."""
        cdef Passed *p = &self.nodes[i]
        cdef Node *n = p.node
        cdef Parents parents
        cdef Passed *parent
        cdef Py_ssize_t k
        cdef double gain
        if not p.inner:
            return i + 1
        if p.layer != NULL:
            return self.visit_affine(i)
        if n.flags & CUSTOM:
            self.visit_custom(p)
            return i + 1
        parents_of(n, &parents)
        for k in range(parents.count):
            parent = self.wanted(parent_at(&parents, k))
            if parent != NULL:
                gain = node_gain(n, k, p.adjoint)
                if rule_failed(gain):
                    raise_error()
                parent.adjoint += gain
        return i + 1

    cdef Py_ssize_t visit_checked(self, Py_ssize_t i) except -1:
        """The same in detect_anomaly(): RuntimeError where an adjoint becomes NaN or infinite, or a rule raises."""
        cdef Py_ssize_t k, next
        cdef Node *n = self.nodes[i].node
        cdef Parents parents
        cdef Passed *parent
        try:
            next = self.visit(i)
        except (ArithmeticError, ValueError) as error:
            if n.flags & CUSTOM:
                raise
            raise passed_on(n, f"raises {type(error).__name__}: {error}") from error
        for i in range(i, next):
            n = self.nodes[i].node
            parents_of(n, &parents)
            for k in range(parents.count):
                parent = self.wanted(parent_at(&parents, k))
                if parent != NULL and not isfinite(parent.adjoint):
                    raise passed_on(n, f"passes on a gradient of {parent.adjoint}")
        return next

    cdef int visit_custom(self, Passed *p) except -1:
        """The same for a node whose `_backward` is Python code, which reads its grad and adds to those of its parents.
        These grads are put back."""
        cdef list values = [<object>object_of(p.node), *node_children(p.node)]
        cdef list grads = []
        cdef Passed *parent
        cdef Py_ssize_t i
        for value in values:
            grads.append((<Value>value).node.grad)
            (<Value>value).node.grad = 0.0
        p.node.grad = p.adjoint
        try:
            values[0]._backward()
            for i in range(1, len(values)):
                parent = self.wanted(<PyObject *>values[i])
                if parent != NULL:
                    parent.adjoint += parent.node.grad
                    parent.node.grad = 0.0  # it may be a parent twice
        finally:
            for i in range(len(values) - 1, -1, -1):
                (<Value>values[i]).node.grad = grads[i]
        return 0

    cdef Py_ssize_t visit_affine(self, Py_ssize_t i) except -1:
        """The same for affine nodes of one layer in adjacent slots, from the i-th node on. As in layer_backward(), the
        gain of an x is added up before it is added to its adjoint."""
        cdef Layer *layer = self.nodes[i].layer
        cdef Py_ssize_t j, k, next = i
        cdef Passed *p
        cdef Passed *parent
        cdef double gain
        while True:
            self.visit_weights(&self.nodes[next])
            next += 1
            if next == self.count or self.nodes[next].layer != layer:
                break
            if self.nodes[next].node != slot_before(self.nodes[next - 1].node, 1):
                break
        for k in range(layer.inputs if layer.nodes != NULL else 0):
            parent = self.wanted(layer.nodes[k])
            if parent != NULL:
                gain = 0.0
                for j in range(i, next):
                    p = &self.nodes[j]
                    gain += node_of(tuple_items(p.weights)[k + 1]).data * p.gain
                parent.adjoint += gain
        return next

    cdef int visit_weights(self, Passed *p) except -1:
        """Compute the adjoint of an affine node's preactivation, and add it to those of the bias and the weights."""
        cdef Layer *layer = p.layer
        cdef PyObject **weights = tuple_items(p.weights)
        cdef Passed *parent
        cdef Py_ssize_t k
        cdef double x
        if not affine_adjoint(&layer.affine[p.index], p.node.data, p.adjoint, &p.gain):
            raise_error()
        for k in range(layer.inputs + 1):
            parent = self.wanted(weights[k])
            if parent == NULL:
                continue
            if k == 0:
                parent.adjoint += p.gain
            else:
                x = layer.data[k - 1] if layer.nodes == NULL else node_of(layer.nodes[k - 1]).data
                parent.adjoint += x * p.gain
        return 0

    # -- adjoints as Values

    cdef Py_ssize_t visit_in_values(self, Py_ssize_t i) except -1:
        """Sum up the adjoint of a node, and send terms to its parents. Returns the index of the next node."""
        cdef Passed *p = &self.nodes[i]
        cdef Node *n = p.node
        cdef Parents parents
        cdef Py_ssize_t k
        cdef bint products
        if not p.needed or i and not p.terms.count and p.terms.constant == 0.0:
            return i + 1
        self.scope = <object>p.scope if p.scope != NULL and not p.always else None
        if (p.inner == 1 and self.in_parts and LEAF < n.form < BLOCK and not p.result and self.scope is None
                and sends_products(n.op) and self.split(&p.terms)):
            return self.send_split(p, i)
        adjoint = self.total(&p.terms) if i else 1.0
        p.value = <PyObject *>adjoint
        Py_INCREF(p.value)
        if not p.inner:
            return i + 1
        if n.flags & CUSTOM or n.op == NO_OP:
            refuse_second(n)
        if p.layer != NULL:
            self.send_affine(p, adjoint)
        elif n.op == THEN or n.op == OTHERWISE:
            self.send_chosen(n, adjoint)
        elif n.form == BLOCK:
            slopes = block_slopes(n)
            for k in range(n.b.block.count):
                self.send_slope(n.b.block.parents[k], is_masked(n.op, False), slopes[k], adjoint)
        else:
            parents_of(n, &parents)
            products = sends_products(n.op)
            for k in range(parents.count):
                if self.wanted(parents.own[k]) != NULL:
                    if products:
                        self.send(parents.own[k], node_slope(n, k), adjoint)
                    else:
                        self.send_slope(parents.own[k], is_masked(n.op, is_right(n, k)), node_slope(n, k), adjoint)
        return i + 1

    cdef inline int send(self, PyObject *parent, object slope, object adjoint) except -1:
        """Add slope * adjoint to the terms of a parent if its adjoint is needed. (The parent may be None, for no bias,
        which is no node of the pass.)"""
        cdef Passed *p = self.wanted(parent)
        if p == NULL or not is_any_value(<PyObject *>slope) and slope == 0.0:
            return 0
        if self.scope is None:
            p.always = True
            return self.append(&p.terms, <PyObject *>slope, <PyObject *>adjoint)
        return self.send_in_scope(p, slope if adjoint is 1.0 else slope * adjoint)

    cdef int send_slope(self, PyObject *parent, bint masked, object slope, object adjoint) except -1:
        """send(), but nothing where the slope of an op that `is_masked` is 0, and adjoint / x for the slope 1 / x."""
        cdef object one = 1.0
        cdef Node *n
        cdef bint finite
        if self.wanted(parent) == NULL:
            return 0
        if not isinstance(slope, Value):
            return self.send(parent, slope, adjoint)
        n = &(<Value>slope).node
        finite = not isinstance(adjoint, Value) and isfinite(adjoint)
        # 1 / x is infinite for the smallest x, which adjoint / x need not be. What x is, a trace does not know.
        if n.op == RATIO and n.form == NUMBER_LEFT and not (finite and isfinite(n.data) and trace_here() == NULL):
            return self.send(parent, of_two(RATIO, n.b.number * adjoint, <object>object_of(n.a)), one)
        if masked and not finite:
            return self.send(parent, of_two(MASKED, slope, adjoint), one)
        return self.send(parent, slope, adjoint)

    # -- choices, in a trace. What a side sends is chosen too, so that what is computed for it is only needed where the
    # side is taken: guards see to the rest.

    cdef int send_in_scope(self, Passed *p, object term) except -1:
        """Add a term where the condition of the scope holds."""
        cdef object one = 1.0
        chosen = value_binary(THEN, <PyObject *>self.scope, <PyObject *>term)
        self.widen_scope(p)
        return self.append(&p.terms, <PyObject *>chosen, <PyObject *>one)

    cdef int send_chosen(self, Node *n, object adjoint) except -1:
        """Send the adjoint of THEN or OTHERWISE to what it chooses."""
        cdef Passed *p = self.wanted(object_of(n.b.node)) if n.form == BINARY else NULL
        cdef object condition = <object>object_of(n.a)
        if p == NULL:
            return 0
        if n.op == OTHERWISE:
            condition = value_unary(NOT, condition)
        if self.scope is not None:  # not AND: the condition may only be defined within the scope
            condition = value_binary(THEN, <PyObject *>self.scope, <PyObject *>condition)
        self.scope = condition
        return self.send_in_scope(p, adjoint)

    cdef int widen_scope(self, Passed *p) except -1:
        """Note that a node gets a term in this scope."""
        cdef PyObject *before = p.scope
        if not p.always and before != <PyObject *>self.scope:
            scope = self.scope
            if before != NULL:
                scope = value_binary(OR, before, <PyObject *>scope)
            p.scope = <PyObject *>scope
            Py_INCREF(p.scope)
            Py_XDECREF(before)
        return 0

    cdef Py_ssize_t send_split(self, Passed *p, Py_ssize_t i) except -1:
        """Send the term of a node whose adjoint is an invariant factor times a varying one, in a trace. They stay
        apart, so that invariant factors meet: their product is computed once a call, not for each sample. Returns the
        index of the next node."""
        cdef Node *n = p.node
        cdef Term *term = &self.terms[p.terms.first]
        cdef Passed *parent
        cdef Parents parents
        cdef Py_ssize_t k
        invariant, varying = <object>term.left, <object>term.right
        if not node_of(term.right).flags & TRACED:
            invariant, varying = varying, invariant
        parents_of(n, &parents)
        k = 0 if self.wanted(parents.own[0]) != NULL else 1
        slope = node_slope(n, k)
        if is_scaled(slope):
            invariant, slope = (<Value>slope).node.b.number * invariant, <object>object_of((<Value>slope).node.a)
        if isinstance(slope, Value) and (<Value>slope).node.flags & TRACED:
            varying = slope * varying
        else:
            invariant = slope * invariant
        self.drop(&p.terms)
        parent = self.wanted(parents.own[k])
        parent.always = True
        self.append(&parent.terms, <PyObject *>invariant, <PyObject *>varying)
        parent.terms.scaled = parent.terms.first
        return i + 1

    cdef object preactivation(self, Passed *p):
        """The argument of a neuron's activation, which is no node: the bias and the products, added as Values."""
        cdef Layer *layer = p.layer
        cdef PyObject **weights = tuple_items(p.weights)
        cdef Py_ssize_t k
        cdef object total = 0.0 if weights[0] == Py_None else <object>weights[0]
        for k in range(layer.inputs):
            if layer.nodes == NULL:
                total = total + <object>weights[k + 1] * layer.data[k]
            else:
                total = total + <object>weights[k + 1] * <object>layer.nodes[k]
        return total

    cdef int send_affine(self, Passed *p, object adjoint) except -1:
        """Send the terms of the bias, the weights and the inputs of an affine node."""
        cdef Layer *layer = p.layer
        cdef PyObject **weights = tuple_items(p.weights)
        cdef Py_ssize_t k
        cdef int op = layer.affine[p.index].op
        if op != ADD:
            argument = self.preactivation(p) if RULES[op].left_reads & A else None
            slope = slope_left(op, argument, None, <object>object_of(p.node))
            adjoint = slope if adjoint is 1.0 else slope * adjoint
        self.send(weights[0], 1.0, adjoint)
        for k in range(layer.inputs):
            if layer.nodes == NULL:
                self.send(weights[k + 1], layer.data[k], adjoint)
            else:
                self.send(weights[k + 1], <object>layer.nodes[k], adjoint)
                self.send(layer.nodes[k], <object>weights[k + 1], adjoint)
        return 0

cdef inline bint is_right(Node *n, Py_ssize_t i) noexcept nogil:
    """Is the i-th parent of a node of an op of one or two arguments the right argument?"""
    return i == 1 or n.form == NUMBER_LEFT


cdef double node_gain(Node *n, Py_ssize_t i, double g) noexcept:
    """What the adjoint of the i-th parent gains if that of the node is g. NaN with an exception set where a rule
    raises."""
    cdef Rule *rule = &RULES[n.op]
    cdef double a, b
    if n.form == BLOCK:
        if n.b.block.local != NULL:
            return n.b.block.local[i] * g
        return rule.d_left(node_of(n.b.block.parents[i]).data, 0.0, n.data, g)
    a = n.b.number if n.form == NUMBER_LEFT else n.a.data
    b = n.a.data if n.form == NUMBER_LEFT else n.b.node.data if n.form == BINARY else n.b.number
    return (rule.d_right if is_right(n, i) else rule.d_left)(a, b, n.data, g)


cdef int refuse_second(Node *n) except -1:
    """Raise the error for a user's op in the way of a gradient that is to be differentiated again."""
    name = (<object>object_of(n))._op
    raise RuntimeError(
        f"{f'the op {name!r}' if name else 'an op without a name'} has no gradients with create_graph=True, to be "
        "differentiated again: they are numbers, or Python code computes them. Write it with the operators and methods "
        "of Value")


# ---- grad() --------------------------------------------------------------------------------------

def grad(output, inputs, create_graph=False, allow_unused=False):
    """The gradients of an output by the inputs, as `torch.autograd.grad`: it changes no `.grad`.

    >>> from micrograd import Value, grad
    >>> x, y = Value(2.0), Value(3.0)
    >>> z = x * x * y
    >>> grad(z, x), grad(z, [x, y]), x.grad
    (12.0, [12.0, 4.0], 0.0)

    `output` is a Value, or a list of Values, whose sum it stands for. `inputs` is a Value, for one result, or a list or
    tuple of them, for a list or tuple of results. They may be leaves or results of ops. The gradients are floats; with
    `create_graph` they are Values, computed from those of the graph, which can be differentiated again:

    >>> dx = grad(z, x, create_graph=True)
    >>> dx.data, grad(dx, [x, y]), grad(grad(dx, y, create_graph=True), x)
    (12.0, [6.0, 4.0], 2.0)

    In a function that micrograd.compile traces they always are Values: a gradient is part of the program.

    Raises TypeError where the output or an input is no Value; RuntimeError where the output was not computed from an
    input, unless `allow_unused` is true, which gives None for it, and, where Values are asked for, at ops whose
    gradients are numbers or Python code; NotImplementedError at ops that have no derivative in Values; and what
    backward() raises where a derivative does not exist.
    """
    cdef _Pass found = _Pass()
    cdef list results = [], wanted
    cdef Value root = grad_root(output)
    cdef bint in_trace = trace_here() != NULL
    cdef Py_ssize_t outside = 0
    if not isinstance(inputs, (Value, list, tuple)) and not hasattr(inputs, "__iter__"):
        raise TypeError(f"the inputs of grad() must be a Value or a list of them, not {type(inputs).__name__!r}")
    wanted = [inputs] if isinstance(inputs, Value) else list(inputs)
    for x in wanted:
        if not isinstance(x, Value):
            raise TypeError(f"an input of grad() must be a Value, not {type(x).__name__!r}")
    if not in_trace:
        trace_check_read(&root.node, "grad() of")
    found.prepare(&root.node, wanted)
    for i, x in enumerate(wanted):
        if not found.find(&(<Value>x).node).reached and not allow_unused:
            which = f"input {i}" if len(wanted) > 1 else "the input"
            raise RuntimeError(
                f"the output of grad() was not computed from {which}: allow_unused=True gives None there")
    if create_graph and is_checked():  # numbers first: the error has the line of the node, not that of this call
        grad(root, wanted, allow_unused=True)
    if create_graph:  # the results have a graph in no_grad too, as in PyTorch
        outside = no_grad_suspend()
    try:
        found.run(create_graph or in_trace)
        for x in wanted:
            results.append(found.result(x))
    finally:
        no_grad_resume(outside)
    if isinstance(inputs, Value):
        return results[0]
    return tuple(results) if isinstance(inputs, tuple) else results


cdef Value grad_root(output):
    """The Value to differentiate: the output, or the sum of a list of them."""
    cdef list outputs
    if isinstance(output, Value):
        return output
    if not isinstance(output, (list, tuple)):
        raise TypeError(f"the output of grad() must be a Value or a list of them, not {type(output).__name__!r}")
    outputs = list(output)
    for x in outputs:
        if not isinstance(x, Value):
            raise TypeError(f"an output of grad() must be a Value, not {type(x).__name__!r}")
    return variadic_node(SUM, outputs)
