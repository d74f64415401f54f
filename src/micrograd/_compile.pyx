# cython: boundscheck=True, wraparound=True
# The compiled half of compiler.py: a function is traced once, its trace is lowered to a program, and the program is
# replayed over batches.
#
# The parts, in the order of these steps. Each says in its first lines what it gives and what it uses; all of them may
# also use what is declared or imported below.
#
#   arguments     arguments as numbers, of one sample or of a batch
#   ragged        batches of samples of different structure
#   instructions  lists of instructions, in arrays of C
#   trace         what the function computed from placeholders
#   guards        what a sample does not choose raises nothing
#   lower         from a trace to instructions: sums of products, and what is invariant
#   program       the order of the instructions, layers, and what is computed once a call
#   plan          the steps of a program, forward and backward
#   draft         these steps, on instructions
#   slots         where the steps read and write
#   check         the rules of traces and programs
#   check_plans   those of plans
#   kernels       an op over lanes; lanes.h and what it includes have the loops in C
#   layers        the steps of layers
#   steps         the steps of a plan over the lanes of a block
#   execute       a plan run over a batch: chunks, blocks, threads
#   anomaly       checks of what is NaN or infinite, in detect_anomaly
#   results       what a call returns: sums as nodes, numbers, samples
#
# The directives above check the indices of lists and tuples in all parts, which cannot have directives of their own;
# indices of pointers are not checked.
# No comment may follow an `include` on its line: cython-lint takes the last word of the line for the file's name.

import functools
import sys
from collections import abc

cimport cython
from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer,
                             PyBuffer_Release)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_Realloc
from cpython.object cimport PyObject
from libc.math cimport NAN, isfinite
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport qsort
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strcmp
from micrograd._core cimport (RULES, Parents, Value, block_node, graph_nodes, in_no_grad, is_checked, leaf_new,
                              member_changes, parent_at, parents_of, times_materialized, to_double, trace_begin,
                              trace_end, trace_here, trace_index_error, trace_refuse, traces, user_line)
from micrograd._core.capi cimport (PyErr_CheckSignals, PyErr_Clear, PyErr_ExceptionMatches, PyErr_Occurred,
                                   PyExc_MemoryError, PyFloat_CheckExact, PyList_GET_ITEM, PyLong_CheckExact,
                                   PySequence_Fast_ITEMS, PyTypeObject, PyType_IsSubtype, Py_REFCNT, Py_TYPE, own,
                                   raise_error, tuple_items)
from micrograd._core.debug cimport DEBUG, static_check
from micrograd._core.node cimport (AFFINE, CUSTOM, LEAF, NUMBER_LEFT, NUMBER_RIGHT, TRACED, Layer as NodeLayer, Node,
                                   affine_bias, node_affine, node_of, object_of)
from micrograd._core.ops cimport (A, ADD, AND, B, DETACH, DIV, ENTROPY_NORMALIZER, EQUAL, EXP, GUARD, INDEXED, LESS,
                                  LESS_EQUAL, LINEAR, LOG, LOGSUMEXP, MASKED, MAX, MAXIMUM, MINIMUM, MUL, NEG,
                                  NONLINEAR, NOT, NO_OP, OP_COUNT, OR, OTHERWISE, POW, PRODUCT, R, RATIO, RELU, SIGMOID,
                                  SOFTPLUS, SQRT, SUB, SUM, TAKE, TANH, TANH_SLOPE, THEN, VARIADIC, ZERO, Forward,
                                  Partial, index_of, rule_failed)

from micrograd._core import TraceError

cdef extern from "Python.h":
    int PyObject_CheckBuffer(PyObject *o)
    int PyObject_GetBuffer(PyObject *o, Py_buffer *view, int flags)
    Py_ssize_t Py_SIZE(PyObject *o)
    Py_ssize_t PY_SSIZE_T_MAX

include "_compile/arguments.pxi"
include "_compile/ragged.pxi"
include "_compile/instructions.pxi"
include "_compile/trace.pxi"
include "_compile/guards.pxi"
include "_compile/lower.pxi"
include "_compile/program.pxi"
include "_compile/plan.pxi"
include "_compile/draft.pxi"
include "_compile/slots.pxi"
include "_compile/check.pxi"
include "_compile/check_plans.pxi"
include "_compile/kernels.pxi"
include "_compile/layers.pxi"
include "_compile/steps.pxi"
include "_compile/execute.pxi"
include "_compile/anomaly.pxi"
include "_compile/results.pxi"
