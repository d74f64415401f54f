# Slots of the type that Cython has no hook for: allocation, the constructor's short way, quick setting of `data` and
# `grad`.
#
# Uses slabs.pxi, numbers.pxi, members.pxi, lifetime.pxi, collector.pxi. Runs last: it changes the type when the module
# is imported.

cdef PyObject *value_alloc(PyTypeObject *kind, Py_ssize_t count) except NULL:
    """Memory for a Value of no subclass: those have their own allocation, CPython's. object.__new__() comes here."""
    cdef Node *n = leaf_new(0.0)
    node_begin(n)
    return object_of(n)


cdef PyObject *value_new(PyTypeObject *kind, PyObject *args, PyObject *keywords) except NULL:
    cdef tuple positional
    cdef dict named
    cdef PyObject *o = NULL
    if kind == VALUE:
        positional = <tuple>args
        named = <dict>keywords if keywords != NULL else {}
        if not (len(positional) > 1 and positional[1] or named and (
                named.get("_children") or named.get("children") or named.get("_prev"))):
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


# The constructor's signature, for inspect. CPython takes it from here, and the text for help() from the class's __doc__.
cdef const char *SIGNATURE = (
    b"Value(data, _children=(), _op='', label=None, *, children=(), _prev=(), local_grads=None)\n--\n\n"
)

cdef initproc value_init = VALUE.tp_init


cdef PyObject *value_vectorcall(PyObject *kind, PyObject *const *args, size_t nargsf, PyObject *names) except NULL:
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
    """`data` and `grad` without the search for a descriptor. (Not so for reading: a tp_getattro of one's own costs the
    interpreter's shortcut for methods, 50 ns a call of v.relu(), and saves 15 ns a read.)"""
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
    """Make value_setattro the type's slot by way of its members, which `super().__setattr__` finds in a subclass."""
    setattr(Value, name, PyDescr_NewWrapper(VALUE, (<PyWrapperDescrObject *>of_object).d_base, <void *>value_setattro))


if VALUE.tp_basicsize != SLOT_SIZE:
    raise ImportError(f"a Value takes {VALUE.tp_basicsize} bytes here, not the {SLOT_SIZE} of its slot")
Py_INCREF(<PyObject *>VALUE)  # for good: the Values in slabs hold no references to their type
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
Value.__name__ = "Value"  # what messages say, as they do of a class that is written in Python
