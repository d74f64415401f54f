# A trace: what a function computed from placeholders, as rows of (op, arguments).

from micrograd._core.node cimport Node

cdef enum:      # ops of a trace beside the rows of the op table; what they are of stands in place of arguments
    NUMBER = 240  # a number that never changes
    CAPTURED      # a leaf from outside, by its index: its data are read at every call
    ARGUMENT      # a number that the function is called with, by its index
    DOT           # start + a[0] b[0] + a[1] b[1] + ..., in this order: (start, a[0], b[0], a[1], b[1], ...)


cdef class Trace:
    cdef readonly tuple rows      # (op, arguments): arguments are indices of earlier rows
    cdef readonly tuple outputs   # rows that the function returned
    cdef readonly tuple captured  # the leaves from outside, Values
    cdef readonly int arguments   # numbers the function is called with
    cdef readonly int read        # ops that stood in the graph, those in fused sums counted singly
    cdef readonly int folded      # of them, computed while tracing
    cdef readonly int shared      # of them, met before
    cdef list made                # the rows so far, while it is made; then None
    cdef list met                 # the leaves so far
    cdef dict known               # (op, arguments) -> row

    cdef int row(self, int op, tuple args) except -1
    cdef int number(self, double x) except -1
    cdef int apply(self, int op, tuple args) except -1
    cdef int take(self, Node *n, dict row_of) except -1
    cdef int take_leaf(self, Node *n, dict row_of) except -1
    cdef list products(self, Node *n, list parents)
