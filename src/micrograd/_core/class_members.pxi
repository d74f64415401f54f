# Methods of Value that users replace: `Value.tanh = mine` works as for any class. Layers compute without calling
# methods, so they ask here whether the methods are unchanged. CPython gives a class another version at each change.
#
# Gives members_init, members_refresh, ops_unchanged, subclass_ops_unchanged and member_changes. Uses op_table.pxi.

cdef enum:
    NO_VERSION = 0xffffffff

cdef struct Members:
    unsigned int version         # of the class when its members were last compared
    unsigned int fields_version  # the same if `data` and `grad` were unchanged, else NO_VERSION
    bint[OP_COUNT] ops           # for each op: were its method, or its operators, unchanged?
    Py_ssize_t changes           # 0 while all members are unchanged, else a number for the set of members found
    Py_ssize_t states            # how often other members were found than before

cdef Members members
cdef dict own_members = {}     # Value's members as they were at import
cdef dict found_members = {}   # as they were when last compared
cdef object class_members = Value.__dict__


cdef tuple op_members(int op):
    """The names of an op's members: its method, or the operator and, if there is one, the reflected operator."""
    cdef str name = RULES[op].name.decode()
    return name, name.replace("__", "__r", 1) if name.startswith("__") else f"__{name}__"


cdef tuple AFFINE_MEMBERS = op_members(ADD) + op_members(MUL)


cdef bint members_unchanged(tuple names) except -1:
    for name in names:
        if found_members.get(name) is not own_members.get(name):
            return False
    return True


cdef int members_compare() except -1:
    """Find out which members were replaced."""
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
        members.ops[op] = members_unchanged(op_members(op))
    members.version = members.fields_version = type_version(VALUE)
    if members.version == 0 or not members_unchanged(("data", "grad")):
        members.fields_version = NO_VERSION
    return 0


cdef int members_init() except -1:
    """Keep the members as they are at import. What is first asked of them compares them."""
    global found_members
    for op in range(1, <int>OP_COUNT):
        for name in op_members(op):
            own_members[name] = class_members.get(name)
    for name in ("data", "grad"):
        own_members[name] = class_members[name]
    found_members = own_members
    members.fields_version = NO_VERSION
    return 0


cdef int members_refresh() except -1:
    """Compare the members if the class has another version than at the last comparison."""
    return 0 if members.version == type_version(VALUE) and members.version else members_compare()


cdef bint ops_unchanged(int op) except -1:
    """Are the methods of Value that add, multiply and compute this op unchanged?"""
    members_refresh()
    return members.ops[<int>ADD] and members.ops[<int>MUL] and members.ops[op]


cdef bint subclass_ops_unchanged(PyTypeObject *kind) noexcept:
    """Does a subclass add and multiply by Value's own methods? This runs no Python code, whatever its metaclass is."""
    for name in AFFINE_MEMBERS:
        if _PyType_Lookup(kind, <PyObject *>name) != PyDict_GetItem(own_members, name):
            return False
    return True


cdef Py_ssize_t member_changes() except -1:
    """0 while Value's members are unchanged, else a number that changes when they change."""
    members_refresh()
    return members.changes
