# From a trace to the rows of a program: what no output depends on goes, sums of products are found, and so is what does
# not depend on the arguments. Gives Lowered and pick(). Uses Trace.

cdef enum:
    MINUS_ZERO = -1  # in place of a row: the number to which anything can be added and stays as it is


cdef list pick(source, keys):
    """[source[key] for key in keys]. As a loop, here and wherever else items are fetched or made: a comprehension of
    Cython 3.3 gives a reference too many back when it runs out of memory."""
    cdef list picked = []
    for key in keys:
        picked.append(source[key])
    return picked


cdef list count_uses(list rows, tuple outputs):
    """How many rows and outputs read each row; 0 for what no output depends on."""
    cdef list uses = [0] * len(rows)
    cdef Py_ssize_t i
    for i in outputs:
        uses[i] += 1
    for i in range(len(rows) - 1, -1, -1):
        op, args = rows[i]
        if uses[i] and (op < OP_COUNT or op == DOT):
            for arg in args:
                uses[arg] += 1
    return uses


cdef list find_uniform(list rows):
    cdef list uniform = []
    for op, args in rows:
        if op < OP_COUNT or op == DOT:
            uniform.append(all(uniform[arg] for arg in args))
        else:
            uniform.append(op != ARGUMENT)
    return uniform


cdef bint absorbs(int op, list rows, list uses, list uniform, Py_ssize_t i, Py_ssize_t arg) except -1:
    """Can the addition at i take in this argument, if it is of the op?"""
    return rows[arg][0] == op and uses[arg] == 1 and uniform[arg] == uniform[i]


cdef int last_sort(list uniform, args) except -1:
    """How many factors of the last product are uniform."""
    return uniform[args[-2]] + uniform[args[-1]]


cdef find_sums(list rows, list uses, list uniform):
    """Make DOTs of chains of additions of products nobody else reads, in place; what they absorb becomes None.

    The order of the additions stays: of `p + q`, p is what comes before in the sum, or q, since a sum of two is the
    same in either order. A varying sum takes factors of one sort: weight times input, or input times input."""
    cdef Py_ssize_t i, p, q
    for i in range(len(rows)):
        if not uses[i] or rows[i][0] != ADD:
            continue
        for p, q in (rows[i][1], rows[i][1][::-1]):
            if (absorbs(MUL, rows, uses, uniform, i, q) and absorbs(DOT, rows, uses, uniform, i, p)
                    and last_sort(uniform, rows[p][1]) == last_sort(uniform, rows[q][1])):
                args = rows[p][1]
                if not isinstance(args, list):
                    args = list(args)
                args += rows[q][1]
                rows[i] = DOT, args
                rows[p] = rows[q] = None
                break
        else:
            for p, q in (rows[i][1], rows[i][1][::-1]):
                if not absorbs(MUL, rows, uses, uniform, i, q):
                    continue
                if (absorbs(MUL, rows, uses, uniform, i, p)
                        and last_sort(uniform, rows[p][1]) == last_sort(uniform, rows[q][1])):
                    rows[i] = DOT, [MINUS_ZERO, *rows[p][1], *rows[q][1]]
                    rows[p] = None
                else:
                    rows[i] = DOT, [p, *rows[q][1]]
                rows[q] = None
                break


@cython.final
cdef class Lowered:
    """The rows of a trace that its outputs depend on."""

    cdef list rows         # as in the trace, with the sums of products that were found
    cdef list outputs      # rows that the function returned
    cdef list uniform      # does a row not depend on the arguments?
    cdef int widest        # arguments of an op of any number of them

    def __cinit__(self, Trace trace):
        self.rows, self.uniform = [], []
        self.lower(trace)

    cdef int put(self, int op, args, bint uniform) except -1:
        self.rows.append((op, args))
        self.uniform.append(uniform)
        self.widest = max(self.widest, len(args))
        return len(self.rows) - 1

    cdef int lower(self, Trace trace) except -1:
        """A varying sum of factors of several sorts becomes several; a product in it that does not vary is computed
        once."""
        cdef list rows = list(trace.rows)
        cdef list uses = count_uses(rows, trace.outputs)
        cdef list uniform = find_uniform(rows)
        cdef dict new = {}
        cdef Py_ssize_t i
        find_sums(rows, uses, uniform)
        for i in range(len(rows)):
            if not uses[i] or rows[i] is None:
                continue
            op, args = rows[i]
            if op < OP_COUNT or op == DOT:
                if MINUS_ZERO in args and MINUS_ZERO not in new:
                    new[MINUS_ZERO] = self.put(NUMBER, (-0.0,), True)
                args = pick(new, args)
            if op == DOT and not uniform[i]:
                new[i] = self.lower_sum(args)
            else:
                new[i] = self.put(op, args, uniform[i])
        self.outputs = pick(new, trace.outputs)
        return 0

    cdef int lower_sum(self, list args) except -1:
        cdef list run = []
        cdef int i, w, x, product, sort, last = -1, total = args[0]
        for i in range(1, len(args), 2):
            w, x = args[i], args[i + 1]
            if self.uniform[x] and not self.uniform[w]:
                w, x = x, w
            sort = self.uniform[w] + self.uniform[x]
            if sort != last and run:
                total = self.put(DOT, [total, *run], False)
                run = []
            if sort == 2:
                product = self.put(MUL, [w, x], True)
                total = self.put(ADD, [total, product], self.uniform[total])
            else:
                run += [w, x]
            last = sort
        return self.put(DOT, [total, *run], False) if run else total
