# What the passes over a graph are made of, beside their rules: the marks of the ordered walk, and a depth-first order
# for graphs that creation order says too little about. The passes themselves are in _core.pyx.
#
# Gives Walk with walk_mark and walk_next_slab, order_sort, graph_zero_grad, the state that passes share, and for traces
# graph_nodes. Uses slabs.pxi, materialize.pxi, affine.pxi.

cdef enum:
    SLABS_A_SIGNAL_CHECK = 64
    NODES_A_SIGNAL_CHECK = 65536

cdef struct Engine:
    Py_ssize_t late_nodes    # nodes alive that turned irregular when they may have had descendants already
    Py_ssize_t materialized  # affine nodes that became small nodes, so far
    bint walking             # a walk or a sort is under way: whoever asks is a signal handler or thread within it
    bint sorting             # a sort is, with its marks in the nodes' flags

cdef Engine engine


cdef void node_turn_irregular(Node *n, int why) noexcept:
    """Descendants inherit the flag when they are made. Where some may exist already, count the node: while it lives,
    no backward pass trusts the flags."""
    if not n.flags & IRREGULAR:
        n.flags |= LATE
        engine.late_nodes += 1
    n.flags |= IRREGULAR | why


# ---- Marks ---------------------------------------------------------------------------------------

cdef struct Walk:
    Slab *slab               # being walked
    Py_ssize_t here          # nodes marked in it
    Py_ssize_t elsewhere     # nodes marked in older slabs
    Py_ssize_t slabs         # how many were walked
    Py_ssize_t materialized  # of the engine, when it began


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
    """Go on to the next older slab with marks. Returns its highest marked node, NULL where there is no such slab."""
    cdef Node *n
    if walk.elsewhere == 0:
        return NULL
    walk.slab = walk.slab.older
    while walk.slab.pending == 0:
        walk.slab = walk.slab.older
        check(walk.slab != NULL, "marks elsewhere are in older slabs")
    walk.here = walk.slab.pending
    walk.slabs += 1
    marks_fit(walk.slab, walk.here)
    walk.elsewhere -= walk.here
    walk.slab.pending = 0
    n = walk.slab.top
    walk.slab.top = NULL
    return n


cdef bint walk_unmark(Walk *walk, Node *n, Order *marked) noexcept:
    """Take away all marks from n down. The nodes go onto `marked` unless that is NULL; False where memory is out for
    them."""
    cdef bint sound = True
    while n != NULL:
        while walk.here:
            if n.flags & PENDING:
                n.flags &= ~PENDING
                walk.here -= 1
                sound = sound and (marked == NULL or order_push(marked, n))
            n = slot_before(n, 1)
        n = walk_next_slab(walk)
    engine.walking = False
    marks_are_gone()
    return sound


# ---- Order ---------------------------------------------------------------------------------------
# A depth-first order, as the reference's, that holds a reference to every node, since the Python code that runs
# meanwhile may do anything.

cdef struct Entry:
    Node *node
    bint affine   # it was an affine node when it was put here

cdef struct Order:
    Entry *items
    Py_ssize_t count
    Py_ssize_t room


cdef bint order_push_entry(Order *order, Entry entry) noexcept:
    """False with an exception set when memory is out."""
    cdef void *items
    cdef Py_ssize_t room
    if order.count == order.room:
        room = max(64, 2 * order.room)
        items = realloc(order.items, room * sizeof(Entry))
        if items == NULL:
            PyErr_NoMemory()
            return False
        order.items = <Entry *>items
        order.room = room
    order.items[order.count] = entry
    order.count += 1
    return True


cdef inline bint order_push(Order *order, Node *n) noexcept:
    return order_push_entry(order, Entry(n, n.form == AFFINE))


cdef inline bint is_stale(Entry *entry) noexcept:
    """Was an affine node materialized since it was put here? Its small nodes are to be sorted in."""
    return entry.affine and entry.node.form != AFFINE


cdef void order_release(Order *order) noexcept:
    while order.count:
        order.count -= 1
        Py_DECREF(object_of(order.items[order.count].node))
    free(order.items)


cdef inline bint first_visit(Node *n, int mark, set nested) except -1:
    """Mark the node; False where it is marked. A sort within a sort keeps its marks in a set."""
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
    """Push onto `order` the root and its ancestors that are not in it yet, parents first."""
    cdef Node *n
    cdef Node *parent
    cdef Parents parents
    cdef Py_ssize_t i, steps = 0
    if not order_push(todo, root):
        own(NULL)
    while todo.count:
        n = todo.items[todo.count - 1].node
        if first_visit(n, SEEN, nested):
            parents_of(n, &parents)
            for i in range(parents.count - 1, -1, -1):
                parent = node_of(parent_at(&parents, i))
                if (nested is not None or not parent.flags & SEEN) and not order_push(todo, parent):
                    own(NULL)
        else:
            if first_visit(n, SORTED, nested):
                if not order_push_entry(order, todo.items[todo.count - 1]):
                    own(NULL)
                Py_INCREF(object_of(n))
            todo.count -= 1
        steps += 1
        if steps % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
            own(NULL)
    return 0


cdef int order_sort(Entry *roots, Py_ssize_t count, Order *order) except -1:
    """Push the nodes of the graph behind the roots, parents first, with a reference to each."""
    cdef Order todo = Order(NULL, 0, 0)
    cdef Py_ssize_t i
    cdef bint failed = True
    cdef bint was_walking = engine.walking
    cdef set nested = set() if engine.sorting else None  # a signal handler, called from the sort
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
    """Sort again what is left of an order of which an entry is stale. The last stays the last."""
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
                own(NULL)
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


cdef int graph_zero_grad(Node *root) except -1:
    """Clear the grads of a graph."""
    cdef Order order = Order(NULL, 0, 0)
    cdef Entry entry = Entry(root, root.form == AFFINE)
    cdef Node *n
    cdef Py_ssize_t i = 0
    order_sort(&entry, 1, &order)
    try:
        while i < order.count:
            if is_stale(&order.items[i]):
                order_renew(&order)
                i = 0
            n = order.items[i].node
            n.grad = 0.0
            n.flags &= ~WALKED
            if n.form == AFFINE:
                affine_forget(n)
            i += 1
    finally:
        order_release(&order)
    return 0


# ---- A walk that is disturbed --------------------------------------------------------------------

cdef bint walk_disturbed(Walk *walk) noexcept:
    """Run signal handlers. Has one raised, or has Python code, in a handler or another thread, materialized affine
    nodes? Then creation order is no order of the graph any more."""
    return PyErr_CheckSignals() or engine.materialized != walk.materialized


cdef int backward_rest(Walk *walk, Node *n) except -1:
    """End a walk that was disturbed: raise what a signal handler raised, or go on from the marked nodes in general
    order."""
    cdef Order marked = Order(NULL, 0, 0)
    cdef bint raised = PyErr_Occurred() != NULL
    try:
        if not walk_unmark(walk, n, NULL if raised else &marked) or raised:
            own(NULL)
        return backward_general(marked.items, marked.count)
    finally:
        free(marked.items)
