# What neurons, layers and networks compute. Gives `sample`, `weighted_sums`, `layer_outputs` and `network_outputs`;
# uses classes.pxi, and the engine's fused sums.

def sample(x):
    """One sample as a list of numbers and Values; a lone one is a sample of one."""
    if isinstance(x, list):
        return x
    if isinstance(x, Value):
        return [x]
    if hasattr(x, "tolist"):  # an array: Python's floats, not NumPy's
        x = x.tolist()
        return x if isinstance(x, list) else [x]
    return list(x) if hasattr(x, "__iter__") else [x]


cdef object sum_written_out(row, list x, total):
    for w, xi in zip(row, x):
        total = total + w * xi
    return total


cdef bint rows_new(Fused *fused, list rows, list biases, Py_ssize_t sums) noexcept:
    cdef Py_ssize_t i, count = fused.count
    cdef PyObject *row
    cdef PyObject *bias = Py_None
    for i in range(sums):
        if i >= PyList_GET_SIZE(<PyObject *>rows):
            return False  # Python code that ran meanwhile changed the lists
        if biases is not None:
            if i >= PyList_GET_SIZE(<PyObject *>biases) or PyList_GET_ITEM(<PyObject *>biases, i) == Py_None:
                return False
            bias = PyList_GET_ITEM(<PyObject *>biases, i)
        row = PyList_GET_ITEM(<PyObject *>rows, i)
        if not PyList_CheckExact(row) or PyList_GET_SIZE(row) != count:
            return False
        row = row_new(<list>row, bias, &fused.sums[i].flags)
        if row == NULL:
            return False
        fused.sums[i].row = row
        fused.sums[i].op = ADD
    return True


def weighted_sums(list rows, list x, list biases=None):
    """[bias + row[0] x[0] + row[1] x[1] + ... for row, bias in zip(rows, biases)], one node each where the rows are
    lists of Values and the x all Values or all numbers.

    `biases` is None, or as many Values and numbers as there are rows. Raises ValueError where a row is not as long as
    `x`, TypeError where a bias is None.
    """
    cdef Py_ssize_t sums = len(rows)
    cdef Fused *fused
    cdef int flags
    for weights in rows:
        if len(weights) != len(x):
            raise ValueError(f"{len(weights)} weights for {len(x)} inputs")
    outputs = PyList_New(sums)
    fused = fused_new(x, sums, &flags) if sums_are_own(ADD) else NULL
    if fused != NULL and fused_outputs(fused, sums, rows_new(fused, rows, biases, sums), flags,
                                       PySequence_Fast_ITEMS(<PyObject *>outputs)):
        return outputs
    if PyErr_Occurred() != NULL:
        own(NULL)
    outputs = []
    if biases is None:
        for weights in rows:
            outputs.append(sum_written_out(weights, x, 0.0))
        return outputs
    for weights, bias in zip(rows, biases):
        if bias is None:
            raise TypeError("a bias must be a real number, not 'NoneType'")
        outputs.append(sum_written_out(weights, x, bias))
    return outputs


cdef PyObject *neuron_row_new(PyObject *o, Py_ssize_t count, int *flags) noexcept:
    """neuron_row() where weights or bias are others than at the last call."""
    cdef NeuronState neuron = <NeuronState>o  # held: a new row, and the end of the old one, may run any Python code
    cdef PyObject *row
    if not PyList_CheckExact(<PyObject *>neuron.w) or PyList_GET_SIZE(<PyObject *>neuron.w) != count:
        return NULL
    row = row_new(<list>neuron.w, <PyObject *>neuron.b, flags)
    if row != NULL:
        neuron.row_flags = flags[0]  # first: what the end of the old row runs may put another one there
        neuron.row = <tuple>row
    return row


cdef inline PyObject *neuron_row(PyObject *o, Py_ssize_t count, int *flags) noexcept:
    """The neuron's row, a new reference, and what a sum has of its flags. NULL where it computes no sum of so many
    products of Values, or with an exception set."""
    cdef PyObject *w = <PyObject *>(<NeuronState>o).w
    cdef PyObject *row = <PyObject *>(<NeuronState>o).row
    if (row == Py_None or PyTuple_GET_SIZE(row) != count + 1 or tuple_items(row)[0] != <PyObject *>(<NeuronState>o).b
            or not PyList_CheckExact(w) or PyList_GET_SIZE(w) != count
            or memcmp(tuple_items(row) + 1, PySequence_Fast_ITEMS(w), count * sizeof(PyObject *))):
        return neuron_row_new(o, count, flags)
    Py_INCREF(row)
    flags[0] = (<NeuronState>o).row_flags
    return row


