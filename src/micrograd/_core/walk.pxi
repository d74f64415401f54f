# Ways through a graph: by marks in creation order, which backward uses; or in depth-first order, for graphs whose
# creation order is no topological order, and for zero_grad(). The backward walk itself is in _core.pyx.
#
# Gives Walk with walk_mark, walk_next_slab and, where a walk ends early, walk_unmark and backward_rest; Order with
# order_sort, is_stale and order_renew; backward_general and graph_zero_grad, which go by such an order; for traces
# graph_nodes and times_materialized; and `engine`, the state that they share, with node_make_irregular. Uses
# slabs.pxi, materialize.pxi, affine.pxi, leaf_grads.pxi, anomaly.pxi, and of _core.pyx node_step.

cdef enum:
    SLABS_A_SIGNAL_CHECK = 64
    NODES_A_SIGNAL_CHECK = 65536

cdef struct Engine:
    Py_ssize_t late_nodes    # nodes with the flag LATE that are alive
    Py_ssize_t materialized  # how many affine nodes were materialized so far
    bint walking             # a walk or sort is under way, in which a signal handler or another thread may run
    bint sorting             # a sort is under way, whose marks are in the nodes' flags

cdef Engine engine


cdef void node_make_irregular(Node *n, int why) noexcept:
    """Set the flag IRREGULAR, and `why`, in a node. Descendants that exist already have not inherited the flag, so the
    node is LATE: while it is alive, backward sorts every graph."""
    if not n.flags & IRREGULAR:
        n.flags |= LATE
        engine.late_nodes += 1
    n.flags |= IRREGULAR | why


# ---- Marks ---------------------------------------------------------------------------------------

cdef struct Walk:
    Slab *slab               # the slab that the walk is in
    Py_ssize_t here          # nodes marked in it
    Py_ssize_t elsewhere     # nodes marked in older slabs
    Py_ssize_t slabs         # how many slabs with marks are done
    Py_ssize_t materialized  # engine.materialized when the walk began
    bint retain              # do nodes that are not leaves keep their grads?


cdef inline void walk_mark(Walk *walk, Node *n) noexcept nogil:
    """Mark a node, unless it is a leaf or there is no walk."""
    cdef Slab *slab
    if walk == NULL or n.flags & (PENDING | END):
        return
    n.flags |= PENDING
    slab = slab_of(n)
    if slab == walk.slab:
        walk.here += 1
    else:
        walk.elsewhere += 1
        slab.pending += 1
        if n > slab.top:
            slab.top = n


cdef inline Node *walk_next_slab(Walk *walk) noexcept nogil:
    """Go on to the next older slab with marks. Returns its newest marked node, NULL where there is no such slab."""
    cdef Node *n
    if walk.elsewhere == 0:
        return NULL
    while True:
        walk.slab = walk.slab.older
        check(walk.slab != NULL, "marks in other slabs are in older ones")
        if walk.slab.pending:
            break
    walk.here = walk.slab.pending
    walk.slabs += 1
    check_marks(walk.slab, walk.here)
    walk.elsewhere -= walk.here
    walk.slab.pending = 0
    n = walk.slab.top
    walk.slab.top = NULL
    return n


cdef bint walk_unmark(Walk *walk, Node *n, Order *marked) noexcept:
    """End a walk: take away the marks of n and of older nodes. The nodes are pushed onto `marked` unless that is NULL;
    if it is, their grads are cleared in a walk that retains none. False with an exception set when memory is out."""
    cdef bint sound = True
    while n != NULL:
        while walk.here:
            if n.flags & PENDING:
                n.flags &= ~PENDING
                walk.here -= 1
                sound = sound and (marked == NULL or order_push(marked, n))
                if marked == NULL and not walk.retain:
                    node_clear(n)
            n = slot_before(n, 1)
        n = walk_next_slab(walk)
    engine.walking = False
    check_no_marks()
    return sound


# ---- Order ---------------------------------------------------------------------------------------
# A depth-first order, as the reference's. It holds a reference to each node, since Python code that runs before the
# pass ends, a `_backward` or a signal handler, may give up others.

