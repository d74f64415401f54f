# Backward: the ordered walk over slabs, the general path for graphs it cannot order, and the step both take at a node.

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from micrograd._cpython cimport (Py_DECREF, Py_INCREF, PyErr_CheckSignals, PyErr_Clear, PyErr_NoMemory, PyErr_Occurred,
                                 own)
from micrograd._debug cimport check
from micrograd._fused cimport fused_again, fused_first, fused_forget, hidden_first, hidden_show
from micrograd._invariants cimport marks_are_gone, marks_fit, node_fits
from micrograd._node cimport (BINARY, BLOCK, CUSTOM, END, FUSED, GROWN, HIDDEN, IRREGULAR, LATE, LEAF, NUMBER_LEFT,
                              PENDING, SEEN, SHOWN, SORTED, WALKED, Block, Fused, Node, hidden_above, node_sum,
                              object_of)
from micrograd._ops cimport ADD, LINEAR, MUL, OP_COUNT, PRODUCT, Rule, op_rule, rule_failed
from micrograd._slab cimport Slab, slab_of, slab_slot, slot_before


cdef extern from *:
    """
    #if defined(__GNUC__) && !defined(MICROGRAD_PLAIN)
      #define prefetch_to_write(p) __builtin_prefetch(p, 1)
    #else
      #define prefetch_to_write(p) ((void)(p))
    #endif
    """
    void prefetch_to_write(void *p) nogil

cdef enum:
    AHEAD = 4096  # bytes: a sixth off the time of graphs that outgrow the caches
    SLABS_A_SIGNAL_CHECK = 64
    NODES_A_SIGNAL_CHECK = 65536

cdef double[OP_COUNT] SLOPE_LEFT   # the constant partials of linear ops
cdef double[OP_COUNT] SLOPE_RIGHT


cdef void fill_table() noexcept:
    cdef int op
    for op in range(<int>OP_COUNT):
        RULES[op] = op_rule(op)
        if RULES[op].shape == LINEAR:
            SLOPE_LEFT[op] = RULES[op].d_left(0.0, 0.0, 0.0, 1.0)
            SLOPE_RIGHT[op] = RULES[op].d_right(0.0, 0.0, 0.0, 1.0) if RULES[op].arity == 2 else 0.0


fill_table()


cdef void node_turn_irregular(Node *n, int why) noexcept:
    """Descendants inherit the flag when they are made. Where some may exist already, count the node: while it lives,
    no backward pass trusts the flags."""
    global late_nodes
    if not n.flags & IRREGULAR:
        n.flags |= LATE
        late_nodes += 1
    n.flags |= IRREGULAR | why


cdef struct Walk:
    Slab *slab             # being walked
    Py_ssize_t here        # nodes marked in it
    Py_ssize_t elsewhere   # nodes marked in older slabs
    Node *oldest           # slot that the last step at a block took in, of sums side by side or a hidden layer


cdef inline void walk_mark_as(Walk *walk, Node *n, Py_ssize_t count) noexcept nogil:
    """Mark a node, or a hidden layer, which counts as all its neurons: it may become them while it is marked."""
    cdef Slab *slab
    if n.flags & (PENDING | END):
        return
    n.flags |= PENDING
    slab = slab_of(n)
    if slab == walk.slab:
        walk.here += count
    else:
        walk.elsewhere += count
        slab.pending += count
        if n > slab.top:
            slab.top = n


cdef inline void walk_mark(Walk *walk, Node *n) noexcept nogil:
    walk_mark_as(walk, n, 1)


cdef inline Node *walk_side_by_side(Walk *walk, Node *n) noexcept nogil:
    """The oldest of the marked sums over one sample that stand next to each other, from the newest down; all but that
    one count as handled. They are to be taken together in their first pass."""
    cdef Node *next
    if walk == NULL or node_sum(n).passes:
        return n
    while n != slab_slot(walk.slab, 0):
        next = slot_before(n, 1)
        if not next.flags & PENDING or next.form != FUSED or next.b.fused != n.b.fused or node_sum(next).passes:
            break
        next.flags = (next.flags & ~PENDING) | WALKED
        walk.here -= 1
        n = next
    return n


