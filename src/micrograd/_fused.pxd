# Fused sums: bias + w[0] x[0] + w[1] x[1] + ... as one node, which is what a neuron computes. Nobody can tell: whoever
# walks the graph meets the reference's small sums and products, made when asked for.

from micrograd._node cimport Node


cdef void fused_first(Node *newest, Node *oldest) noexcept
cdef bint fused_again(Node *n) noexcept
cdef void fused_forget(Node *n) noexcept
cdef int fused_split(Node *n) except -1
