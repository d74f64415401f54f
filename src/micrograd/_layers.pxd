cdef class NeuronState:
    cdef public object w
    cdef public object b
    cdef public object nonlin
    cdef tuple row      # bias and weights as the last call met them: the sums of a thousand samples share one row
    cdef int row_flags  # what a sum has of their flags


cdef class LayerState:
    cdef public object neurons