cdef struct Entry:
    Node *node
    bint affine   # was it an affine node when it was pushed?

cdef struct Order:
    Entry *items
    Py_ssize_t count
    Py_ssize_t capacity


cdef bint order_push_entry(Order *order, Entry entry) noexcept:
    """False with an exception set when memory is out."""
    cdef void *items
    cdef Py_ssize_t capacity
    if order.count == order.capacity:
        capacity = max(64, 2 * order.capacity)
        items = realloc(order.items, capacity * sizeof(Entry))
        if items == NULL:
            PyErr_NoMemory()
            return False
        order.items = <Entry *>items
        order.capacity = capacity
    order.items[order.count] = entry
    order.count += 1
    return True


cdef inline bint order_push(Order *order, Node *n) noexcept:
    return order_push_entry(order, Entry(n, n.form == AFFINE))


cdef inline bint is_stale(Entry *entry) noexcept:
    """Was an affine node materialized since it was pushed? Then its products and sums are missing from the order."""
    return entry.affine and entry.node.form != AFFINE


cdef void order_release(Order *order) noexcept:
    while order.count:
        order.count -= 1
        Py_DECREF(object_of(order.items[order.count].node))
    free(order.items)
    order.items = NULL
    order.capacity = 0


cdef inline bint first_visit(Node *n, int mark, set nested) except -1:
    """Mark the node with SEEN or SORTED; False where it has the mark. Marks are flags, but items of the set `nested` in
    a sort that runs while another one does."""
    if nested is not None:
        key = <uintptr_t>n + (mark == SORTED)
        if key in nested:
            return False
        nested.add(key)
        return True
    if n.flags & mark:
        return False
    n.flags |= mark
    return True


cdef int sort_behind(Node *root, Order *todo, Order *order, set nested) except -1:
    """Push the root and its ancestors onto `order`, unless they are in it: parents before children."""
    cdef Node *n
    cdef Node *parent
    cdef Parents parents
    cdef Py_ssize_t i, steps = 0
    if not order_push(todo, root):
        raise_error()
    while todo.count:
        n = todo.items[todo.count - 1].node
        if first_visit(n, SEEN, nested):
            parents_of(n, &parents)
            for i in range(parents.count - 1, -1, -1):
                parent = node_of(parent_at(&parents, i))
                if (nested is not None or not parent.flags & SEEN) and not order_push(todo, parent):
                    raise_error()
        else:
            if first_visit(n, SORTED, nested):
                if not order_push_entry(order, todo.items[todo.count - 1]):
                    raise_error()
                Py_INCREF(object_of(n))
            todo.count -= 1
        steps += 1
        if steps % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
            raise_error()
    return 0


cdef int order_sort(Entry *roots, Py_ssize_t count, Order *order) except -1:
    """Push the roots and all their ancestors, parents before children, with a reference to each."""
    cdef Order todo = Order(NULL, 0, 0)
    cdef Py_ssize_t i
    cdef bint failed = True
    cdef bint was_walking = engine.walking
    cdef set nested = set() if engine.sorting else None  # in a signal handler or thread that runs during a sort
    engine.sorting = engine.walking = True
    try:
        for i in range(count):
            sort_behind(roots[i].node, &todo, order, nested)
        failed = False
    finally:
        engine.walking = was_walking
        if nested is None:
            engine.sorting = False
            for i in range(todo.count):
                todo.items[i].node.flags &= ~(SEEN | SORTED)
            for i in range(order.count):
                order.items[i].node.flags &= ~(SEEN | SORTED)
        free(todo.items)
        if failed:
            order_release(order)
    return 0


cdef int order_renew(Order *order) except -1:
    """Sort again what is left of an order that has a stale entry. The last node stays the last."""
    cdef Order renewed = Order(NULL, 0, 0)
    order_sort(order.items, order.count, &renewed)
    order_release(order)
    order[0] = renewed
    return 0


