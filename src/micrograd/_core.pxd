# Table of contents of the engine. The reasons are in docs/architecture.md.
#
#   _ops.pxd    the op rules, one row an op
#   _node.pxd   struct Node, the typed part of a Value
#   _slab       where nodes live, in order of creation
#   _graph      backward and the other passes over a graph
#   _core       Value, the Python type that is a node
#   _lifetime   how nodes die
#   _cpython    declarations of CPython's C API

from cpython.object cimport PyObject
from micrograd._cpython cimport PyTypeObject
from micrograd._node cimport Node


cdef class Value:
    cdef Node node
    cdef dict __dict__  # made when first asked for


cdef bint double_read(PyObject *o, str what, double *x) noexcept
cdef double to_double(object o, str what) except? -1.0

cdef bint op_is_own(int op) except -1
cdef bint sums_as_value(PyTypeObject *kind) noexcept
cdef Py_ssize_t member_changes() except -1
