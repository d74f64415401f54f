# A node of the graph: the fields of a Value, directly after the object's head. Functions other than Value's methods
# work on `Node *`.
#
# Gives the structs Node, Block, Layer and Affine, a node's forms and flags, and access to parts of them. Uses capi.pxd.

from cpython.object cimport PyObject
from micrograd._core.capi cimport Py_None, tuple_items


cdef enum Form:    # what `a` and `b` of a node are
    LEAF           # no parents
    UNARY          # op(a)
    BINARY         # a op b
    NUMBER_RIGHT   # a op number
    NUMBER_LEFT    # number op a
    BLOCK          # parents in a Block: of a variadic op, or of a user's op with or without local gradients
    AFFINE         # bias + w[0] x[0] + ..., in a Layer shared with others; then the activation, unless op is ADD

cdef enum Flag:
    PENDING = 1                     # marked by the backward walk under way, not handled yet
    WALKED = 2                      # a backward pass handled it since its graph's zero_grad()
    INTEGER = 4                     # the number was an int: `_op` of x**2 is **2, not **2.0
    IRREGULAR = 8                   # it or an ancestor is in no slab, is newer than its child, or is CUSTOM
    CUSTOM = 16                     # its `_backward` is Python code
    LATE = 32                       # became irregular when it may have had descendants; see engine.late_nodes
    FRESH = 64                      # allocated, but __init__ has not run
    SEEN = 128                      # depth-first order: reached
    SORTED = 256                    # depth-first order: in the order
    END = 512                       # a leaf: backward ends here, and needs no mark
    CONSTANT = 1024                 # a leaf that was materialized from the number of an op
    RESULT_WEIGHTS = 2048           # of an affine node: a weight or the bias is no leaf
    TRACED = 4096                   # an argument in a trace, or computed from one: its data are not known
    MADE = 8192                     # a leaf made in the trace number `index`, or computed from such leaves alone
    LISTED = 16384                  # in a list of parameters that one C function is filling
    INHERITED = IRREGULAR | TRACED  # the flags that a node takes over from its parents when it is made

cdef struct Block:          # the parents of a variadic op, or of a user's op
    Py_ssize_t count        # how many
    double *local           # a user's d(node)/d(parent), in the same memory; NULL for a variadic op or Python code
    PyObject *parents[1]    # `count` of them, a reference to each

cdef struct Affine:         # bias + w[0] x[0] + w[1] x[1] + ..., added in this order; then the activation
    PyObject *weights       # a tuple: the bias or None, then the w
    double preactivation    # the sum: the node's data if op is ADD, else the argument of the activation
    double adjoint          # d(root)/d(preactivation) in the first backward pass since zero_grad() of the graph
    double *adjoints        # from the second pass on: see affine_keep_adjoints(); NULL before
    int op                  # the activation, or ADD for none
    int flags               # what the node inherits from the weights, and RESULT_WEIGHTS
    int passes              # backward passes since zero_grad() of the graph: 0, 1, or 2 for more

cdef struct Layer:          # the affine nodes of one sample, as of the neurons of a layer
    Py_ssize_t inputs       # how many x
    Py_ssize_t outputs      # how many affine nodes
    Py_ssize_t holders      # one for each node; for a hidden layer, which has none, the layer above; and the maker
    PyObject **nodes        # the x, a reference to each, in the memory of `data`; NULL where they are no nodes
    double *data            # the data of x that are numbers or a hidden layer's outputs, after `affine`
    double *grad            # the grads of a hidden layer's outputs, after their data
    Layer *below            # the hidden layer whose outputs the x are, held; NULL where the x are nodes or numbers
    Py_ssize_t hidden       # how many outputs all hidden layers below had when this one was made
    Node *slots             # of a hidden layer: the newest of the slots kept for its nodes; NULL until they are kept
    size_t size             # bytes of the allocation, with this struct
    Affine affine[1]        # one for each output

cdef union Operand:         # by the node's form:
    Node *node              # BINARY: the second parent, a reference
    double number           # NUMBER_RIGHT, NUMBER_LEFT; 0.0 for UNARY
    Block *block            # BLOCK
    Layer *layer            # AFFINE, with a hold on it

cdef struct Node:
    double data             # the value
    double grad             # d(root)/d(value), accumulated over backward passes
    Node *a                 # first or only parent, a reference; NULL where `b` is a block or a layer
    Operand b               # the rest of what it was computed from
    unsigned char op        # an Op, NO_OP for none
    unsigned char form      # a Form
    unsigned short flags    # a set of Flag
    unsigned int index      # of an affine node: its number among the outputs; else see MADE and embedding_values


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
    """The w. The item before them is the bias or None."""
    return tuple_items(affine.weights) + 1


cdef inline Node *affine_bias(Affine *affine) noexcept nogil:
    """The bias, NULL for none."""
    cdef PyObject *bias = tuple_items(affine.weights)[0]
    return NULL if bias == Py_None else node_of(bias)
