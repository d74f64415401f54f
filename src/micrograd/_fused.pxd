# Fused sums: bias + w[0] x[0] + w[1] x[1] + ... as one node, which is what a neuron computes; those over one sample share
# it. Nobody can tell: whoever walks the graph meets the reference's small sums and products, made when asked for.

from cpython.object cimport PyObject
from micrograd._node cimport Fused, Node


# Steps of a walk
cdef bint fused_first(Node *newest, Node *oldest) noexcept
cdef bint fused_again(Node *n) noexcept
cdef void fused_forget(Node *n) noexcept
cdef int fused_split(Node *n) except -1

# Making sums over a sample: fused_new(), the row and the activation of each, sum_new(), fused_settle()
cdef Fused *fused_new(list x, Py_ssize_t sums, int *flags) noexcept
cdef PyObject *row_new(list weights, PyObject *bias) noexcept
cdef PyObject *sum_new(Fused *fused, Py_ssize_t place, int flags) noexcept
cdef void fused_settle(Fused *fused, Py_ssize_t made, Py_ssize_t sums) noexcept
