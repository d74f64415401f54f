# Slots of the type Value that Cython has no syntax for: allocation in slabs, a quick constructor, quick assignment of
# `data` and `grad`.
#
# Gives nothing: it sets the slots when the module is imported. Uses slabs.pxi, numbers.pxi, class_members.pxi,
# lifetime.pxi, collector.pxi, trace_mode.pxi, user_ops.pxi, and of _core.pyx _UserOp.

cdef PyObject *value_alloc(PyTypeObject *kind, Py_ssize_t count) except NULL:
    """tp_alloc: a Value in a slab. Subclasses have CPython's own tp_alloc. object.__new__() calls this."""
    cdef Node *n = leaf_new(0.0)
    node_begin(n)
    return object_of(n)


cdef PyObject *value_new(PyTypeObject *kind, PyObject *args, PyObject *keywords) except NULL:
    """tp_new. A Value with parents is a result, in a slab of results, if it has local gradients; else a _UserOp."""
    cdef tuple positional
    cdef dict named
    cdef PyObject *o = NULL
    if kind == VALUE:
        positional = <tuple>args
        named = <dict>keywords if keywords != NULL else {}
        if not (len(positional) > 1 and positional[1] or named and (
                named.get("_children") or named.get("children") or named.get("_prev"))) or drops_parents():
            return value_alloc(kind, 0)
        if len(positional) > 2 and isinstance(positional[2], (tuple, list)) or named.get("local_grads") is not None:
            o = object_of(result_new(NO_OP, LEAF, END, 0.0))
        else:
            kind = <PyTypeObject *>_UserOp
    if kind != VALUE:
        o = kind.tp_alloc(kind, 0)
    try:
        node_begin(node_of(o))
    except BaseException:  # a metaclass may raise anything
        Py_DECREF(o)
        raise
    return o


# The constructor's signature, for inspect. CPython takes it from here, and the text for help() from the class's
# __doc__.
cdef const char *SIGNATURE = (
    b"Value(data, _children=(), _op='', label=None, *, children=(), _prev=(), local_grads=None)\n--\n\n"
)

cdef initproc value_init = VALUE.tp_init


cdef PyObject *value_vectorcall(PyObject *kind, PyObject *const *args, size_t nargsf, PyObject *names) except NULL:
    """tp_vectorcall: `Value(number)` at once, other calls by way of tp_call."""
    cdef Py_ssize_t i, count = PyVectorcall_NARGS(nargsf)
    if count == 1 and names == NULL and VALUE.tp_init == value_init and VALUE.tp_new == value_new:
        return object_of(leaf_new(to_double(<object>args[0], "Value.data")))
    found = []
    for i in range(count):
        found.append(<object>args[i])
    positional = tuple(found)
    named = {}
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            named[name] = <object>args[count + i]
    return PyType_Type.tp_call(kind, <PyObject *>positional, <PyObject *>named)


cdef PyObject *DATA = PyUnicode_InternFromString("data")
cdef PyObject *GRAD = PyUnicode_InternFromString("grad")


cdef int value_setattro(PyObject *o, PyObject *name, PyObject *value) noexcept:
    """tp_setattro: `data` and `grad` without a search for their descriptors. (There is no such tp_getattro: the
    interpreter would not cache methods any more, which costs 50 ns a call of v.relu() and saves 15 ns a read.)"""
    if (Py_TYPE(o) == VALUE and value != NULL and PyFloat_CheckExact(value)
            and type_version(VALUE) == members.fields_version and traces == NULL):
        if name == DATA:
            node_of(o).data = PyFloat_AS_DOUBLE(value)
            return 0
        if name == GRAD:
            node_of(o).grad = PyFloat_AS_DOUBLE(value)
            return 0
    return PyObject_GenericSetAttr(o, name, value)


cdef int setattro_assign(str name, of_object) except -1:
    """Make value_setattro the type's slot, by a member that `super().__setattr__` in a subclass finds too."""
    setattr(Value, name, PyDescr_NewWrapper(VALUE, (<PyWrapperDescrObject *>of_object).d_base, <void *>value_setattro))


if VALUE.tp_basicsize > SLOT_SIZE:
    raise ImportError(f"a Value takes {VALUE.tp_basicsize} bytes here, and its slot has {SLOT_SIZE}")
if VALUE.tp_dictoffset != <Py_ssize_t>(sizeof(PyObject) + sizeof(Node)):
    raise ImportError("a Value has other fields here than an object's head, its node and its __dict__")
Py_INCREF(<PyObject *>VALUE)  # never given up: the Values in slabs hold no references to their type
VALUE.tp_doc = SIGNATURE
VALUE.tp_new = value_new
VALUE.tp_alloc = value_alloc
VALUE.tp_vectorcall = value_vectorcall
VALUE.tp_dealloc = value_dealloc
VALUE.tp_hash = OBJECT.tp_hash
VALUE.tp_traverse = value_traverse
VALUE.tp_clear = value_clear
setattro_assign("__setattr__", object.__setattr__)
setattro_assign("__delattr__", object.__delattr__)
Value.__name__ = "Value"  # without the module's name, as of a class in Python
