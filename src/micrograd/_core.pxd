# Table of contents of the engine: a node, the slabs nodes live in, and the Python type that is a node.
# The op rules are in _ops.pxd, the functions in _core.pyx, the reasons in docs/architecture.md.

from cpython.object cimport PyObject


cdef enum Form:    # how `a` and `b` of a node are to be read
    LEAF           # no parents
    UNARY          # op(a)
    BINARY         # a op b
    NUMBER_RIGHT   # a op number
    NUMBER_LEFT    # number op a
    BLOCK          # parents in a block, with or without local gradients

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

cdef struct Block:
    Py_ssize_t count   # parents
    double *local      # d(node)/d(parent) of each, in the same allocation; NULL when the op is a user's Python code
    Node *parents[1]   # `count` of them, a reference to each

cdef union Operand:
    Node *node
    double number
    Block *block

cdef struct Node:
    double data            # the value
    double grad            # d(root)/d(value), summed over backward passes
    Node *a                # first or only parent, a reference; NULL in leaves and blocks
    Operand b              # second parent (a reference), the number, or the block
    unsigned char op       # row of the op table
    unsigned char form     # a Form
    unsigned short flags   # a set of Flag

cdef struct Slab:          # heads 64 KB, aligned to their size, of which the rest are slots
    Slab *older            # neighbours in order of creation, or in the list of leaf slabs with room
    Slab *newer
    Node *free             # leaf slabs: freed slots, linked through their __dict__ field
    Node *top              # backward walk: the highest marked node
    Py_ssize_t pending     # backward walk: marked nodes not handled yet
    int used               # slots ever handed out
    int freed              # slots given back
    bint leaves            # holds leaves, in any order; else results of ops, in order of creation


cdef class Value:
    cdef Node node
    cdef dict __dict__     # made when first asked for; the link of the list of the dying, and of free slots


cdef Node *leaf_new(double data) except NULL
cdef Node *result_new(int op, int form, int flags, double data) except NULL
cdef bint node_propagate(Node *n) noexcept
cdef int graph_backward(Node *root) except -1