cdef list graph_nodes(list roots):
    """The nodes behind the Values among the roots, in depth-first order: a node after its parents."""
    cdef Order values = Order(NULL, 0, 0)
    cdef Order order = Order(NULL, 0, 0)
    cdef list nodes = []
    cdef Py_ssize_t i
    try:
        for root in roots:
            if isinstance(root, Value) and not order_push(&values, &(<Value>root).node):
                raise_error()
        order_sort(values.items, values.count, &order)
    finally:
        free(values.items)
    try:
        while len(nodes) < order.count:
            if is_stale(&order.items[len(nodes)]):
                order_renew(&order)
                nodes.clear()
            nodes.append(<object>object_of(order.items[len(nodes)].node))
    finally:
        order_release(&order)
    return nodes


cdef Py_ssize_t times_materialized() noexcept:
    """How often an affine node was materialized so far: what graph_nodes() has found may have more nodes then."""
    return engine.materialized


cdef int backward_general(Entry *roots, Py_ssize_t count, const double *grads) except -1:
    """Backward from roots whose grads are set, in depth-first order: for graphs whose creation order is no topological
    order, and graphs with a `_backward` in Python. `grads`, the roots', is NULL in a pass that retains grads; else they
    are the only ones at the start, and leaves have the only ones at the end."""
    cdef Order order = Order(NULL, 0, 0)
    cdef Node *n
    cdef Py_ssize_t i
    cdef bint checked = in_mode() and is_checked(), sorted = False
    try:
        order_sort(roots, count, &order)
        sorted = True
        if checked and grads == NULL:
            grads_check_before(&order)
        if grads != NULL:
            order_clear(&order)
            for i in range(count):
                if roots[i].node.form != LEAF:
                    roots[i].node.grad = grads[i]
        while order.count:
            if is_stale(&order.items[order.count - 1]):
                order_renew(&order)
            n = order.items[order.count - 1].node
            n.flags |= WALKED
            if checked:
                step_checked(n)
            elif n.flags & CUSTOM:
                (<object>object_of(n))._backward()
            elif node_step(n, NULL) == NULL:
                raise_error()
            if is_stale(&order.items[order.count - 1]):  # by its own `_backward`
                order_renew(&order)
            if order.count % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
                raise_error()
            if grads != NULL and n.form != LEAF:
                node_clear(n)
            order.count -= 1
            Py_DECREF(object_of(n))
    finally:
        if grads != NULL:
            order_clear(&order)  # of those that an error has left
            for i in range(0 if sorted else count):
                if roots[i].node.form != LEAF:
                    node_clear(roots[i].node)
        order_release(&order)
    return 0


cdef int graph_zero_grad(Node *root) except -1:
    """Clear the grads of a graph."""
    cdef Order order = Order(NULL, 0, 0)
    cdef Entry entry = Entry(root, False)  # the sort finds out itself whether it is affine
    cdef Py_ssize_t i = 0
    order_sort(&entry, 1, &order)
    try:
        while i < order.count:
            if is_stale(&order.items[i]):
                order_renew(&order)
                i = 0
            node_clear(order.items[i].node)
            i += 1
    finally:
        order_release(&order)
    check_no_dead()
    return 0


# ---- Interrupted walks ---------------------------------------------------------------------------

cdef bint walk_interrupted(Walk *walk) noexcept:
    """Run signal handlers. Did one raise, or did one, or another thread meanwhile, materialize affine nodes? Then
    creation order is no topological order of the graph any more."""
    return PyErr_CheckSignals() or engine.materialized != walk.materialized


cdef int backward_rest(Walk *walk, Node *n) except -1:
    """End a walk that was interrupted: raise what a signal handler raised, or go on from the marked nodes in
    depth-first order."""
    cdef Order marked = Order(NULL, 0, 0)
    cdef bint raised = PyErr_Occurred() != NULL
    cdef double *grads = NULL
    cdef Py_ssize_t i
    try:
        if not walk_unmark(walk, n, NULL if raised else &marked) or raised:
            raise_error()
        if not walk.retain:
            grads = <double *>PyMem_Malloc(marked.count * sizeof(double))
            if grads == NULL:
                raise MemoryError
            for i in range(marked.count):
                grads[i] = marked.items[i].node.grad
        return backward_general(marked.items, marked.count, grads)
    finally:
        PyMem_Free(grads)
        free(marked.items)
