# Table of contents: what _core has for the other modules. docs/architecture.md explains it.
#
#   _core/ops.pxd    the op table
#   _core/node.pxd   struct Node, the fields of a Value, and the structs that nodes share
#   _core/capi.pxd   CPython's C API on bare pointers
#   _core/debug.pxd  assertions

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from micrograd._core.capi cimport PyTypeObject
from micrograd._core.node cimport Layer, Node
from micrograd._core.ops cimport OP_COUNT, Rule


cdef class Value:
    cdef Node node
    cdef dict __dict__  # NULL until it is used

# Comparisons (choices.pxi)
cdef class Condition:
    cdef Value value  # 1.0 or 0.0

cdef Condition condition_new(Value value)

# Numbers (numbers.pxi)
cdef double to_double(object o, str what) except? -1.0

# Nodes (op_table.pxi, slabs.pxi, user_ops.pxi)
cdef Rule[OP_COUNT] RULES
cdef Node *leaf_new(double data) except NULL
cdef object value_binary_slow(int op, PyObject *left, PyObject *right)
cdef object block_node_bare(int op, double data, PyObject **parents, Py_ssize_t count, const double *local)
cdef object block_node(int op, double data, PyObject **parents, Py_ssize_t count, const double *local)
cdef object variadic_node(int op, list values)

# Layers of affine nodes (affine.pxi). A network is made by layer_new(), and then for each layer: set weights, flags and
# op of each affine node; call layer_onto() for the next layer, or layer_nodes() after the last. `flags` are those that
# nodes inherit from the inputs.
cdef Layer *layer_new(list x, Py_ssize_t outputs, int *flags) noexcept
cdef PyObject *weights_new(list weights, PyObject *bias, int *flags) noexcept
cdef Layer *layer_onto(Layer *layer, bint filled, int *flags, Py_ssize_t next_outputs) noexcept
cdef bint layer_nodes(Layer *layer, bint filled, int flags, PyObject **made) noexcept

# Parents (materialize.pxi)
cdef struct Parents:     # a view of a node's parents, in two arrays
    Py_ssize_t count
    Py_ssize_t split     # how many are in the first array
    PyObject **first
    PyObject **second
    PyObject *own[2]     # the first array, for an op of one or two arguments

cdef void parents_of(Node *n, Parents *parents) noexcept
cdef PyObject *parent_at(Parents *parents, Py_ssize_t i) noexcept nogil
cdef list graph_nodes(list roots)  # parents first
cdef Py_ssize_t times_materialized() noexcept

# Methods of Value that users replace (class_members.pxi)
cdef bint ops_unchanged(int op) except -1
cdef Py_ssize_t member_changes() except -1

# Modes of this thread (modes.pxi)
cdef bint in_no_grad() noexcept
cdef bint is_checked() noexcept
cdef str user_line()
cdef object mode_result(object result)

# Traces (trace_mode.pxi)
cdef struct Tracing:     # a trace under way
    uint64_t thread      # the number of its thread: this_thread()
    unsigned int number  # each trace has another
    bint exact           # is it to compute with eager code's roundings?
    PyObject *error      # a reference to its first TraceError, which the traced function may have caught; or NULL
    PyObject *index      # the same of the last for a Value used as an index, which NumPy may have caught
    int sides            # how many functions that functional.where was given, and passes of grad(), are running
    Tracing *next        # in the list `traces`

cdef Tracing *traces
cdef Tracing *trace_here() noexcept
cdef int trace_begin(bint exact) except -1
cdef object trace_end()
cdef object trace_index_error(error)
cdef int trace_refuse(str what) except -1
cdef bint trace_may_read(Node *n) except -1
cdef int op_raised(PyObject *left, PyObject *right) except -1
cdef int trace_check_read(Node *n, str what) except -1
cdef int trace_check_change(Node *n, str what) except -1
