# Lists of parameters.
#
# Gives `is_parameter`, `neuron_parameters`, `layer_parameters`, `network_parameters` and `clear_grads`. Uses
# plain_classes.pxi.

def is_parameter(o):
    """Is it a leaf, and no argument of a function that is being traced?"""
    return isinstance(o, Value) and (<Value>o).node.flags & (END | TRACED) == END


cdef object neuron_parameters(object neuron):
    cdef list found = plain_parameters([neuron])
    return DEFINITIONS[NeuronBase, "parameters"](neuron) if found is None else found


cdef object layer_parameters(object layer):
    neurons = layer.neurons
    cdef list found = plain_parameters(neurons) if type(neurons) is list else None
    return DEFINITIONS[LayerBase, "parameters"](layer) if found is None else found


cdef object network_parameters(object network):
    cdef list found = plain_parameters(plain_neurons(network.layers))
    return DEFINITIONS[NetworkBase, "parameters"](network) if found is None else found


cdef list plain_neurons(object layers):
    """The neurons of all layers; an empty list if a layer overrides `parameters`."""
    cdef list neurons = []
    for layer in layers if type(layers) is list else list(layers):
        if not class_of(&known_layer, <PyObject *>layer).plain_parameters:
            return []
        if type((<LayerBase>layer).neurons) is not list:
            return []
        neurons.extend(<list>(<LayerBase>layer).neurons)
    return neurons


cdef list plain_parameters(list neurons):
    """The parameters of neurons, each once, in the order of their first occurrence. None where the neurons are not all
    plain, or where weights are results or of subclasses. The list has its length when it is made, which saves half of
    the time."""
    cdef list found
    cdef Py_ssize_t count, kept
    if not neurons:
        return None
    class_of(&known_neuron, PyList_GET_ITEM(<PyObject *>neurons, 0))
    count = parameters_count(neurons)
    if count < 0:
        return None
    found = PyList_New(count)
    if parameters_count(neurons) != count:  # a new list may run the cyclic collector, and that Python code
        return None
    kept = parameters_take(neurons, PySequence_Fast_ITEMS(<PyObject *>found))
    if kept < 0:
        return None
    return found if kept == count else found[:kept]


cdef Py_ssize_t parameters_count(list neurons) noexcept:
    """How many weights and biases there are. -1 where neurons are not of the class in `known_neuron`, where this class
    overrides `parameters`, where weights are in no list, or where an activation may have parameters."""
    cdef PyTypeObject *kind = known_neuron.type if known_neuron.plain_parameters else NULL
    cdef PyObject *neuron
    cdef PyObject *w
    cdef PyObject *nonlin
    cdef Py_ssize_t i, count = 0
    for i in range(PyList_GET_SIZE(<PyObject *>neurons)):
        neuron = PyList_GET_ITEM(<PyObject *>neurons, i)
        if Py_TYPE(neuron) != kind:
            return -1
        w = <PyObject *>(<NeuronBase>neuron).w
        nonlin = <PyObject *>(<NeuronBase>neuron).nonlin
        if not PyList_CheckExact(w):
            return -1
        if nonlin != Py_True and nonlin != Py_False and type(<object>nonlin) is not str:
            return -1
        count += PyList_GET_SIZE(w) + 1
    return count


cdef Py_ssize_t parameters_take(list neurons, PyObject **found) noexcept:
    """Put the parameters, each once, into the items of a new list, which are NULL. Returns how many there are, -1 where
    one may be no parameter. Those in the list have the flag LISTED meanwhile; no Python code runs while it is set."""
    cdef PyObject **end = found
    cdef PyObject **item = found
    cdef PyObject *neuron
    cdef PyObject *bias
    cdef PyObject *w
    cdef Py_ssize_t i
    cdef bint sound = True
    for i in range(PyList_GET_SIZE(<PyObject *>neurons)):
        neuron = PyList_GET_ITEM(<PyObject *>neurons, i)
        w = <PyObject *>(<NeuronBase>neuron).w
        bias = <PyObject *>(<NeuronBase>neuron).b
        if not (values_take(PySequence_Fast_ITEMS(w), PyList_GET_SIZE(w), &end) and values_take(&bias, 1, &end)):
            sound = False
            break
    while item < end:
        node_of(item[0]).flags &= ~LISTED
        item += 1
    return end - found if sound else -1


cdef inline bint values_take(PyObject **values, Py_ssize_t count, PyObject ***end) noexcept:
    """Add the values that are not in the list yet. False where one is of a subclass or no Value, or is no parameter."""
    cdef PyTypeObject *kind = VALUE  # a local variable, since the compiler has to assume that stores change VALUE
    cdef PyObject **item = end[0]
    cdef PyObject *o
    cdef Py_ssize_t i
    cdef int flags
    for i in range(count):
        o = values[i]
        flags = node_of(o).flags if Py_TYPE(o) == kind else 0
        if flags & (END | TRACED | LISTED) == END:
            node_of(o).flags = flags | LISTED
            Py_INCREF(o)
            item[0] = o
            item += 1
        elif not flags & LISTED:
            end[0] = item
            return False
    end[0] = item
    return True


def clear_grads(parameters):
    """Set the grad of each parameter to 0.0."""
    cdef list values = parameters if type(parameters) is list else list(parameters)
    cdef PyTypeObject *plain = VALUE if traces == NULL else NULL  # in a trace the setter checks each
    cdef PyObject *p
    cdef Py_ssize_t i = 0
    while i < PyList_GET_SIZE(<PyObject *>values):
        p = PyList_GET_ITEM(<PyObject *>values, i)
        i += 1
        if Py_TYPE(p) == plain:
            node_of(p).grad = 0.0
        else:
            (<object>p).grad = 0.0
