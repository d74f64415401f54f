# Lowering: from a trace to the instructions of a program. What no output depends on is dropped, chains of additions
# of products become DOTs, and each instruction is found invariant, the same for all samples, or varying.
#
# Gives Lowered and pick. Uses instructions.pxi, trace.pxi, guards.pxi.

cdef enum Role:     # of an instruction of a trace in sums of products
    NO_SUM          # none; or a DOT, which is a sum as it is
    SUM_OF_TWO      # an addition of two products
    SUM_WITH_BIAS   # an addition of anything and a product
    SUM_CONTINUED   # an addition of a sum of products and another product

cdef struct Finding:    # about an instruction of a trace
    int index           # of the instruction of the program
    unsigned char uses  # by instructions and outputs: 0, 1, 2 for more; 0 too for what a sum has absorbed
    bint invariant
    unsigned char role  # a Role
    bint swapped        # is the last product of the sum the left operand of the addition?


cdef list pick(source, keys):
    """[source[key] for key in keys]. A loop, here and elsewhere, since a list comprehension of Cython 3.3 releases a
    reference twice when it runs out of memory."""
    cdef list picked = []
    for key in keys:
        picked.append(source[key])
    return picked


@cython.final
cdef class Lowered:
    """The instructions of a trace that its outputs depend on, with the sums of products that were found."""

    cdef Instructions code
    cdef char *invariant      # for each instruction: is it the same for all samples?
    cdef list outputs         # the instructions that the function returned
    cdef int widest           # operands of the longest instruction
    cdef Instructions source  # those of the trace, with guards
    cdef Finding *findings    # about them
    cdef int *operands        # of the instruction at hand
    cdef int minus_zero       # the bias of sums without one: -0.0, to which a number can be added without a change
    cdef Py_ssize_t room      # for invariant
    cdef Py_ssize_t operand_room

    def __cinit__(self, Trace trace):
        cdef tuple outputs
        self.code, self.outputs, self.minus_zero = Instructions(), [], -1
        self.source, outputs = guarded(trace)
        self.findings = <Finding *>PyMem_Calloc(max(self.source.count, 1), sizeof(Finding))
        if self.findings == NULL:
            raise MemoryError
        self.count_uses(outputs)
        self.find_invariant()
        self.find_sums()
        self.lower()
        for i in outputs:
            self.outputs.append(self.findings[<Py_ssize_t>i].index)
        self.code.shrink()
        self.free_temporaries()

    def __dealloc__(self):
        self.free_temporaries()
        PyMem_Free(self.invariant)

    cdef void free_temporaries(self) noexcept:
        PyMem_Free(self.findings)
        PyMem_Free(self.operands)
        self.findings, self.operands = NULL, NULL

    cdef inline int *operands_at(self, Py_ssize_t i) noexcept:
        """The operands of an instruction of the trace."""
        return self.source.operands + self.source.items[i].first

    # -- uses, and what is invariant

    cdef int count_uses(self, tuple outputs) except -1:
        """Count how many instructions and outputs read each instruction, of those that an output depends on."""
        cdef Finding *findings = self.findings
        cdef Instruction *item
        cdef Finding *operand
        cdef Py_ssize_t i
        cdef int k
        for i in outputs:
            findings[i].uses = min(findings[i].uses + 1, 2)
        for i in range(self.source.count - 1, -1, -1):
            check_signals(i)
            item = &self.source.items[i]
            for k in range(item.count if findings[i].uses and is_computed(item.op) else 0):
                operand = &findings[self.source.operands[item.first + k]]
                operand.uses = min(operand.uses + 1, 2)
        return 0

    cdef int find_invariant(self) except -1:
        """Find which instructions do not depend on the arguments."""
        cdef Finding *findings = self.findings
        cdef Instruction *item
        cdef Py_ssize_t i
        cdef int k
        for i in range(self.source.count):
            check_signals(i)
            item = &self.source.items[i]
            findings[i].invariant = item.op != ARGUMENT
            for k in range(item.count if is_computed(item.op) else 0):
                if not findings[self.source.operands[item.first + k]].invariant:
                    findings[i].invariant = False
                    break
        return 0

    # -- sums of products: chains of additions of products that nothing else reads. The additions keep their order. In
    # `p + q` the sum so far may be either, since addition commutes.

    cdef int find_sums(self) except -1:
        cdef Py_ssize_t i
        cdef int *operands
        for i in range(self.source.count):
            check_signals(i)
            if self.findings[i].uses and self.source.items[i].op == ADD:
                operands = self.operands_at(i)
                if not (self.continue_sum(i, operands[0], operands[1], False)
                        or self.continue_sum(i, operands[1], operands[0], True)
                        or self.begin_sum(i, operands[0], operands[1], False)):
                    self.begin_sum(i, operands[1], operands[0], True)
        return 0

    cdef bint continue_sum(self, Py_ssize_t i, int p, int q, bint swapped) noexcept:
        """Make a sum of the addition at i if p is a sum and q a product."""
        if not (self.absorbs(MUL, i, q) and self.absorbs(DOT, i, p) and self.are_alike(p, q)):
            return False
        self.findings[p].uses = self.findings[q].uses = 0
        return self.set_role(i, SUM_CONTINUED, swapped)

    cdef bint begin_sum(self, Py_ssize_t i, int p, int q, bint swapped) noexcept:
        """Make a sum of the addition at i if q is a product."""
        if not self.absorbs(MUL, i, q):
            return False
        self.findings[q].uses = 0
        if not (self.absorbs(MUL, i, p) and self.are_alike(p, q)):
            return self.set_role(i, SUM_WITH_BIAS, swapped)
        self.findings[p].uses = 0
        return self.set_role(i, SUM_OF_TWO, swapped)

    cdef bint set_role(self, Py_ssize_t i, Role role, bint swapped) noexcept:
        self.findings[i].role, self.findings[i].swapped = role, swapped
        return True

    cdef bint absorbs(self, int op, Py_ssize_t i, int operand) noexcept:
        """Can the addition at i absorb this operand: is it of the op, and read by nothing else?"""
        cdef Finding *finding = &self.findings[operand]
        return (finding.uses == 1 and finding.invariant == self.findings[i].invariant
                and (DOT if finding.role else self.source.items[operand].op) == op)

    cdef bint are_alike(self, Py_ssize_t p, Py_ssize_t q) noexcept:
        """Do the last products of two sums have as many invariant factors: weight times input, or input times input?"""
        return self.invariant_factors(p) == self.invariant_factors(q)

    cdef int invariant_factors(self, Py_ssize_t i) noexcept:
        """How many the last product has."""
        cdef Instruction *item = &self.source.items[self.last_product(i) if self.findings[i].role else i]
        cdef int *end = self.source.operands + item.first + item.count
        return self.findings[end[-2]].invariant + self.findings[end[-1]].invariant

    cdef inline int last_product(self, Py_ssize_t i) noexcept:
        return self.operands_at(i)[0 if self.findings[i].swapped else 1]

    cdef inline int sum_before(self, Py_ssize_t i) noexcept:
        """What the last product of a sum is added to."""
        return self.operands_at(i)[1 if self.findings[i].swapped else 0]

    # -- instructions of the program

    cdef int lower(self) except -1:
        """Put the instructions that an output depends on, with operands by their new indices."""
        cdef Finding *finding
        cdef Py_ssize_t i
        cdef int op, count
        for i in range(self.source.count):
            check_signals(i)
            finding = &self.findings[i]
            op = DOT if finding.role else self.source.items[i].op
            if not finding.uses:
                continue
            if op == NUMBER:
                finding.index = self.put_number(self.source.number_at(i))
            elif not is_computed(op):
                finding.index = self.put(op, self.operands_at(i), 1, finding.invariant)
            else:
                count = self.read_operands(i)
                if op == DOT and not finding.invariant:
                    finding.index = self.put_sum(count)
                else:
                    finding.index = self.put(op, self.operands, count, finding.invariant)
        return 0

    cdef int put(self, int op, const int *operands, int count, bint invariant) except -1:
        """Put an instruction. Returns its index."""
        self.set_invariant(invariant)
        self.widest = max(self.widest, count)
        return self.code.append(op, operands, count)

    cdef int put_number(self, double x) except -1:
        self.set_invariant(True)
        self.widest = max(self.widest, 1)
        return self.code.append_number(x)

    cdef inline int set_invariant(self, bint invariant) except -1:
        """Say of the next instruction whether it is invariant."""
        if self.code.count == self.room:
            self.invariant = <char *>array_grow(self.invariant, &self.room, self.code.count + 1, sizeof(char))
        self.invariant[self.code.count] = invariant
        return 0

    cdef int read_operands(self, Py_ssize_t i) except -1:
        """Read the operands of an instruction of the trace, of a sum those of all its products. Returns how many."""
        cdef Py_ssize_t first = i, count = 0, end
        while self.findings[first].role == SUM_CONTINUED:
            first = self.sum_before(first)
            count += 2
        if self.findings[first].role == NO_SUM:
            count += self.source.items[first].count
        else:
            count += 5 if self.findings[first].role == SUM_OF_TWO else 3
        if count > MOST_INSTRUCTIONS:
            raise MemoryError  # counts are ints
        if count > self.operand_room:
            self.operands = <int *>array_grow(self.operands, &self.operand_room, count, sizeof(int))
        end = count
        while self.findings[i].role == SUM_CONTINUED:
            end -= 2
            self.renumber(self.last_product(i), end)
            i = self.sum_before(i)
        if self.findings[i].role == NO_SUM:
            self.renumber(i, 0)
        elif self.findings[i].role == SUM_WITH_BIAS:
            self.operands[0] = self.findings[self.sum_before(i)].index
            self.renumber(self.last_product(i), 1)
        else:
            if self.minus_zero < 0:
                self.minus_zero = self.put_number(-0.0)
            self.operands[0] = self.minus_zero
            self.renumber(self.sum_before(i), 1)
            self.renumber(self.last_product(i), 3)
        return count

    cdef void renumber(self, Py_ssize_t i, Py_ssize_t first) noexcept:
        """Read the operands of one instruction of the trace, by their new indices."""
        cdef int *operands = self.operands_at(i)
        cdef int k
        for k in range(self.source.items[i].count):
            self.operands[first + k] = self.findings[operands[k]].index

    cdef int put_sum(self, int count) except -1:
        """Put a varying sum of `operands`. Its products are split where the number of their invariant factors changes;
        an invariant product becomes an instruction of its own."""
        cdef int *operands = self.operands
        cdef int i, factors, last = -1, total = operands[0]
        cdef int first = 1  # the products that are not put yet
        cdef int[2] terms
        for i in range(1, count, 2):
            if self.invariant[operands[i + 1]] and not self.invariant[operands[i]]:
                operands[i], operands[i + 1] = operands[i + 1], operands[i]
            factors = self.invariant[operands[i]] + self.invariant[operands[i + 1]]
            if factors != last and first < i:
                total = self.put_products(total, first, i)
                first = i
            if factors == 2:
                terms[0], terms[1] = total, self.put(MUL, &operands[i], 2, True)
                total = self.put(ADD, terms, 2, self.invariant[total])
                first = i + 2
            last = factors
        return self.put_products(total, first, count) if first < count else total

    cdef int put_products(self, int bias, int first, int end) except -1:
        """Put a DOT of some of the products. The operand before them is overwritten, which has been read."""
        self.operands[first - 1] = bias
        return self.put(DOT, &self.operands[first - 1], end - first + 1, False)
