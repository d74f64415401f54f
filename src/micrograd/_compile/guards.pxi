# Guards: what a sample does not choose must raise nothing and pass on no NaN. A choice by a condition c is THEN(c, a)
# and OTHERWISE(c, b). All samples compute what a needs, but where c does not hold, GUARD(c, x) is 0.5 in place of an
# operand x, and has no gradient. So the instructions are those of both sides, and some guards.
#
# Gives guarded. Uses instructions.pxi, trace.pxi.

cdef enum:
    ALWAYS = 0   # the scope of what every sample needs
    NEVER = -1
    STEPS_UP = 64
    FEW = 200    # instructions


cdef tuple guarded(Trace trace):
    """The instructions of a trace, with guards, and its outputs."""
    cdef Py_ssize_t i
    for i in range(trace.code.count):
        if trace.code.items[i].op == THEN or trace.code.items[i].op == OTHERWISE:
            code, outputs = conditions_first(trace.code, trace.outputs)
            return Guards(code, outputs).result(outputs)
    return trace.code, trace.outputs


cdef tuple conditions_first(Instructions code, tuple outputs):
    """The instructions, and the outputs among them, in another order: what a condition reads comes first, and of
    conditions those that less is computed before. What several choices need is then computed once for all of them if
    their conditions do not depend on it: see Guards."""
    cdef Instructions ordered = Instructions()
    cdef list index = [-1] * code.count, level = [0] * code.count, conditions = [], found = []
    cdef Instruction *item
    cdef Py_ssize_t i
    cdef int k
    for i in range(code.count):
        check_signals(i)
        item = &code.items[i]
        for k in range(item.count if is_computed(item.op) else 0):
            level[i] = max(level[i], level[code.operands[item.first + k]] + 1)
        if item.op == THEN or item.op == OTHERWISE:
            conditions.append((level[code.operands[item.first]], code.operands[item.first]))
    for _, condition in sorted(conditions):
        copy_behind(code, condition, ordered, index)
    for i in range(code.count):
        check_signals(i)
        copy_behind(code, i, ordered, index)
    for i in outputs:
        found.append(index[i])
    return ordered, tuple(found)


cdef int copy_behind(Instructions code, Py_ssize_t last, Instructions ordered, list index) except -1:
    """Copy an instruction behind those that it depends on, unless it was copied. `index` has where each went, or -1."""
    cdef list todo = [last], operands
    cdef Instruction *item
    cdef Py_ssize_t i, waiting
    cdef int k
    while todo:
        waiting = len(todo)
        i = todo[waiting - 1]
        item = &code.items[i]
        if index[i] >= 0:
            todo.pop()
            continue
        operands = []
        for k in range(item.count if is_computed(item.op) else 0):
            operands.append(index[code.operands[item.first + k]])
        for k in range(len(operands) - 1, -1, -1):
            if operands[k] < 0:
                todo.append(code.operands[item.first + k])
        if len(todo) > waiting:
            continue
        todo.pop()
        if item.op == NUMBER:
            index[i] = ordered.append_number(code.number_at(i))
        elif is_computed(item.op):
            index[i] = ordered.append_tuple(item.op, tuple(operands))
        else:
            index[i] = ordered.append(item.op, code.operands + item.first, 1)
    return 0


