# Arguments of a compiled function as numbers. A sample is flattened to its numbers and a tree, which is its structure.
# Arrays of doubles in C order are read where they are; others are converted by NumPy, which is imported only then.
# Without NumPy lists are converted here.
#
# Gives tree_flatten, tree_unflatten, tree_count, tree_of_shape, numpy_for, ResultArray, Batch, and the limits DEEPEST
# and MOST_NUMBERS. Uses Value and to_double of _core, and read_tree and is_even of ragged.pxi.

cpdef enum:
    DEEPEST = 100  # levels of nested lists

cdef enum:
    MOST_NUMBERS = 16777216  # of a sample


# ---- A sample ------------------------------------------------------------------------------------

cpdef object tree_flatten(argument, list leaves, name):
    """The tree of an argument, hashable; its numbers and Values are appended to `leaves`.

    The tree is None for a number or Value, otherwise a pair: list or tuple, and the number of its items if all are
    numbers, else the trees of its items. An array counts as nested lists. `name` is the argument's name or its index,
    None for what a function returns.

    Raises TypeError for what is not a number, ValueError for more than MOST_NUMBERS numbers and for lists nested deeper
    than DEEPEST.
    """
    return flatten_at(argument, leaves, name, 0)


cdef object flatten_at(argument, list leaves, name, int depth):
    """tree_flatten() of what is nested `depth` deep."""
    cdef bint flat = True
    cdef list items
    if PyFloat_CheckExact(<PyObject *>argument) or isinstance(argument, Value):
        leaves.append(argument)
        return None
    if not isinstance(argument, (list, tuple)):
        if hasattr(argument, "tolist"):
            if is_masked(argument):
                raise TypeError(f"{described(name)} must not be a masked array")
            size = getattr(argument, "size", 0)
            if type(size) is int and size > MOST_NUMBERS:
                raise too_many(name)
            argument = argument.tolist()
        if not isinstance(argument, list):  # tolist() of a scalar may return the scalar itself
            leaves.append(to_double(argument, described(name)))
            return None
    if depth == DEEPEST:
        raise ValueError(f"{described(name)} is nested more than {DEEPEST} deep")
    items = []
    for item in argument:  # this checks the length at each item: converting one may change the list
        if PyFloat_CheckExact(<PyObject *>item):
            leaves.append(item)
            items.append(None)
        else:
            items.append(flatten_at(item, leaves, name, depth + 1))
            flat &= items[len(items) - 1] is None
        if len(leaves) > MOST_NUMBERS or len(items) > MOST_NUMBERS:
            raise too_many(name)
    return tuple if isinstance(argument, tuple) else list, len(items) if flat else tuple(items)


cdef str described(name):
    return f"argument {name!r}" if name is not None else "what a compiled function returns"


cdef object too_many(name):
    return ValueError(f"{described(name)} has more than {MOST_NUMBERS:,} numbers a sample")


# numpy.ma.MaskedArray, once numpy.ma is imported. The buffer of such an array has masked elements as numbers.
cdef object masked_array = None
cdef object plain_type = None  # the last type found to be no masked array's; no later change makes it one


cdef bint is_masked(x) except -1:
    """Is it a masked array of NumPy?"""
    global masked_array, plain_type
    if Py_TYPE(<PyObject *>x) == <PyTypeObject *>plain_type:
        return False
    if masked_array is None:
        found = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
        masked_array = found if isinstance(found, type) else None
    if masked_array is not None and PyType_IsSubtype(Py_TYPE(<PyObject *>x), <PyTypeObject *>masked_array):
        return True
    plain_type = type(x)
    return False


cdef int refuse_masked(x, str name) except -1:
    """Raise TypeError for a masked array: NumPy would drop the mask."""
    if is_masked(x):
        raise TypeError(f"{name} must not be a masked array or contain one")
    return 0


def tree_count(tree, int depth=0):
    """The number of leaves of a tree. Raises ValueError if `tree` is not one."""
    if tree is None:
        return 1
    if depth < DEEPEST and type(tree) is tuple and len(tree) == 2 and (tree[0] is list or tree[0] is tuple):
        items = tree[1]
        if type(items) is int and 0 <= items <= MOST_NUMBERS:
            return items
        if type(items) is tuple and items:
            total = 0
            for item in items:
                total += tree_count(item, depth + 1)
            if total <= MOST_NUMBERS:
                return total
    raise ValueError("not the tree of nested lists of numbers")


def tree_unflatten(tree, leaves, int depth=0):
    """Nested lists and tuples of this tree, with the next of the iterator `leaves` for each number."""
    if tree is None:
        return next(leaves)
    if depth == DEEPEST:
        raise ValueError("not the tree of nested lists of numbers")
    kind, items = tree
    made = []
    for item in [None] * items if isinstance(items, int) else items:
        made.append(tree_unflatten(item, leaves, depth + 1))
    return made if kind is list else tuple(made)


