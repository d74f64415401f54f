# Members of Value that users replace: `Value.tanh = mine` works as for any class. Code that computes without looking
# members up in the class, as layers do, asks here whether an op's member is still the class's own. CPython gives a
# class another version at each change.
#
# Gives members_look, sums_are_own, sums_as_value and member_changes. Uses ops.pxd.

cdef enum:
    NO_VERSION = 0xffffffff

cdef struct Members:
    unsigned int version         # of the class when its members were compared
    unsigned int fields_version  # the same if `data` and `grad` were its own, else NO_VERSION
    bint[OP_COUNT] ops           # were the method, or the operators, of an op?
    Py_ssize_t changes           # 0 while all are own, else another number for each other set of members
    Py_ssize_t states            # how many sets were found so far

cdef Members members
cdef dict own_members = {}
cdef dict found_members = {}
cdef object class_members = Value.__dict__


cdef tuple op_members(int op):
    """The names of an op's members: its method, or the operator and, if there is one, the reflected operator."""
    cdef str name = RULES[op].name.decode()
    return name, name.replace("__", "__r", 1) if name.startswith("__") else f"__{name}__"


cdef tuple SUM_MEMBERS = op_members(ADD) + op_members(MUL)


cdef bint members_are(tuple names) except -1:
    for name in names:
        if found_members.get(name) is not own_members.get(name):
            return False
    return True


cdef int members_compare() except -1:
    global found_members
    cdef dict before = found_members
    cdef int op
    getattr(Value, "data")  # gives the class a version
    found_members = {}
    for name in own_members:
        found_members[name] = class_members.get(name)
    if found_members != before:
        members.states += 1
        members.changes = 0 if found_members == own_members else members.states
    for op in range(1, <int>OP_COUNT):
        members.ops[op] = members_are(op_members(op))
    members.version = members.fields_version = type_version(VALUE)
    if members.version == 0 or not members_are(("data", "grad")):
        members.fields_version = NO_VERSION
    return 0


cdef int members_note() except -1:
    """Note the members as they are at first."""
    for op in range(1, <int>OP_COUNT):
        for name in op_members(op):
            own_members[name] = class_members.get(name)
    for name in ("data", "grad"):
        own_members[name] = class_members[name]
    return members_compare()


cdef int members_look() except -1:
    """Compare the members, if the class was changed."""
    return 0 if members.version == type_version(VALUE) and members.version else members_compare()


cdef bint sums_are_own(int op) except -1:
    """Does Value add, multiply and compute this op as the table says?"""
    members_look()
    return members.ops[<int>ADD] and members.ops[<int>MUL] and members.ops[op]


cdef bint sums_as_value(PyTypeObject *kind) noexcept:
    """Does a subclass add and multiply as Value did at first? Runs no Python code, whatever its metaclass is."""
    for name in SUM_MEMBERS:
        if _PyType_Lookup(kind, <PyObject *>name) != PyDict_GetItem(own_members, name):
            return False
    return True


cdef Py_ssize_t member_changes() except -1:
    """0 while Value's members are its own, else a number that is another one for each other set of members."""
    members_look()
    return members.changes
