# Ops of any number of arguments, a node each, for functional.py.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from micrograd._core cimport Value, node_is_told, to_double
from micrograd._cpython cimport Py_INCREF, PyList_GET_ITEM, own
from micrograd._node cimport BLOCK, INHERITED, Block, Node, node_of, object_of
from micrograd._ops cimport HIGHEST, LOGSUMEXP, SUM, op_reduce
from micrograd._slab cimport result_new

from micrograd._layers import sample


cdef object many(int op, list values):
    """A node for the result of an op of many Values."""
    cdef Py_ssize_t i, count = len(values)
    cdef Block *block
    cdef Node *n
    cdef double *data = <double *>PyMem_Malloc(max(count, 1) * sizeof(double))
    cdef double r
    cdef int flags = 0
    if data == NULL:
        raise MemoryError
    try:
        for i in range(count):
            n = &(<Value?>values[i]).node
            data[i] = n.data
            flags |= n.flags
        r = op_reduce(op)(data, count)
    finally:
        PyMem_Free(data)
    block = <Block *>PyMem_Malloc(sizeof(Block) + count * sizeof(Node *))
    if block == NULL:
        raise MemoryError
    try:
        n = result_new(op, BLOCK, flags & INHERITED, r)
    except MemoryError:
        PyMem_Free(block)
        raise
    block.count = count
    block.local = NULL
    for i in range(count):
        block.parents[i] = node_of(PyList_GET_ITEM(<PyObject *>values, i))
        Py_INCREF(object_of(block.parents[i]))
    n.a = NULL
    n.b.block = block
    return own(object_of(n))


def as_values(items, str what):
    """A list of Values; numbers become leaves. Raises TypeError for anything else, with what it was to be."""
    cdef list values = []
    for item in sample(items):
        values.append(item if isinstance(item, Value) else Value(to_double(item, what)))
    return values


def sum_values(list values):
    """The sum of Values, added one by one from 0.0, as one node."""
    return many(SUM, values)


def logsumexp_values(list values):
    """log(sum(exp(x) for x in values)) as one node."""
    return many(LOGSUMEXP, values)


def highest_value(list values):
    """The highest of Values: a number, which has no gradient. Where the number is not known, in a trace, a Value that
    passes none on."""
    cdef double highest = -INFINITY
    if not values:
        raise ValueError("the highest of no values")
    for x in values:
        if not node_is_told(&(<Value?>x).node):
            return many(HIGHEST, values)
    highest = (<Value>values[0]).node.data
    for x in values:
        if (<Value>x).node.data > highest:
            highest = (<Value>x).node.data
    return highest
