# The op table as arrays, for ops that are known at run time alone. Uses ops.pxd.

cdef Rule[OP_COUNT] RULES           # the op table, for ops that are known at run time alone
cdef double[OP_COUNT] SLOPE_LEFT    # the constant partials of linear ops
cdef double[OP_COUNT] SLOPE_RIGHT


cdef void fill_tables() noexcept:
    cdef int op
    for op in range(<int>OP_COUNT):
        RULES[op] = op_rule(op)
        if RULES[op].shape == LINEAR:
            SLOPE_LEFT[op] = RULES[op].d_left(0.0, 0.0, 0.0, 1.0)
            SLOPE_RIGHT[op] = RULES[op].d_right(0.0, 0.0, 0.0, 1.0) if RULES[op].arity == 2 else 0.0


fill_tables()
