# The passes over a graph, and the op table as an array for those who look rows up at run time.

from micrograd._fused cimport hidden_show
from micrograd._node cimport BINARY, BLOCK, FUSED, LEAF, Node, node_of, node_sum, sum_bias, sum_weights
from micrograd._ops cimport OP_COUNT, Rule


cdef Rule[OP_COUNT] RULES
cdef Py_ssize_t late_nodes  # nodes alive that turned irregular when they may have had descendants already
cdef bint walking           # an ordered walk is under way
cdef Py_ssize_t splits      # fused sums that were taken apart, so far

cdef void node_turn_irregular(Node *n, int why) noexcept
cdef int graph_backward(Node *root) except -1
cdef int graph_zero_grad(Node *root) except -1
cdef bint node_propagate(Node *n) noexcept
cdef bint nan_is_refusal(Node *receiver) noexcept


cdef inline bint refused(double sent, Node *receiver) noexcept:
    """Did the rule raise? For a number that has a grad only because somebody looked, that makes NaN instead."""
    return sent != sent and nan_is_refusal(receiver)


cdef inline Py_ssize_t node_parent_count(Node *n) noexcept:
    """How many parents there are. To be asked for before they are: a hidden layer's nodes are made here."""
    if n.form == LEAF:
        return 0
    if n.form == BLOCK:
        return n.b.block.count
    if n.form == FUSED:
        hidden_show(n.b.fused)
        return n.b.fused.count * (2 if n.b.fused.nodes != NULL else 1) + (sum_bias(node_sum(n)) != NULL)
    return 2 if n.form == BINARY else 1


cdef inline Node *node_parent(Node *n, Py_ssize_t i) noexcept nogil:
    """One of the parents; of a fused sum the bias, the w, and the x where they are nodes, in this order."""
    if n.form == BLOCK:
        return n.b.block.parents[i]
    if n.form == FUSED:
        i -= sum_bias(node_sum(n)) != NULL
        if i >= n.b.fused.count:
            return n.b.fused.nodes[i - n.b.fused.count]
        return node_of(sum_weights(node_sum(n))[i])
    return n.b.node if i else n.a
