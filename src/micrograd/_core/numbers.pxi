# Numbers and operands: which objects are numbers, and their doubles.
#
# Gives operand, for a Value or a number; number_quick, to_double and double_read, for a number alone; and Kind.

cdef enum Kind:  # of an object
    FAILED = -1  # an exception is set
    OTHER        # neither a Value nor a number
    NODE
    FLOAT
    INT


cdef inline Kind number_quick(PyObject *o, double *x) noexcept:
    """A float, or an int of one digit, which are read without a call; OTHER for other objects."""
    if PyFloat_CheckExact(o):
        x[0] = PyFloat_AS_DOUBLE(o)
        return FLOAT
    if PyLong_CheckExact(o) and int_is_short(o):
        x[0] = <double>short_int(o)
        return INT
    return OTHER


cdef inline bint has_number(PyObject *o) noexcept:
    """Has its type __float__ or __index__? The slots of Value in a trace are none."""
    cdef PyNumberMethods *methods = Py_TYPE(o).tp_as_number
    return methods != NULL and methods.nb_float != <void *>value_float and (
        methods.nb_float != NULL or methods.nb_index != NULL)


cdef object scalar_of(object o):
    """The number in an object that has __float__ or __index__: the object, or the item of an array without dimensions.
    None where it is not one real number: float() would also take arrays of one element, text, dates and masked
    elements, and drop imaginary parts."""
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
    """A number of any class with __float__ or __index__, as scalar_of() says. FAILED with an exception set where these
    raise."""
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
    """An operand: its number or data in x, and for a Value its node in n. FAILED as number_slow()."""
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
    """Read a number. False with an exception set where it is none: a TypeError that names `what`."""
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
        raise_error()
    return x
