# Drafts: the first pass of a plan, steps on ids. An instruction's index is the id of its result, `count` more the id of
# its grad.
#
# Gives Draft, plan_sample and plan_prologue. Uses plan.pxi, program.pxi, and slots.pxi for the second pass.

@cython.final
cdef class Draft:
    """The steps of a plan, on ids."""

    # APPLY and BACK_APPLY have the instructions of a whole group: header op and count, or op, side, count and
    # whether to accumulate for each; ids of the results, then of all a, ... DOTS and BACK_DOTS have several sums of as
    # many products, one after the other; the header begins with how many.
    cdef Program program
    cdef char *needs          # does an instruction need a grad?
    cdef char *written        # has its grad been written?
    cdef IntArray forward
    cdef IntArray backward
    cdef IntArray transposed  # layers whose inputs need grads
    cdef IntArray header      # of the step at hand
    cdef IntArray ids
    cdef int count            # of instructions
    cdef int zeros            # the id of a slot of zeros
    cdef int next_id
    cdef bint prologue        # invariant instructions: the samples have written the grads

    def __cinit__(self, Program program, int mode, bint prologue):
        self.program, self.prologue = program, prologue
        self.count = <int>program.code.count
        self.zeros = 2 * self.count
        self.next_id = self.zeros + 1
        self.needs = <char *>PyMem_Calloc(self.count + 1, 1)
        self.written = <char *>PyMem_Calloc(self.count + 1, 1)
        if self.needs == NULL or self.written == NULL:
            raise MemoryError
        self.find_needs(mode)

    def __dealloc__(self):
        PyMem_Free(self.needs)
        PyMem_Free(self.written)
        PyMem_Free(self.forward.items)
        PyMem_Free(self.backward.items)
        PyMem_Free(self.transposed.items)
        PyMem_Free(self.header.items)
        PyMem_Free(self.ids.items)

    cdef void find_needs(self, int mode) noexcept:
        """Which instructions need a grad: those that depend on captured leaves, or, if arguments get grads, on these.
        """
        cdef Program program = self.program
        cdef const int *operands
        cdef Py_ssize_t i
        cdef int op, k
        for i in range(self.count if mode != FORWARD else 0):
            op = program.code.items[i].op
            if op == CAPTURED or op == ARGUMENT:
                self.needs[i] = op == CAPTURED or mode == ALL
            elif has_gradient(op):
                operands = program.operands(<int>i)
                for k in range(program.code.items[i].count - has_index(op)):
                    self.needs[i] |= self.needs[operands[k]]
        if self.prologue and mode != FORWARD:
            self.find_written()

    cdef void find_written(self) noexcept:
        """In the prologue: which grads the samples may have written. What only a condition reads gets none."""
        cdef const int *operands
        cdef Py_ssize_t i
        cdef int k
        for i in self.program.outputs:
            self.written[i] = True
        for i in range(self.count - 1, -1, -1):
            if self.written[i] and has_gradient(self.program.code.items[i].op):
                operands = self.program.operands(<int>i)
                for k in range(self.program.code.items[i].count - has_index(self.program.code.items[i].op)):
                    self.written[operands[k]] = True

    cdef inline int grad(self, int i) noexcept:
        return self.count + i

    cdef bint target(self, int i) except -1:
        """Put the id of an instruction's grad. Returns whether to accumulate: has it been written before?"""
        cdef bint accumulate = self.written[i]
        self.written[i] = True
        push(&self.ids, self.grad(i))
        return accumulate

    cdef int put(self, IntArray *steps, int kind) except -1:
        """Append the step at hand."""
        push(steps, kind)
        push(steps, <int>self.header.count)
        push(steps, <int>self.ids.count)
        extend(steps, self.header.items, self.header.count)
        extend(steps, self.ids.items, self.ids.count)
        self.header.count = self.ids.count = 0
        return 0

    # -- forward

    cdef int compute(self, Group *group) except -1:
        """Append the steps that compute a group."""
        cdef const int *members = self.program.order + group.first
        cdef int k
        if group.layer >= 0:
            return self.compute_layer(group)
        if group.op == DOT:
            return self.compute_dots(group)
        if RULES[group.op].reduce == NULL:
            push(&self.header, group.op)
            push(&self.header, group.count)
            extend(&self.ids, members, group.count)
            self.put_operands(group, False)
            self.put_operands(group, True)
            return self.put(&self.forward, APPLY)
        for columns in self.lookups(group).values():
            self.put_table(columns, 0)
            self.put(&self.forward, LOOKUP)
        for k in range(group.count):
            if self.is_lookup(members[k]):
                continue
            push(&self.header, group.op)
            push(&self.ids, members[k])
            extend(&self.ids, self.program.operands(members[k]), self.program.code.items[members[k]].count)
            self.put(&self.forward, INDEXED_REDUCE if has_index(group.op) else REDUCE)
        return 0

    cdef int compute_dots(self, Group *group) except -1:
        """A step for sums of as many products that follow each other."""
        cdef int k, i, before = -1
        for k in range(group.first, group.first + group.count):
            i = self.program.order[k]
            if self.program.code.items[i].count != before and self.ids.count:
                self.put(&self.forward, DOTS)
            before = self.program.code.items[i].count
            self.count_dot()
            push(&self.ids, i)
            extend(&self.ids, self.program.operands(i), before)
        return self.put(&self.forward, DOTS)

    cdef int count_dot(self) except -1:
        """Count one more in the step at hand."""
        if not self.ids.count:
            push(&self.header, 0)
        self.header.items[0] += 1
        return 0

    cdef bint is_lookup(self, int i) noexcept:
        """Does an instruction take one of several invariant values? These are read where they are, without slots. In
        the prologue they have slots."""
        cdef const int *operands = self.program.operands(i)
        cdef int k
        for k in range(self.program.code.items[i].count - 1):
            if not self.program.invariant[operands[k]]:
                return False
        return self.program.code.items[i].op == TAKE and not self.prologue

    cdef dict lookups(self, Group *group):
        """The lookups of a group: those of one index and as many values are the columns of a table, as an embedding is,
        and one step."""
        cdef dict tables = {}
        cdef int k, i, count
        for k in range(group.first, group.first + group.count if group.op == TAKE else group.first):
            i = self.program.order[k]
            if self.is_lookup(i):
                count = self.program.code.items[i].count
                tables.setdefault((self.program.operands(i)[count - 1], count), []).append(i)
        return tables

    cdef int put_table(self, list columns, int offset) except -1:
        """Put what the step of a table has: invariant values to the header, row by row; then the ids of results, or
        with the offset of grads those of these, and that of the index."""
        cdef int first = columns[0], rows = self.program.code.items[first].count - 1, row, i
        push(&self.header, rows)
        push(&self.header, <int>len(columns))
        for row in range(rows):
            for i in columns:
                push(&self.header, self.program.index_of[self.program.operands(i)[row]])
        for i in columns:
            push(&self.ids, i + offset)
        return push(&self.ids, self.program.operands(first)[rows])

    cdef int put_operands(self, Group *group, bint right) except -1:
        """Put the left or the right operands of a group; the right one of an op of one argument is the left one."""
        cdef int k, i
        for k in range(group.first, group.first + group.count):
            i = self.program.order[k]
            push(&self.ids, self.program.operands(i)[self.program.code.items[i].count - 1 if right else 0])
        return 0

    cdef int compute_layer(self, Group *group) except -1:
        """One step for all calls of the layer."""
        cdef bint varying = self.program.layers[group.layer].biases == NULL
        cdef const int *members = self.program.order + group.first
        cdef int k
        extend(&self.ids, members, group.count)
        for k in range(group.calls):
            self.put_inputs(group, k)
        for k in range(group.count if varying else 0):
            push(&self.ids, self.program.operands(members[k])[0])
        self.put_layer_header(group, varying, group.calls, LAYER_HEADER)
        return self.put(&self.forward, LAYER)

    cdef int put_layer_header(self, Group *group, int last, int calls, int size) except -1:
        """Put what is known before there are slots."""
        cdef Layer *layer = &self.program.layers[group.layer]
        push(&self.header, group.layer)
        push(&self.header, layer.outputs)
        push(&self.header, layer.inputs)
        push(&self.header, last)
        push(&self.header, calls)
        while self.header.count < size:
            push(&self.header, SCATTERED)
        return 0

    cdef inline const int *call_operands(self, Group *group, int call) noexcept:
        """The operands of the first output of a call."""
        return self.program.operands(self.program.order[group.first + call * (group.count // group.calls)])

    cdef int put_inputs(self, Group *group, int call) except -1:
        """Put the inputs of a call of a layer."""
        cdef const int *operands = self.call_operands(group, call)
        cdef int j
        for j in range(self.program.layers[group.layer].inputs):
            push(&self.ids, operands[2 * j + 2])
        return 0

    # -- backward
    # A step names only what it reads, so that no slot is kept for the rest: in the place of an operand or a result that
    # the op's partial does not read it names the grad, which it reads in any case.

    cdef bint propagates(self, int i) noexcept:
        """Has an instruction a grad to pass on?"""
        return self.needs[i] and self.written[i]

    cdef int propagate(self, Group *group) except -1:
        """From the grads of a group to those of its operands."""
        cdef const int *members = self.program.order + group.first
        cdef int k
        if group.layer >= 0:
            return self.propagate_layer(group)
        if group.op == DOT:
            return self.propagate_dots(group)
        if RULES[group.op].reduce == NULL:
            for k in range(RULES[group.op].arity):
                self.propagate_side(group, k)
            return 0
        for columns in reversed(list(self.lookups(group).values())):
            self.propagate_lookup(columns)
        for k in range(group.count - 1, -1, -1):
            if self.propagates(members[k]) and not self.is_lookup(members[k]):
                if has_index(group.op):
                    self.propagate_indexed(members[k])
                else:
                    self.propagate_reduce(members[k])
        return 0

    cdef int propagate_side(self, Group *group, int side) except -1:
        """From the grads of a group to those of its left or right operands."""
        cdef int reads = partial_reads(group.op, side), k, i, operand
        push(&self.header, group.op)
        push(&self.header, side)
        push(&self.header, 0)
        for k in range(group.first, group.first + group.count):
            i = self.program.order[k]
            operand = self.program.operands(i)[side]
            if self.propagates(i) and self.needs[operand]:
                push(&self.header, self.target(operand))
        self.header.items[2] = <int>self.ids.count
        for k in range(1, BACK_OPERANDS):
            self.put_read(group, side, k, reads)
        if self.header.items[2]:
            return self.put(&self.backward, BACK_APPLY)
        self.header.count = 0
        return 0

    cdef int put_read(self, Group *group, int side, int which, int reads) except -1:
        """Put what a BACK_APPLY reads: grads, left operands, right ones or results."""
        cdef const int *operands
        cdef int k, i
        for k in range(group.first, group.first + group.count):
            i = self.program.order[k]
            operands = self.program.operands(i)
            if self.propagates(i) and self.needs[operands[side]]:
                if which == 2 and reads & A:
                    push(&self.ids, operands[0])
                elif which == 3 and reads & B:
                    push(&self.ids, operands[self.program.code.items[i].count - 1])
                elif which == 4 and reads & R:
                    push(&self.ids, i)
                else:
                    push(&self.ids, self.grad(i))
        return 0

    cdef int pass_on(self, int operand, int grad) except -1:
        """Append the step that adds a grad, as it is, to that of an operand."""
        cdef int k
        push(&self.header, ADD)
        push(&self.header, 0)
        push(&self.header, 1)
        push(&self.header, self.target(operand))
        for k in range(1, BACK_OPERANDS):
            push(&self.ids, grad)
        return self.put(&self.backward, BACK_APPLY)

    cdef int propagate_dots(self, Group *group) except -1:
        """From the grads of sums of products to those of biases, and of factors: a step for sums that follow each other
        and have as many products, the last sum first."""
        cdef int k, i, bias, terms, before = -1
        for k in range(group.first + group.count - 1, group.first - 1, -1):
            i = self.program.order[k]
            bias = self.program.operands(i)[0]
            if self.propagates(i) and self.needs[bias]:
                self.pass_on(bias, self.grad(i))
        for k in range(group.first + group.count - 1, group.first - 1, -1):
            i = self.program.order[k]
            terms = self.needed_terms(i) if self.propagates(i) else 0
            if terms:
                if terms != before and self.ids.count:
                    self.put(&self.backward, BACK_DOTS)
                before = terms
                self.count_dot()
                self.propagate_terms(i)
        return self.put(&self.backward, BACK_DOTS) if self.ids.count else 0

    cdef int needed_terms(self, int i) noexcept:
        """How many products of a sum have a factor that needs a grad?"""
        cdef const int *operands = self.program.operands(i)
        cdef int k, terms = 0
        for k in range(1, self.program.code.items[i].count, 2):
            terms += self.needs[operands[k]] or self.needs[operands[k + 1]]
        return terms

    cdef int propagate_terms(self, int i) except -1:
        """Put what one sum has in a step."""
        cdef const int *operands = self.program.operands(i)
        cdef int a, b, k, s, grad = self.grad(i)
        push(&self.ids, grad)
        for k in range(1, self.program.code.items[i].count, 2):
            a, b = operands[k], operands[k + 1]
            if self.needs[a] or self.needs[b]:
                push(&self.ids, a if self.needs[b] else grad)
                push(&self.ids, b if self.needs[a] else grad)
                for s in range(2):
                    if self.needs[operands[k + s]]:
                        push(&self.header, self.target(operands[k + s]))
                    else:
                        push(&self.ids, NO_TARGET)
                        push(&self.header, False)
        return 0

    cdef int propagate_lookup(self, list columns) except -1:
        cdef list wanted = []
        cdef int i
        for i in columns:
            if self.propagates(i):
                wanted.append(i)
        if wanted:
            self.put_table(wanted, self.count)
            self.put(&self.backward, BACK_LOOKUP)
        return 0

    cdef int propagate_reduce(self, int i) except -1:
        """One step for all operands."""
        cdef const int *operands = self.program.operands(i)
        cdef int op = self.program.code.items[i].op, k, grad = self.grad(i)
        cdef int reads = partial_reads(op, 0)
        push(&self.header, op)
        push(&self.ids, grad)
        push(&self.ids, i if reads & R else grad)
        for k in range(self.program.code.items[i].count):
            if self.needs[operands[k]]:
                push(&self.ids, operands[k] if reads & A else grad)
                push(&self.header, self.target(operands[k]))
        return self.put(&self.backward, BACK_REDUCE)

    cdef int propagate_indexed(self, int i) except -1:
        """One step for all operands but the index. An operand that occurs a second time gets its grad from a new id, so
        that all targets are different."""
        cdef const int *operands = self.program.operands(i)
        cdef int op = self.program.code.items[i].op, k, last = self.program.code.items[i].count - 1
        cdef int reads = partial_reads(op, 0), grad = self.grad(i)
        cdef set met = set()
        cdef list moved = []
        push(&self.header, op)
        push(&self.ids, grad)
        push(&self.ids, i if reads & R else grad)
        push(&self.ids, operands[last])
        for k in range(last):
            push(&self.ids, operands[k] if reads & A and self.needs[operands[k]] else grad)
            if self.needs[operands[k]] and operands[k] not in met:
                met.add(operands[k])
                push(&self.header, self.target(operands[k]))
                continue
            push(&self.header, False)
            push(&self.ids, self.next_id if self.needs[operands[k]] else NO_TARGET)
            if self.needs[operands[k]]:
                moved.append((operands[k], self.next_id))
                self.next_id += 1
        self.put(&self.backward, BACK_INDEXED)
        for operand, id in moved:
            self.pass_on(operand, id)
        return 0

    cdef int propagate_layer(self, Group *group) except -1:
        """From the grads of a layer's outputs to those of its weights, biases and inputs. A step has the calls whose
        inputs are all different, so that its targets are; the last call comes first, as one by one."""
        cdef list calls = []
        cdef set met = set(), inputs
        cdef int call, wanted, before = 0
        for call in range(group.calls - 1, -1, -1):
            if not self.propagate_biases(group, call):
                continue
            wanted = self.wanted_grads(group, call)
            inputs = self.call_inputs(group, call) if wanted & INPUTS else set()
            if calls and (wanted != before or not met.isdisjoint(inputs)):
                self.propagate_calls(group, calls, before)
                calls, met = [], set()
            if wanted:
                calls.append(call)
            met |= inputs
            before = wanted
        return self.propagate_calls(group, calls, before) if calls else 0

    cdef bint propagate_biases(self, Group *group, int call) except -1:
        """From the grads of a call's outputs to those of its biases, if it has its own. Returns whether there are any.
        """
        cdef int outputs = group.count // group.calls, k, i, bias
        cdef bint any_written = False
        for k in range(call * outputs, (call + 1) * outputs):
            i = self.program.order[group.first + k]
            bias = self.program.operands(i)[0]
            if self.propagates(i):
                any_written = True
                if self.program.layers[group.layer].biases == NULL and self.needs[bias]:
                    self.pass_on(bias, self.grad(i))
        return any_written

    cdef set call_inputs(self, Group *group, int call):
        cdef const int *operands = self.call_operands(group, call)
        cdef set inputs = set()
        cdef int j
        for j in range(self.program.layers[group.layer].inputs):
            inputs.add(operands[2 * j + 2])
        return inputs

    cdef int propagate_calls(self, Group *group, list calls, int wanted) except -1:
        """Append the step for these calls."""
        cdef int outputs = group.count // group.calls, k, i, call
        cdef list moved = []
        for call in calls:
            for k in range(call * outputs, (call + 1) * outputs):
                i = self.program.order[group.first + k]
                push(&self.ids, self.grad(i) if self.written[i] else self.zeros)
        for call in calls:
            if wanted & WEIGHTS:
                self.put_inputs(group, call)
            else:
                for k in range(self.program.layers[group.layer].inputs):
                    push(&self.ids, self.ids.items[0])
        if wanted & INPUTS:
            self.target_inputs(group, calls, moved)
        self.put_layer_header(group, wanted, <int>len(calls), BACK_LAYER_HEADER)
        self.put(&self.backward, BACK_LAYER)
        for operand, id in moved:
            self.pass_on(operand, id)
        return 0

    cdef int wanted_grads(self, Group *group, int call) except -1:
        """Do any of a layer's weights and biases, and of a call's inputs, need grads?"""
        cdef Layer *layer = &self.program.layers[group.layer]
        cdef const int *operands
        cdef int k, j, wanted = 0
        for k in range(group.first + call * layer.outputs, group.first + (call + 1) * layer.outputs):
            operands = self.program.operands(self.program.order[k])
            if layer.biases != NULL and self.needs[operands[0]]:
                wanted |= BIASES
            for j in range(layer.inputs):
                wanted |= (WEIGHTS if self.needs[operands[2 * j + 1]] else 0)
                wanted |= (INPUTS if self.needs[operands[2 * j + 2]] else 0)
        return wanted

    cdef int target_inputs(self, Group *group, list calls, list moved) except -1:
        """Put the ids to which a layer writes the grads of its inputs, all different, and those of what it adds the
        grads to: the same, or zeros. An input that needs no grad, or occurs a second time, gets a new id. `moved` gets
        the pairs of such an input and its id, whose grads are still to be added."""
        cdef const int *operands
        cdef int j, x, call
        cdef set met = set()
        cdef list added = []
        for call in calls:
            operands = self.call_operands(group, call)
            for j in range(self.program.layers[group.layer].inputs):
                x = operands[2 * j + 2]
                if self.needs[x] and x not in met:
                    met.add(x)
                    added.append(self.grad(x) if self.target(x) else self.zeros)
                    continue
                if self.needs[x]:
                    moved.append((x, self.next_id))
                push(&self.ids, self.next_id)
                self.next_id += 1
                added.append(self.zeros)
        for x in added:
            push(&self.ids, x)
        return push(&self.transposed, group.layer)


# ---- The plans of a program ----------------------------------------------------------------------

cdef Plan plan_prologue(Program program):
    """The plan for what is computed once a call. The slot of a value is its index, that of its grad `invariants` more;
    then comes one of zeros."""
    cdef Draft draft = Draft(program, CAPTURED_ONLY, True)
    cdef int g
    for g in range(program.prologue_groups):
        check_signals(g)
        draft.compute(&program.groups[g])
    for g in range(program.prologue_groups - 1, -1, -1):
        check_signals(g)
        draft.propagate(&program.groups[g])
    return Slots(draft).finish()


cdef Plan plan_sample(Program program, int mode):
    """The plan for what is computed for each sample."""
    cdef Draft draft = Draft(program, mode, False)
    cdef Py_ssize_t i, k
    cdef int g, output
    for g in range(program.prologue_groups, program.group_count):
        check_signals(g)
        draft.compute(&program.groups[g])
    if mode != FORWARD:
        for k in range(len(program.outputs)):
            output = program.outputs[k]
            if draft.needs[output]:
                push(&draft.header, <int>k)
                push(&draft.header, draft.target(output))
                draft.put(&draft.backward, SEED)
        for g in range(program.group_count - 1, program.prologue_groups - 1, -1):
            check_signals(g)
            draft.propagate(&program.groups[g])
        for i in range(program.code.count):
            if program.invariant[i] and draft.written[i]:
                push(&draft.header, program.index_of[i])
                push(&draft.ids, draft.grad(<int>i))
                draft.put(&draft.backward, COLLECT)
    return Slots(draft).finish()
