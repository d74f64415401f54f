# Lowering: from a trace to the instructions of a program. What no output depends on is dropped, chains of additions
# of products become DOTs, and each instruction is found invariant, the same for all samples, or varying.
#
# Gives Lowered and pick. Uses trace.pxi.

cdef enum:
    MINUS_ZERO = -1  # in place of an operand: -0.0, to which a number can be added without a change


cdef list pick(source, keys):
    """[source[key] for key in keys]. A loop, here and elsewhere, since a list comprehension of Cython 3.3 releases a
    reference twice when it runs out of memory."""
    cdef list picked = []
    for key in keys:
        picked.append(source[key])
    return picked


cdef list count_uses(list instructions, tuple outputs):
    """How many instructions and outputs read each instruction; 0 for what no output depends on."""
    cdef list uses = [0] * len(instructions)
    cdef Py_ssize_t i
    for i in outputs:
        uses[i] += 1
    for i in range(len(instructions) - 1, -1, -1):
        op, operands = instructions[i]
        if uses[i] and is_computed(op):
            for operand in operands:
                uses[operand] += 1
    return uses


cdef list find_invariant(list instructions):
    """Which instructions do not depend on the arguments."""
    cdef list invariant = []
    for op, operands in instructions:
        if is_computed(op):
            invariant.append(all(invariant[operand] for operand in operands))
        else:
            invariant.append(op != ARGUMENT)
    return invariant


# ---- Sums of products ----------------------------------------------------------------------------

cdef bint absorbs(int op, list instructions, list uses, list invariant, Py_ssize_t i, Py_ssize_t operand) except -1:
    """Can the addition at i absorb this operand: is it of the op, and read by nothing else?"""
    return instructions[operand][0] == op and uses[operand] == 1 and invariant[operand] == invariant[i]


cdef bint are_alike(list instructions, list invariant, Py_ssize_t p, Py_ssize_t q) except -1:
    """Do the last products of two sums have as many invariant factors: weight times input, or input times input?"""
    cdef list counts = []
    for operands in (instructions[p][1], instructions[q][1]):
        counts.append(invariant[operands[-2]] + invariant[operands[-1]])
    return counts[0] == counts[1]


cdef find_sums(list instructions, list uses, list invariant):
    """Make DOTs of chains of additions of products that nothing else reads, in place; what they absorb becomes None.

    The additions keep their order. In `p + q` the sum so far may be either, since addition commutes."""
    cdef Py_ssize_t i, p, q
    for i in range(len(instructions)):
        if not uses[i] or instructions[i][0] != ADD:
            continue
        for p, q in (instructions[i][1], instructions[i][1][::-1]):
            if (absorbs(MUL, instructions, uses, invariant, i, q) and absorbs(DOT, instructions, uses, invariant, i, p)
                    and are_alike(instructions, invariant, p, q)):
                operands = instructions[p][1]
                if not isinstance(operands, list):
                    operands = list(operands)
                operands += instructions[q][1]
                instructions[i] = DOT, operands
                instructions[p] = instructions[q] = None
                break
        else:
            begin_sum(instructions, uses, invariant, i)


cdef int begin_sum(list instructions, list uses, list invariant, Py_ssize_t i) except -1:
    """Make a DOT of the addition at i if one of its operands is a product."""
    cdef Py_ssize_t p, q
    for p, q in (instructions[i][1], instructions[i][1][::-1]):
        if not absorbs(MUL, instructions, uses, invariant, i, q):
            continue
        if absorbs(MUL, instructions, uses, invariant, i, p) and are_alike(instructions, invariant, p, q):
            instructions[i] = DOT, [MINUS_ZERO, *instructions[p][1], *instructions[q][1]]
            instructions[p] = None
        else:
            instructions[i] = DOT, [p, *instructions[q][1]]
        instructions[q] = None
        break
    return 0


# ---- Instructions of a program -------------------------------------------------------------------

@cython.final
cdef class Lowered:
    """The instructions of a trace that its outputs depend on."""

    cdef list instructions  # as in the trace, with the sums of products that were found
    cdef list outputs       # the instructions that the function returned
    cdef list invariant     # is an instruction the same for all samples?
    cdef int widest         # operands of the longest instruction

    def __cinit__(self, Trace trace):
        self.instructions, self.invariant = [], []
        self.lower(trace)

    cdef int put(self, int op, operands, bint invariant) except -1:
        self.instructions.append((op, operands))
        self.invariant.append(invariant)
        self.widest = max(self.widest, len(operands))
        return len(self.instructions) - 1

    cdef int lower(self, Trace trace) except -1:
        """Put the instructions that an output depends on, with operands by their new indices."""
        cdef list instructions = list(trace.instructions)
        cdef list uses = count_uses(instructions, trace.outputs)
        cdef list invariant = find_invariant(instructions)
        cdef dict new = {}  # an instruction's index in the trace -> that in the program
        cdef Py_ssize_t i
        find_sums(instructions, uses, invariant)
        for i in range(len(instructions)):
            if not uses[i] or instructions[i] is None:
                continue
            op, operands = instructions[i]
            if is_computed(op):
                if MINUS_ZERO in operands and MINUS_ZERO not in new:
                    new[MINUS_ZERO] = self.put(NUMBER, (-0.0,), True)
                operands = pick(new, operands)
            if op == DOT and not invariant[i]:
                new[i] = self.lower_sum(operands)
            else:
                new[i] = self.put(op, operands, invariant[i])
        self.outputs = pick(new, trace.outputs)
        return 0

    cdef int lower_sum(self, list operands) except -1:
        """The products of a varying sum are split where the number of their invariant factors changes; an invariant
        product becomes an instruction of its own."""
        cdef list products = []
        cdef int i, w, x, product, factors, last = -1, total = operands[0]
        for i in range(1, len(operands), 2):
            w, x = operands[i], operands[i + 1]
            if self.invariant[x] and not self.invariant[w]:
                w, x = x, w
            factors = self.invariant[w] + self.invariant[x]
            if factors != last and products:
                total = self.put(DOT, [total, *products], False)
                products = []
            if factors == 2:
                product = self.put(MUL, [w, x], True)
                total = self.put(ADD, [total, product], self.invariant[total])
            else:
                products += [w, x]
            last = factors
        return self.put(DOT, [total, *products], False) if products else total
