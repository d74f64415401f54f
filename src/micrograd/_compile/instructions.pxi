# Lists of instructions, in arrays of C: what a trace and a program consist of.
#
# Gives Instructions, the ops of instructions (DOT and others), is_computed, op_name; array_grow for arrays that grow,
# check_signals for loops over instructions, and Table, a hash table. Uses check.pxi, and of _core the op table.

# An instruction is an op and its operands, which are the indices of earlier instructions. Ops are those of the engine's
# table, and these:
cdef enum:
    NUMBER = 240  # a constant; its operand is the index of the number, in a tuple the float itself
    CAPTURED      # a leaf from outside, whose data are read at every call; its operand is the index of the leaf
    ARGUMENT      # a number that the function is called with; its operand is the index of the argument
    DOT           # bias + a[0] b[0] + a[1] b[1] + ..., in this order: (bias, a[0], b[0], a[1], b[1], ...)

static_check(<int>OP_COUNT <= <int>NUMBER)  # no op of the table has these numbers

cdef enum:
    INSTRUCTIONS_A_SIGNAL_CHECK = 16384

cdef struct Instruction:
    int op
    int count         # operands
    Py_ssize_t first  # where its operands begin among those of all instructions


cdef inline bint is_computed(int op) noexcept:
    """Has an instruction of this op other instructions for operands?"""
    return op < OP_COUNT or op == DOT


def op_name(int op):
    """The name of an instruction's op in a listing."""
    if 0 <= op < OP_COUNT:
        return RULES[op].name.decode()
    return {NUMBER: "number", CAPTURED: "captured", ARGUMENT: "argument", DOT: "dot"}[op]


cdef inline int check_signals(Py_ssize_t i) except -1:
    """Let signal handlers run, at some of the instructions that a loop goes through. What they raise is raised."""
    if (i + 1) % INSTRUCTIONS_A_SIGNAL_CHECK == 0 and PyErr_CheckSignals():
        raise_error()
    return 0


cdef void *array_grow(void *items, Py_ssize_t *room, Py_ssize_t count, size_t size) except NULL:
    """The array, with room for `count` items of this size or for twice as many as before. Where memory is out, it stays
    as it is."""
    cdef Py_ssize_t wanted = max(count, 2 * room[0], 16)
    cdef void *grown = NULL
    if <size_t>wanted <= <size_t>PY_SSIZE_T_MAX // size:
        grown = PyMem_Realloc(items, wanted * size)
    if grown == NULL:
        raise MemoryError
    room[0] = wanted
    return grown


cdef void *array_shrink(void *items, Py_ssize_t *room, Py_ssize_t count, size_t size) noexcept:
    """The array, without room for more than `count` items, of which there is at least one."""
    cdef void *shrunk = PyMem_Realloc(items, max(count, 1) * size)
    if shrunk == NULL:
        return items
    room[0] = max(count, 1)
    return shrunk


