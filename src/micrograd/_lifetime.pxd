# How nodes die, and what the cyclic collector sees of them.

from cpython.object cimport PyObject
from micrograd._cpython cimport visitproc


cdef class Hook:             # what holds it, so that the collector can free it and its Value
    cdef object function     # the user's `_backward`
    cdef PyObject *owner     # the plain Value it belongs to, not counted; NULL for other kinds, and once dead
    cdef PyObject *held      # its attributes, a dict, not counted


cdef void hook_abandon(dict attributes) noexcept

# Slots of the type
cdef void value_dealloc(PyObject *o) noexcept
cdef int value_traverse(PyObject *o, visitproc visit, void *arg) noexcept
cdef int value_clear(PyObject *o) noexcept