def tree_of_shape(tuple shape):
    """The tree of an array of this shape."""
    if not shape:
        return None
    if len(shape) > DEEPEST or not 0 <= shape[0] <= MOST_NUMBERS:
        raise ValueError(f"not the shape of a sample: {shape}")
    return list, shape[0] if len(shape) == 1 or not shape[0] else (tree_of_shape(shape[1:]),) * shape[0]


# ---- A batch -------------------------------------------------------------------------------------

def numpy_for(str what):
    """NumPy. Raises ImportError, with what needs it, where it is missing."""
    try:
        # Cython's `import` gives None where Python's raises ImportError. import_module() takes a lock on CPython 3.9,
        # for which memory may be out, and which fork() may leave locked in the child.
        return __import__("numpy")
    except ImportError as error:
        raise ImportError(f"{what} needs NumPy: pip install numpy", name="numpy") from error


cdef object converted(object array, str name):
    """The array as one of doubles in C order; a list of its samples if it is ragged."""
    cdef Py_ssize_t shape[DEEPEST + 1]
    cdef bint is_array = not isinstance(array, (list, tuple))
    try:
        numpy = numpy_for(name)
    except ImportError:
        return converted_lists(array, name)
    if is_array:
        refuse_masked(array, name)
        array = numpy.asanyarray(array)
        refuse_masked(array, name)  # what its __array__ gave
        array = numpy.asarray(array)
    if not is_array or (array.dtype.kind == "O" and array.size and array.ndim):
        items = array.tolist() if is_array else array
        for i in range(DEEPEST + 1):
            shape[i] = UNKNOWN
        if not is_even(items, shape, name, 0):
            return list(items)
        if not is_array or shape[array.ndim] >= 0:  # in an array of objects, there are more axes
            array = numpy.asarray(numpy.asanyarray(items))
    if array.dtype.kind == "O":
        doubles = numpy.empty(array.shape)
        flat = doubles.reshape(-1)
        for i, x in enumerate(array.ravel()):
            refuse_masked(x, name)
            flat[i] = to_double(x, f"an element of {name}")
        return doubles
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    return numpy.array(array, dtype=float, order="C")


cdef object converted_lists(object array, str name):
    """converted() of nested lists, without NumPy."""
    cdef Py_ssize_t shape[DEEPEST + 1]
    cdef Py_ssize_t i = 0
    cdef int axes = 0
    cdef list lengths = []
    cdef Doubles numbers = Doubles(NULL, 0, 0)
    items = items_of(array, name)
    if items is None:
        numpy_for(f"{name}, of type {type(array).__name__!r},")
        raise TypeError(f"{name} must be an array of real numbers")
    for axes in range(DEEPEST + 1):
        shape[axes] = UNKNOWN
    if not is_even(items, shape, name, 0):
        return list(items)
    try:
        while i < sequence_size(items):  # as in is_even()
            read_tree(sequence_item(items, i), &numbers, name, i, 1)
            i += 1
        if not numbers.count:  # a memoryview has no shape with a 0
            return list(items) if i else memoryview(b"").cast("d")
        raw = PyBytes_FromStringAndSize(<const char *>numbers.items, numbers.count * sizeof(double))
    finally:
        PyMem_Free(numbers.items)
    axes = 0
    while shape[axes] != NO_LENGTH:
        lengths.append(shape[axes])
        axes += 1
    return memoryview(raw).cast("d", lengths)


cdef bint hold_doubles(array, Py_buffer *view, int flags) except -1:
    """Get the buffer of an array of doubles in C order; False for anything else. Besides what `flags` ask for, its
    format is known."""
    if PyObject_GetBuffer(<PyObject *>array, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS):
        if PyErr_ExceptionMatches(PyExc_MemoryError):
            raise_error()
        PyErr_Clear()
        return False
    # "g" is a long double. Where that is a double, as MSVC has it, NumPy keeps "g" even if asked for doubles.
    if (view.format == NULL or view.itemsize != sizeof(double)
            or (strcmp(view.format, b"d") and strcmp(view.format, b"g"))):
        PyBuffer_Release(view)
        return False
    return True


@cython.final
cdef class ResultArray:
    """An array of doubles, held to be written to. Cython's memoryviews would make the module larger by 80 KB."""

    cdef Py_buffer view
    cdef double *items
    cdef Py_ssize_t count

    def __cinit__(self, array):
        if not PyObject_CheckBuffer(<PyObject *>array) or not hold_doubles(array, &self.view, PyBUF_WRITABLE):
            raise TypeError("results are written to an array of doubles in C order")
        self.items, self.count = <double *>self.view.buf, self.view.len // <Py_ssize_t>sizeof(double)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef tuple sample_shape(Py_buffer *view):
    cdef list shape = []
    cdef Py_ssize_t i
    for i in range(1, view.ndim):
        shape.append(view.shape[i])
    return tuple(shape)


