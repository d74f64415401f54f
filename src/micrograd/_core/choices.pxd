# The functions of comparisons, of choices and of the greater or lesser of two numbers, for their rows in ops.pxd: none
# of them raises.


# Conditions, which are 1.0 where they hold and 0.0 where not; they have no gradient. NaN is less than nothing.
cdef inline double less(double a, double b) noexcept nogil:
    return 1.0 if a < b else 0.0

cdef inline double less_equal(double a, double b) noexcept nogil:
    return 1.0 if a <= b else 0.0

cdef inline double equal(double a, double b) noexcept nogil:
    return 1.0 if a == b else 0.0

cdef inline double both(double a, double b) noexcept nogil:
    return 1.0 if a != 0.0 and b != 0.0 else 0.0

cdef inline double either(double a, double b) noexcept nogil:
    return 1.0 if a != 0.0 or b != 0.0 else 0.0

cdef inline double negated(double a, double b) noexcept nogil:
    return 1.0 if a == 0.0 else 0.0


# A choice between b and c by a condition a is then(a, b) + otherwise(a, c): -0.0 changes no number that is added to it.
# What is not chosen gets no gradient, whatever g is: 0.0 * inf would be NaN.
cdef inline double then(double a, double b) noexcept nogil:
    return b if a != 0.0 else -0.0

cdef inline double then_right(double a, double b, double r, double g) noexcept nogil:
    return g if a != 0.0 else 0.0

cdef inline double otherwise(double a, double b) noexcept nogil:
    return b if a == 0.0 else -0.0

cdef inline double otherwise_right(double a, double b, double r, double g) noexcept nogil:
    return g if a == 0.0 else 0.0

# In place of an operand of what a sample may not choose: 0.5 where it does not, at which no op raises.
cdef inline double guard(double a, double b) noexcept nogil:
    return b if a != 0.0 else 0.5


# The greater and the lesser: NaN if one is. At a tie each gets half of the gradient, as in PyTorch.
cdef inline double maximum(double a, double b) noexcept nogil:
    return a if a > b or a != a else b

cdef inline double maximum_left(double a, double b, double r, double g) noexcept nogil:
    return 0.0 if a < b else 0.5 * g if a == b else g

cdef inline double maximum_right(double a, double b, double r, double g) noexcept nogil:
    return 0.0 if a > b else 0.5 * g if a == b else g

cdef inline double minimum(double a, double b) noexcept nogil:
    return a if a < b or a != a else b

cdef inline double minimum_left(double a, double b, double r, double g) noexcept nogil:
    return maximum_right(a, b, r, g)

cdef inline double minimum_right(double a, double b, double r, double g) noexcept nogil:
    return maximum_left(a, b, r, g)


# a, but no less than b: at a tie a gets all of the gradient; and a, but no greater than b.
cdef inline double clamp_min(double a, double b) noexcept nogil:
    return maximum(a, b)

cdef inline double clamp_min_left(double a, double b, double r, double g) noexcept nogil:
    return g if a >= b else 0.0

cdef inline double clamp_min_right(double a, double b, double r, double g) noexcept nogil:
    return g if a < b else 0.0

cdef inline double clamp_max(double a, double b) noexcept nogil:
    return minimum(a, b)

cdef inline double clamp_max_left(double a, double b, double r, double g) noexcept nogil:
    return g if a <= b else 0.0

cdef inline double clamp_max_right(double a, double b, double r, double g) noexcept nogil:
    return g if a > b else 0.0
