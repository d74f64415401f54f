# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# Nodes and the slabs they live in, the Value type that is a node, and backward. The op rules are in _ops.pxd.

cimport cython
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport uintptr_t
from libc.string cimport memset
from micrograd._ops cimport *

cdef extern from *:
    """
    #if defined(_WIN32)
      #include <malloc.h>
      #define slab_memory(bytes, alignment) _aligned_malloc(bytes, alignment)
      #define slab_memory_free(p) _aligned_free(p)
    #else
      #include <stdlib.h>
      static void *slab_memory(size_t bytes, size_t alignment) {
          void *p = NULL;
          return posix_memalign(&p, alignment, bytes) == 0 ? p : NULL;
      }
      #define slab_memory_free(p) free(p)
    #endif
    /* Hands a reference that is already counted to Cython; a NULL raises the exception that is set. */
    #define own(p) ((PyObject *)(p))
    """
    void *slab_memory(size_t size, size_t alignment) nogil
    void slab_memory_free(void *p) nogil
    object own(PyObject *p)

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *)
    ctypedef struct PySequenceMethods:
        void *sq_length
    ctypedef struct PyNumberMethods:
        void *nb_float
        void *nb_index
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_basicsize
        Py_ssize_t tp_dictoffset
        PyObject *(*tp_call)(PyObject *, PyObject *, PyObject *) except NULL
        PyObject *(*tp_new)(PyTypeObject *, PyObject *, PyObject *) except NULL
        PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t)
        PyObject *(*tp_vectorcall)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
        void (*tp_dealloc)(PyObject *)
        void (*tp_free)(void *)
        int (*tp_traverse)(PyObject *, visitproc, void *)
        int (*tp_clear)(PyObject *)
        PySequenceMethods *tp_as_sequence
        PyNumberMethods *tp_as_number
    PyTypeObject PyType_Type
    PyTypeObject *Py_TYPE(PyObject *o)
    void Py_SET_TYPE(PyObject *o, PyTypeObject *kind) nogil
    void Py_SET_REFCNT(PyObject *o, Py_ssize_t count) nogil
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)
    bint PyType_IsSubtype(PyTypeObject *kind, PyTypeObject *base)
    bint PyFloat_CheckExact(PyObject *o)
    bint PyLong_Check(PyObject *o)
    bint PyComplex_Check(PyObject *o)
    double PyFloat_AS_DOUBLE(PyObject *o)
    double PyLong_AsDouble(PyObject *o)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    PyObject *PyErr_NoMemory()
    int PyErr_CheckSignals()


# ---- Slabs --------------------------------------------------------------------------------------------------------------
# Results of ops are handed out upwards from slabs linked in order of creation, so (slab, address) is a topological order of
# any graph. A slot is not used again before its whole slab is free. Leaves have no order to keep: they live in slabs of their
# own and reuse slots, so a parameter that outlives a million steps pins no slab of theirs.

cdef enum:
    SLOT_SIZE = 64
    SLAB_SIZE = 65536
    # One slot for the header; another left to the C library, whose own header then fits between two aligned slabs.
    SLAB_SLOTS = SLAB_SIZE // SLOT_SIZE - 2
    RESERVE = 256  # empty slabs kept for the next graph: 16 MB
    SLABS_A_SIGNAL_CHECK = 64
    NODES_A_SIGNAL_CHECK = 65536

cdef Slab *newest = NULL       # op slabs, newest first
cdef Slab *roomy = NULL        # leaf slabs with room
cdef Slab *reserve = NULL      # empty slabs, linked through `older`
cdef int reserved = 0


cdef inline PyObject *object_of(Node *n) noexcept nogil:
    return <PyObject *>n - 1

cdef inline Node *node_of(PyObject *o) noexcept nogil:
    return <Node *>(o + 1)

cdef inline Node **node_link(Node *n) noexcept nogil:
    """The __dict__ field of a slot that is dead or dying, as the link of a list."""
    return <Node **>(n + 1)

cdef inline Slab *slab_of(Node *n) noexcept nogil:
    return <Slab *>(<uintptr_t>n & ~<uintptr_t>(SLAB_SIZE - 1))

