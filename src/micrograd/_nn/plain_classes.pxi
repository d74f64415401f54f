# How methods of nn/ are implemented in C, and which classes have them unchanged. Such classes, and their instances,
# are called plain: their results may be computed without calling the methods.
#
# Gives `implemented_in_c`, DEFINITIONS, `class_of` with `known_neuron` and `known_layer`, and `plain_groups`. Uses the
# bases in _nn.pyx.

cdef extern from "Python.h":
    struct wrapperbase:  # CPython's description of a slot of types
        const char *doc
    PyTypeObject PyWrapperDescr_Type
    ctypedef struct WrapperDescr "PyWrapperDescrObject":
        wrapperbase *d_base
        void *d_wrapped
    ctypedef struct PyMethodDef:
        const char *ml_doc
    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method
    object PyDescr_NewMethod(PyTypeObject *kind, PyMethodDef *method)

cdef struct KnownClass:    # a class whose methods have been compared with those of nn/
    PyTypeObject *type
    PyTypeObject *plain    # the class of nn/
    unsigned int version   # of the type then: CPython gives it another when a class in its MRO changes
    bint plain_call        # is its `__call__` that of nn/?
    bint plain_parameters  # is its `parameters`?
    int op                 # a neuron's activation, 0 if it is no op

cdef KnownClass known_neuron
cdef KnownClass known_layer
cdef dict DEFINITIONS = {}  # {(base, name of a method): its definition in Python}
cdef dict MEMBERS = {}      # {class of nn/: {name: member}}, the members that the loops in C rely on
cdef list DOCS = []         # keeps the docstrings to which descriptors point
cdef dict UNARY_OPS = {RULES[op].name.decode(): op for op in range(<int>OP_COUNT) if RULES[op].arity == 1}


def implemented_in_c(kind):
    """Class decorator: replace `__call__` and `parameters` by the base's methods in C, where it has them.

    A method in C has the signature and the docstring of the definition in Python, and computes the same. It calls the
    definition where a layer or a neuron overrides `__call__` or `parameters`.
    """
    base = base_of(kind)
    if "__call__" in base.__dict__:
        kind.__signature__ = CallSignature()
    for name in ("__call__", "parameters"):
        if name in base.__dict__:
            DEFINITIONS[base, name] = kind.__dict__[name]
            setattr(kind, name, documented(base.__dict__[name], <PyTypeObject *>kind, kind.__dict__[name]))
    relied_on = ("__call__", "__getattribute__", "parameters", *FIELDS[base])
    MEMBERS[kind] = {name: getattr(kind, name) for name in relied_on}
    if base is NeuronBase:
        known_neuron.plain = <PyTypeObject *>kind
    elif base is LayerBase:
        known_layer.plain = <PyTypeObject *>kind
    return kind


class CallSignature(property):
    """The signature of `__call__`, which `inspect.signature()` of an instance finds by itself only if it is in Python.
    A class does not have this attribute: `inspect.signature()` of a class is that of its constructor."""

    def __get__(self, instance, owner=None):
        if instance is None:
            raise AttributeError("__signature__")
        from inspect import signature  # not at the top: this module's import would take five times as long

        return signature(instance.__call__)


cdef object documented(object method, PyTypeObject *kind, object source):
    """A method in C as a member of a class, with the signature and docstring of a Python function. CPython sets a slot
    of the class from such a member, so that a call of an instance calls the C function."""
    cdef wrapperbase *slot
    cdef PyMethodDef *copy
    names = ", ".join(source.__code__.co_varnames[:source.__code__.co_argcount])
    cdef bytes doc = f"{source.__name__}(${names})\n--\n\n{source.__doc__ or ''}".encode()
    DOCS.append(doc)
    if Py_TYPE(<PyObject *>method) == &PyWrapperDescr_Type:
        slot = <wrapperbase *>PyMem_Malloc(sizeof(wrapperbase))  # never freed, like the classes of nn/
        if slot == NULL:
            raise MemoryError
        slot[0] = (<WrapperDescr *>method).d_base[0]
        slot.doc = doc
        return PyDescr_NewWrapper(kind, slot, (<WrapperDescr *>method).d_wrapped)
    copy = <PyMethodDef *>PyMem_Malloc(sizeof(PyMethodDef))
    if copy == NULL:
        raise MemoryError
    copy[0] = (<PyMethodDescrObject *>method).d_method[0]
    copy.ml_doc = doc
    return PyDescr_NewMethod(kind, copy)


cdef int class_learn(KnownClass *known, object kind) except -1:
    """Compare a class with that of nn/. `known` is changed at the end, all at once, since getattr() may run Python
    code."""
    cdef KnownClass found
    found.type = <PyTypeObject *>kind
    found.plain = known.plain
    found.version = type_version(found.type)
    found.plain_call = found.plain_parameters = False
    found.op = 0
    if known.plain != NULL and issubclass(kind, <object>known.plain):
        changed = {name for name, member in MEMBERS[<object>known.plain].items() if getattr(kind, name) is not member}
        found.plain_call = not changed - {"parameters"}
        found.plain_parameters = not changed - {"__call__"}
        found.op = UNARY_OPS.get(kind.activation, 0) if known == &known_neuron else 0
    known[0] = found
    return 0


cdef inline KnownClass *class_of(KnownClass *known, PyObject *o) except NULL:
    """What is known of the class of an object: `known`, made anew if it was of another class or version."""
    if known.type != Py_TYPE(o) or known.version == 0 or known.version != type_version(known.type):
        class_learn(known, <object>Py_TYPE(o))
    return known


cdef list plain_groups(object layers):
    """The neurons of each layer; an empty list if a layer overrides `__call__`."""
    cdef list held = layers if type(layers) is list else list(layers)
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>held)
    cdef list groups = PyList_New(count)
    cdef PyObject *neurons
    for i in range(count):
        if PyList_GET_SIZE(<PyObject *>held) != count:  # Python code that class_of() may run has changed the list
            return []
        layer = held[i]
        if not class_of(&known_layer, <PyObject *>layer).plain_call:
            return []
        neurons = <PyObject *>(<LayerBase>layer).neurons
        Py_INCREF(neurons)
        PyList_SET_ITEM(<PyObject *>groups, i, neurons)
    return groups
