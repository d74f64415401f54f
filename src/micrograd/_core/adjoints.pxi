# Terms of adjoints, products of Values and numbers, and their sum: one affine node, or a node of two arguments.
#
# Gives _TermPool, the terms of a pass, and Terms, those of one adjoint. Uses affine.pxi, user_ops.pxi, and of _core.pyx
# value_binary.

cdef enum:
    MOST_APART = 3          # terms of a sum in which each may have a weight of its own; longer ones may be layers

cdef struct Term:           # of an adjoint: left * right * number
    PyObject *left          # a Value, a reference
    PyObject *right         # likewise; NULL for 1, and where `number` is not 1
    double number
    Py_ssize_t next         # index of the next term; 0 for none

cdef struct Terms:          # those of one adjoint; all 0 for none
    Py_ssize_t first        # index of the last one that was added
    Py_ssize_t scaled       # one with an invariant factor of its own, see send_split(), or 0
    int count
    int pairs               # how many of them are products of two Values
    int ones                # how many of them are Values times 1
    bint taken              # is their sum a node that was there already?
    double constant         # the sum of the terms that are numbers


cdef inline bint is_scaled(object x) noexcept:
    """Is it a Value times a number?"""
    cdef Node *n
    if not is_any_value(<PyObject *>x):
        return False
    n = node_of(<PyObject *>x)
    return n.op == MUL and n.form == NUMBER_RIGHT


