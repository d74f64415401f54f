# Fused sums: bias + w[0] x[0] + w[1] x[1] + ... as one node, with a neuron's activation where there is one; those over
# one sample share it. Nobody can tell: whoever walks the graph meets the reference's small sums and products, made when
# asked for.

from cpython.object cimport PyObject
from micrograd._node cimport Fused, Node


# Steps of a walk
cdef bint fused_first(Node *newest, Node *oldest) noexcept
cdef bint hidden_first(Node *n) noexcept
cdef bint fused_again(Node *n) noexcept
cdef void fused_forget(Node *n) noexcept

# Taking apart
cdef void hidden_show(Fused *fused) noexcept
cdef int fused_split(Node *n) except -1

# Making sums over a sample: fused_new(); then for each layer row, flags and op of its sums, and fused_onto() the next
# layer, or fused_outputs() after the last. `flags` are those that the sums inherit from the x.
cdef Fused *fused_new(list x, Py_ssize_t sums, int *flags) noexcept
cdef PyObject *row_new(list weights, PyObject *bias, int *flags) noexcept
cdef bint fused_outputs(Fused *fused, Py_ssize_t sums, bint filled, int flags, PyObject **outputs) noexcept
cdef Fused *fused_onto(Fused *fused, Py_ssize_t sums, bint filled, int *flags, Py_ssize_t next_sums) noexcept
