# A user's `_backward` on a Value, so held that the cyclic collector can free the two of them.

from cpython.object cimport PyObject


cdef Py_ssize_t references(PyObject *owner, PyObject *o, int depth) noexcept


cdef class Hook:
    cdef object function     # the user's `_backward`
    cdef PyObject *owner     # the plain Value it belongs to, not counted; NULL for other kinds, and once dead
    cdef PyObject *held      # its attributes, a dict, not counted
