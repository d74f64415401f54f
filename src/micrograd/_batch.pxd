# Arguments of a compiled function as numbers: of one sample, or of a batch of them.

from cpython.buffer cimport Py_buffer


cdef class Batch:
    cdef readonly Py_ssize_t rows
    cdef readonly tuple shapes      # of a row of each argument
    cdef tuple names                # of the last arrays
    cdef Py_buffer *buffers
    cdef int held                   # buffers to be given back
    cdef const double **columns     # of each number of a row: where its first row is
    cdef Py_ssize_t *steps          # and how many doubles on the next one is
    cdef double *numbers            # of a sample: what the columns point to
    cdef int count                  # numbers of a row
    cdef str name(self, Py_ssize_t i, Py_ssize_t count)
    cdef Py_ssize_t row_size(self, int i)
    cdef bint take(self, array)
    cdef int take_sample(self, list leaves) except -1
