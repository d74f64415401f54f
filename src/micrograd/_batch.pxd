# Arguments of a compiled function as numbers: of one sample, or of a batch of them.

from cpython.buffer cimport Py_buffer


cdef enum:
    DEEPEST = 100            # lists in lists
    MOST_NUMBERS = 16777216  # of a sample


cpdef object form_of(argument, list leaves, name)


cdef class Batch:
    cdef readonly Py_ssize_t rows
    cdef readonly bytes key         # tells batches of other shapes of rows apart
    cdef Py_buffer *buffers
    cdef int held                   # buffers to be given back
    cdef const double **columns     # of each number of a row: where its first row is
    cdef Py_ssize_t *steps          # and how many doubles on the next one is; in the same allocation
    cdef double *numbers            # of a sample: what the columns point to
    cdef Py_ssize_t count           # numbers of a row
    cdef int make_key(self, Py_ssize_t axes) except -1
    cdef int make_columns(self) except -1
    cdef int refuse(self, tuple names) except -1
    cdef bint take(self, array) except -1
    @staticmethod
    cdef Batch of_sample(list leaves)
