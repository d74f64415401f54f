# Lists of parameters. Gives `is_parameter`, `neuron_parameters`, `layer_parameters`, `network_parameters` and
# `clear_grads`; uses classes.pxi.

def is_parameter(o):
    """Is it a Value that was computed from nothing, and stands for no argument of a function that is compiled?"""
    return isinstance(o, Value) and (<Value>o).node.form == LEAF and not (<Value>o).node.flags & TRACED


cdef Py_ssize_t parameters_count(list groups) noexcept:
    """The weights and biases of groups of neurons. -1 where these are not of the class that was looked at last, that
    one is not plain, or weights are in no list."""
    cdef PyTypeObject *kind = neuron_class.type if neuron_class.lists else NULL
    cdef PyObject *neurons
    cdef PyObject *neuron
    cdef PyObject *w
    cdef Py_ssize_t i, j, count = 0
    for i in range(PyList_GET_SIZE(<PyObject *>groups)):
        neurons = PyList_GET_ITEM(<PyObject *>groups, i)
        if not PyList_CheckExact(neurons):
            return -1
        for j in range(PyList_GET_SIZE(neurons)):
            neuron = PyList_GET_ITEM(neurons, j)
            if Py_TYPE(neuron) != kind:
                return -1
            w = <PyObject *>(<NeuronState>neuron).w
            if not PyList_CheckExact(w):
                return -1
            count += PyList_GET_SIZE(w) + 1
    return count


cdef inline PyObject *parameters_take(PyObject **values, Py_ssize_t count, PyObject **found, PyObject *last) noexcept:
    """Put `count` parameters into a list and return the last. NULL where one is not a plain Value, is a result, or has
    no higher address than the one before it; `last` precedes the first. (Four instructions a parameter.)"""
    cdef PyTypeObject *kind = heap.value_type  # in a register: what is written might be it, for all that C knows
    cdef PyObject *o = last
    cdef Py_ssize_t i
    cdef int every = END, any = 0
    for i in range(count):
        o = values[i]
        if Py_TYPE(o) != kind or o <= last:
            return NULL
        last = o
        every &= node_of(o).flags
        any |= node_of(o).flags
        Py_INCREF(o)
        found[i] = o
    return o if every and not any & TRACED else NULL


cdef bint parameters_put(list groups, PyObject **found, PyObject **end) noexcept:
    """Fill in as many as were counted. False where one may occur twice, or be no parameter. The parameters of a network
    that was made at once have ascending addresses."""
    cdef PyObject *neurons
    cdef PyObject *neuron
    cdef PyObject *bias
    cdef PyObject *last = NULL
    cdef PyObject *w
    cdef Py_ssize_t i, j, size
    for i in range(PyList_GET_SIZE(<PyObject *>groups)):
        neurons = PyList_GET_ITEM(<PyObject *>groups, i)
        for j in range(PyList_GET_SIZE(neurons)):
            neuron = PyList_GET_ITEM(neurons, j)
            if Py_TYPE(neuron) != neuron_class.type:  # the collector, which a new list may start, runs any Python code
                return False
            w = <PyObject *>(<NeuronState>neuron).w
            bias = <PyObject *>(<NeuronState>neuron).b
            size = PyList_GET_SIZE(w) if PyList_CheckExact(w) else end - found
            if size >= end - found:
                return False
            last = parameters_take(PySequence_Fast_ITEMS(w), size, found, last)
            if last == NULL and size:
                return False
            last = parameters_take(&bias, 1, found + size, last)
            if last == NULL:
                return False
            found += size + 1
    return found == end


cdef Py_ssize_t parameters_pick(list groups, PyObject **found) noexcept:
    """The same for addresses in any order: each once, at its first place. Returns how many, -1 where one may be
    no parameter. Those in the list carry LISTED until the end; no Python code can run meanwhile."""
    cdef PyObject *neurons
    cdef PyObject *neuron
    cdef PyObject *w
    cdef PyObject *o
    cdef Py_ssize_t i, j, k, size, count = 0
    cdef bint sound = True
    for i in range(PyList_GET_SIZE(<PyObject *>groups)):
        neurons = PyList_GET_ITEM(<PyObject *>groups, i)
        for j in range(PyList_GET_SIZE(neurons)):
            neuron = PyList_GET_ITEM(neurons, j)
            w = <PyObject *>(<NeuronState>neuron).w
            size = PyList_GET_SIZE(w)
            for k in range(size + 1):
                o = PyList_GET_ITEM(w, k) if k < size else <PyObject *>(<NeuronState>neuron).b
                if Py_TYPE(o) != heap.value_type or node_of(o).form != LEAF or node_of(o).flags & TRACED:
                    sound = False
                elif not node_of(o).flags & LISTED:
                    node_of(o).flags |= LISTED
                    Py_INCREF(o)
                    found[count] = o
                    count += 1
    for i in range(count):
        node_of(found[i]).flags &= ~LISTED
    return count if sound else -1


cdef list plain_parameters(list groups):
    """The parameters of groups of neurons in a list that has its length from the start, which saves half of the time;
    None where the neurons are not all plain, or some weights are results or instances of subclasses."""
    cdef list found
    cdef PyObject **items
    cdef Py_ssize_t count, kept
    if groups and type(groups[0]) is list and groups[0]:
        class_of(&neuron_class, PyList_GET_ITEM(PyList_GET_ITEM(<PyObject *>groups, 0), 0), plain_neuron)
        count = parameters_count(groups)
        if count >= 0:
            found = PyList_New(count)
            items = PySequence_Fast_ITEMS(<PyObject *>found)
            if parameters_put(groups, items, items + count):
                return found
            found = PyList_New(count)
            if parameters_count(groups) != count:
                return None
            kept = parameters_pick(groups, PySequence_Fast_ITEMS(<PyObject *>found))
            if kept >= 0:
                return found if kept == count else found[:kept]
    return None


cdef list once_each(list values):
    cdef set seen = set()
    cdef list found = []
    for p in values:
        if id(p) not in seen:
            seen.add(id(p))
            found.append(p)
    return found


def neuron_parameters(neuron):
    """[*neuron.w, neuron.b]: those that are parameters, once each."""
    cdef list found = plain_parameters([[neuron]])
    if found is None:
        found = []
        for p in [*neuron.w, neuron.b]:
            if is_parameter(p):
                found.append(p)
        found = once_each(found)
    return found


def layer_parameters(neurons):
    """What neuron.parameters() gives for each, once each, in one list."""
    cdef list found = plain_parameters([neurons])
    if found is None:
        found = []
        for neuron in neurons:
            found.extend(neuron.parameters())
        found = once_each(found)
    return found


def network_parameters(layers):
    """What layer.parameters() gives for each, once each, in one list."""
    cdef list found = plain_parameters(plain_groups(layers, False))
    if found is None:
        found = []
        for layer in layers:
            found.extend(layer.parameters())
        found = once_each(found)
    return found


def clear_grads(parameters):
    """Set the grad of each to 0.0."""
    cdef list values = parameters if type(parameters) is list else list(parameters)
    cdef PyTypeObject *plain = heap.value_type if traces == NULL else NULL  # in a trace the setter checks each
    cdef PyObject *p
    cdef Py_ssize_t i = 0
    while i < PyList_GET_SIZE(<PyObject *>values):
        p = PyList_GET_ITEM(<PyObject *>values, i)
        i += 1
        if Py_TYPE(p) == plain:
            node_of(p).grad = 0.0
        else:
            (<object>p).grad = 0.0
