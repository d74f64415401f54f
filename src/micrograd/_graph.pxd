# The passes over a graph, and the op table as an array for those who look rows up at run time.

from micrograd._node cimport Node
from micrograd._ops cimport OP_COUNT, Rule


cdef Rule[OP_COUNT] RULES
cdef Py_ssize_t late_nodes  # nodes alive that turned irregular when they may have had descendants already
cdef bint walking           # an ordered walk is under way

cdef void node_turn_irregular(Node *n, int why) noexcept
cdef int graph_backward(Node *root) except -1
cdef int graph_zero_grad(Node *root) except -1
cdef bint node_propagate(Node *n) noexcept
cdef bint nan_is_refusal(Node *receiver) noexcept


cdef inline bint refused(double sent, Node *receiver) noexcept:
    """Did the rule raise? For a number that has a grad only because somebody looked, that makes NaN instead."""
    return sent != sent and nan_is_refusal(receiver)