@cython.final
cdef class Guards:
    """Copies the instructions of a trace that an output depends on, with guards.

    A scope says which samples need something: those of one case at least, and a case is a condition, whether it holds,
    and the scope that the choice is in. An instruction that is needed in several scopes is computed once for all whose
    conditions come before it, and once for each other one: a condition after it may depend on it.

    What a condition depends on is needed for its value alone. If its gradient, or one that comes after it on the way
    back, may raise, it is computed once more for the scopes in which its gradient is needed: of `r = x.sqrt()` and
    `where(r > 0, r, 0)` the gradient is guarded, the condition is not. Its key is its index; with `count` added, it is
    that of the instruction as a value.
    """

    cdef Instructions code
    cdef Instructions source
    cdef list scopes         # frozensets of cases
    cdef list cases          # (scope, condition, whether it holds)
    cdef dict known          # the numbers of scopes and of cases
    cdef list latest         # for each scope, the last of its conditions
    cdef Py_ssize_t count    # of the instructions of the trace
    cdef Py_ssize_t copies   # how many of them there are, at least, since values and gradients are apart
    cdef list risky          # for each of them: may its gradient, or one behind it, raise or be infinite?
    cdef list early          # for each key, its scope of earlier conditions
    cdef list late           # and its other scopes, a set
    cdef dict placed         # the index in the code of a key in a scope
    cdef set wild            # of these, what may be infinite or NaN for samples outside of the scope
    cdef dict masks          # the condition of a scope, in the code; and of (op, operands)

    def __cinit__(self, Instructions source, tuple outputs):
        cdef Py_ssize_t i
        self.code, self.source, self.count = Instructions(), source, source.count
        self.scopes, self.cases, self.latest = [frozenset()], [], [-1]
        self.known, self.placed, self.wild, self.masks = {}, {}, set(), {}
        self.early, self.late, self.risky = [NEVER] * (2 * self.count), [()] * (2 * self.count), []
        self.find_risky()
        for i in outputs:
            self.early[i] = ALWAYS
        for i in range(self.count - 1, -1, -1):
            check_signals(i)
            self.join_kinds(i)
            self.find_needs(i + self.count)
            self.find_needs(i)
        for i in range(self.count):
            check_signals(i)
            for key in (i + self.count, i):
                for scope in self.scopes_of(key):
                    self.place(key, scope)

    cdef tuple result(self, tuple outputs):
        cdef list indices = []
        for i in outputs:
            indices.append(self.placed[i, ALWAYS])
        return self.code, tuple(indices)

    # -- scopes

    cdef inline Instruction *item(self, Py_ssize_t key) noexcept:
        return &self.source.items[key % self.count]

    cdef tuple scopes_of(self, Py_ssize_t i):
        """The scopes that a key is computed in."""
        return (() if self.early[i] == NEVER else (self.early[i],)) + tuple(self.late[i])

    cdef object number(self, list items, key):
        """The number of a scope or a case."""
        if key not in self.known:
            self.known[key] = len(items)
            items.append(key)
        return self.known[key]

    cdef object scope(self, frozenset cases):
        found = self.number(self.scopes, cases)
        if found == len(self.latest):
            latest = -1
            for case in cases:
                outer, condition, _ = self.cases[case]
                latest = max(latest, condition, self.latest[outer])
            self.latest.append(latest)
        return found

    cdef object within(self, scope, int condition, bint holds):
        """The scope of the samples of a scope for which a condition holds, or does not."""
        cdef tuple cases
        outer, steps = scope, 0
        while outer != ALWAYS and len(self.scopes[outer]) == 1 and steps < STEPS_UP:
            (case,) = self.scopes[outer]
            outer, other, held = self.cases[case]
            if other == condition:
                return scope if held == holds else NEVER
            steps += 1
        cases = (self.number(self.cases, (scope, condition, holds)),)
        return self.scope(frozenset(cases))  # of a display, code from Cython 3.3 crashes where memory is out

    cdef bint covers(self, wide, scope) except -1:
        """Are all samples of a scope in a wide one, as far as a few steps tell?"""
        steps = 0
        while scope != ALWAYS and not self.scopes[scope] <= self.scopes[wide]:
            if len(self.scopes[scope]) != 1 or steps == STEPS_UP:
                return False
            (case,) = self.scopes[scope]
            scope = self.cases[case][0]
            steps += 1
        return scope != ALWAYS or wide == ALWAYS

    cdef object joined(self, a, b):
        """The scope of the samples of either."""
        if a == NEVER or b == ALWAYS or self.covers(b, a):
            return b
        if a == ALWAYS or self.covers(a, b):
            return a
        cases = self.scopes[a] | self.scopes[b]
        for case in cases:
            outer, condition, holds = self.cases[case]
            other = self.known.get((outer, condition, not holds))
            if other in cases:  # whether it holds or not
                cases -= {case, other}
                return self.joined(self.scope(cases), outer) if cases else outer
        return self.scope(cases)

    # -- in which scopes an instruction is needed

    cdef int find_risky(self) except -1:
        """Find out of which instructions the gradient, or one of an operand, may raise or be infinite."""
        cdef Instruction *item
        cdef Py_ssize_t i
        cdef int k
        cdef bint risky
        cdef dict known = {}
        for i in range(self.count):
            check_signals(i)
            item, risky = self.item(i), False
            for k in range(item.count if is_computed(item.op) else 0):
                risky |= passes_gradient(item, k) and self.risky[self.source.operands[item.first + k]]
            self.risky.append(risky or has_gradient(item.op) and self.has_poles(item, known))
        return 0

    cdef bint has_poles(self, Instruction *item, dict known) except -1:
        """Are there arguments at which an op has a value, and its partial raises or is not finite? Numbers among the
        operands are as they are."""
        cdef const int *operands = self.source.operands + item.first
        if item.op == DOT or RULES[item.op].shape != NONLINEAR or RULES[item.op].reduce != NULL:
            return False
        left, right = self.number_of(operands[0]), self.number_of(operands[item.count - 1])
        key = item.op, left, right
        if key not in known:
            known[key] = op_has_poles(item.op, left, right)
        return known[key]

    cdef object number_of(self, int i):
        """The number that an instruction is, or None."""
        return self.source.number_at(i) if self.source.items[i].op == NUMBER else None

    cdef int join_kinds(self, Py_ssize_t i) except -1:
        """Compute an instruction once for its value and its gradient, if this does no harm. There are at most twice as
        many instructions for it, or FEW more: chains of choices could have a copy for each way through them."""
        cdef Py_ssize_t value = i + self.count
        cdef tuple scopes = self.scopes_of(value)
        if scopes and self.risky[i]:
            self.join_sides(i)
            if self.copies < max(self.count, FEW) and not self.all_covered(scopes, self.scopes_of(i)):
                self.copies += len(scopes) + len(self.late[i])
                return 0
        for scope in scopes:
            self.need(i, scope)
        self.early[value], self.late[value] = NEVER, ()
        return 0

    cdef bint all_covered(self, tuple scopes, tuple wide) except -1:
        for scope in scopes:
            if not self.covered(wide, scope):
                return False
        return True

    cdef bint covered(self, tuple wide, scope) except -1:
        """Has one of some scopes all samples of this one, as far as a few steps tell?"""
        for found in wide:
            if self.covers(found, scope):
                return True
        return False

    cdef int join_sides(self, Py_ssize_t i) except -1:
        """Where an instruction is needed on both sides of a choice, it is needed around it."""
        cdef list todo = list(self.late[i])
        while todo:
            scope = todo.pop()
            if scope not in self.late[i] or len(self.scopes[scope]) != 1:
                continue
            (case,) = self.scopes[scope]
            outer, condition, holds = self.cases[case]
            other = self.known.get(frozenset((self.known.get((outer, condition, not holds)),)))
            if other in self.late[i]:
                self.late[i] -= {scope, other}
                self.need(i, outer)
                todo.append(outer)
        return 0

    cdef int find_needs(self, Py_ssize_t i) except -1:
        """Tell the operands of a key in which scopes they are needed, when it has been told itself."""
        cdef Instruction *item = self.item(i)
        cdef const int *operands = self.source.operands + item.first
        cdef Py_ssize_t operand
        cdef int k
        if self.early[i] > ALWAYS and self.late[i]:
            for scope in tuple(self.late[i]):
                if self.covers(self.early[i], scope):
                    self.late[i].discard(scope)
        for scope in self.scopes_of(i) if is_computed(item.op) else ():
            for k in range(item.count):
                operand = operands[k]
                if i >= self.count or not passes_gradient(item, k):
                    operand += self.count
                if k == 1 and (item.op == THEN or item.op == OTHERWISE):
                    scope = self.within(scope, operands[0], item.op == THEN)
                self.need(operand, scope)
        return 0

    cdef int need(self, Py_ssize_t i, scope) except -1:
        if not is_computed(self.item(i).op):  # leaves and arguments are there
            i, scope = i % self.count, ALWAYS
        if scope == NEVER or self.early[i] == ALWAYS:
            return 0
        if scope == ALWAYS:
            self.early[i], self.late[i] = ALWAYS, ()
        elif self.latest[scope] < i % self.count:
            self.early[i] = self.joined(self.early[i], scope)
        else:
            self.late[i] = self.late[i] or set()
            self.late[i].add(scope)
        return 0

    cdef object home(self, Py_ssize_t i, scope):
        """The scope in which a key is computed that is needed in this one."""
        if scope in self.late[i]:
            return scope
        if self.early[i] != NEVER and (self.latest[scope] < i % self.count or self.covers(self.early[i], scope)):
            return self.early[i]
        while scope != ALWAYS and len(self.scopes[scope]) == 1:  # join_sides() put what is around both sides there
            (case,) = self.scopes[scope]
            scope = self.cases[case][0]
            if scope in self.late[i]:
                return scope
        return self.early[i]

    # -- placing an instruction behind what it reads, and behind the conditions of its scope

    cdef int place(self, Py_ssize_t last, scope) except -1:
        cdef list todo = [(last, scope)]
        cdef list missing
        while todo:
            i, scope = todo[len(todo) - 1]
            missing = [] if (i, scope) in self.placed else self.missing(i, scope)
            if missing:
                todo += missing
                continue
            todo.pop()
            if (i, scope) not in self.placed:
                self.placed[i, scope] = self.put(i, scope)
        return 0

    cdef list missing(self, Py_ssize_t i, scope):
        """What has to be placed before an instruction."""
        cdef list found = [], todo = [scope]
        cdef set met = {scope}
        for key in self.read_by(i, scope):
            if key not in self.placed:
                found.append(key)
        while todo:
            scope = todo.pop()
            for case in self.scopes[scope] if scope not in self.masks else ():
                outer, condition, _ = self.cases[case]
                key = condition, self.home(condition, outer)
                if key not in self.placed:
                    found.append(key)
                if outer not in met:
                    met.add(outer)
                    todo.append(outer)
        return found

    cdef list read_by(self, Py_ssize_t i, scope):
        """The operands of a key, each with the scope in which it is computed."""
        cdef Instruction *item = self.item(i)
        cdef const int *operands = self.source.operands + item.first
        cdef list found = []
        cdef Py_ssize_t operand
        cdef int k
        for k in range(item.count if is_computed(item.op) else 0):
            if k == 1 and (item.op == THEN or item.op == OTHERWISE):
                scope = self.within(scope, operands[0], item.op == THEN)
            if scope == NEVER:
                found.append(found[0])  # any: it is not chosen
                continue
            operand = operands[k]
            if (i >= self.count or not passes_gradient(item, k)) and self.scopes_of(operand + self.count):
                operand += self.count
            found.append((operand, self.home(operand, scope)))
        return found

    cdef int put(self, Py_ssize_t i, scope) except -1:
        cdef Instruction *item = self.item(i)
        cdef list read, operands
        if item.op == NUMBER:
            return self.code.append_number(self.source.number_at(i))
        if not is_computed(item.op):
            return self.code.append(item.op, self.source.operands + item.first, 1)
        read = self.read_by(i, scope)
        operands = pick(self.placed, read)
        if scope != ALWAYS:
            self.guard(i, scope, read, operands)
        return self.code.append_tuple(item.op, tuple(operands))

    # -- guards

    cdef int guard(self, Py_ssize_t i, scope, list read, list operands) except -1:
        """Put guards of an instruction's operands, if it may raise or pass on NaN outside of the scope."""
        cdef int op = self.item(i).op, k, count = len(operands)
        cdef list wild = []
        cdef bint passes = False
        for key in read:
            wild.append(self.is_wild(key, scope))
        if op == THEN or op == OTHERWISE:
            passes = wild[1]
        elif op == DOT:
            passes = wild[0]
            for k in range(1, count, 2):
                passes |= self.guard_product(scope, read, operands, wild, k)
        elif RULES[op].shape == PRODUCT:
            passes = self.guard_product(scope, read, operands, wild, 0)
        elif RULES[op].shape == LINEAR or RULES[op].shape == ZERO:
            passes = True in wild
        else:
            if RULES[op].shape == NONLINEAR:
                wild = self.guarded_operands(op, read)
            for k in range(count):
                if k == count - 1 and RULES[op].shape == INDEXED:
                    operands[k] = self.put_guard(THEN, scope, operands[k])  # an index: -0.0 is one
                elif wild[k]:
                    operands[k] = self.put_guard(GUARD, scope, operands[k])
        if passes:
            self.wild.add((i, scope))
        return 0

    cdef inline int op_of(self, tuple key) except -1:
        return self.item(key[0]).op

    cdef bint is_wild(self, tuple key, scope) except -1:
        """May an operand be infinite or NaN outside of the scope? Captured leaves are taken to be finite: with guards
        they would be no weights of layers."""
        if self.op_of(key) == NUMBER or self.op_of(key) == CAPTURED:
            return False
        return key[1] != scope or key in self.wild

    cdef bint guard_product(self, scope, list read, list operands, list wild, int first) except -1:
        """Put guards of two factors: the gradient of each is a multiple of the other. Not where one is a number, which
        has no gradient: returns whether the product passes on what is infinite or NaN."""
        cdef int k, left = self.op_of(read[first]), right = self.op_of(read[first + 1])
        if left == NUMBER or right == NUMBER:
            return wild[first] or wild[first + 1]
        for k in range(first, first + 2):
            if wild[k] or left == right == CAPTURED:
                operands[k] = self.put_guard(GUARD, scope, operands[k])
        return False

    cdef list guarded_operands(self, int op, list read):
        """Which operands of a nonlinear op need guards: all but numbers; or all, if the op or its gradient would raise
        at 0.5 and these numbers."""
        cdef list needed = []
        cdef double *x = <double *>PyMem_Malloc((len(read) + 1) * sizeof(double))
        cdef double r
        cdef int k, count = len(read)
        if x == NULL:
            raise MemoryError
        try:
            for k in range(count):
                needed.append(self.op_of(read[k]) != NUMBER)
                x[k] = 0.5 if needed[k] else self.source.number_at(read[k][0])
            r = rule_value(op, x, count)
            for k in range(count if RULES[op].reduce == NULL else 0):
                if rule_failed((RULES[op].d_right if k else RULES[op].d_left)(x[0], x[count - 1], r, 1.0)):
                    raise_error()
        except (ArithmeticError, ValueError):
            return [True] * count
        finally:
            PyMem_Free(x)
        return needed

    cdef int put_guard(self, int op, scope, int operand) except -1:
        return self.put_once(op, self.mask(scope), operand)

    cdef int put_once(self, int op, int a, int b) except -1:
        """Put an instruction, unless there is the same one. An op of one argument ignores b."""
        cdef int[2] operands
        key = op, a, b
        if key not in self.masks:
            operands[0], operands[1] = a, b
            self.masks[key] = self.code.append(op, operands, RULES[op].arity)
        return self.masks[key]

    cdef int mask(self, last) except -1:
        """The condition of a scope, whose conditions have been placed."""
        cdef list todo = [last]
        cdef int found, one
        while last not in self.masks:
            scope = todo[len(todo) - 1]
            for case in self.scopes[scope]:
                outer = self.cases[case][0]
                if outer != ALWAYS and outer not in self.masks:
                    todo.append(outer)
            if todo[len(todo) - 1] != scope:
                continue
            todo.pop()
            found = -1
            for case in sorted(self.scopes[scope]):
                one = self.case_mask(case)
                found = one if found < 0 else self.put_once(OR, found, one)
            self.masks[scope] = found
        return self.masks[last]

    cdef int case_mask(self, case) except -1:
        """The condition of a case, if the scope that it is in has one."""
        outer, condition, holds = self.cases[case]
        cdef int one = self.placed[condition, self.home(condition, outer)]
        if not holds:
            one = self.put_once(NOT, one, 0)
        return one if outer == ALWAYS else self.put_once(AND, self.masks[outer], one)


