# A node of the graph: the typed part of a Value. It begins right behind the object's head. Everything below Value's
# Python-facing methods works on `Node *`.
#
# Gives the structs Node, Block, Layer and Affine, their flags, and what can be asked of a node alone. Uses capi.pxd.

from cpython.object cimport PyObject
from micrograd._core.capi cimport Py_None, tuple_items


cdef enum Form:    # how `a` and `b` of a node are to be read
    LEAF           # no parents
    UNARY          # op(a)
    BINARY         # a op b
    NUMBER_RIGHT   # a op number
    NUMBER_LEFT    # number op a
    BLOCK          # parents in a Block: of a variadic op, or of a user's op with or without local gradients
    AFFINE         # a bias and a sum of products, in a Layer shared with others; then op, if that is not ADD

cdef enum Flag:
    PENDING = 1         # marked by the running backward walk, not handled yet
    WALKED = 2          # a backward pass handled it since its grad was last cleared together with its graph
    INTEGER = 4         # the number was an int: `_op` of x**2 shows **2, not **2.0
    IRREGULAR = 8       # it or an ancestor lives outside the slabs or runs Python code in backward
    CUSTOM = 16         # its own backward is Python code
    LATE = 32           # turned irregular when it may have had descendants: counted in engine.late_nodes
    FRESH = 64          # allocated, __init__ still to run
    SEEN = 128          # depth-first order: reached
    SORTED = 256        # depth-first order: in the order
    END = 512           # a leaf: a walk has nothing to do here
    CONSTANT = 1024     # a leaf made for the number of an op when its parents were materialized
    RESULT_WEIGHTS = 2048  # an affine node of which a weight or the bias is no leaf
    TRACED = 4096       # stands for an argument in a trace, or was computed from one: its data are not known
    MADE = 8192         # a leaf made in the trace whose number is its `index`, or computed from such leaves alone
    LISTED = 32768      # in a list of parameters that is being filled: never set outside of one C function
    INHERITED = IRREGULAR | TRACED  # what descendants take over when they are made

cdef struct Block:
    Py_ssize_t count        # parents
    double *local           # a user's d(node)/d(parent), in the same memory; NULL where a rule or Python code says
    PyObject *parents[1]    # `count` of them, a reference to each

cdef struct Affine:         # bias + w[0] x[0] + w[1] x[1] + ... in this order, and what the node's op makes of it
    PyObject *weights       # a tuple: the bias or None, then the w
    double preactivation    # the sum: the node's data where its op is ADD, else the argument of the activation
    double adjoint          # d(root)/d(preactivation) of the first backward pass since grads were last cleared
    double *adjoints        # after a second pass: those of the reference's nodes, as affine_again() lays them out
    int op                  # ADD, or the activation
    int flags               # what the node inherits from the weights
    int passes              # backward passes since grads were last cleared, 2 standing for more

cdef struct Layer:          # the affine nodes over one sample, as of the neurons of a layer
    Py_ssize_t inputs       # how many x
    Py_ssize_t outputs      # how many affine nodes
    Py_ssize_t holders      # nodes of it that are alive, or the layer above while this one is hidden; and its maker
    PyObject **nodes        # the x, a reference to each; NULL where they are numbers or a hidden layer's outputs
    double *data            # otherwise their data, in the same memory,
    double *grad            # and those of a hidden layer their grads, behind the data
    Layer *below            # the hidden layer whose outputs the x are, held; NULL where they are nodes or numbers
    Py_ssize_t hidden       # outputs of all hidden layers below when this was made
    Node *slots             # of a hidden layer: the newest of the slots kept for its nodes; NULL while it has none
    size_t size             # bytes of the allocation, these included
    Affine affine[1]        # one for each output

cdef union Operand:
    Node *node
    double number
    Block *block
    Layer *layer

cdef struct Node:
    double data             # the value
    double grad             # d(root)/d(value), summed over backward passes
    Node *a                 # first or only parent, a reference; NULL where `b` is a block or a layer
    Operand b               # second parent (a reference), the number, the block, or the layer
    unsigned char op        # row of the op table, 0 for none
    unsigned char form      # a Form
    unsigned short flags    # a set of Flag
    unsigned int index      # of an affine node: which of its layer's outputs it is; and see MADE


cdef inline PyObject *object_of(Node *n) noexcept nogil:
    return <PyObject *>n - 1


cdef inline Node *node_of(PyObject *o) noexcept nogil:
    return <Node *>(o + 1)


cdef inline PyObject **node_attributes(Node *n) noexcept nogil:
    """The object's __dict__ field, which follows the node."""
    return <PyObject **>(n + 1)


cdef inline Affine *node_affine(Node *n) noexcept nogil:
    return &n.b.layer.affine[n.index]


cdef inline PyObject **affine_weights(Affine *affine) noexcept nogil:
    """The w. The bias, or None, stands before them."""
    return tuple_items(affine.weights) + 1


cdef inline Node *affine_bias(Affine *affine) noexcept nogil:
    cdef PyObject *bias = tuple_items(affine.weights)[0]
    return NULL if bias == Py_None else node_of(bias)