cdef inline Node *slab_slot(Slab *slab, int i) noexcept nogil:
    return node_of(<PyObject *>(<char *>slab + (i + 1) * SLOT_SIZE))


cdef void slab_link(Slab *slab, Slab **head) noexcept nogil:
    slab.newer = NULL
    slab.older = head[0]
    if head[0] != NULL:
        head[0].newer = slab
    head[0] = slab


cdef void slab_unlink(Slab *slab, Slab **head) noexcept nogil:
    if slab.newer != NULL:
        slab.newer.older = slab.older
    else:
        head[0] = slab.older
    if slab.older != NULL:
        slab.older.newer = slab.newer


cdef Slab *slab_open(bint leaves) noexcept nogil:
    """A fresh slab at the head of its list; NULL when memory is out."""
    global reserve, reserved
    cdef Slab *slab = reserve
    if slab != NULL:
        reserve = slab.older
        reserved -= 1
    else:
        slab = <Slab *>slab_memory((SLAB_SLOTS + 1) * SLOT_SIZE, SLAB_SIZE)
        if slab == NULL:
            return NULL
    memset(slab, 0, sizeof(Slab))
    slab.leaves = leaves
    slab_link(slab, &roomy if leaves else &newest)
    return slab


cdef void slab_close(Slab *slab) noexcept nogil:
    """Take an empty slab out of its list, into the reserve or back to the system."""
    global reserve, reserved
    slab_unlink(slab, &roomy if slab.leaves else &newest)
    if reserved < RESERVE:
        slab.older = reserve
        reserve = slab
        reserved += 1
    else:
        slab_memory_free(slab)


cdef inline Node *slot_take_ordered() noexcept nogil:
    """The next slot in creation order, for the result of an op."""
    cdef Slab *slab = newest
    if slab == NULL or slab.used == SLAB_SLOTS:
        slab = slab_open(leaves=False)
        if slab == NULL:
            return NULL
    slab.used += 1
    return slab_slot(slab, slab.used - 1)


cdef inline Node *slot_take_leaf() noexcept nogil:
    cdef Slab *slab = roomy
    cdef Node *n
    if slab == NULL:
        slab = slab_open(leaves=True)
        if slab == NULL:
            return NULL
    n = slab.free
    if n != NULL:
        slab.free = node_link(n)[0]
        slab.freed -= 1
    else:
        n = slab_slot(slab, slab.used)
        slab.used += 1
    if slab.free == NULL and slab.used == SLAB_SLOTS:
        slab_unlink(slab, &roomy)
    return n


cdef inline void slot_give_back(Node *n) noexcept nogil:
    cdef Slab *slab = slab_of(n)
    slab.freed += 1
    if slab.leaves:
        if slab.free == NULL and slab.used == SLAB_SLOTS:  # it was full, and in no list
            slab_link(slab, &roomy)
        node_link(n)[0] = slab.free
        slab.free = n
        if slab.freed == slab.used and slab.older != NULL:
            slab_close(slab)
    elif slab.freed == slab.used:
        if slab == newest:  # start it again: a loop that keeps nothing stays in one slab
            slab.used = slab.freed = 0
        else:
            slab_close(slab)


# ---- Nodes --------------------------------------------------------------------------------------------------------------

cdef PyTypeObject *VALUE = <PyTypeObject *>Value
cdef Rule[OP_COUNT] RULES
cdef double[OP_COUNT] SLOPE_LEFT   # of linear ops
cdef double[OP_COUNT] SLOPE_RIGHT
cdef Py_ssize_t late_nodes = 0   # nodes alive that turned irregular when they may have had descendants already


cdef inline PyObject *slot_init(Node *n, int op, int form, int flags, double data) noexcept nogil:
    cdef PyObject *o = object_of(n)
    Py_SET_REFCNT(o, 1)
    Py_SET_TYPE(o, VALUE)
    n.data = data
    n.grad = 0.0
    n.op = op
    n.form = form
    n.flags = flags
    node_link(n)[0] = NULL
    return o


cdef inline Node *leaf_new(double data) except NULL:
    cdef Node *n = slot_take_leaf()
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, NO_OP, LEAF, END, data)
    return n


