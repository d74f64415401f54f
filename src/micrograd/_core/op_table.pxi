# The op table as arrays, for ops that are known at run time only; and as Python objects, for tests and tools.
#
# Gives RULES, SLOPE_LEFT and SLOPE_RIGHT, filled at import; OPS, op_number,
# op_names, op_columns and op_partial. Uses ops.pxd.

cdef Rule[OP_COUNT] RULES
cdef double[OP_COUNT] SLOPE_LEFT    # the constant partial derivatives of linear ops
cdef double[OP_COUNT] SLOPE_RIGHT


cdef void fill_tables() noexcept:
    cdef int op
    for op in range(<int>OP_COUNT):
        RULES[op] = op_rule(op)
        if RULES[op].shape == LINEAR:
            SLOPE_LEFT[op] = RULES[op].d_left(0.0, 0.0, 0.0, 1.0)
            SLOPE_RIGHT[op] = RULES[op].d_right(0.0, 0.0, 0.0, 1.0) if RULES[op].arity == 2 else 0.0


fill_tables()


cdef dict methods():
    """The ops that are methods or operators of Value: {name: (symbol, arity)}. The others are for functional/."""
    cdef dict found = {}
    cdef int op
    for op in range(1, <int>OP_COUNT):
        name = RULES[op].name.decode()
        if RULES[op].arity != VARIADIC and (name[0] != "_" or name[:2] == "__"):
            found[name] = RULES[op].symbol.decode(), RULES[op].arity
    return found


OPS = methods()


def op_columns(str name):
    """The columns of an op other than its functions: its shape, whether it commutes, and what each partial reads."""
    cdef Rule rule = RULES[op_number(name)]
    left, right = rule.left_reads, rule.right_reads
    return {
        "shape": {NONLINEAR: "nonlinear", LINEAR: "linear", ZERO: "zero", PRODUCT: "product",
                  INDEXED: "indexed"}[rule.shape],
        "commutes": bool(rule.commutes),
        "reads": [{what for what, bit in (("a", A), ("b", B), ("r", R)) if reads & bit}
                  for reads in (left, right)[:1 if rule.d_right == NULL else 2]],
    }


def op_partial(str name, int side, double a, double b, double r, double g):
    """What the left (0) or right (1) argument's grad gains by an op. Raises what the rule raises."""
    cdef Rule rule = RULES[op_number(name)]
    cdef double gain = (rule.d_right if side else rule.d_left)(a, b, r, g)
    if rule_failed(gain):
        raise_error()
    return gain


cdef int op_number(str name) except -1:
    cdef int op
    for op in range(1, <int>OP_COUNT):
        if RULES[op].name.decode() == name:
            return op
    raise KeyError(name)


def op_names():
    """The names of all ops, those for functional/ and derivatives included."""
    cdef list names = []
    for op in range(1, <int>OP_COUNT):
        names.append(RULES[op].name.decode())
    return names
