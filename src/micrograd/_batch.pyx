# cython: boundscheck=True, wraparound=True
# Arguments of a compiled function as numbers: a sample is taken apart by its structure, a batch is read where it lies if
# it is of doubles in C order, and converted by NumPy otherwise. NumPy is imported only then.

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, Py_buffer, PyBuffer_IsContiguous, PyBuffer_Release
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.string cimport strcmp
from micrograd._core cimport Value, to_double
from micrograd._cpython cimport PyErr_Clear, PyFloat_AS_DOUBLE, PyFloat_CheckExact

cdef extern from "Python.h":
    int PyObject_CheckBuffer(PyObject *o)
    int PyObject_GetBuffer(PyObject *o, Py_buffer *view, int flags)


# ---- A sample ------------------------------------------------------------------------------------

def structure(argument, list leaves, str name):
    """What an argument looks like, hashable; its numbers and Values are appended to `leaves`.

    None for a number or Value, otherwise the type, list or tuple, and either how many numbers or what its items look
    like. An array counts as nested lists.
    """
    cdef Py_ssize_t i, count
    if PyFloat_CheckExact(<PyObject *>argument) or isinstance(argument, Value):
        leaves.append(argument)
        return None
    if not isinstance(argument, (list, tuple)):
        if not hasattr(argument, "tolist"):
            leaves.append(to_double(argument, name))
            return None
        argument = argument.tolist()
        if not isinstance(argument, list):
            return structure(argument, leaves, name)
    items = [structure(item, leaves, name) for item in argument]
    kind = tuple if isinstance(argument, tuple) else list
    return kind, len(items) if items == [None] * len(items) else tuple(items)


def rebuild(form, leaves):
    """What looks like `form`, with the next of the iterator `leaves` for each number."""
    if form is None:
        return next(leaves)
    kind, items = form
    return kind([rebuild(item, leaves) for item in ([None] * items if isinstance(items, int) else items)])


def form_of_shape(tuple shape):
    """The form of an array of this shape."""
    if not shape:
        return None
    return list, shape[0] if len(shape) == 1 else (form_of_shape(shape[1:]),) * shape[0]


def sample_batch(list leaves):
    """A batch of one row, of the numbers and Values that `structure` has found."""
    cdef Batch batch = Batch([])
    batch.take_sample(leaves)
    return batch


# ---- A batch -------------------------------------------------------------------------------------

cdef object converted(object array, str name):
    """As an array of doubles in C order."""
    import numpy

    array = numpy.asarray(array)
    if array.dtype.kind == "O":
        doubles = numpy.array([to_double(x, f"an element of {name}") for x in array.ravel()], dtype=float)
        return doubles.reshape(array.shape)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    return numpy.ascontiguousarray(array, dtype=float).reshape(array.shape)


cdef class Batch:
    """Arrays whose leading axis is the rows of a batch.

    `names` are those of the last ones. Raises TypeError where one is not of real numbers, ValueError where there is no leading axis, or not one length.
    """

    def __cinit__(self, list arrays, tuple names=()):
        cdef Py_buffer *view
        cdef Py_ssize_t i, j, size
        cdef list shapes = []
        self.buffers = <Py_buffer *>PyMem_Calloc(max(len(arrays), 1), sizeof(Py_buffer))
        if self.buffers == NULL:
            raise MemoryError
        self.names = names
        for i in range(len(arrays)):
            view = &self.buffers[i]
            if not self.take(arrays[i]):
                self.take(converted(arrays[i], self.name(i, len(arrays))))
            shapes.append(tuple([view.shape[j] for j in range(view.ndim)]))
        if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            found = ", ".join([f"{self.name(i, len(shapes))} of shape {shapes[i]}" for i in range(len(shapes))])
            raise ValueError(f"the arrays of a batch need a leading axis of one length: {found}")
        self.rows = shapes[0][0] if shapes else 1
        self.shapes = tuple([shape[1:] for shape in shapes])
        for i in range(self.held):
            self.count += self.row_size(i)
        self.columns = <const double **>PyMem_Calloc(max(self.count, 1), sizeof(double *))
        self.steps = <Py_ssize_t *>PyMem_Calloc(max(self.count, 1), sizeof(Py_ssize_t))
        if self.columns == NULL or self.steps == NULL:
            raise MemoryError
        self.count = 0
        for i in range(self.held):
            size = self.row_size(i)
            for j in range(size):
                self.columns[self.count] = <const double *>self.buffers[i].buf + j
                self.steps[self.count] = size
                self.count += 1

    cdef int take_sample(self, list leaves) except -1:
        """Become the one row of these numbers and Values."""
        cdef Py_ssize_t i
        PyMem_Free(self.columns)
        PyMem_Free(self.steps)
        self.steps = NULL
        self.columns = <const double **>PyMem_Calloc(max(len(leaves), 1), sizeof(double *))
        self.steps = <Py_ssize_t *>PyMem_Calloc(max(len(leaves), 1), sizeof(Py_ssize_t))
        self.numbers = <double *>PyMem_Calloc(max(len(leaves), 1), sizeof(double))
        if self.columns == NULL or self.steps == NULL or self.numbers == NULL:
            raise MemoryError
        for i in range(len(leaves)):
            leaf = leaves[i]
            self.numbers[i] = (<Value>leaf).node.data if isinstance(leaf, Value) else <double>leaf
            self.columns[i] = &self.numbers[i]
        return 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.buffers[i])
        PyMem_Free(self.buffers)
        PyMem_Free(self.columns)
        PyMem_Free(self.steps)
        PyMem_Free(self.numbers)

    cdef str name(self, Py_ssize_t i, Py_ssize_t count):
        """What to call an array: the last ones are those with names."""
        cdef Py_ssize_t named = i - (count - len(self.names))
        return f"argument {i}" if named < 0 else f"argument {self.names[named]!r}"

    cdef Py_ssize_t row_size(self, int i):
        cdef Py_ssize_t size = 1
        for j in range(1, self.buffers[i].ndim):
            size *= self.buffers[i].shape[j]
        return size

    cdef bint take(self, array):
        """Hold the buffer of an array of doubles in C order; False for anything else."""
        cdef Py_buffer *view = &self.buffers[self.held]
        if not PyObject_CheckBuffer(<PyObject *>array):
            return False
        if PyObject_GetBuffer(<PyObject *>array, view, PyBUF_FORMAT | PyBUF_STRIDES):
            PyErr_Clear()
            return False
        if view.format == NULL or strcmp(view.format, b"d") or not PyBuffer_IsContiguous(view, b"C"):
            PyBuffer_Release(view)
            return False
        self.held += 1
        return True