cdef bint passes_gradient(Instruction *item, int k) noexcept:
    """Does an instruction pass a gradient on to its k-th operand?"""
    if not has_gradient(item.op) or k == item.count - 1 and has_index(item.op):
        return False
    return k > 0 or item.op != THEN and item.op != OTHERWISE and item.op != GUARD


cdef tuple EDGES = (0.0, 0.5, -0.5, 1.0, -1.0, 5e-324, 1e-200, 1e200)


cdef bint op_has_poles(int op, left, right) except -1:
    """Has an op of one or two arguments, of which those that are not None are these numbers, a partial that raises or
    is not finite, at one of some points where it has a value?"""
    cdef bint binary = RULES[op].arity == 2
    cdef double a, b, r
    for a in EDGES if left is None else (left,):
        for b in (0.0,) if not binary else EDGES if right is None else (right,):
            try:
                r = RULES[op].forward(a, b)
                if rule_failed(r):
                    raise_error()
            except (ArithmeticError, ValueError):
                continue
            if left is None and is_pole(RULES[op].d_left(a, b, r, 0.0)):
                return True
            if binary and right is None and is_pole(RULES[op].d_right(a, b, r, 0.0)):
                return True
    return False


cdef bint is_pole(double gain) noexcept:
    """Has a partial raised, or made something else of an adjoint of 0?"""
    if rule_failed(gain):
        PyErr_Clear()
    return gain != 0.0
