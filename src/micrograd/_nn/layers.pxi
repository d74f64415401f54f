# What neurons, layers and networks compute.
#
# Gives `sample`, `affine`, `layer_outputs` and `network_outputs`. Uses plain_classes.pxi, and from _core its layers.

def sample(x):
    """One sample as a list of numbers and Values; a lone number or Value is a sample of one."""
    if isinstance(x, list):
        return x
    if isinstance(x, Value):
        return [x]
    if hasattr(x, "tolist"):  # an array: its items as Python's floats
        x = x.tolist()
        return x if isinstance(x, list) else [x]
    return list(x) if hasattr(x, "__iter__") else [x]


# ---- Weights and biases of any kind --------------------------------------------------------------

def affine(list weights, list x, list biases=None):
    """[biases[i] + weights[i][0] x[0] + weights[i][1] x[1] + ... for each i]. Each is one node where the weights are
    lists of Values and the x all Values or all numbers.

    `biases` is None, or a Value or number for each list of weights. Raises ValueError where a list of weights is not as
    long as `x`, TypeError where a bias is None.
    """
    cdef Py_ssize_t count = len(weights)
    cdef Layer *layer
    cdef int flags
    for w in weights:
        if len(w) != len(x):
            raise ValueError(f"{len(w)} weights for {len(x)} inputs")
    outputs = PyList_New(count)
    layer = layer_new(x, count, &flags) if ops_unchanged(ADD) else NULL
    if layer != NULL and layer_nodes(layer, affine_fill(layer, weights, biases, count), flags,
                                     PySequence_Fast_ITEMS(<PyObject *>outputs)):
        return outputs
    if PyErr_Occurred() != NULL:
        raise_error()
    outputs = []
    for w, bias in zip(weights, [0.0] * count if biases is None else biases):
        if bias is None:
            raise TypeError("a bias must be a real number, not 'NoneType'")
        outputs.append(affine_op_by_op(w, x, bias))
    return outputs


cdef bint affine_fill(Layer *layer, list weights, list biases, Py_ssize_t count) noexcept:
    """Set the weights, flags and op of each affine node of a layer. False where a weight or bias is no Value, or with
    an exception set."""
    cdef Py_ssize_t i
    cdef PyObject *w
    cdef PyObject *bias = Py_None
    for i in range(count):
        if i >= PyList_GET_SIZE(<PyObject *>weights):
            return False  # Python code that ran meanwhile has changed the lists
        if biases is not None:
            if i >= PyList_GET_SIZE(<PyObject *>biases) or PyList_GET_ITEM(<PyObject *>biases, i) == Py_None:
                return False
            bias = PyList_GET_ITEM(<PyObject *>biases, i)
        w = PyList_GET_ITEM(<PyObject *>weights, i)
        if not PyList_CheckExact(w) or PyList_GET_SIZE(w) != layer.inputs:
            return False
        layer.affine[i].weights = weights_new(<list>w, bias, &layer.affine[i].flags)
        if layer.affine[i].weights == NULL:
            return False
        layer.affine[i].op = ADD
    return True


cdef object affine_op_by_op(w, list x, bias):
    preactivation = bias
    for wi, xi in zip(w, x):
        preactivation = preactivation + wi * xi
    return preactivation


# ---- Neurons of plain classes --------------------------------------------------------------------

cdef struct Activations:  # of the neurons of a network
    int op                # that of their class
    PyObject *own         # the first neuron's `nonlin`, an activation of its own unless it is True or False
    int own_op            # the op of that

cdef list plain_outputs(list groups, list x):
    """The outputs of layers of neurons, one after the other, for a sample. None where the neurons are not all plain."""
    cdef Py_ssize_t i, width, next_width, last = PyList_GET_SIZE(<PyObject *>groups) - 1
    cdef Layer *layer
    cdef list outputs
    cdef PyTypeObject *kind
    cdef Activations known
    cdef int flags
    cdef bint filled
    known.op = common_op(groups)
    if not known.op:
        return None
    kind = known_neuron.type
    _held = <object>kind  # an input's __float__ may give up other references to it
    own = (<NeuronBase>PyList_GET_ITEM(PyList_GET_ITEM(<PyObject *>groups, 0), 0)).nonlin
    known.own = <PyObject *>own
    known.own_op = 0
    if own is not True and own is not False:
        known.own_op = own_op(own, last == 0)
        if not known.own_op:
            return None
    width = len(<list>groups[0])
    outputs = PyList_New(len(<list>groups[last]))
    layer = layer_new(x, width, &flags)
    for i in range(last):
        if layer == NULL:
            break
        filled = neurons_fill(layer, PyList_GET_ITEM(<PyObject *>groups, i), width, kind, &known)
        next_width = len(<list>groups[i + 1])
        layer = layer_onto(layer, filled and next_width > 0, &flags, next_width)
        width = next_width
    if layer != NULL:
        filled = neurons_fill(layer, PyList_GET_ITEM(<PyObject *>groups, last), width, kind, &known)
        if layer_nodes(layer, filled and width == len(outputs), flags,
                       PySequence_Fast_ITEMS(<PyObject *>outputs)):
            return called(own, list(<list>groups[last]), outputs) if known.own_op == ADD else outputs
    if PyErr_Occurred() != NULL:
        op_raised(NULL, NULL)
    return None


