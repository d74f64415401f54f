# A node of the graph: the typed part of a Value, which begins right behind the object's head, and what can be asked of
# it alone. Everything below the Python face works on `Node *`.

from cpython.object cimport PyObject
from micrograd._cpython cimport Py_None, tuple_items


cdef enum Form:    # how `a` and `b` of a node are to be read
    LEAF           # no parents
    UNARY          # op(a)
    BINARY         # a op b
    NUMBER_RIGHT   # a op number
    NUMBER_LEFT    # number op a
    BLOCK          # parents in a block: of an op of many arguments, or of a user's op with or without local gradients
    FUSED          # a bias and a sum of products, in a block shared with others; then op, if that is not ADD
    HIDDEN         # all the fused sums of a network's inner layer, in the slot of the newest, until somebody looks

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
    GROWN = 2048   # a fused sum, of whose weights and bias some are no leaves
    TRACED = 4096  # stands for an argument in a trace, or was computed from one: its data are not known
    LISTED = 32768  # in a list of parameters that is being looked through: never outside of one C function
    MADE = 8192    # a leaf made in the trace whose number is its `place`, or computed from such leaves alone
    INHERITED = IRREGULAR | TRACED  # what descendants take over when they are made

cdef struct Block:
    Py_ssize_t count   # parents
    double *local      # a user's d(node)/d(parent), in the same allocation; NULL where an op's rule or Python code says
    Node *parents[1]   # `count` of them, a reference to each

cdef struct Sum:         # bias + w[0] x[0] + w[1] x[1] + ... in this order, and what the node's op makes of it
    PyObject *row        # a tuple: the bias or None, then the w
    double total         # the sum: the node's data where its op is ADD, else what the activation was given
    double sent          # the grad of the sum after the first backward pass since grads were last cleared
    double *stale        # after a second pass: the grads of the small nodes, as fused_again() says
    int op               # ADD, or the activation
    int flags            # what the node has of the row's
    int passes           # backward passes since then, 2 standing for more

cdef struct Fused:       # the sums over one sample, as of the neurons of a layer
    Py_ssize_t count     # products in each
    Py_ssize_t held      # nodes alive that are sums of it, a hidden layer counted once; and its maker
    Node **nodes         # the x, a reference to each, in the same allocation; NULL where they are no nodes
    double *numbers      # the x where they are numbers or a hidden layer's, with grads behind, in the same allocation
    Node *hidden         # the hidden layer that the x are, a reference; else NULL
    size_t size          # bytes of the allocation, these included
    Sum sums[1]          # one for each node, at its `place`

cdef union Operand:
    Node *node
    double number
    Block *block
    Fused *fused

cdef struct Node:
    double data            # the value
    double grad            # d(root)/d(value), summed over backward passes
    Node *a                # first or only parent, a reference; NULL in blocks; of a hidden layer: hidden_above()
    Operand b              # second parent (a reference), the number, or the block
    unsigned char op       # row of the op table, 0 for none
    unsigned char form     # a Form
    unsigned short flags   # a set of Flag
    unsigned int place     # of a fused sum: which of `sums` is its own; of a hidden layer: the last; and see MADE


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


cdef inline Sum *node_sum(Node *n) noexcept nogil:
    return &n.b.fused.sums[n.place]


cdef inline PyObject **sum_weights(Sum *sum_) noexcept nogil:
    """The w of a fused sum. Before them stands the bias, or None."""
    return tuple_items(sum_.row) + 1


cdef inline Node *sum_bias(Sum *sum_) noexcept nogil:
    cdef PyObject *bias = tuple_items(sum_.row)[0]
    return NULL if bias == Py_None else node_of(bias)


cdef inline Fused *hidden_above(Node *n) noexcept nogil:
    """What has the outputs of a hidden layer for its sample, and alone holds them."""
    return <Fused *>n.a
