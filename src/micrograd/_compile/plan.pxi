# Plans: the steps that compute a program, forward and backward, on slots. A slot is an array of lanes, one for each
# sample of a block; it is used again after the last step that reads what it holds. The slots of a group's results, and
# those of their grads, are side by side, so that one step computes a run of instructions.
#
# A plan is made in two passes. The first, draft.pxi, drafts steps whose operands have ids. The second, slots.pxi,
# allocates slots for the ids, and cuts what a group computes into runs.
#
# Gives Plan, StepKind, partial_reads and others that say what a step needs of an op. Uses program.pxi, and the columns
# of the op table.

# A step is its kind, the lengths of the two that follow, a header, and slots. Where a run of `count` instructions has
# one operand, its slot is that of the first instruction, and the header says how many slots further the next one's is.
cdef enum StepKind:   # header; slots
    APPLY             # op, count, step of a, of b;         result, a, b; the results' step is 1
    REDUCE            # op;                                 result, operands
    DOTS              # -;                                  result, bias, a[0], b[0], a[1], b[1], ...
    DOT_RUN           # terms, steps of a, of b;            result, bias, a[0], b[0] of each sum
    LAYER             # layer, outputs, inputs, varying, calls, apart...; outputs, inputs, biases if these vary
    INDEXED_REDUCE    # op;                                 result, operands, index
    LOOKUP            # rows, columns, invariant values...; results, one for each column, index
    BACK_APPLY        # op, side, accumulate, count, steps; target, grad, a, b, result, each with a step
    BACK_REDUCE       # op, accumulate...;                  grad, result, then operand and target in turn
    BACK_DOTS         # accumulate...;                      grad, then a, b, the target of a and that of b in turn
    BACK_DOT_RUN      # terms, steps, accumulate...;        grad, a[0], b[0], the target of a[0] and of b[0] of each sum
    BACK_LAYER        # layer, outputs, inputs, wanted, calls, apart...; grads, inputs, targets and what is added to
    BACK_INDEXED      # op, accumulate...;                  grad, result, index, then operand and target in turn
    BACK_LOOKUP       # rows, columns, invariant values...; grads, index
    SEED              # output, accumulate;                 target
    COLLECT           # invariant value, count;             grad, of the first of a run with step 1

cdef enum:
    NO_TARGET = -1      # BACK_DOTS, BACK_DOT_RUN: in place of a target, where no grad is needed
    BACK_OPERANDS = 5   # BACK_APPLY: its slots
    WEIGHTS = 1         # BACK_LAYER: grads of the weights are wanted
    INPUTS = 2          # BACK_LAYER: those of the inputs
    BIASES = 4          # BACK_LAYER: those of the biases
    LAYER_HEADER = 7    # LAYER: lengths of the header, which ends with how far apart the slots of the calls are: those
    BACK_LAYER_HEADER = 9  # BACK_LAYER: of inputs and biases, or of grads, inputs, targets and what is added to;
    SCATTERED = -0x7fffffff - 1  # in place of it: they are not side by side, or not equally far apart
    ALL_ZEROS = -0x7fffffff  # in place of it: all are one slot, of zeros
    DOT_SLOTS = 4       # DOT_RUN: of each sum
    BACK_DOT_SLOTS = 5  # BACK_DOT_RUN: of each sum
    BACK_DOT_FLAGS = 5  # BACK_DOT_RUN: where the header has whether to accumulate, for both factors of each sum


@cython.final
cdef class Plan:
    """Steps on slots: forward, and backward if there is one."""

    cdef IntArray forward     # for each step: kind, length of header, number of slots, header, slots
    cdef IntArray backward
    cdef IntArray loads       # pairs of an argument and its slot
    cdef IntArray broadcasts  # pairs of an invariant value, or -1 for zeros, and its slot
    cdef IntArray outputs     # the slots of the outputs
    cdef IntArray transposed  # layers whose transposed weights are read, for the grads of their inputs
    cdef IntArray grads       # pairs of an argument and the slot of its grad
    cdef readonly int slots
    cdef readonly int steps   # how many
    cdef readonly int work    # how many there would be if each had one instruction

    def __dealloc__(self):
        PyMem_Free(self.forward.items)
        PyMem_Free(self.backward.items)
        PyMem_Free(self.loads.items)
        PyMem_Free(self.broadcasts.items)
        PyMem_Free(self.outputs.items)
        PyMem_Free(self.transposed.items)
        PyMem_Free(self.grads.items)


# ---- What a plan asks of ops ---------------------------------------------------------------------

cdef inline bint has_index(int op) noexcept:
    """Is the op's last operand an index?"""
    return op < OP_COUNT and RULES[op].shape == INDEXED


cdef inline bint has_gradient(int op) noexcept:
    """Does an instruction of this op pass on a gradient?"""
    return is_computed(op) and (op == DOT or RULES[op].shape != ZERO)


cdef int partial_reads(int op, int side) noexcept:
    """What the partial of one side reads, a set of Read."""
    return RULES[op].right_reads if side else RULES[op].left_reads