cdef inline Node *result_new(int op, int form, int flags, double data) except NULL:
    """A node for the result of an op; the caller fills in the parents, with a reference to each."""
    cdef Node *n = slot_take_ordered()
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, op, form, flags, data)
    return n


cdef inline Py_ssize_t node_parents(Node *n, Node **pair, Node ***parents) noexcept nogil:
    """How many parents, and where they stand in a row; `pair` is room for two."""
    parents[0] = pair
    if n.form == LEAF:
        return 0
    if n.form == BLOCK:
        parents[0] = n.b.block.parents
        return n.b.block.count
    pair[0] = n.a
    pair[1] = n.b.node
    return 2 if n.form == BINARY else 1


cdef void node_orphan(Node *n) noexcept:
    """Give up the parents: the node becomes a leaf."""
    cdef Node *pair[2]
    cdef Node **parents
    cdef Py_ssize_t i, count = node_parents(n, pair, &parents)
    cdef Block *block = n.b.block if n.form == BLOCK else NULL
    n.form = LEAF
    n.op = NO_OP
    n.flags |= END
    for i in range(count):
        Py_DECREF(object_of(parents[i]))
    free(block)


cdef int node_adopt(Node *n, tuple parents, local) except -1:
    """Make `parents` the parents of a leaf, through `local` gradients or, with None, through a user's Python code."""
    cdef Py_ssize_t i, count = len(parents)
    cdef Block *block
    for parent in parents:
        if not isinstance(parent, Value):
            raise TypeError(f"a parent must be a Value, not {type(parent).__name__!r}")
    if local is not None:
        local = [to_double(x, "a local gradient") for x in local]
        if len(local) != count:
            raise ValueError(f"{count} parents, but {len(local)} local gradients")
    block = <Block *>malloc(sizeof(Block) + count * (sizeof(Node *) + sizeof(double)))
    if block == NULL:
        raise MemoryError
    block.count = count
    block.local = NULL if local is None else <double *>(block.parents + count)
    for i in range(count):
        block.parents[i] = &(<Value>parents[i]).node
        Py_INCREF(<PyObject *>parents[i])
        n.flags |= block.parents[i].flags & IRREGULAR
        if local is not None:
            block.local[i] = local[i]
    n.b.block = block
    n.a = NULL
    n.form = BLOCK
    n.flags &= ~END
    return 0


cdef void node_turn_irregular(Node *n, int why) noexcept:
    """Descendants inherit the flag when they are made. Where some may exist already, count the node: while it lives, no
    backward pass trusts the flags."""
    global late_nodes
    if not n.flags & (IRREGULAR | FRESH):
        n.flags |= LATE
        late_nodes += 1
    n.flags |= IRREGULAR | why


cdef int node_show_number(Node *n) except -1:
    """Give an op's number a node of its own, for whoever walks the graph. (An exponent is part of the op, as in `**2`.)"""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *leaf
    if (n.form != NUMBER_RIGHT or n.op == POW) and n.form != NUMBER_LEFT:
        return 0
    leaf = leaf_new(n.b.number)
    if n.flags & WALKED:
        if n.form == NUMBER_RIGHT:
            leaf.grad = rule.d_right(n.a.data, n.b.number, n.data, n.grad)
        else:
            leaf.grad = rule.d_left(n.b.number, n.a.data, n.data, n.grad)
        if rule_failed(leaf.grad):
            Py_DECREF(object_of(leaf))
            return -1
    if n.form == NUMBER_LEFT:
        n.b.node = n.a
        n.a = leaf
    else:
        n.b.node = leaf
    n.form = BINARY
    return 0


# ---- Death --------------------------------------------------------------------------------------------------------------
# A node that dies may be the last to hold its parents. The dead are linked through their own slots and released one after
# the other by the outermost dealloc, so a chain of any length needs neither stack nor memory to go.

cdef Node *dying = NULL
cdef bint releasing = False


