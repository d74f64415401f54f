# A node of the graph: the typed part of a Value, which begins right behind the object's head, and what can be asked of
# it alone. Everything below the Python face works on `Node *`.

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from micrograd._cpython cimport Py_DECREF


cdef enum Form:    # how `a` and `b` of a node are to be read
    LEAF           # no parents
    UNARY          # op(a)
    BINARY         # a op b
    NUMBER_RIGHT   # a op number
    NUMBER_LEFT    # number op a
    BLOCK          # parents in a block: of an op of many arguments, or of a user's op with or without local gradients
    FUSED          # a bias and a sum of products, in a block of their own

cdef enum Flag:
    PENDING = 1    # marked by the running backward walk, not handled yet
    WALKED = 2     # a backward pass went through since its grad was last cleared with the graph
    INTEGER = 4    # the number was an integer: `_op` of x**2 shows **2, not **2.0
    IRREGULAR = 8  # it or an ancestor lives outside the slabs or runs Python in backward
    CUSTOM = 16    # its own backward is Python code
    LATE = 32      # turned irregular when it may have had descendants: counted in `late_nodes`
    FRESH = 64     # allocated, __init__ still to run
    SEEN = 128     # depth-first collection: reached
    SORTED = 256   # depth-first collection: in the order
    END = 512      # a leaf: a walk has nothing to do here
    SHOWN = 1024   # a number that got a node because somebody looked
    TRACED = 2048  # stands for an argument in a trace, or was computed from one: its data are not known
    INHERITED = 2056  # IRREGULAR and TRACED: what descendants take over when they are made

cdef struct Block:
    Py_ssize_t count   # parents
    double *local      # a user's d(node)/d(parent), in the same allocation; NULL where an op's rule or Python code says
    Node *parents[1]   # `count` of them, a reference to each

cdef struct Fused:     # bias + w[0] x[0] + w[1] x[1] + ... in this order, as one node
    Py_ssize_t count   # products
    double *numbers    # the x where they are numbers, in the same allocation; NULL where they are nodes
    int passes         # backward passes since grads were last cleared, 2 standing for more
    double sent        # the grad the first of them found
    double *stale      # after a second pass: the grads of the small nodes, as fused_again() says
    Node *row[1]       # bias or NULL, the w, the x where they are nodes: a reference to each

cdef union Operand:
    Node *node
    double number
    Block *block
    Fused *fused

cdef struct Node:
    double data            # the value
    double grad            # d(root)/d(value), summed over backward passes
    Node *a                # first or only parent, a reference; NULL in leaves and blocks
    Operand b              # second parent (a reference), the number, or the block
    unsigned char op       # row of the op table, 0 for none
    unsigned char form     # a Form
    unsigned short flags   # a set of Flag


cdef inline PyObject *object_of(Node *n) noexcept nogil:
    return <PyObject *>n - 1


cdef inline Node *node_of(PyObject *o) noexcept nogil:
    return <Node *>(o + 1)


cdef inline PyObject **node_attributes(Node *n) noexcept nogil:
    """The object's __dict__ field, which follows the node."""
    return <PyObject **>(n + 1)


# The dead are listed through their reference counts, for which they have no other use.

cdef inline void node_link(Node *n, Node *next) noexcept nogil:
    (<Py_ssize_t *>object_of(n))[0] = <Py_ssize_t>next


cdef inline Node *node_next(Node *n) noexcept nogil:
    return <Node *>(<Py_ssize_t *>object_of(n))[0]


cdef inline Py_ssize_t node_parents(Node *n, Node **pair, Node ***parents) noexcept nogil:
    """How many parents, and where they stand in a row; `pair` is room for two."""
    cdef Py_ssize_t count
    parents[0] = pair
    if n.form == LEAF:
        return 0
    if n.form == BLOCK:
        parents[0] = n.b.block.parents
        return n.b.block.count
    if n.form == FUSED:
        parents[0] = n.b.fused.row
        count = n.b.fused.count * (1 if n.b.fused.numbers != NULL else 2) + 1
        if parents[0][0] == NULL:
            parents[0] += 1
            count -= 1
        return count
    pair[0] = n.a
    pair[1] = n.b.node
    return 2 if n.form == BINARY else 1


cdef inline void node_orphan(Node *n) noexcept:
    """Give up the parents: the node becomes a leaf."""
    cdef Node *pair[2]
    cdef Node **parents
    cdef Py_ssize_t i, count = node_parents(n, pair, &parents)
    cdef int form = n.form
    cdef Operand b = n.b
    n.form = LEAF
    n.op = 0
    n.flags |= END
    for i in range(count):
        Py_DECREF(object_of(parents[i]))
    if form == BLOCK:
        PyMem_Free(b.block)
    elif form == FUSED:
        PyMem_Free(b.fused.stale)
        PyMem_Free(b.fused)
