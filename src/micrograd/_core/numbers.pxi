# Numbers and operands: what counts as a number, and which double it is.
#
# Gives operand, which tells Values, numbers and other objects apart; to_double and double_read, which take numbers
# alone. Uses node.pxd.

cdef enum Kind:
    FAILED = -1  # an exception is set
    OTHER        # neither a Value nor a number
    NODE
    FLOAT
    INT


cdef inline Kind number_quick(PyObject *o, double *x) noexcept:
    """A float, or an int of one digit, which are read without a call; OTHER for all else."""
    if PyFloat_CheckExact(o):
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyLong_CheckExact(o) and int_is_short(o):
        x[0] = <double>short_int(o)
        return INT
    return OTHER


cdef inline bint has_number(PyObject *o) noexcept:
    """Has its type __float__ or __index__?"""
    cdef PyNumberMethods *methods = Py_TYPE(o).tp_as_number
    return methods != NULL and (methods.nb_float != NULL or methods.nb_index != NULL)


cdef object scalar_of(object o):
    """What is to be converted for an object that has __float__ or __index__: of an array without dimensions its item,
    None where it stands for more or less than one real number. (float() also takes arrays of one element, text, dates,
    masked elements, and drops imaginary parts.)"""
    dtype = getattr(o, "dtype", None)
    if dtype is not None:
        if getattr(o, "shape", ()) != () or getattr(dtype, "kind", "f") in "cSUMm":
            return None
        if type(o).__module__.startswith("numpy.ma") and o.mask:
            return None
        if hasattr(o, "__len__"):
            o = o.item()
    return None if isinstance(o, complex) or hasattr(o, "__len__") or not has_number(<PyObject *>o) else o


ctypedef Kind (*NumberLike)(object o, double *x) noexcept  # leaves an exception set


cdef Kind number_like(object o, double *x) except FAILED:
    cdef object scalar = scalar_of(o)
    if scalar is None:
        return OTHER
    x[0] = scalar
    return INT if Py_TYPE(<PyObject *>scalar).tp_as_number.nb_index != NULL else FLOAT


cdef Kind number_slow(PyObject *o, double *x) noexcept:
    """A number that is not exactly a float: whatever has __float__ or __index__, but no text and no array with
    dimensions. FAILED with an exception set where it raises."""
    if PyFloat_Check(o):  # of a subclass, as NumPy's float64 is
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyLong_Check(o):
        x[0] = PyLong_AsDouble(o)
        return FAILED if x[0] == -1.0 and PyErr_Occurred() != NULL else INT
    if not has_number(o):
        return OTHER
    return (<NumberLike>number_like)(<object>o, x)


cdef inline Kind operand(PyObject *o, Node **n, double *x) noexcept:
    cdef Kind kind
    if Py_TYPE(o) == VALUE:
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    kind = number_quick(o, x)
    if kind != OTHER:
        return kind
    if PyType_IsSubtype(Py_TYPE(o), VALUE):
        n[0] = node_of(o)
        x[0] = n[0].data
        return NODE
    return number_slow(o, x)


cdef bint double_read(PyObject *o, str what, double *x) noexcept:
    """A number as a double; False with an exception set, that names `what`, where it is none."""
    cdef Kind kind = number_quick(o, x)
    cdef PyObject *name
    if kind != OTHER:
        return True
    kind = number_slow(o, x)
    if kind == OTHER:
        name = PyObject_GetAttrString(<PyObject *>Py_TYPE(o), "__name__")
        if name != NULL:
            PyErr_Format(PyExc_TypeError, "%U must be a real number, not %R", <PyObject *>what, name)
            Py_DECREF(name)
    return kind > OTHER


cdef double to_double(object o, str what) except? -1.0:
    cdef double x
    if not double_read(<PyObject *>o, what, &x):
        own(NULL)
    return x