cdef int own_op(object activation, bint callable_too) except -1:
    """The op of an activation that neurons have of their own. ADD, the sum alone, for a callable, which called() then
    applies. 0 where neither is so, or where Value's methods for the op were replaced."""
    cdef int op
    if type(activation) is str:
        op = UNARY_OPS.get(activation, 0)
        return op if op and ops_unchanged(op) else 0
    return ADD if callable_too and callable(activation) else 0


cdef list called(object activation, list neurons, list outputs):
    """The outputs of a layer, after the callable that is the activation of all or some of its neurons."""
    cdef Py_ssize_t i
    for i in range(min(len(neurons), len(outputs))):
        if isinstance(neurons[i], NeuronBase) and (<NeuronBase>neurons[i]).nonlin is activation:
            outputs[i] = activation(outputs[i])
    return outputs


cdef int common_op(list groups) except -1:
    """The activation of the neurons; 0 if the first neurons of the groups are not all of one plain class, or if Value's
    methods for it were replaced."""
    cdef PyObject *neurons
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>groups)
    for i in range(count):
        neurons = PyList_GET_ITEM(<PyObject *>groups, i)
        if not PyList_CheckExact(neurons) or PyList_GET_SIZE(neurons) == 0:
            return 0
        if i == 0:
            class_of(&known_neuron, PyList_GET_ITEM(neurons, 0))
        if PyList_GET_SIZE(neurons) == 0 or Py_TYPE(PyList_GET_ITEM(neurons, 0)) != known_neuron.type:
            return 0
    return known_neuron.op if count and known_neuron.plain_call and ops_unchanged(known_neuron.op) else 0


cdef bint neurons_fill(Layer *layer, PyObject *neurons, Py_ssize_t count, PyTypeObject *kind,
                       Activations *known) noexcept:
    """Set the weights, flags and op of each affine node of a layer, from neurons of one class. False where a neuron is
    of another class or not computed so, or with an exception set."""
    cdef Py_ssize_t i
    cdef PyObject *o
    cdef PyObject *nonlin
    for i in range(count):
        if PyList_GET_SIZE(neurons) != count:  # Python code that neuron_affine() may run has changed the list
            return False
        o = PyList_GET_ITEM(neurons, i)
        if Py_TYPE(o) != kind:
            return False
        nonlin = <PyObject *>(<NeuronBase>o).nonlin
        if nonlin != Py_True and nonlin != Py_False and nonlin != known.own:
            return False
        layer.affine[i].op = known.op if nonlin == Py_True else ADD if nonlin == Py_False else known.own_op
        layer.affine[i].weights = neuron_affine(o, layer.inputs, &layer.affine[i].flags)
        if layer.affine[i].weights == NULL:
            return False
    return True


cdef inline PyObject *neuron_affine(PyObject *o, Py_ssize_t count, int *flags) noexcept:
    """The neuron's (b, *w), a new reference, and the flags that an affine node inherits. NULL where it has not `count`
    weights or one is no Value, or with an exception set."""
    cdef PyObject *w = <PyObject *>(<NeuronBase>o).w
    cdef PyObject *affine = <PyObject *>(<NeuronBase>o).affine
    if (affine == Py_None or PyTuple_GET_SIZE(affine) != count + 1
            or tuple_items(affine)[0] != <PyObject *>(<NeuronBase>o).b
            or not PyList_CheckExact(w) or PyList_GET_SIZE(w) != count
            or memcmp(tuple_items(affine) + 1, PySequence_Fast_ITEMS(w), count * sizeof(PyObject *))):
        return neuron_affine_new(o, count, flags)
    Py_INCREF(affine)
    flags[0] = (<NeuronBase>o).affine_flags
    return affine


cdef PyObject *neuron_affine_new(PyObject *o, Py_ssize_t count, int *flags) noexcept:
    """neuron_affine() where the weights or the bias have changed since the last call."""
    cdef NeuronBase neuron = <NeuronBase>o  # held: making a tuple, and freeing the old one, may run Python code
    cdef PyObject *affine
    if not PyList_CheckExact(<PyObject *>neuron.w) or PyList_GET_SIZE(<PyObject *>neuron.w) != count:
        return NULL
    affine = weights_new(<list>neuron.w, <PyObject *>neuron.b, flags)
    if affine != NULL:
        neuron.affine_flags = flags[0]  # before the old tuple is freed: Python code that runs then may set both
        neuron.affine = <tuple>affine
    return affine


# ---- Layers and networks -------------------------------------------------------------------------

cdef object layer_outputs(object layer, object x):
    cdef list inputs = x if type(x) is list else sample(x)
    cdef list outputs = plain_outputs([layer.neurons], inputs)
    if outputs is None:
        return DEFINITIONS[LayerBase, "__call__"](layer, inputs)
    return outputs[0] if len(outputs) == 1 else outputs


cdef object network_outputs(object network, object x):
    cdef list groups = plain_groups(network.layers)
    cdef list outputs
    if groups:
        if type(x) is not list:
            x = sample(x)
        outputs = plain_outputs(groups, x)
        if outputs is not None:
            return outputs[0] if len(outputs) == 1 else outputs
    return DEFINITIONS[NetworkBase, "__call__"](network, x)