@cython.auto_pickle(False)
@cython.no_gc
cdef class _TermPool:
    """The terms of all adjoints of a pass, and the sums of those of one."""

    cdef Term *terms
    cdef Py_ssize_t term_count  # the first is not used: index 0 stands for none
    cdef Py_ssize_t term_room
    cdef Py_ssize_t spare       # the first of those that were dropped, or 0

    def __cinit__(self):
        self.term_count = 1

    def __dealloc__(self):
        PyMem_Free(self.terms)

    cdef int append(self, Terms *terms, PyObject *slope, PyObject *adjoint) except -1:
        """Add slope * adjoint, each a Value or a float."""
        cdef Py_ssize_t i = self.spare
        cdef PyObject *left = NULL
        cdef PyObject *right = NULL
        cdef double number = 1.0
        cdef Term *term
        if is_any_value(slope):
            left = slope
        else:
            number = <double>(<object>slope)
        if not is_any_value(adjoint):
            number *= <double>(<object>adjoint)
        elif left == NULL:
            left = adjoint
        else:
            right = adjoint
        if left == NULL:
            terms.constant += number
            return 0
        if i:
            self.spare = self.terms[i].next
        else:
            i = self.term_count
            if i == self.term_room:
                self.make_room(2 * i)
            self.term_count += 1
        Py_INCREF(left)
        Py_XINCREF(right)
        term = &self.terms[i]
        term.left, term.right, term.number, term.next = left, right, number, terms.first
        terms.first = i
        terms.count += 1
        terms.pairs += right != NULL
        terms.ones += right == NULL and number == 1.0
        return 0

    cdef int make_room(self, Py_ssize_t room) except -1:
        """Make room for so many terms."""
        cdef void *items = PyMem_Realloc(self.terms, room * sizeof(Term))
        if items == NULL:
            raise MemoryError
        self.terms, self.term_room = <Term *>items, room
        return 0

    cdef void drop(self, Terms *terms) noexcept:
        cdef Py_ssize_t i
        while terms.first:
            i = terms.first
            terms.first = self.terms[i].next
            Py_DECREF(self.terms[i].left)
            Py_XDECREF(self.terms[i].right)
            self.terms[i].next = self.spare
            self.spare = i

    cdef bint split(self, Terms *terms) noexcept:
        """Is it one term, with a factor that depends on the arguments of a traced function and one that does not?"""
        cdef Term *term = &self.terms[terms.first]
        return (terms.count == 1 and terms.constant == 0.0 and term.right != NULL
                and (node_of(term.left).flags ^ node_of(term.right).flags) & TRACED)

    cdef object total(self, Terms *terms):
        """The sum of the terms, a float if they are numbers. Drops the terms."""
        cdef double constant = terms.constant
        cdef Term *term = &self.terms[terms.first]
        if terms.scaled and terms.count > MOST_APART:
            self.multiply(terms)
        terms.taken = terms.count == terms.ones == 1 and constant == 0.0
        if terms.count == 0:
            return constant
        if terms.count == 1:
            total = <object>term.left
            if terms.pairs:
                total = value_binary(MUL, term.left, term.right)
            elif not terms.ones:
                total = total * term.number
        elif terms.ones == terms.count:
            total = self.sum_of_ones(terms.first)
        else:
            total = self.dot(terms)
        if constant != 0.0:
            total = total + constant
        self.drop(terms)
        return total

    cdef int multiply(self, Terms *terms) except -1:
        """Compute the product of the two Values of the scaled term."""
        cdef Term *term = &self.terms[terms.scaled]
        product = value_binary(MUL, term.left, term.right)
        Py_DECREF(term.left)
        Py_DECREF(term.right)
        term.left, term.right = <PyObject *>product, NULL
        Py_INCREF(term.left)
        terms.pairs -= 1
        terms.ones += 1
        return 0

    cdef object sum_of_ones(self, Py_ssize_t i):
        """The sum of terms that are Values times 1."""
        cdef list values = []
        while i:
            values.append(<object>self.terms[i].left)
            i = self.terms[i].next
        if len(values) == 2:
            return value_binary(ADD, <PyObject *>values[0], <PyObject *>values[1])
        return variadic_node(SUM, values)

    cdef object dot(self, Terms *terms):
        """The sum of the terms as an affine node, which takes them over. The first term that is a Value times 1 is the
        bias. The inputs are numbers unless there are products of Values."""
        cdef Py_ssize_t count = terms.count - (terms.ones > 0)
        cdef PyObject *made = NULL
        cdef int flags = 0
        cdef Layer *layer
        weights = own(PyTuple_New(count + 1))
        layer = layer_alloc(count * sizeof(double), 1)
        if layer == NULL:
            raise_error()
        layer.nodes = <PyObject **>layer.data if terms.pairs else NULL
        layer.affine[0].op = ADD
        layer.affine[0].flags = RESULT_WEIGHTS
        layer.affine[0].weights = <PyObject *>weights
        Py_INCREF(<PyObject *>weights)
        try:
            self.fill(layer, terms, &flags)
        except MemoryError:
            layer_drop(layer, 0)
            raise
        if not layer_nodes(layer, True, flags, &made):
            raise_error()
        return own(made)

    cdef int fill(self, Layer *layer, Terms *terms, int *flags) except -1:
        """Set the bias, the weights and the inputs of a dot, which take over the references of the terms."""
        cdef Affine *affine = &layer.affine[0]
        cdef PyObject **weights = tuple_items(affine.weights)
        cdef Py_ssize_t i
        cdef Term *term
        while terms.first:
            i = terms.first
            term = &self.terms[i]
            if weights[0] == NULL and term.right == NULL and term.number == 1.0:
                weights[0] = term.left
            else:
                if layer.nodes == NULL:
                    layer.data[layer.inputs] = term.number
                else:
                    if term.right == NULL:
                        term.right = object_of(leaf_new(term.number))
                    layer.nodes[layer.inputs] = term.right
                    flags[0] |= node_of(term.right).flags & INHERITED
                layer.inputs += 1
                weights[layer.inputs] = term.left
            affine.flags |= node_of(term.left).flags & INHERITED
            terms.first = term.next
            term.next = self.spare
            self.spare = i
        if weights[0] == NULL:
            weights[0] = Py_None
            Py_INCREF(Py_None)
        return 0