@cython.final
cdef class Instructions:
    """A list of instructions."""

    cdef Instruction *items
    cdef Py_ssize_t count
    cdef int *operands          # of all instructions, one after the other
    cdef Py_ssize_t operand_count
    cdef double *numbers        # of NUMBER instructions
    cdef Py_ssize_t number_count
    cdef Py_ssize_t room        # for instructions
    cdef Py_ssize_t operand_room
    cdef Py_ssize_t number_room

    def __dealloc__(self):
        PyMem_Free(self.items)
        PyMem_Free(self.operands)
        PyMem_Free(self.numbers)

    cdef int reserve(self, Py_ssize_t count) except -1:
        """Make room for an instruction of `count` operands."""
        if self.count == MOST_INSTRUCTIONS or count > MOST_INSTRUCTIONS:
            raise MemoryError  # indices are ints
        if self.count == self.room:
            self.items = <Instruction *>array_grow(self.items, &self.room, self.count + 1, sizeof(Instruction))
        if self.operand_room - self.operand_count < count:
            self.operands = <int *>array_grow(self.operands, &self.operand_room, self.operand_count + count,
                                              sizeof(int))
        return 0

    cdef int append(self, int op, const int *operands, int count) except -1:
        """Append an instruction, whose operands may stand where those of the next one go. Returns its index."""
        cdef Instruction *item
        cdef int i
        if self.count == self.room or self.operand_room - self.operand_count < count:
            self.reserve(count)
        for i in range(count):
            self.operands[self.operand_count + i] = operands[i]
        item = &self.items[self.count]
        item.op, item.count, item.first = op, count, self.operand_count
        self.operand_count += count
        self.count += 1
        return self.count - 1

    cdef int append_number(self, double x) except -1:
        """Append a NUMBER. Returns its index."""
        cdef int index = self.number_count
        self.reserve(1)
        if self.number_count == self.number_room:
            self.numbers = <double *>array_grow(self.numbers, &self.number_room, self.number_count + 1, sizeof(double))
        self.numbers[index] = x
        self.number_count += 1
        return self.append(NUMBER, &index, 1)

    cdef int append_tuple(self, int op, tuple operands) except -1:
        """Append an instruction that check_instructions() has passed."""
        cdef Py_ssize_t i
        if op == NUMBER:
            return self.append_number(operands[0])
        self.reserve(len(operands))
        for i in range(len(operands)):
            self.operands[self.operand_count + i] = operands[i]
        return self.append(op, self.operands + self.operand_count, len(operands))

    cdef int shrink(self) except -1:
        """Give back the room that is left."""
        self.items = <Instruction *>array_shrink(self.items, &self.room, self.count, sizeof(Instruction))
        self.operands = <int *>array_shrink(self.operands, &self.operand_room, self.operand_count, sizeof(int))
        self.numbers = <double *>array_shrink(self.numbers, &self.number_room, self.number_count, sizeof(double))
        return 0

    cdef inline double number_at(self, Py_ssize_t i) noexcept:
        """The number of the NUMBER instruction i."""
        return self.numbers[self.operands[self.items[i].first]]

    cdef tuple operands_of(self, Py_ssize_t i):
        cdef Instruction *item = &self.items[i]
        cdef list operands = []
        cdef int k
        if item.op == NUMBER:
            return (self.number_at(i),)
        for k in range(item.count):
            operands.append(self.operands[item.first + k])
        return tuple(operands)

    cdef tuple as_tuples(self):
        """The instructions as pairs (op, operands)."""
        cdef list pairs = []
        cdef Py_ssize_t i
        for i in range(self.count):
            check_signals(i)
            pairs.append((self.items[i].op, self.operands_of(i)))
        return tuple(pairs)


# ---- Hash tables ---------------------------------------------------------------------------------
# With open addressing: an entry stands at the home of its key, or after it where that is taken.

cdef struct Entry:
    uint64_t key             # 0: the entry is free
    int index                # of an instruction; -1 for none
    unsigned int references  # of a node: how many come from private nodes

cdef struct Table:
    Entry *entries
    Py_ssize_t count         # of entries in use
    Py_ssize_t size          # of entries: a power of two, 0 at first
    int shift                # 64 - its logarithm


cdef inline Entry *table_home(Table *table, uint64_t key) noexcept:
    """The entry where a search for the key begins. The table is not empty."""
    return &table.entries[(key * <uint64_t>0x9E3779B97F4A7C15) >> table.shift]


cdef inline Entry *table_next(Table *table, Entry *entry) noexcept:
    entry += 1
    return entry if entry != table.entries + table.size else table.entries


cdef int table_grow(Table *table, Py_ssize_t count) except -1:
    """Make room for `count` entries. Where memory is out, the table stays as it is."""
    cdef Table grown = Table(NULL, table.count, 64, 64 - 6)
    cdef Entry *entry
    cdef Py_ssize_t i
    while 2 * grown.size < 3 * count:
        grown.size *= 2
        grown.shift -= 1
    grown.entries = <Entry *>PyMem_Calloc(grown.size, sizeof(Entry))
    if grown.entries == NULL:
        raise MemoryError
    for i in range(table.size):
        if table.entries[i].key != 0:
            entry = table_home(&grown, table.entries[i].key)
            while entry.key != 0:
                entry = table_next(&grown, entry)
            entry[0] = table.entries[i]
    PyMem_Free(table.entries)
    table[0] = grown
    return 0


cdef inline int table_reserve(Table *table) except -1:
    """Make room for an entry. A third is free at least, so that searches are short."""
    return table_grow(table, table.count + 1) if 3 * table.count >= 2 * table.size else 0


cdef Entry *table_entry(Table *table, void *p) except NULL:
    """The entry of a pointer, which is made if there is none. It is valid until the next one is made."""
    cdef uint64_t key = <uintptr_t>p
    cdef Entry *entry
    table_reserve(table)
    entry = table_home(table, key)
    while entry.key != key:
        if entry.key == 0:
            entry.key, entry.index = key, -1
            table.count += 1
            break
        entry = table_next(table, entry)
    return entry


cdef inline uint64_t mixed(uint64_t h, uint64_t x) noexcept:
    """A hash of one word more."""
    h = (h ^ x) * <uint64_t>0xD6E8FEB86659FD93
    return h ^ (h >> 32)
