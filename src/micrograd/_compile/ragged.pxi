# Ragged batches: samples of different structure. They are divided into groups of one structure each, whose numbers are
# copied into tables, samples x numbers.
#
# Gives is_even, which decides whether a batch is ragged, and divided, which makes the groups. Uses arguments.pxi, and
# to_double of _core.

cdef enum:
    UNKNOWN = -2           # a length that no item has shown yet
    NO_LENGTH = -1         # of a number
    SAMPLES_A_CHECK = 256  # for signals


# ---- Is a batch ragged? --------------------------------------------------------------------------

cdef object items_of(x, str name):
    """The items of what NumPy takes for a sequence, as a list or tuple; None for any other object. Raises TypeError for
    a masked array."""
    if isinstance(x, (list, tuple)):
        return x
    if isinstance(x, (float, int, complex, str, bytes, Value)):
        return None
    refuse_masked(x, name)
    size = getattr(x, "size", 0)
    if type(size) is int and size > MOST_NUMBERS:
        raise ValueError(f"{name} has more than {MOST_NUMBERS:,} numbers a sample")
    if hasattr(x, "tolist"):
        x = x.tolist()
    elif hasattr(x, "__array__"):
        x = numpy_for(f"{name}, of type {type(x).__name__!r},").asanyarray(x)
        refuse_masked(x, name)
        x = x.tolist()
    elif isinstance(x, abc.Sequence):
        x = list(x)
    return x if isinstance(x, (list, tuple)) else None


cdef object shape_in(x):
    """The shape of an array of numbers, or None."""
    shape = getattr(x, "shape", None)
    return shape if isinstance(shape, tuple) and getattr(getattr(x, "dtype", None), "kind", "") != "O" else None


cdef bint has_length(Py_ssize_t *shape, int depth, Py_ssize_t length, str name) except -1:
    """Is this the length at this depth? If it is not known yet, it is now."""
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested more than {DEEPEST} deep")
    if shape[depth] == UNKNOWN:
        shape[depth] = length
    return shape[depth] == length


cdef bint is_even(x, Py_ssize_t *shape, str name, int depth) except -1:
    """Can nested lists be converted to one array: have all that are equally deep one length? `shape` has the lengths
    known so far, by depth, NO_LENGTH for numbers and UNKNOWN elsewhere; it has room for DEEPEST + 1.

    Raises TypeError for a masked array, whose mask NumPy would drop."""
    cdef Py_ssize_t i = 0
    if not isinstance(x, (list, tuple)):
        refuse_masked(x, name)
        lengths = None if isinstance(x, (float, int, Value)) else shape_in(x)
        if lengths is not None:
            for length in lengths:
                if not has_length(shape, depth, length, name):
                    return False
                depth += 1
            return has_length(shape, depth, NO_LENGTH, name)
        x = items_of(x, name)
        if x is None:
            return has_length(shape, depth, NO_LENGTH, name)
    if depth == DEEPEST:
        raise ValueError(f"{name} is nested more than {DEEPEST} deep")
    if not has_length(shape, depth, sequence_size(x), name):
        return False
    while i < sequence_size(x):  # an array in it may run Python code, which may change it
        item = sequence_item(x, i)
        if PyFloat_CheckExact(<PyObject *>item) or PyLong_CheckExact(<PyObject *>item):
            if not has_length(shape, depth + 1, NO_LENGTH, name):
                return False
        elif not is_even(item, shape, name, depth + 1):
            return False
        i += 1
    return True


# Items of a list or tuple as they are in memory: a subclass may show others to Python code, but not to NumPy.

cdef inline Py_ssize_t sequence_size(x) noexcept:
    return Py_SIZE(<PyObject *>x)


cdef inline object sequence_item(x, Py_ssize_t i):
    return <object>PySequence_Fast_ITEMS(<PyObject *>x)[i]


# ---- Samples -------------------------------------------------------------------------------------