cdef inline void walk_mark_sample(Walk *walk, Fused *fused) noexcept nogil:
    cdef Py_ssize_t i
    if fused.hidden != NULL:
        walk_mark_as(walk, fused.hidden, fused.count)
    elif fused.nodes != NULL:
        for i in range(fused.count):
            walk_mark(walk, fused.nodes[i])


cdef inline void walk_mark_fused(Walk *walk, Node *n, Node *oldest) noexcept:
    """Mark the parents of sums that stand side by side."""
    cdef Py_ssize_t i
    walk_mark_sample(walk, n.b.fused)
    while n >= oldest:
        if n.flags & GROWN:
            for i in range(node_parent_count(n)):
                walk_mark(walk, node_parent(n, i))
        n = slot_before(n, 1)


cdef bint nan_is_refusal(Node *receiver) noexcept:
    if PyErr_Occurred() == NULL:
        return False
    if not receiver.flags & SHOWN:
        return True
    PyErr_Clear()
    return False


cdef void block_send(Block *block, double g, Walk *walk) noexcept:
    """Local gradients times the node's, to the parents. Apart, and from local variables: for all that C knows, what is
    written might be what is read."""
    cdef Node **parents = block.parents
    cdef double *local = block.local
    cdef Py_ssize_t i, count = block.count
    for i in range(count):
        parents[i].grad += local[i] * g
        if walk != NULL:
            walk_mark(walk, parents[i])


cdef void hidden_open(Node *n) noexcept:
    """Make the nodes of a hidden layer that the walk has come to. All are marked, as they were counted, but the newest,
    whose turn it is."""
    n.flags |= PENDING
    hidden_show(hidden_above(n))
    n.flags &= ~PENDING


cdef bint hidden_step(Node *n, Walk *walk) noexcept:
    """node_step() at a hidden layer; in a further pass at the newest of the nodes it turns into."""
    if node_sum(n).passes:
        hidden_open(n)
        return block_step(n, walk)
    walk.here -= n.place
    walk.oldest = slot_before(n, n.place)
    if not hidden_first(n):
        return False
    walk_mark_sample(walk, n.b.fused)
    return True


cdef bint block_step(Node *n, Walk *walk) noexcept:
    """node_step() at a node with a block of parents. Apart, so that the rest is small enough to be compiled into the
    walk, which takes a third off that."""
    cdef Block *block = n.b.block
    cdef Node *oldest
    cdef Py_ssize_t i
    if n.form == FUSED:
        oldest = walk_side_by_side(walk, n)
        if walk != NULL:
            walk.oldest = oldest
        if not (fused_again(n) if node_sum(n).passes else fused_first(n, oldest)):
            return False
        if walk != NULL:
            walk_mark_fused(walk, n, oldest)
        return True
    if n.form == HIDDEN:
        return hidden_step(n, walk)
    if walk != NULL:
        walk.oldest = n
    if block.local != NULL:
        block_send(block, n.grad, walk)
        return True
    for i in range(block.count):
        if n.op:
            block.parents[i].grad += RULES[n.op].d_left(block.parents[i].data, 0.0, n.data, n.grad)
        if walk != NULL:
            walk_mark(walk, block.parents[i])
    return True