cdef void value_dealloc(PyObject *o) noexcept:
    global dying, releasing, late_nodes
    cdef Node *n = node_of(o)
    cdef PyObject *attributes = <PyObject *>node_link(n)[0]
    if attributes != NULL:
        node_link(n)[0] = NULL
        Py_DECREF(attributes)
    if n.flags & LATE:
        late_nodes -= 1
    if Py_TYPE(o) != VALUE:  # a subclass: not in a slab
        node_orphan(n)
        Py_TYPE(o).tp_free(o)
        return
    node_link(n)[0] = dying
    dying = n
    if releasing:
        return
    releasing = True
    while dying != NULL:
        n = dying
        dying = node_link(n)[0]
        node_orphan(n)
        slot_give_back(n)
    releasing = False


# Subclasses are tracked by the cyclic collector, and these are what it calls; plain Values are not.

cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Node *n = node_of(o)
    cdef PyObject *attributes = <PyObject *>node_link(n)[0]
    cdef Node *pair[2]
    cdef Node **parents
    cdef Py_ssize_t i
    cdef int stop = visit(attributes, arg) if attributes != NULL else 0
    for i in range(node_parents(n, pair, &parents)):
        if stop:
            break
        stop = visit(object_of(parents[i]), arg)
    return stop


cdef int value_clear(PyObject *o) noexcept:
    cdef Node *n = node_of(o)
    cdef PyObject *attributes = <PyObject *>node_link(n)[0]
    node_link(n)[0] = NULL
    if attributes != NULL:
        Py_DECREF(attributes)
    node_orphan(n)
    return 0


# ---- Backward -----------------------------------------------------------------------------------------------------------

cdef bint walking = False  # an ordered walk is under way


cdef struct Walk:
    Slab *slab             # being walked
    Py_ssize_t here        # nodes marked in it
    Py_ssize_t elsewhere   # nodes marked in older slabs


cdef inline void walk_mark(Walk *walk, Node *n) noexcept nogil:
    cdef Slab *slab
    if n.flags & (PENDING | END):
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


cdef inline bint node_step(Node *n, Walk *walk) noexcept:
    """Add to the parents' grads what the node's grad sends them, and mark the parents if there is a walk. False with an
    exception set where a rule has nothing to send: what was added before stays."""
    cdef Rule *rule = &RULES[n.op]
    cdef Node *a = n.a
    cdef Node *b
    cdef Block *block
    cdef double x, y, sent
    cdef double g = n.grad
    cdef Py_ssize_t i
    if n.form == BINARY:
        b = n.b.node
        x = a.data
        y = b.data
        if rule.shape == LINEAR:
            a.grad += SLOPE_LEFT[n.op] * g
            b.grad += SLOPE_RIGHT[n.op] * g
        elif rule.shape == PRODUCT:
            a.grad += y * g
            b.grad += x * g
        else:
            sent = rule.d_left(x, y, n.data, g)
            if rule_failed(sent):
                return False
            a.grad += sent
            sent = rule.d_right(x, y, n.data, g)
            if rule_failed(sent):
                return False
            b.grad += sent
        if walk != NULL:
            walk_mark(walk, a)
            walk_mark(walk, b)
    elif n.form == BLOCK:
        block = n.b.block
        for i in range(block.count):
            if block.local != NULL:
                block.parents[i].grad += block.local[i] * g
            if walk != NULL:
                walk_mark(walk, block.parents[i])
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


cdef int backward_ordered(Node *root) except -1:
    """Backward over a graph in slabs, where creation order is a topological order: walk the slots downwards from the root,
    handle those that are marked, mark their parents; slabs without a mark are skipped. After an error the walk goes on for
    the one purpose of taking the marks away."""
    global walking
    cdef Walk walk = Walk(slab_of(root), 1, 0)
    cdef Node *n = root
    cdef Py_ssize_t slabs = 0
    cdef bint sound = True
    root.flags |= PENDING
    walking = True
    while True:
        while walk.here:
            if n.flags & PENDING:
                n.flags = (n.flags & ~PENDING) | WALKED
                walk.here -= 1
                if sound:
                    sound = node_step(n, &walk)
            n = <Node *>(<char *>n - SLOT_SIZE)
        if walk.elsewhere == 0:
            break
        walk.slab = walk.slab.older
        while walk.slab.pending == 0:
            walk.slab = walk.slab.older
        walk.here = walk.slab.pending
        walk.elsewhere -= walk.here
        walk.slab.pending = 0
        n = walk.slab.top
        walk.slab.top = NULL
        slabs += 1
        if slabs % SLABS_A_SIGNAL_CHECK == 0 and sound:
            sound = PyErr_CheckSignals() == 0
    walking = False
    return 0 if sound else -1


