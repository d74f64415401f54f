# What nn/ and functional/ compute in C: outputs and parameters of neurons, layers and networks, and ops of any
# number of arguments.
#
# The classes of nn/ define `__call__` and `parameters` in Python. The decorator `implemented_in_c` replaces them by
# the methods in C of the bases below. These compute a whole layer or network at once, if the methods of its layers and
# neurons were not overridden; else they call the definitions in Python.
#
# The parts, in reading order. Each says in its first lines what it gives and what it uses; all use the bases below.
#
#   plain_classes  which classes have the methods of nn/ unchanged
#   layers         outputs of neurons, layers and networks
#   parameters     their parameters
#   functional     ops that are not methods of Value
#   choices        choices by conditions

cimport cython
from cpython.list cimport PyList_New
from cpython.mem cimport PyMem_Malloc
from cpython.object cimport PyObject
from libc.math cimport NAN, floor, isfinite
from libc.string cimport memcmp
from micrograd._core cimport (RULES, Condition, Tracing, Value, block_node_bare, condition_new, layer_new, layer_nodes,
                              layer_onto, mode_result, op_raised, ops_unchanged, to_double, trace_here, trace_may_read,
                              trace_refuse, traces, value_binary_slow, variadic_node, weights_new)
from micrograd._core.capi cimport *
from micrograd._core.node cimport END, LISTED, TRACED, Layer, node_of
from micrograd._core.ops cimport (ADD, CROSS_ENTROPY, ENTROPY_NORMALIZER, EQUAL, LOGSUMEXP, MAX, MAXIMUM, MINIMUM,
                                  OP_COUNT, OTHERWISE, SUM, TAKE, THEN)

cdef unsigned int embeddings = 0  # so far, in traces
cdef PyTypeObject *VALUE = <PyTypeObject *>Value


# ---- Bases of the classes in nn/ ---------------------------------------------------------------

# Fields in C are read without a search, which saves a fifth of the time of a small network. Methods in C need no frame
# of Python's, which saves 3 %.

@cython.auto_pickle(False)
cdef class Picklable:
    """Copies and pickles have the fields in C, as if they were declared in `__slots__`."""

    def __getstate__(self):
        kind = type(self)
        slots = {name: getattr(self, name) for name in (*FIELDS[base_of(kind)], *slot_names(kind))
                 if hasattr(self, name)}
        return (self.__dict__, slots) if slots else self.__dict__

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, max(protocol, 2))  # protocols 0 and 1 refuse slots


@cython.auto_pickle(False)
cdef class NeuronBase(Picklable):
    """A neuron's weights `w`, its bias `b`, and `nonlin`: whether an activation follows, or one of its own."""

    cdef public object w
    cdef public object b
    cdef public object nonlin
    cdef tuple affine      # (b, *w) as the last call read them: the affine nodes of all samples share one tuple
    cdef int affine_flags  # the flags that an affine node inherits from them

    def parameters(self):
        return neuron_parameters(self)


@cython.auto_pickle(False)
cdef class LayerBase(Picklable):
    """The `neurons` of a layer."""

    cdef public object neurons

    def __call__(self, x):
        return layer_outputs(self, x)

    def parameters(self):
        return layer_parameters(self)


@cython.auto_pickle(False)
cdef class NetworkBase(Picklable):
    """A network, whose `layers` are in its `__dict__`."""

    def __call__(self, x):
        return network_outputs(self, x)

    def parameters(self):
        return network_parameters(self)


cdef dict FIELDS = {NeuronBase: ("w", "b", "nonlin"), LayerBase: ("neurons",), NetworkBase: ()}


cdef object base_of(object kind):
    """The one of these bases from which a class is derived."""
    for base in FIELDS:
        if issubclass(kind, base):
            return base
    raise TypeError(f"{kind!r} has no base of _nn")


def slot_names(kind):
    """The names of the slots of a class and its bases, other than fields in C."""
    names = kind.__dict__.get("__slotnames__")  # where copyreg keeps them
    if names is None:
        import copyreg  # not at the top: this module's import would take twice as long

        names = copyreg._slotnames(kind)
    return names


include "_nn/plain_classes.pxi"
include "_nn/layers.pxi"
include "_nn/parameters.pxi"
include "_nn/functional.pxi"
include "_nn/choices.pxi"
