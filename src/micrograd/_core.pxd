# Table of contents of the engine, for the other modules. What each part does is said in its first lines, why in
# docs/architecture.md.
#
#   _core/ops.pxd    the op rules, one row an op
#   _core/node.pxd   struct Node, the typed part of a Value, and what it shares with others
#   _core/capi.pxd   CPython's C API on bare pointers
#   _core/debug.pxd  assertions

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from micrograd._core.capi cimport PyTypeObject
from micrograd._core.node cimport Layer, Node
from micrograd._core.ops cimport OP_COUNT, Rule


cdef class Value:
    cdef Node node
    cdef dict __dict__  # made when first asked for

# Numbers
cdef bint double_read(PyObject *o, str what, double *x) noexcept
cdef double to_double(object o, str what) except? -1.0

# Nodes
cdef Rule[OP_COUNT] RULES
cdef Node *leaf_new(double data) except NULL
cdef Node *result_new(int op, int form, int flags, double data) except NULL
cdef object block_node(int op, double data, PyObject **parents, Py_ssize_t count, const double *local)

# Layers of affine nodes: layer_new(); then for each layer weights, flags and op of its affine nodes, and layer_onto()
# the next layer, or layer_nodes() after the last. `flags` are those that the nodes inherit from the inputs.
cdef Layer *layer_new(list x, Py_ssize_t outputs, int *flags) noexcept
cdef PyObject *weights_new(list weights, PyObject *bias, int *flags) noexcept
cdef Layer *layer_onto(Layer *layer, bint filled, int *flags, Py_ssize_t next_outputs) noexcept
cdef bint layer_nodes(Layer *layer, bint filled, int flags, PyObject **made) noexcept

# Parents
cdef struct Parents:     # a view of a node's parents: `split` of them in the first array, the others in the second
    Py_ssize_t count
    Py_ssize_t split
    PyObject **first
    PyObject **second
    PyObject *own[2]     # those of an op of one or two arguments

cdef void parents_of(Node *n, Parents *parents) noexcept
cdef PyObject *parent_at(Parents *parents, Py_ssize_t i) noexcept nogil
cdef list graph_nodes(list roots)  # parents first

# Members of the class that users replace
cdef bint sums_are_own(int op) except -1
cdef Py_ssize_t member_changes() except -1

# Traces
cdef struct Tracing:            # a trace under way
    uint64_t thread             # whose it is: this_thread()
    unsigned int number         # other than those of all traces before
    PyObject *error             # the first TraceError in it, which the function may have caught, a reference; or NULL
    Tracing *next

cdef Tracing *traces
cdef Tracing *trace_here() noexcept
cdef int trace_begin() except -1
cdef object trace_end()
cdef int trace_refuse(str what) except -1
cdef object op_raised(PyObject *left, PyObject *right)
cdef int check_told(Node *n, str what) except -1
cdef int check_changed(Node *n, str what) except -1
