# What layers and networks compute, one call into the core each; and their lists of parameters.
#
# The Python classes in nn.py say what a neuron is. Where they and their subclasses leave `__call__` and `parameters` as
# they are, the loops here do the same without a Python call a neuron. What is kept between calls is checked at each.

cimport cython
from cpython.list cimport PyList_New
from cpython.object cimport PyObject
from libc.string cimport memcmp
from micrograd._core cimport Value, sums_are_own
from micrograd._cpython cimport *
from micrograd._fused cimport fused_new, fused_onto, fused_outputs, row_new
from micrograd._node cimport END, LEAF, LISTED, TRACED, Fused, node_of
from micrograd._ops cimport ADD, OP_COUNT, op_rule
from micrograd._slab cimport heap, traces


# ---- Which classes are plain ---------------------------------------------------------------------

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


# ---- Sums of products ----------------------------------------------------------------------------

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


# ---- Outputs -------------------------------------------------------------------------------------

# Bases of the classes in nn.py. Fields of C, which the core reads without a search, are a fifth of the time of a small
# network; calls without a frame of Python 3 %. They are copied and pickled by the rules of Python, as slots are.

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

    def __getstate__(self):
        return state_of(self, ("w", "b", "nonlin"))

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, max(protocol, 2))


@cython.auto_pickle(False)
cdef class LayerState:
    """The `neurons` of a layer."""

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
        from micrograd._compile import note_raised
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


# ---- Parameters ----------------------------------------------------------------------------------

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