# The general path, for graphs that creation order says too little about: an order by depth-first search, as the reference's,
# that holds a reference to every node, since the Python code that runs meanwhile may do anything.

cdef struct Stack:
    Node **items
    Py_ssize_t count
    Py_ssize_t room


cdef int stack_push(Stack *stack, Node *n) except -1:
    cdef void *items
    cdef Py_ssize_t room
    if stack.count == stack.room:
        room = max(64, 2 * stack.room)
        items = realloc(stack.items, room * sizeof(Node *))
        if items == NULL:
            raise MemoryError
        stack.items = <Node **>items
        stack.room = room
    stack.items[stack.count] = n
    stack.count += 1
    return 0


cdef void stack_release(Stack *order) noexcept:
    cdef Py_ssize_t i
    for i in range(order.count):
        Py_DECREF(object_of(order.items[i]))
    free(order.items)


cdef int graph_sort(Node *root, Stack *order) except -1:
    """Push the nodes of the graph, parents first, with a reference to each."""
    cdef Stack todo = Stack(NULL, 0, 0)
    cdef Node *pair[2]
    cdef Node **parents
    cdef Node *n
    cdef Py_ssize_t i
    try:
        stack_push(&todo, root)
        while todo.count:
            n = todo.items[todo.count - 1]
            if not n.flags & SEEN:
                n.flags |= SEEN
                for i in range(node_parents(n, pair, &parents) - 1, -1, -1):
                    if not parents[i].flags & SEEN:
                        stack_push(&todo, parents[i])
            else:
                todo.count -= 1
                if not n.flags & SORTED:
                    stack_push(order, n)
                    n.flags |= SORTED
                    Py_INCREF(object_of(n))
    except:
        stack_release(order)
        raise
    finally:
        for i in range(todo.count):
            todo.items[i].flags &= ~(SEEN | SORTED)
        for i in range(order.count):
            order.items[i].flags &= ~(SEEN | SORTED)
        free(todo.items)
    return 0


cdef int backward_general(Node *root) except -1:
    cdef Stack order = Stack(NULL, 0, 0)
    cdef Node *n
    cdef Py_ssize_t i
    graph_sort(root, &order)
    try:
        for i in range(order.count - 1, -1, -1):
            n = order.items[i]
            n.flags |= WALKED
            if n.flags & CUSTOM:
                (<object>object_of(n))._backward()
            elif not node_propagate(n):
                own(NULL)
            if i % NODES_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
                own(NULL)
    finally:
        stack_release(&order)
    return 0


cdef int graph_backward(Node *root) except -1:
    root.grad = 1.0
    if root.flags & IRREGULAR or late_nodes or walking:  # walking: a signal handler, called from the walk
        return backward_general(root)
    return backward_ordered(root) if root.form != LEAF else 0


cdef int graph_zero_grad(Node *root) except -1:
    cdef Stack order = Stack(NULL, 0, 0)
    cdef Py_ssize_t i
    graph_sort(root, &order)
    for i in range(order.count):
        order.items[i].grad = 0.0
        order.items[i].flags &= ~WALKED
    stack_release(&order)
    return 0


# ---- Numbers and operands -----------------------------------------------------------------------------------------------

cdef enum Kind:
    FAILED = -1  # an exception is set
    OTHER        # neither a Value nor a number
    NODE
    FLOAT
    INT


