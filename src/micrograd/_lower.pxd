# The rows of a program, as they come from a trace.

from micrograd._trace cimport Trace


cdef class Lowered:
    cdef list rows         # as in the trace, with the sums of products that were found
    cdef list outputs      # rows that the function returned
    cdef list uniform      # does a row not depend on the arguments?
    cdef int widest        # arguments of an op of any number of them
    cdef int put(self, int op, args, bint uniform) except -1
    cdef int lower(self, Trace trace) except -1
    cdef int lower_sum(self, list args) except -1


cdef list pick(source, keys)
