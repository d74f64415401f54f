# CPython's C API on bare pointers. References are counted by hand. A function that returns NULL or -1 without an
# `except` clause leaves an exception set; its caller calls raise_error() when it is to be raised.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    /* Hands to Cython a reference that is already counted. */
    #define own(p) ((PyObject *)(p))
    /* Raises the exception that is set: Cython takes -1 for the sign of it. Nothing after the call runs. */
    #define raise_error() (-1)
    /* For memory that was no object. Py_SET_REFCNT would read the old count first, to see if the object is immortal. In
       a free-threaded CPython the owner's thread and two numbers are the count; _Py_NewReference would be a call. */
    #if defined(Py_GIL_DISABLED)
      #define set_first_reference(o) \
          (*(o) = (PyObject){.ob_tid = _Py_ThreadId(), .ob_ref_local = 1, .ob_type = (o)->ob_type})
    #else
      #define set_first_reference(o) ((o)->ob_refcnt = 1)
    #endif
    /* Ints of one digit, read without a call. */
    #if PY_VERSION_HEX >= 0x030C0000
      #define int_is_short(o) PyUnstable_Long_IsCompact((PyLongObject *)(o))
      #define short_int(o) PyUnstable_Long_CompactValue((PyLongObject *)(o))
    #else
      #if PY_VERSION_HEX < 0x030B0000
        #include <longintrepr.h>
      #endif
      #define int_is_short(o) (Py_SIZE(o) >= -1 && Py_SIZE(o) <= 1)
      #define short_int(o) (Py_SIZE(o) * (Py_ssize_t)((PyLongObject *)(o))->ob_digit[0])
    #endif
    #define tuple_items(o) (((PyTupleObject *)(o))->ob_item)
    /* A number that changes with every change of the class or of one that it inherits from; 0 while it has none. */
    #if PY_VERSION_HEX < 0x030B0000
      #define type_version(type) ((type)->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG ? (type)->tp_version_tag : 0)
    #else
      #define type_version(type) ((type)->tp_version_tag)
    #endif
    /* Before CPython 3.12 the collector, and with it any Python code, may run wherever an object is made, an exception
       too. Between collector_stop() and collector_restart() it does not. */
    #if PY_VERSION_HEX >= 0x030C0000
      #define collector_stop() 0
      #define collector_restart(ran) ((void)(ran))
    #elif PY_VERSION_HEX >= 0x030A0000
      #define collector_stop() PyGC_Disable()
      #define collector_restart(ran) do { if (ran) PyGC_Enable(); } while (0)
    #else
      static inline int collector_call(const char *function) {  /* of the module gc, which _core.pyx imports */
          PyObject *type, *error, *traceback, *gc, *r = NULL;
          int is_true;
          PyErr_Fetch(&type, &error, &traceback);
          gc = PyImport_AddModule("gc");
          if (gc != NULL)
              r = PyObject_CallMethod(gc, function, NULL);
          is_true = r == Py_True;
          Py_XDECREF(r);
          PyErr_Restore(type, error, traceback);
          return is_true;
      }
      static inline int collector_stop(void) {
          int ran = collector_call("isenabled");
          collector_call("disable");
          return ran;
      }
      static inline void collector_restart(int ran) {
          if (ran)
              collector_call("enable");
      }
    #endif
    """
    object own(PyObject *p)
    int raise_error() except -1
    void set_first_reference(PyObject *o) nogil
    PyObject **tuple_items(PyObject *o) nogil
    bint int_is_short(PyObject *o) nogil
    Py_ssize_t short_int(PyObject *o) nogil
    unsigned int type_version(PyTypeObject *type) nogil
    bint collector_stop()
    void collector_restart(bint ran)

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *)
    ctypedef int (*initproc)(PyObject *, PyObject *, PyObject *)
    ctypedef struct PyNumberMethods:
        void *nb_float
        void *nb_index
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_basicsize
        const char *tp_doc
        Py_ssize_t tp_dictoffset
        PyObject *(*tp_call)(PyObject *, PyObject *, PyObject *) except NULL
        initproc tp_init
        PyObject *(*tp_new)(PyTypeObject *, PyObject *, PyObject *) except NULL
        PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t) except NULL
        PyObject *(*tp_vectorcall)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
        void (*tp_dealloc)(PyObject *)
        void (*tp_free)(void *)
        int (*tp_traverse)(PyObject *, visitproc, void *)
        int (*tp_clear)(PyObject *)
        PyObject *(*tp_descr_get)(PyObject *, PyObject *, PyObject *)
        Py_hash_t (*tp_hash)(PyObject *) except -1
        PyNumberMethods *tp_as_number
    PyTypeObject PyType_Type
    PyTypeObject *Py_TYPE(PyObject *o) nogil
    void Py_SET_TYPE(PyObject *o, PyTypeObject *kind) nogil
    PyObject *_PyType_Lookup(PyTypeObject *kind, PyObject *name)
    ctypedef struct PyWrapperDescrObject:
        void *d_base
    object PyDescr_NewWrapper(PyTypeObject *kind, void *base, void *function)
    bint PyType_IsSubtype(PyTypeObject *kind, PyTypeObject *base)
    Py_ssize_t Py_REFCNT(PyObject *o) nogil
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)
    void Py_XDECREF(PyObject *o)
    void Py_XINCREF(PyObject *o)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)

    void PyObject_GC_UnTrack(PyObject *o)
    bint PyList_CheckExact(PyObject *o)
    Py_ssize_t PyList_GET_SIZE(PyObject *o)
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i)
    void PyList_SET_ITEM(PyObject *o, Py_ssize_t i, PyObject *item)
    PyObject **PySequence_Fast_ITEMS(PyObject *o)
    PyObject *PyTuple_New(Py_ssize_t count)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *o) nogil

    bint PyLong_Check(PyObject *o)
    bint PyLong_CheckExact(PyObject *o)
    bint PyFloat_Check(PyObject *o)
    bint PyFloat_CheckExact(PyObject *o)
    double PyFloat_AS_DOUBLE(PyObject *o)
    double PyFloat_AsDouble(PyObject *o)
    double PyLong_AsDouble(PyObject *o)
    PyObject *PyFloat_FromDouble(double x)
    PyObject *PyLong_FromDouble(double x)
    object PyLong_FromVoidPtr(void *p)
    void *PyLong_AsVoidPtr(object o)
    Py_ssize_t PyNumber_AsSsize_t(object o, PyObject *overflow) except? -1  # NULL: the nearest where it overflows
    bint PyNumber_Check(PyObject *o)
    PyObject *PyNumber_Power(PyObject *a, PyObject *b, PyObject *modulus)
    PyObject *PyNumber_TrueDivide(PyObject *a, PyObject *b)
    PyObject *Py_None
    PyObject *Py_True
    PyObject *Py_False

    int PyObject_GenericSetAttr(PyObject *o, PyObject *name, PyObject *value)
    PyObject *PyObject_GetAttrString(PyObject *o, const char *name)
    PyObject *PyUnicode_InternFromString(const char *text)

    PyObject *PyImport_ImportModule(const char *name)
    PyObject *PyObject_CallMethod(PyObject *owner, const char *method, const char *form, ...)

    PyObject *PyErr_Occurred() nogil
    PyObject *PyExc_AttributeError
    PyObject *PyExc_IndexError
    PyObject *PyExc_MemoryError
    PyObject *PyExc_TypeError
    PyObject *PyExc_ValueError
    void PyErr_SetObject(PyObject *kind, PyObject *value)
    PyObject *PyErr_Format(PyObject *kind, const char *form, ...)
    PyObject *PyErr_NoMemory()
    void PyErr_Clear()
    bint PyErr_ExceptionMatches(PyObject *kind)
    int PyErr_CheckSignals()

    ctypedef struct PyThreadState:
        pass
    PyThreadState *PyThreadState_Get()
    uint64_t PyThreadState_GetID(PyThreadState *thread)
    PyObject *PyThreadState_GetDict()


cdef inline uint64_t this_thread() noexcept:
    """A number of this thread. No later thread of the process has it, and no thread of a child that another thread
    forks."""
    return PyThreadState_GetID(PyThreadState_Get())
