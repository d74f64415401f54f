# Steps run over lanes, and what they work on.

from micrograd._program cimport Code, Layer


cdef extern from *:
    struct Lanes          # loops over lanes; what there is in it is in _lanes.h, which _steps.pyx alone includes

cdef struct Work:         # what a thread works on
    double *base          # slots
    Py_ssize_t stride
    double *weights       # grads of layers' weights
    double *starts        # grads of layers' starts
    double *packed        # slots side by side, lane after lane
    double *scratch       # arguments of an op of any number of them
    double *grads         # grads of uniform values, of the chunk at hand
    double *seeds         # the grad of each output
    const Lanes *lanes

cdef struct Shared:       # what all threads of a call read
    double *uniform       # values, and then their grads
    double *weights       # of layers, outputs x inputs
    double *turned        # of layers, inputs x outputs
    double *starts        # of layers
    Layer *layers


cdef inline double *slot(Work *work, int i) noexcept nogil:
    return work.base + i * work.stride


cdef inline void clear_dead(double *x, Py_ssize_t live, Py_ssize_t width) noexcept nogil:
    """Lanes past the last row are computed with the others and never looked at. What loops over lanes leave out is
    cleared, so that they hold numbers; and before a sum over all lanes, in which they have to be 0."""
    cdef Py_ssize_t i
    for i in range(live, width):
        x[i] = 0.0


cdef const Lanes *lanes_of(Py_ssize_t width) noexcept nogil
cdef double lane_total(Work *work, int i, Py_ssize_t live) noexcept nogil
cdef bint steps_forward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil
cdef bint steps_backward(Code *code, Shared *shared, Work *work, Py_ssize_t live, Py_ssize_t width) noexcept nogil
cdef void layer_lay_out(Layer *layer, Shared *shared) noexcept
cdef void layer_turn(Layer *layer, Shared *shared) noexcept
cdef void layer_spread(Layer *layer, Work *work) noexcept nogil