cdef Kind number_slow(PyObject *o, double *x) noexcept:
    """A number that is not exactly a float: what has __float__ or __index__ and no length, which arrays have."""
    cdef PyTypeObject *kind = Py_TYPE(o)
    cdef bint integer
    if PyLong_Check(o):
        x[0] = PyLong_AsDouble(o)
        integer = True
    else:
        if kind.tp_as_number == NULL or PyComplex_Check(o):
            return OTHER
        if kind.tp_as_sequence != NULL and kind.tp_as_sequence.sq_length != NULL:
            return OTHER
        integer = kind.tp_as_number.nb_index != NULL
        if kind.tp_as_number.nb_float == NULL and not integer:
            return OTHER
        x[0] = PyFloat_AsDouble(o)
    if x[0] == -1.0 and PyErr_Occurred() != NULL:
        return FAILED
    return INT if integer else FLOAT


cdef inline Kind operand(PyObject *o, Node **n, double *x) noexcept:
    if Py_TYPE(o) == VALUE:
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    if PyFloat_CheckExact(o):
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyType_IsSubtype(Py_TYPE(o), VALUE):
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    return number_slow(o, x)


cdef double to_double(object o, str what) except? -1.0:
    cdef double x
    cdef Kind kind
    if PyFloat_CheckExact(<PyObject *>o):
        return PyFloat_AS_DOUBLE(<PyObject *>o)
    kind = number_slow(<PyObject *>o, &x)
    if kind == OTHER:
        raise TypeError(f"{what} must be a real number, not {type(o).__name__!r}")
    if kind == FAILED:
        own(NULL)
    return x


# ---- Ops ----------------------------------------------------------------------------------------------------------------

cdef tuple SEQUENCES = (str, bytes, list, tuple)


cdef inline object value_unary(int op, Value value):
    cdef Node *a = &value.node
    cdef Node *n
    cdef double r = op_rule(op).forward(a.data, 0.0)
    if rule_failed(r):
        return own(NULL)
    n = result_new(op, UNARY, a.flags & IRREGULAR, r)
    n.a = a
    n.b.number = 0.0
    Py_INCREF(<PyObject *>value)
    return own(object_of(n))


cdef refuse_operands(int op, left, right):
    """NotImplemented, so that another type may have its say. Sequences have none but would blame the Value."""
    if type(left) in SEQUENCES or type(right) in SEQUENCES:
        names = type(left).__name__, type(right).__name__
        raise TypeError("unsupported operand type(s) for {}: '{}' and '{}'".format(RULES[op].symbol.decode(), *names))
    return NotImplemented


cdef inline object value_binary(int op, PyObject *left, PyObject *right):
    cdef Node *a = NULL
    cdef Node *b = NULL
    cdef Node *n
    cdef double x, y, r
    cdef Kind kind_left = operand(left, &a, &x)
    cdef Kind kind_right = operand(right, &b, &y)
    if kind_left <= OTHER or kind_right <= OTHER:
        if kind_left == FAILED or kind_right == FAILED:
            return own(NULL)
        return refuse_operands(op, <object>left, <object>right)
    r = op_rule(op).forward(x, y)
    if rule_failed(r):
        return own(NULL)
    if a == NULL:
        n = result_new(op, NUMBER_LEFT, b.flags & IRREGULAR, r)
        n.a = b
        n.b.number = x
        Py_INCREF(right)
    elif b == NULL:
        n = result_new(op, NUMBER_RIGHT, a.flags & IRREGULAR | (INTEGER if kind_right == INT else 0), r)
        n.a = a
        n.b.number = y
        Py_INCREF(left)
    else:
        n = result_new(op, BINARY, (a.flags | b.flags) & IRREGULAR, r)
        n.a = a
        n.b.node = b
        Py_INCREF(left)
        Py_INCREF(right)
    return own(object_of(n))


# ---- Value --------------------------------------------------------------------------------------------------------------

cdef inline dict attributes(object value):
    return value.__dict__  # by way of `object`: Cython refuses it on the type that declares it


cdef tuple node_children(Node *n):
    cdef Node *pair[2]
    cdef Node **parents
    cdef Py_ssize_t i, count
    node_show_number(n)
    count = node_parents(n, pair, &parents)
    return tuple([<object>object_of(parents[i]) for i in range(count)])


