# A program replayed over a batch.

from micrograd._batch cimport Batch
from micrograd._program cimport Plan, Program
from micrograd._steps cimport Shared, Work


cdef enum Outcome:
    DONE
    FORWARD_RAISED
    BACKWARD_RAISED
    INTERRUPTED


cdef class Replay:
    cdef Program program
    cdef Plan plan
    cdef Batch batch
    cdef Shared shared
    cdef double *memory
    cdef double *seeds
    cdef double *out             # rows x outputs, where these are asked for
    cdef object out_owner        # whose memory that is: a thread may write to it after its caller was interrupted
    cdef double *partials        # of each chunk its sum and the grads of uniform values
    cdef bint backward
    cdef Py_ssize_t lanes        # of a slot
    cdef Py_ssize_t stride       # from one slot to the next
    cdef Py_ssize_t room         # doubles that a thread needs
    cdef Work own                # of the thread that calls; its room is in `memory`
    cdef Py_ssize_t block_rows
    cdef Py_ssize_t chunk_rows
    cdef Py_ssize_t chunks
    cdef Py_ssize_t row_cost     # in multiplications
    cdef Py_ssize_t next         # the chunk to be computed next
    cdef list raised             # (outcome, row, exception)
    cdef int compute_uniforms(self) except -1
    cdef void uniform_work(self, Work *work) noexcept
    cdef void lay_out(self, Work *work, double *room) noexcept
    cdef void splat(self, Work *work) noexcept
    cdef Outcome run_block(self, Work *work, Py_ssize_t first, Py_ssize_t live, double *total) noexcept nogil
    cdef Outcome run_chunk(self, Work *work, Py_ssize_t chunk, Py_ssize_t *failed) noexcept nogil
    cdef Py_ssize_t find_row(self, Work *work, Py_ssize_t first, Py_ssize_t live, Outcome outcome) noexcept nogil
    cdef void spread_layers(self, Work *work) noexcept nogil
    cdef int take_chunks(self, Work *work) except -1
    cdef int run(self, int threads) except -1
    cdef int run_shared(self, int threads) except -1
    cdef double total(self)
    cdef double *grads(self) noexcept
    cdef object gradients(self, int threads)
    cdef int add_partials(self) except -1
    cdef int row_forward(self) except -1
    cdef object row_backward(self, Py_ssize_t output)