cdef Py_ssize_t sample_size(Py_buffer *view) except -1:
    """The number of numbers in a sample."""
    cdef Py_ssize_t i, size = 1
    for i in range(1, view.ndim):
        if size and view.shape[i] > MOST_NUMBERS // size:
            raise ValueError(f"an array of a batch has more than {MOST_NUMBERS:,} numbers a sample: its shape is "
                             f"{(view.shape[0], *sample_shape(view))}")
        size *= view.shape[i]
    return size


cdef struct Doubles:  # an array that grows
    double *items
    Py_ssize_t count
    Py_ssize_t room


cdef int append_doubles(Doubles *doubles, const double *items, Py_ssize_t count) except -1:
    if doubles.room - doubles.count < count:
        doubles.items = <double *>array_grow(doubles.items, &doubles.room, doubles.count + count, sizeof(double))
    if count:
        memcpy(doubles.items + doubles.count, items, count * sizeof(double))
        doubles.count += count
    return 0


@cython.final
@cython.no_gc  # nothing that it refers to can refer to it
cdef class Batch:
    """Arrays whose leading axis is that of the samples; `names` are those of the last arrays in messages: of keyword
    arguments, or indices. A ragged batch consists of groups, which are batches of samples of one structure.

    Raises TypeError if one is not of real numbers, ValueError if one has no leading axis or their lengths differ.
    """

    cdef readonly Py_ssize_t samples
    cdef readonly bytes key         # equal for batches whose samples have the same shapes; None if ragged
    cdef readonly list groups       # of a ragged batch, in the order of their first samples; otherwise None
    cdef readonly tuple trees       # of a group: those of the arguments
    cdef readonly Py_ssize_t failed  # the sample that raised, in the batch that was given, or -1
    cdef Py_ssize_t *places         # of a group: where its samples are in the batch that was given; otherwise NULL
    cdef Py_ssize_t room            # for so many samples of a group
    cdef Doubles table              # of a group: its numbers, samples x count
    cdef Py_buffer *buffers
    cdef int held                   # buffers to be released
    cdef const double **columns     # for each number of a sample, where the first sample's is
    cdef Py_ssize_t *strides        # and how many doubles further the next sample's; in the same allocation
    cdef double *numbers            # what the columns of a batch of one sample point to
    cdef Py_ssize_t count           # numbers in a sample

    def __cinit__(self, tuple arrays, tuple names=()):
        cdef Py_ssize_t i, j, size, first = 0, axes = 0, count = len(arrays)
        cdef Py_buffer *view
        cdef list lists = None  # for each array, its samples if it is ragged
        self.failed = -1
        self.buffers = <Py_buffer *>PyMem_Calloc(count + 1, sizeof(Py_buffer))
        if self.buffers == NULL:
            raise MemoryError
        for i in range(count):
            if not self.hold(arrays[i]):
                array = converted(arrays[i], array_name(i, count, names))
                if isinstance(array, list):
                    lists = [None] * count if lists is None else lists
                    lists[i] = array
                elif not self.hold(array):
                    raise TypeError(f"{array_name(i, count, names)} must be an array of real numbers")
        if lists is not None:
            self.groups = divided(self, lists, names)
            return
        self.samples = self.buffers[0].shape[0] if count and self.buffers[0].ndim else 1
        for i in range(count):
            view = &self.buffers[i]
            if not view.ndim or view.shape[0] != self.samples:
                self.refuse_shapes(names)
            self.count += sample_size(view)
            if self.count > MOST_NUMBERS:
                raise ValueError(f"a batch of more than {MOST_NUMBERS:,} numbers a sample")
            axes += view.ndim
        self.make_key(axes)
        self.make_columns()
        for i in range(count):
            view = &self.buffers[i]
            size = sample_size(view)
            for j in range(size):
                self.columns[first + j] = <const double *>view.buf + j
                self.strides[first + j] = size
            first += size

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.buffers[i])
        PyMem_Free(self.buffers)
        PyMem_Free(self.columns)
        PyMem_Free(self.numbers)
        PyMem_Free(self.places)
        PyMem_Free(self.table.items)

    @property
    def shapes(self):
        """For each array, the shape of a sample."""
        cdef list shapes = []
        cdef int i
        for i in range(self.held):
            shapes.append(sample_shape(&self.buffers[i]))
        return tuple(shapes)

    cdef int make_key(self, Py_ssize_t axes) except -1:
        """For each array the number of axes and the lengths of a sample's."""
        cdef bytes key = PyBytes_FromStringAndSize(NULL, axes * sizeof(Py_ssize_t))
        cdef Py_ssize_t *lengths = <Py_ssize_t *>PyBytes_AS_STRING(key)
        cdef Py_buffer *view
        cdef int i
        for i in range(self.held):
            view = &self.buffers[i]
            lengths[0] = view.ndim
            memcpy(lengths + 1, view.shape + 1, (view.ndim - 1) * sizeof(Py_ssize_t))
            lengths += view.ndim
        self.key = key
        return 0

    cdef int make_columns(self) except -1:
        self.columns = <const double **>PyMem_Calloc(self.count + 1, sizeof(double *) + sizeof(Py_ssize_t))
        if self.columns == NULL:
            raise MemoryError
        self.strides = <Py_ssize_t *>(self.columns + self.count)
        return 0

    cdef int refuse_shapes(self, tuple names, list lists=None) except -1:
        """Raise ValueError that names the shapes of all arrays."""
        cdef Py_ssize_t i, held = 0, count = self.held if lists is None else len(lists)
        cdef Py_buffer *view
        cdef list found = []
        for i in range(count):
            if lists is not None and lists[i] is not None:
                shape = f"({len(lists[i])}, ...)"
            else:
                view = &self.buffers[held]
                shape = f"{(view.shape[0], *sample_shape(view)) if view.ndim else ()}"
                held += 1
            found.append(f"{array_name(i, count, names)} of shape {shape}")
        raise ValueError(f"the arrays of a batch need a leading axis of one length: {', '.join(found)}")

    # -- a group of a ragged batch

    @staticmethod
    cdef Batch of_group(tuple trees, Py_ssize_t count):
        """A group without samples, of `count` numbers each."""
        cdef Batch group = Batch(())
        PyMem_Free(group.columns)
        group.columns = NULL
        group.samples, group.count, group.trees = 0, count, trees
        group.make_columns()
        return group

    cdef int append(self, const double *numbers, Py_ssize_t place) except -1:
        """Append a sample."""
        if self.samples == self.room:
            self.places = <Py_ssize_t *>array_grow(self.places, &self.room, self.room + 1, sizeof(Py_ssize_t))
        append_doubles(&self.table, numbers, self.count)
        self.places[self.samples] = place
        self.samples += 1
        return 0

    cdef void point_columns(self) noexcept:
        """Let the columns point to the table, which no sample is appended to any more."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.columns[i] = self.table.items + i
            self.strides[i] = self.count

    @property
    def first(self):
        """Where the first sample is."""
        return self.place(0)

    def sample_places(self):
        """Where the samples are in the batch that was given."""
        cdef list places = []
        cdef Py_ssize_t i
        for i in range(self.samples):
            places.append(self.place(i))
        return places

    cdef Py_ssize_t place(self, Py_ssize_t sample) noexcept:
        """Where this sample is in the batch that was given."""
        return sample if self.places == NULL else self.places[sample]

    cdef bint hold(self, array) except -1:
        """Hold the buffer of an array of doubles in C order; False for anything else."""
        cdef Py_buffer *view = &self.buffers[self.held]
        if not PyObject_CheckBuffer(<PyObject *>array) or is_masked(array):
            return False
        if not hold_doubles(array, view, PyBUF_SIMPLE):
            return False
        self.held += 1
        return True

    cdef Batch only(self, Py_ssize_t sample):
        """A batch of this one sample, whose numbers are copied."""
        cdef list numbers = []
        cdef Py_ssize_t i
        for i in range(self.count):
            numbers.append(self.columns[i][sample * self.strides[i]])
        return Batch.of_sample(numbers)

    @staticmethod
    cdef Batch of_sample(list leaves):
        """A batch of one sample, of these numbers and Values."""
        cdef Batch batch = Batch(())
        cdef Py_ssize_t i
        PyMem_Free(batch.columns)
        batch.columns = NULL
        batch.count = len(leaves)
        batch.make_columns()
        batch.numbers = <double *>PyMem_Calloc(batch.count + 1, sizeof(double))
        if batch.numbers == NULL:
            raise MemoryError
        for i in range(batch.count):
            leaf = leaves[i]
            batch.numbers[i] = (<Value>leaf).node.data if isinstance(leaf, Value) else to_double(leaf, "an argument")
            batch.columns[i] = &batch.numbers[i]
        return batch


cdef str array_name(Py_ssize_t i, Py_ssize_t count, tuple names):
    """The name of the array at i in messages."""
    cdef Py_ssize_t named = i - (count - len(names))
    return f"argument {i}" if named < 0 else f"argument {names[named]!r}"
