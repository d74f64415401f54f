# Programs: a trace made ready to be replayed, and plans, which are its steps on slots.

from micrograd._trace cimport Trace


cdef enum StepKind:   # header; slots
    APPLY             # op;                              result, a, b
    REDUCE            # op;                              result, arguments
    DOTS              # -;                               result, start, a[0], b[0], a[1], b[1], ...
    LAYER             # layer, outputs, inputs, starts;  outputs, inputs, and the starts if they are not of the layer
    BACK_APPLY        # op, side, add;                   what gains, grad, a, b, result
    BACK_REDUCE       # op, adds;                        grad, result, then argument and what gains in turn
    BACK_DOTS         # adds;                            grad, then a, b and what gains of each in turn, or -1
    BACK_LAYER        # layer, outputs, inputs, what;    grads, inputs, what gains, and what it starts from
    SEED              # output, add;                     what gains
    COLLECT           # uniform;                         grad

cdef enum:
    TILE = 8          # lanes, and other rows of numbers, are handled so many at a time
    WEIGHTS = 1       # BACK_LAYER: of the weights and biases
    INPUTS = 2        # BACK_LAYER: of the inputs

cdef struct Layer:    # sums of products over the same inputs: a matrix
    int outputs
    int inputs
    int *weights      # outputs x inputs of uniform values
    int *starts       # uniform values, one an output; NULL where they vary from row to row
    Py_ssize_t place  # where its weights begin among those of all layers
    bint turned       # are grads of weights kept as inputs x outputs? so that the longer side is in a row
    int pitch         # length of such a row, with room to the next multiple of TILE
    Py_ssize_t grads  # where they begin among those of all layers
    int start         # where its starts begin among those of all layers

cdef struct Code:     # steps in a row: kind, length of header, number of slots, header, slots
    int *words
    Py_ssize_t count


cdef class Plan:
    cdef Code forward
    cdef Code backward
    cdef Code loads           # pairs of argument and slot
    cdef Code splats          # pairs of uniform value and slot
    cdef Code outputs         # the slots of the outputs
    cdef Code turned          # layers whose inputs need grads
    cdef Code grads           # pairs of argument and the slot of its grad
    cdef readonly int slots   # lanes of numbers it works on
    cdef readonly int steps


cdef class Program:
    cdef readonly Trace trace
    cdef readonly tuple rows       # as in the trace, with the sums of products that were found
    cdef readonly tuple outputs    # rows that the function returned
    cdef readonly tuple uniform    # does a row not depend on the arguments?
    cdef readonly tuple schedule   # rows that vary, in groups: (row,), or the outputs of a layer
    cdef dict place                # row -> its place in the array of uniform values
    cdef list layer_groups
    cdef Layer *layers
    cdef int layer_count
    cdef Py_ssize_t weights        # of all layers together
    cdef Py_ssize_t grads          # likewise
    cdef int starts
    cdef int pitch                 # the longest
    cdef int widest                # arguments of an op of any number of them
    cdef readonly int uniforms     # uniform values: first the captured leaves
    cdef Code constants            # places of numbers; their values are in `numbers`
    cdef list numbers
    cdef readonly Plan once        # what is computed once a call
    cdef list plans                # by mode
    cdef Plan plan(self, int mode)
    cdef int place_uniforms(self) except -1
    cdef int group(self) except -1
    cdef bint is_layer(self, tuple group)
    cdef int add_layer(self, tuple group) except -1


cdef enum Mode:
    FORWARD        # no gradients
    CAPTURED_ONLY  # gradients of the captured leaves
    ALL            # and of the arguments
    MODES