@cython.no_gc
@cython.c_api_binop_methods(True)
cdef class Value:
    """A number that remembers how it was computed.

    `Value(data)` is a leaf; arithmetic and the methods below make new Values from old ones; `backward()` on the last one
    fills in the `grad` of all it was computed from.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> c = (a * b + 10).tanh()
    >>> c.backward()
    >>> c.data, a.grad
    (0.999329299739067, -0.0040228520490775965)

    `data` is anything `float()` takes, but no string and no array. The further arguments are for ops of your own: the
    Values it was computed from (`_children`, `children` or `_prev`), what to show as `_op`, a `label`, and either
    `local_grads`, d(this)/d(child) for each child, or a function assigned to `_backward` afterwards.
    Third by position is `_op` if it is a string and `local_grads` if it is a tuple or list.

    Raises TypeError where `data` is not a real number, OverflowError where it is an int too large for a float, ValueError
    where the lengths of children and local_grads differ.
    """

    __array_priority__ = -1.0  # above NumPy's scalars, which then leave `scalar * value` to us; below its arrays, which do not
    label = ""

    def __init__(self, data, _children=(), _op="", label=None, *, children=(), _prev=(), local_grads=None):
        cdef Node *n = &self.node
        cdef tuple parents = tuple(_children) or tuple(children) or tuple(_prev)
        if isinstance(_op, (tuple, list)):
            local_grads, _op = _op, ""
        if local_grads is not None and not parents and not local_grads:
            local_grads = None
        self.data = data
        n.grad = 0.0
        if walking and (parents or n.form != LEAF):
            raise RuntimeError("cannot rebuild a Value while backward() walks its graph")
        node_orphan(n)
        if parents or local_grads:
            node_adopt(n, parents, local_grads)
        if _op:
            self._op = _op
        if label is not None:
            self.label = label
        if type(self)._backward is not Value._backward:
            node_turn_irregular(n, CUSTOM)
        elif parents and (Py_TYPE(<PyObject *>self) != VALUE or slab_of(n).leaves):
            node_turn_irregular(n, 0)
        n.flags &= ~FRESH

    @property
    def data(self):
        """The value, a float. Assigning takes whatever the constructor takes; backward() reads it when it runs."""
        return self.node.data

    @data.setter
    def data(self, value):
        self.node.data = to_double(value, "Value.data")

    @property
    def grad(self):
        """d(root)/d(self), a float, summed over the backward passes since it was last set."""
        return self.node.grad

    @grad.setter
    def grad(self, value):
        self.node.grad = to_double(value, "Value.grad")

    def backward(self):
        """Set `grad` to 1 and add to the grad of every Value this one was computed from.

        Grads accumulate: a second pass adds to the first, at intermediate nodes too.

        >>> x = Value(3.0)
        >>> (x * x).backward()
        >>> x.grad
        6.0

        Raises what Python raises where a derivative does not exist (ZeroDivisionError for `Value(0.0)**0.5`); the grads so
        far stay.
        """
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
        graph_zero_grad(&self.node)

    # -- arithmetic: the row of the op table says what it computes

    def __add__(left, right): return value_binary(ADD, <PyObject *>left, <PyObject *>right)
    def __sub__(left, right): return value_binary(SUB, <PyObject *>left, <PyObject *>right)
    def __mul__(left, right): return value_binary(MUL, <PyObject *>left, <PyObject *>right)
    def __truediv__(left, right): return value_binary(DIV, <PyObject *>left, <PyObject *>right)
    def __pow__(left, right, modulus):
        return value_binary(POW, <PyObject *>left, <PyObject *>right) if modulus is None else NotImplemented
    def __neg__(self): return value_unary(NEG, self)
    def __abs__(self): return value_unary(ABS, self)

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
        if n.op == POW and n.form == NUMBER_RIGHT:
            return f"**{int(n.b.number) if n.flags & INTEGER else n.b.number}"
        return attributes(self).get("_op", "") if n.op == NO_OP else RULES[n.op].symbol.decode()

    @_op.setter
    def _op(self, op):
        attributes(self)["_op"] = op

    @property
    def _local_grads(self):
        """d(self)/d(child) for each of `_children`, a tuple; empty where a Python `_backward` computes them."""
        cdef Node *n = &self.node
        cdef double[2] d
        node_show_number(n)
        if n.form == BLOCK:
            return () if n.b.block.local == NULL else tuple([n.b.block.local[i] for i in range(n.b.block.count)])
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
        """The step of backward() at this node, to call or to replace: add to the children's grads what `grad` sends them."""
        return attributes(self).get("_backward") or self._propagate

    @_backward.setter
    def _backward(self, function):
        attributes(self)["_backward"] = function
        node_turn_irregular(&self.node, CUSTOM)

    def _propagate(self):
        if not node_propagate(&self.node):
            own(NULL)

    def __repr__(self):
        return f"Value(data={self.node.data}, grad={self.node.grad})"

    def __reduce__(self):
        # A copy, or what is unpickled, is a leaf: data, grad and attributes, without the graph behind them.
        kind = Value if type(self) is UserOp else type(self)
        kept = {k: v for k, v in attributes(self).items() if k not in ("_op", "_backward")}
        return _bare, (kind,), (self.node.data, self.node.grad, kept)

    def __setstate__(self, state):
        self.data, self.grad, kept = state
        attributes(self).update(kept)