cdef inline bint node_step(Node *n, Walk *walk) noexcept:
    """Add to the parents' grads what the node's grad sends them, and mark the parents if there is a walk. False with an
    exception set where a rule has nothing to send: what was added before stays."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef Node *b
    cdef double x, y, sent
    cdef double g = n.grad
    node_fits(n)
    if n.form == BINARY:
        b = n.b.node
        x = a.data
        y = b.data
        if n.op == ADD:  # half of all ops, and a product by 1.0 less in chains of grads that await each other
            a.grad += g
            b.grad += g
        elif n.op == MUL:  # most of the other half
            a.grad += y * g
            b.grad += x * g
        elif rule.shape == LINEAR:
            a.grad += SLOPE_LEFT[n.op] * g
            b.grad += SLOPE_RIGHT[n.op] * g
        else:
            sent = rule.d_left(x, y, n.data, g)
            if refused(sent, a):
                return False
            a.grad += sent
            sent = rule.d_right(x, y, n.data, g)
            if refused(sent, b):
                return False
            b.grad += sent
        if walk != NULL:
            walk_mark(walk, a)
            walk_mark(walk, b)
    elif n.form >= BLOCK:
        return block_step(n, walk)
    elif n.form != LEAF:  # one parent
        if n.form == NUMBER_LEFT:
            sent = rule.d_right(n.b.number, a.data, n.data, g)
        elif rule.shape == LINEAR:
            sent = SLOPE_LEFT[n.op] * g
        elif rule.shape == PRODUCT:
            sent = n.b.number * g
        else:
            sent = rule.d_left(a.data, n.b.number, n.data, g)
        if rule_failed(sent):
            return False
        a.grad += sent
        if walk != NULL:
            walk_mark(walk, a)
    return True


cdef bint node_propagate(Node *n) noexcept:
    return node_step(n, NULL)


# The general path, for graphs that creation order says too little about: an order by depth-first search, as the
# reference's, that holds a reference to every node, since the Python code that runs meanwhile may do anything.

cdef struct Entry:
    Node *node
    bint fused    # it was a fused sum when it was put here

cdef struct Stack:
    Entry *items
    Py_ssize_t count
    Py_ssize_t room


cdef bint stack_push_entry(Stack *stack, Entry entry) noexcept:
    """False with an exception set when memory is out."""
    cdef void *items
    cdef Py_ssize_t room
    if stack.count == stack.room:
        room = max(64, 2 * stack.room)
        items = realloc(stack.items, room * sizeof(Entry))
        if items == NULL:
            PyErr_NoMemory()
            return False
        stack.items = <Entry *>items
        stack.room = room
    stack.items[stack.count] = entry
    stack.count += 1
    return True


cdef inline bint stack_push(Stack *stack, Node *n) noexcept:
    return stack_push_entry(stack, Entry(n, n.form == FUSED))


cdef inline bint is_stale(Entry *entry) noexcept:
    """Have small nodes been made of a fused sum since it was put here? They are to be sorted in."""
    return entry.fused and entry.node.form != FUSED


cdef void order_release(Stack *order) noexcept:
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


cdef bint sorting = False


cdef int sort_behind(Node *root, Stack *todo, Stack *order, set nested) except -1:
    """Push onto `order` what stands behind a root and is not in it yet, and the root."""
    cdef Node *n
    cdef Node *parent
    cdef Py_ssize_t i, steps = 0
    if not stack_push(todo, root):
        own(NULL)
    while todo.count:
        n = todo.items[todo.count - 1].node
        if first_visit(n, SEEN, nested):
            for i in range(node_parent_count(n) - 1, -1, -1):
                parent = node_parent(n, i)
                if (nested is not None or not parent.flags & SEEN) and not stack_push(todo, parent):
                    own(NULL)
        else:
            if first_visit(n, SORTED, nested):
                if not stack_push_entry(order, todo.items[todo.count - 1]):
                    own(NULL)
                Py_INCREF(object_of(n))
            todo.count -= 1
        steps += 1
        if steps % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
            own(NULL)
    return 0


cdef int graph_sort(Entry *roots, Py_ssize_t count, Stack *order) except -1:
    """Push the nodes of the graph behind the roots, parents first, with a reference to each."""
    global sorting, walking
    cdef Stack todo = Stack(NULL, 0, 0)
    cdef Py_ssize_t i
    cdef bint failed = True
    cdef bint was_walking = walking
    cdef set nested = set() if sorting else None  # a signal handler, called from the sort
    sorting = walking = True
    try:
        for i in range(count):
            sort_behind(roots[i].node, &todo, order, nested)
        failed = False
    finally:
        walking = was_walking
        if nested is None:
            sorting = False
            for i in range(todo.count):
                todo.items[i].node.flags &= ~(SEEN | SORTED)
            for i in range(order.count):
                order.items[i].node.flags &= ~(SEEN | SORTED)
        free(todo.items)
        if failed:
            order_release(order)
    return 0


cdef int order_renew(Stack *order) except -1:
    """Sort again what is left of an order of which an entry is stale. The last stays the last."""
    cdef Stack renewed = Stack(NULL, 0, 0)
    graph_sort(order.items, order.count, &renewed)
    order_release(order)
    order[0] = renewed
    return 0


cdef int backward_general(Entry *roots, Py_ssize_t count) except -1:
    """Backward from several roots, whose grads are there already."""
    cdef Stack order = Stack(NULL, 0, 0)
    cdef Node *n
    graph_sort(roots, count, &order)
    try:
        while order.count:
            if is_stale(&order.items[order.count - 1]):
                order_renew(&order)
            n = order.items[order.count - 1].node
            n.flags |= WALKED
            if n.flags & CUSTOM:
                (<object>object_of(n))._backward()
            elif not node_propagate(n):
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


cdef enum Course:
    FAILED   # an exception is set: the walk goes on to take the marks away
    GATHERS  # a fused sum was taken apart: it goes on to gather what is marked, for the general path
    STEPS


cdef Course walk_pass(Walk *walk, Node *n, Stack *marked, Course course) noexcept:
    """Pass a node that has lost its mark, without a step."""
    if course == FAILED:
        if n.form == HIDDEN:
            walk.here -= n.place
        return FAILED
    if n.form == HIDDEN:
        hidden_open(n)
    return GATHERS if stack_push(marked, n) else FAILED


cdef int backward_ordered(Node *root) except -1:
    """Backward over a graph in slabs, where creation order is a topological order: walk the slots downwards from the
    root, handle those that are marked, mark their parents; slabs without a mark are skipped. After an error the walk
    goes on for the one purpose of taking the marks away. So it does where Python code, a signal handler or another
    thread during it, has made small nodes of a fused sum: the general path takes over from the nodes marked by then."""
    global walking
    cdef Walk walk = Walk(slab_of(root), 1, 0, root)
    cdef Stack marked = Stack(NULL, 0, 0)
    cdef Node *n = root
    cdef Py_ssize_t slabs = 0, splits_before = splits
    cdef int form, walked = WALKED
    cdef Course course = STEPS
    root.flags |= PENDING
    walking = True
    while True:
        while walk.here:
            check(n >= slab_slot(walk.slab, 0), "the marks of a slab are in it")
            prefetch_to_write(<char *>n - AHEAD)
            if n.flags & PENDING:
                n.flags = (n.flags & ~PENDING) | walked
                walk.here -= 1
                form = n.form
                if course == STEPS:
                    if not node_step(n, &walk):
                        course = FAILED
                        walked = 0
                    if form >= BLOCK:
                        n = walk.oldest
                else:
                    course = walk_pass(&walk, n, &marked, course)
            n = slot_before(n, 1)
        if walk.elsewhere == 0:
            break
        walk.slab = walk.slab.older
        while walk.slab.pending == 0:
            walk.slab = walk.slab.older
            check(walk.slab != NULL, "marks elsewhere are in older slabs")
        walk.here = walk.slab.pending
        marks_fit(walk.slab, walk.here)
        walk.elsewhere -= walk.here
        walk.slab.pending = 0
        n = walk.slab.top
        walk.slab.top = NULL
        slabs += 1
        if slabs % SLABS_A_SIGNAL_CHECK == 0 and course == STEPS:
            if PyErr_CheckSignals():
                course = FAILED
            elif splits != splits_before:
                course = GATHERS
            if course != STEPS:
                walked = 0
    walking = False
    marks_are_gone()
    if marked.items != NULL:
        return backward_rest(&marked, course)
    return -1 if course == FAILED else 0


cdef int backward_rest(Stack *marked, Course course) except -1:
    """Go on from the nodes that a walk has gathered, unless it failed."""
    try:
        return -1 if course == FAILED else backward_general(marked.items, marked.count)
    finally:
        free(marked.items)


cdef int graph_backward(Node *root) except -1:
    cdef Entry entry = Entry(root, root.form == FUSED)
    root.grad = 1.0
    if root.flags & IRREGULAR or late_nodes or walking:  # walking: a signal handler, called from the walk
        return backward_general(&entry, 1)
    return backward_ordered(root) if root.form != LEAF else 0


cdef int graph_zero_grad(Node *root) except -1:
    cdef Stack order = Stack(NULL, 0, 0)
    cdef Entry entry = Entry(root, root.form == FUSED)
    cdef Node *n
    cdef Py_ssize_t i = 0
    graph_sort(&entry, 1, &order)
    try:
        while i < order.count:
            if is_stale(&order.items[i]):
                order_renew(&order)
                i = 0
            n = order.items[i].node
            n.grad = 0.0
            n.flags &= ~WALKED
            if n.form == FUSED:
                fused_forget(n)
            i += 1
    finally:
        order_release(&order)
    return 0
