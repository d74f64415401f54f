# What nn.py and functional.py compute, one call into C each: outputs of neurons, layers and networks, their lists of
# parameters, and ops of any number of arguments.
#
# The Python classes in nn.py say what a neuron is. Where they and their subclasses leave `__call__` and `parameters` as
# they are, the loops here do the same without a Python call a neuron. What is kept between calls is checked at each.

cimport cython
from cpython.list cimport PyList_New
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.string cimport memcmp
from micrograd._core cimport Value, sums_are_own, to_double
from micrograd._cpython cimport *
from micrograd._fused cimport fused_new, fused_onto, fused_outputs, row_new
from micrograd._invariants cimport node_fits
from micrograd._node cimport BINARY, BLOCK, END, INHERITED, LEAF, LISTED, TRACED, Block, Fused, Node, node_of, object_of
from micrograd._ops cimport ADD, CROSS_ENTROPY, HIGHEST, LOGSUMEXP, OP_COUNT, SUM, op_reduce, op_rule
from micrograd._slab cimport heap, result_new, traces


# ---- Bases of the classes in nn.py ---------------------------------------------------------------

# Fields of C, which the core reads without a search, are a fifth of the time of a small network; calls without a frame
# of Python 3 %. They are copied and pickled by the rules of Python, as slots are.

def slot_names(kind):
    """The names of the slots of a class and its bases."""
    names = kind.__dict__.get("__slotnames__")  # where copyreg keeps them
    if names is None:
        import copyreg  # here: nothing else at import needs it, and it takes as long as all of this

        names = copyreg._slotnames(kind)
    return names


cdef tuple state_of(self, tuple fields):
    return self.__dict__, {name: getattr(self, name) for name in (*fields, *slot_names(type(self)))
                           if hasattr(self, name)}


@cython.auto_pickle(False)
cdef class NeuronState:
    """The weights `w` of a neuron, its bias `b`, and `nonlin`, whether an activation follows."""

    cdef public object w
    cdef public object b
    cdef public object nonlin
    cdef tuple row      # bias and weights as the last call met them: the sums of a thousand samples share one row
    cdef int row_flags  # what a sum has of their flags

    def __getstate__(self):
        return state_of(self, ("w", "b", "nonlin"))

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, max(protocol, 2))


@cython.auto_pickle(False)
cdef class LayerState:
    """The `neurons` of a layer."""

    cdef public object neurons

    def __getstate__(self):
        return state_of(self, ("neurons",))

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, max(protocol, 2))

    def __call__(self, x):
        return layer_outputs((<object>self).neurons, x)  # a class may compute them


@cython.auto_pickle(False)
cdef class NetworkState:
    """The call of a network, whose `layers` are in its dict."""

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, max(protocol, 2))

    def __call__(self, x):
        return network_outputs((<object>self).layers, x)


include "_nn/classes.pxi"
include "_nn/layers.pxi"
include "_nn/parameters.pxi"
include "_nn/functional.pxi"
