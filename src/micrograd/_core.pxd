# Table of contents of the engine. The reasons are in docs/architecture.md.
#
#   _ops.pxd    the op rules, one row an op
#   _node.pxd   struct Node, the typed part of a Value
#   _slab       where nodes live, in order of creation
#   _graph      backward and the other passes over a graph
#   _core       Value, the Python type that is a node
#   _lifetime   how nodes die
#   _cpython    declarations of CPython's C API
#   _invariants what a debug build asserts
#   _debug      assertions, and memory that AddressSanitizer watches

from cpython.object cimport PyObject
from micrograd._cpython cimport PyTypeObject
from micrograd._node cimport TRACED, Node
from micrograd._slab cimport traces


cdef class Value:
    cdef Node node
    cdef dict __dict__  # made when first asked for


cdef bint double_read(PyObject *o, str what, double *x) noexcept
cdef double to_double(object o, str what) except? -1.0

cdef bint sums_are_own(int op) except -1
cdef bint sums_as_value(PyTypeObject *kind) noexcept
cdef Py_ssize_t member_changes() except -1

# What Python code reads of a Value during a trace becomes part of it, so data that may change cannot be read. `what`
# names the operation for the error.

cdef int ask_trace(Node *n, str what, bint change) except -1
cdef bint node_is_told(Node *n) except -1


cdef inline int check_told(Node *n, str what) except -1:
    """Raise TraceError where this thread is in a trace and what is read is true of this one call only."""
    return ask_trace(n, what, False) if n.flags & TRACED or traces != NULL else 0


cdef inline int check_changed(Node *n, str what) except -1:
    """Raise TraceError where this thread is in a trace, which does not see changes."""
    return ask_trace(n, what, True) if n.flags & TRACED or traces != NULL else 0
