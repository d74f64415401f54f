# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# The loops of micrograd.optim and micrograd.utils: one call goes over the slots of all the parameters it is given.
# Which options there are, and what may be asked of them, is in optim.py.

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport INFINITY, fabs, isnan, pow, sqrt
from libc.string cimport memcmp
from micrograd._core cimport Value, to_double
from micrograd._node cimport Node, node_of

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(PyObject *o)


# ---- State ---------------------------------------------------------------------------------------

cdef class State:
    """Numbers an optimizer keeps for each parameter of a group: `rows` gives a tuple of `width` of them for each.

    It holds the parameters, so that the slots it walks are alive whatever becomes of the group's list.
    """

    cdef tuple params
    cdef Py_ssize_t count
    cdef Py_ssize_t width
    cdef double *cells  # column by column, `count` numbers each

    def __cinit__(self, params, rows, Py_ssize_t width):
        cdef Py_ssize_t i, column
        cdef tuple row
        self.params = tuple(params)
        self.count = len(self.params)
        self.width = width
        self.cells = <double *>PyMem_Calloc(max(self.count * width, 1), sizeof(double))
        if self.cells == NULL:
            raise MemoryError
        for param in self.params:
            if not isinstance(param, Value):
                raise TypeError(f"a parameter must be a Value, not {type(param).__name__!r}")
        i = 0
        for row in rows:
            if i == self.count or len(row) != width:
                raise ValueError(f"not {self.count} rows of {width} numbers")
            for column in range(width):
                self.cells[column * self.count + i] = to_double(row[column], "a parameter's state")
            i += 1

    def __dealloc__(self):
        PyMem_Free(self.cells)

    def is_of(self, params):
        """Are these its parameters? False for anything but a list."""
        return (isinstance(params, list) and len(<list>params) == self.count
                and memcmp(PySequence_Fast_ITEMS(<PyObject *>params), PySequence_Fast_ITEMS(<PyObject *>self.params),
                           self.count * sizeof(PyObject *)) == 0)

    def rows(self):
        """The numbers, a tuple for each parameter."""
        cdef Py_ssize_t i, column
        return [tuple([self.cells[column * self.count + i] for column in range(self.width)]) for i in range(self.count)]

    def __reduce__(self):
        return State, (self.params, self.rows(), self.width)


# ---- Updates -------------------------------------------------------------------------------------

def sgd(State state, dict group):
    """One step of SGD. A row is (is there a momentum buffer?, the momentum buffer)."""
    cdef double lr = to_double(group["lr"], "lr")
    cdef double momentum = to_double(group["momentum"], "momentum")
    cdef double share = 1.0 - to_double(group["dampening"], "dampening")
    cdef double weight_decay = to_double(group["weight_decay"], "weight_decay")
    cdef bint nesterov = group["nesterov"]
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>state.params)
    cdef double *known = state.cells
    cdef double *buffer = known + state.count
    cdef Node *n
    cdef double g
    cdef Py_ssize_t i
    for i in range(state.count):
        n = node_of(params[i])
        g = sign * n.grad
        if weight_decay != 0.0:
            g += weight_decay * n.data
        if momentum != 0.0:
            buffer[i] = momentum * buffer[i] + share * g if known[i] else g
            known[i] = 1.0
            g = g + momentum * buffer[i] if nesterov else buffer[i]
        n.data -= lr * g


def adam(State state, dict group):
    """One step of Adam or AdamW. A row is (step, exp_avg, exp_avg_sq, max_exp_avg_sq)."""
    cdef double lr = to_double(group["lr"], "lr")
    cdef double beta1 = to_double(group["betas"][0], "betas[0]")
    cdef double beta2 = to_double(group["betas"][1], "betas[1]")
    cdef double eps = to_double(group["eps"], "eps")
    cdef double weight_decay = to_double(group["weight_decay"], "weight_decay")
    cdef bint amsgrad = group["amsgrad"]
    cdef double kept = 1.0 - lr * weight_decay if group["decoupled_weight_decay"] else 1.0
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>state.params)
    cdef double *steps = state.cells
    cdef double *average = steps + state.count
    cdef double *square = average + state.count
    cdef double *most = square + state.count
    cdef double step = 0.0, rate = 0.0, root = 0.0
    cdef double g, second
    cdef Node *n
    cdef Py_ssize_t i
    if group["decoupled_weight_decay"]:
        weight_decay = 0.0
    for i in range(state.count):
        n = node_of(params[i])
        g = sign * n.grad + weight_decay * n.data
        steps[i] += 1.0
        if steps[i] != step:
            step = steps[i]
            rate = lr / (1.0 - pow(beta1, step))
            root = sqrt(1.0 - pow(beta2, step))
        average[i] = beta1 * average[i] + (1.0 - beta1) * g
        square[i] = beta2 * square[i] + (1.0 - beta2) * g * g
        second = square[i]
        if amsgrad:
            if not second <= most[i]:
                most[i] = second
            second = most[i]
        n.data = kept * n.data - rate * average[i] / (sqrt(second) / root + eps)