cdef inline int append_double(Doubles *numbers, double x) except -1:
    if numbers.count == numbers.room:
        return append_doubles(numbers, &x, 1)
    numbers.items[numbers.count] = x
    numbers.count += 1
    return 0


cdef object read_tree(x, Doubles *numbers, str name, Py_ssize_t sample, int depth):
    """The tree of an argument of a sample, see tree_flatten(); its numbers are appended. Tuples count as lists, as in
    arrays, so that a function has one program for both."""
    cdef Py_ssize_t i = 0
    cdef list trees = None
    items = items_of(x, name)
    if items is None:
        append_double(numbers, to_double(x, f"sample {sample}: an element of {name}"))
        return None
    if depth == DEEPEST:
        raise ValueError(f"{name} is nested more than {DEEPEST} deep")
    while i < sequence_size(items):  # as in is_even()
        item, tree = sequence_item(items, i), None
        if PyFloat_CheckExact(<PyObject *>item):
            append_double(numbers, <double>item)
        elif PyLong_CheckExact(<PyObject *>item):
            append_double(numbers, to_double(item, name))
        else:
            tree = read_tree(item, numbers, name, sample, depth + 1)
        if tree is not None and trees is None:
            trees = [None] * i
        if trees is not None:
            trees.append(tree)
        i += 1
        if numbers.count > MOST_NUMBERS or i > MOST_NUMBERS:
            raise ValueError(f"{name} has more than {MOST_NUMBERS:,} numbers a sample")
    return list, i if trees is None else tuple(trees)


# ---- Groups --------------------------------------------------------------------------------------

cdef list divided(Batch batch, list lists, tuple names):
    """The groups of a ragged batch. `lists` has the samples of each array that is ragged, and None for those that the
    batch holds. Sets `samples` of the batch."""
    cdef dict found = {}
    cdef list groups = [], trees = [], labels = []
    cdef Py_ssize_t i, sample
    cdef Doubles numbers = Doubles(NULL, 0, 0)
    cdef Batch group
    take_length(batch, lists, names)
    for i in range(len(lists)):
        labels.append(array_name(i, len(lists), names))
        trees.append(None)
    try:
        for sample in range(batch.samples):
            if sample % SAMPLES_A_CHECK == 0 and PyErr_CheckSignals():
                raise_error()
            key = read_sample(batch, lists, sample, &numbers, trees, labels)
            group = found.get(key)
            if group is None:
                group = found[key] = Batch.of_group(key, numbers.count)
                groups.append(group)
            group.append(numbers.items, sample)
    finally:
        PyMem_Free(numbers.items)
    for group in groups:
        group.point_columns()
    return groups


cdef tuple read_sample(Batch batch, list lists, Py_ssize_t sample, Doubles *numbers, list trees, list labels):
    """The trees of a sample's arguments; `numbers` becomes its numbers. Those of arrays that the batch holds stay in
    `trees` from one sample to the next."""
    cdef Py_ssize_t i, size, held = 0
    cdef Py_buffer *view
    numbers.count = 0
    for i in range(len(lists)):
        if lists[i] is not None:
            trees[i] = read_tree(lists[i][sample], numbers, labels[i], sample, 0)
            continue
        view = &batch.buffers[held]
        size = sample_size(view)
        append_doubles(numbers, <const double *>view.buf + sample * size, size)
        if sample == 0:
            trees[i] = tree_of_shape(sample_shape(view))
        held += 1
    return tuple(trees)


cdef int take_length(Batch batch, list lists, tuple names) except -1:
    """Set the number of samples of a ragged batch. Raises ValueError if the leading axes are not of one length."""
    cdef Py_ssize_t i
    cdef list lengths = []
    for samples in lists:
        if samples is not None:
            lengths.append(len(samples))
    for i in range(batch.held):
        lengths.append(batch.buffers[i].shape[0] if batch.buffers[i].ndim else -1)
    batch.samples = lengths[0]
    if lengths.count(lengths[0]) < len(lengths):
        batch.refuse_shapes(names, lists)
    return 0