def _bare(kind):
    """A Value of the kind, its __init__ not run: what unpickling starts from."""
    return kind.__new__(kind)


# ---- The type's slots that Cython has no hook for -----------------------------------------------------------------------

cdef PyObject *value_new(PyTypeObject *kind, PyObject *args, PyObject *keywords) except NULL:
    cdef tuple positional
    cdef dict named
    cdef PyObject *o = NULL
    if kind == VALUE:
        positional = <tuple>args
        named = <dict>keywords if keywords != NULL else {}
        if not (len(positional) > 1 and positional[1] or named and (
                named.get("_children") or named.get("children") or named.get("_prev"))):
            o = object_of(leaf_new(0.0))
        elif len(positional) > 2 and isinstance(positional[2], (tuple, list)) or named.get("local_grads") is not None:
            o = object_of(result_new(NO_OP, LEAF, END, 0.0))
        else:
            kind = <PyTypeObject *>UserOp
    if kind != VALUE:
        o = kind.tp_alloc(kind, 0)
        if o == NULL:
            return NULL
    node_of(o).flags |= FRESH | END
    return o


cdef PyObject *value_vectorcall(PyObject *kind, PyObject *const *args, size_t nargsf, PyObject *names) except NULL:
    cdef Py_ssize_t i, count = PyVectorcall_NARGS(nargsf)
    if count == 1 and names == NULL:
        return object_of(leaf_new(to_double(<object>args[0], "Value.data")))
    positional = tuple([<object>args[i] for i in range(count)])
    named = {}
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            named[name] = <object>args[count + i]
    return PyType_Type.tp_call(kind, <PyObject *>positional, <PyObject *>named)


if VALUE.tp_basicsize != SLOT_SIZE:
    raise ImportError(f"a Value takes {VALUE.tp_basicsize} bytes here, not the {SLOT_SIZE} of its slot")
VALUE.tp_new = value_new
VALUE.tp_vectorcall = value_vectorcall
VALUE.tp_dealloc = value_dealloc
VALUE.tp_traverse = value_traverse
VALUE.tp_clear = value_clear

# Values made with children and no local gradients, whose `_backward` is a closure that holds them in turn. As instances of
# an ordinary subclass they are tracked by the cyclic collector, which plain Values are not.
UserOp = type("Value", (Value,), {"__doc__": Value.__doc__, "__module__": __name__})

# The op table, for tests and tools: {name of the method: (symbol, arity)}.
OPS = {}


cdef void fill_table():
    cdef int op
    for op in range(OP_COUNT):
        RULES[op] = op_rule(op)
        if RULES[op].shape == LINEAR:
            SLOPE_LEFT[op] = RULES[op].d_left(0.0, 0.0, 0.0, 1.0)
            SLOPE_RIGHT[op] = RULES[op].d_right(0.0, 0.0, 0.0, 1.0) if RULES[op].arity == 2 else 0.0
        if op != NO_OP:
            OPS[RULES[op].name.decode()] = (RULES[op].symbol.decode(), RULES[op].arity)


fill_table()
