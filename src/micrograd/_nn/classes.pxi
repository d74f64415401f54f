# Which classes compute their outputs and parameters as nn.Neuron and nn.Layer do. Gives `class_of` and `plain_groups`;
# uses the bases in _nn.pyx.

cdef struct KnownClass:    # a class whose methods have been looked at
    PyTypeObject *type
    unsigned int version   # of the class then: CPython gives it another when a class on its way of inheritance changes
    bint calls             # its `__call__` is the one that is computed here
    bint lists             # so is its `parameters`
    int op                 # a neuron's activation, 0 for one that is no op

cdef KnownClass neuron_class
cdef KnownClass layer_class
cdef object plain_neuron   # the classes of nn.py
cdef object plain_layer
cdef dict PLAIN            # {class: {name: member}} of what is relied on, as it was when that was imported
cdef dict METHODS = {op_rule(op).name.decode(): op for op in range(<int>OP_COUNT) if op_rule(op).arity == 1}


def set_plain_classes(neuron, layer):
    """Tell which classes' `__call__` and `parameters` are computed here."""
    global plain_neuron, plain_layer, PLAIN
    if not issubclass(neuron, NeuronState) or not issubclass(layer, LayerState):
        raise TypeError("the classes of a neuron and a layer are derived from those that have their fields")
    plain_neuron, plain_layer = neuron, layer
    PLAIN = {}
    for kind, fields in (neuron, ("w", "b", "nonlin")), (layer, ("neurons",)):
        PLAIN[kind] = {name: getattr(kind, name) for name in ("__call__", "__getattribute__", "parameters", *fields)}


cdef int class_learn(KnownClass *known, object kind, object plain) except -1:
    """Look at a class. What is known is changed at the end, all at once: a metaclass may run anything meanwhile."""
    cdef KnownClass found
    found.type = <PyTypeObject *>kind
    found.version = type_version(found.type)
    found.calls = found.lists = False
    found.op = 0
    if issubclass(kind, plain):
        changed = {name for name, member in PLAIN[plain].items() if getattr(kind, name) is not member}
        found.calls = not changed - {"parameters"}
        found.lists = not changed - {"__call__"}
        found.op = METHODS.get(kind.activation, 0) if plain is plain_neuron else 0
    known[0] = found
    return 0


cdef inline KnownClass *class_of(KnownClass *known, PyObject *o, object plain) except NULL:
    if known.type != Py_TYPE(o) or known.version == 0 or known.version != type_version(known.type):
        class_learn(known, <object>Py_TYPE(o), plain)
    return known


cdef list plain_groups(layers, bint calls):
    """The neurons of each layer; an empty list where a layer has a `__call__`, or else `parameters`, of its own."""
    cdef list held = layers if type(layers) is list else list(layers)
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>held)
    cdef list groups = PyList_New(count)
    cdef PyObject *neurons
    cdef KnownClass *known
    for i in range(count):
        if PyList_GET_SIZE(<PyObject *>held) != count:  # Python code that looking at a class may run changed the list
            return []
        layer = held[i]
        known = class_of(&layer_class, <PyObject *>layer, plain_layer)
        if not (known.calls if calls else known.lists):
            return []
        neurons = <PyObject *>(<LayerState>layer).neurons
        Py_INCREF(neurons)
        PyList_SET_ITEM(<PyObject *>groups, i, neurons)
    return groups
