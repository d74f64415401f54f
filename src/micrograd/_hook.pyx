# A user's `_backward` nearly always closes over the Value it is assigned to, a reference cycle:
#
#     Value -> its __dict__ -> Hook -> function -> cell -> Value
#
# Plain Values are not tracked by the cyclic collector, which would take the reference to the __dict__ for one from
# outside. The hook answers for its owner: once every reference to the Value comes from the function, and nobody else
# holds that, the hook presents the reference to the __dict__ as its own, and the collector sees the cycle closed.

from cpython.object cimport PyObject
from micrograd._cpython cimport Py_REFCNT, PyTypeObject, visitproc

cdef extern from "Python.h":
    bint PyFunction_Check(PyObject *o)
    PyObject *PyFunction_GET_CLOSURE(PyObject *o)
    PyObject *PyFunction_GET_DEFAULTS(PyObject *o)
    bint PyCFunction_Check(PyObject *o)
    PyObject *PyCFunction_GET_SELF(PyObject *o)
    bint PyCell_Check(PyObject *o)
    PyObject *PyCell_GET(PyObject *o)
    bint PyTuple_Check(PyObject *o)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *o)
    PyObject *PyTuple_GET_ITEM(PyObject *o, Py_ssize_t i)

cdef enum:
    DEPTH = 50  # of functions wrapped in functions


cdef class Hook:
    pass


cdef Py_ssize_t references(PyObject *owner, PyObject *o, int depth) noexcept:
    """References to `owner` that go with `o`, that is, from it and from what it alone holds."""
    cdef Py_ssize_t i, count = 0
    if o == NULL:
        return 0
    if o == owner:
        return 1
    if Py_REFCNT(o) != 1 or depth == DEPTH:
        return 0
    if PyFunction_Check(o):
        count = references(owner, PyFunction_GET_CLOSURE(o), depth + 1)
        count += references(owner, PyFunction_GET_DEFAULTS(o), depth + 1)
    elif PyTuple_Check(o):
        for i in range(PyTuple_GET_SIZE(o)):
            count += references(owner, PyTuple_GET_ITEM(o, i), depth + 1)
    elif PyCell_Check(o):
        count = references(owner, PyCell_GET(o), depth + 1)
    elif PyCFunction_Check(o):  # the built-in step, read from `_backward` before it was replaced
        count = references(owner, PyCFunction_GET_SELF(o), depth + 1)
    return count


cdef int hook_traverse(PyObject *o, visitproc visit, void *arg) noexcept:
    cdef Hook hook = <Hook>o
    cdef PyObject *function = <PyObject *>hook.function
    cdef int stop = visit(function, arg)
    if not stop and hook.owner != NULL and Py_REFCNT(hook.owner) == references(hook.owner, function, 0):
        stop = visit(hook.held, arg)
    return stop


(<PyTypeObject *>Hook).tp_traverse = hook_traverse