cdef bint rows_fill(Fused *fused, PyObject *neurons, Py_ssize_t sums, PyTypeObject *kind, int op) noexcept:
    """The rows of neurons of one class. False where some compute something else, or with an exception set."""
    cdef Py_ssize_t i
    cdef PyObject *o
    cdef PyObject *nonlin
    for i in range(sums):
        if PyList_GET_SIZE(neurons) != sums:  # a new row may have run any Python code
            return False
        o = PyList_GET_ITEM(neurons, i)
        if Py_TYPE(o) != kind:
            return False
        nonlin = <PyObject *>(<NeuronState>o).nonlin
        if nonlin != Py_True and nonlin != Py_False:
            return False
        fused.sums[i].op = op if nonlin == Py_True else ADD
        fused.sums[i].row = neuron_row(o, fused.count, &fused.sums[i].flags)
        if fused.sums[i].row == NULL:
            return False
    return True


cdef int common_op(list groups) except -1:
    """The activation of the neurons in these lists if the first of each are of one class, whose calls are what is
    computed here, of ops of which Value's members are its own; else 0."""
    cdef PyObject *neurons
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>groups)
    for i in range(count):
        neurons = PyList_GET_ITEM(<PyObject *>groups, i)
        if not PyList_CheckExact(neurons) or PyList_GET_SIZE(neurons) == 0:
            return 0
        if i == 0:
            class_of(&neuron_class, PyList_GET_ITEM(neurons, 0), plain_neuron)
        if PyList_GET_SIZE(neurons) == 0 or Py_TYPE(PyList_GET_ITEM(neurons, 0)) != neuron_class.type:
            return 0
    return neuron_class.op if count and neuron_class.calls and sums_are_own(neuron_class.op) else 0


cdef list plain_outputs(list groups, list x):
    """x through one group of neurons after the other; None where they are not all plain."""
    cdef Py_ssize_t i, sums, next_sums, count = PyList_GET_SIZE(<PyObject *>groups)
    cdef Fused *fused = NULL
    cdef list outputs, neurons
    cdef PyTypeObject *kind
    cdef int flags, op = common_op(groups)
    cdef bint filled
    if op:
        kind = neuron_class.type
        _held = <object>kind  # an input's __float__ may let go of it
        sums = len(<list>groups[0])
        outputs = PyList_New(len(<list>groups[count - 1]))
        fused = fused_new(x, sums, &flags)
        for i in range(count):
            if fused == NULL:
                break
            neurons = <list>groups[i]
            filled = rows_fill(fused, <PyObject *>neurons, sums, kind, op)
            if i == count - 1:
                if fused_outputs(fused, sums, filled and sums == len(outputs), flags,
                                 PySequence_Fast_ITEMS(<PyObject *>outputs)):
                    return outputs
                break
            next_sums = len(<list>groups[i + 1])
            fused = fused_onto(fused, sums, filled and next_sums > 0, &flags, next_sums)
            sums = next_sums
    return None if PyErr_Occurred() == NULL else outputs_raised()


cdef object outputs_raised():
    """Raise what an activation raised. A trace is told: the function may catch it."""
    if traces == NULL:
        return own(NULL)
    try:
        return own(NULL)
    except (ArithmeticError, ValueError) as error:
        from micrograd._trace import note_raised
        note_raised(error)
        raise


cdef object layer_outputs(object neurons, object x):
    """[neuron(x) for neuron in neurons], a fused sum and an activation each; where there is one neuron, its output."""
    cdef list inputs = x if type(x) is list else sample(x)
    cdef list outputs = plain_outputs([neurons], inputs)
    if outputs is None:
        outputs = []
        for neuron in neurons:
            outputs.append(neuron(inputs))
    return outputs[0] if len(outputs) == 1 else outputs


cdef object network_outputs(object layers, object x):
    """x through one layer after the other: all at once where they are plain."""
    cdef list groups = plain_groups(layers, True)
    cdef list outputs
    if groups:
        if type(x) is not list:
            x = sample(x)
        outputs = plain_outputs(groups, x)
        if outputs is not None:
            return outputs[0] if len(outputs) == 1 else outputs
    for layer in layers:
        if class_of(&layer_class, <PyObject *>layer, plain_layer).calls:
            x = layer_outputs((<LayerState>layer).neurons, x)
        else:
            x = layer(x)
    return x
