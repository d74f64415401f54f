# Terms of adjoints, products of Values and numbers, and their sum: one affine node, or a node of two arguments.
#
# Gives _TermPool, the terms of a pass, and Terms, those of one adjoint. Uses affine.pxi, user_ops.pxi, and of _core.pyx
# value_binary.

cdef enum:
    MOST_APART = 3          # terms of a sum in which each may have a weight of its own; longer ones may be layers

cdef struct Term:           # of an adjoint: left * right * number
    PyObject *left          # a Value, a reference; NULL for 1
    PyObject *right         # likewise; NULL where `left` is NULL or `number` is not 1
    double number
    Py_ssize_t next         # index of the next term; 0 for none

cdef struct Terms:          # those of one adjoint; all 0 for none
    Py_ssize_t first        # index of the last one that was added
    Py_ssize_t scaled       # one with an invariant factor of its own, see send_split(), or 0
    int count
    bint taken              # is their sum a node that was there already?


cdef inline bint term_factor(Term *term, PyObject *factor) except -1:
    """Multiply a term by a Value, borrowed, or a float. False where it becomes 0."""
    if not is_any_value(factor):
        term.number *= <double>(<object>factor)
    elif term.left == NULL:
        term.left = factor
    else:
        term.right = factor
    return term.number != 0.0


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
        """Add slope * adjoint, each a Value or a float, unless it is 0."""
        cdef Py_ssize_t i = self.spare
        cdef Term *term
        if not i and self.term_count == self.term_room:
            self.make_room(2 * self.term_room)
        term = &self.terms[i or self.term_count]
        term.left = term.right = NULL
        term.number = 1.0
        if not (term_factor(term, slope) and term_factor(term, adjoint)):
            return 0
        Py_XINCREF(term.left)
        Py_XINCREF(term.right)
        if i:
            self.spare = term.next
        else:
            i = self.term_count
            self.term_count += 1
        term.next = terms.first
        terms.first = i
        terms.count += 1
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
            Py_XDECREF(self.terms[i].left)
            Py_XDECREF(self.terms[i].right)
            self.terms[i].next = self.spare
            self.spare = i

    cdef bint split(self, Terms *terms) noexcept:
        """Is it one term, with a factor that depends on the arguments of a traced function and one that does not?"""
        cdef Term *term = &self.terms[terms.first]
        return (terms.count == 1 and term.right != NULL
                and (node_of(term.left).flags ^ node_of(term.right).flags) & TRACED)

    cdef object total(self, Terms *terms):
        """The sum of the terms, of which there is at least one; a float if they are numbers. Drops the terms."""
        cdef Py_ssize_t i = terms.first, values = 0, pairs = 0, ones = 0
        cdef double constant = 0.0
        cdef Term *term
        cdef Term *value = NULL
        if terms.scaled and terms.count > MOST_APART:
            self.multiply(&self.terms[terms.scaled])
        while i:
            term = &self.terms[i]
            i = term.next
            if term.left == NULL:
                constant += term.number
                continue
            value = term
            values += 1
            pairs += term.right != NULL
            ones += term.right == NULL and term.number == 1.0
        terms.taken = values == ones == 1 and constant == 0.0
        if values == 0:
            total = constant
        elif values == 1:
            total = <object>value.left
            if pairs:
                total = value_binary(MUL, value.left, value.right)
            elif not ones:
                total = total * value.number
        elif ones == values:
            total = self.sum_of_ones(terms.first)
        else:
            total = self.dot(terms.first, values - (ones > 0), pairs > 0)
        if values and constant != 0.0:
            total = total + constant
        self.drop(terms)
        return total

    cdef int multiply(self, Term *term) except -1:
        """Compute the product of a term's two Values."""
        product = value_binary(MUL, term.left, term.right)
        Py_DECREF(term.left)
        Py_DECREF(term.right)
        term.left, term.right = <PyObject *>product, NULL
        Py_INCREF(term.left)
        return 0

    cdef object sum_of_ones(self, Py_ssize_t i):
        """The sum of terms that are Values, or numbers, which are left out."""
        cdef list values = []
        while i:
            if self.terms[i].left != NULL:
                values.append(<object>self.terms[i].left)
            i = self.terms[i].next
        if len(values) == 2:
            return value_binary(ADD, <PyObject *>values[0], <PyObject *>values[1])
        return variadic_node(SUM, values)

    cdef object dot(self, Py_ssize_t first, Py_ssize_t count, bint pairs):
        """The sum of the terms that are no numbers, as an affine node of `count` weights. The first term that is a
        Value times 1 is the bias. The inputs are numbers unless there are `pairs` of Values."""
        cdef PyObject *made = NULL
        cdef int flags = 0
        cdef Layer *layer
        weights = own(PyTuple_New(count + 1))
        layer = layer_alloc(count * sizeof(double), 1)
        if layer == NULL:
            raise_error()
        layer.nodes = <PyObject **>layer.data if pairs else NULL
        layer.affine[0].op = ADD
        layer.affine[0].flags = RESULT_WEIGHTS
        layer.affine[0].weights = <PyObject *>weights
        Py_INCREF(<PyObject *>weights)
        try:
            self.fill(layer, first, &flags)
        except MemoryError:
            layer_drop(layer, 0)
            raise
        if not layer_nodes(layer, True, flags, &made):
            raise_error()
        return own(made)

    cdef int fill(self, Layer *layer, Py_ssize_t i, int *flags) except -1:
        """Set the bias, the weights and the inputs of a dot, which take over the references of the terms."""
        cdef Affine *affine = &layer.affine[0]
        cdef PyObject **weights = tuple_items(affine.weights)
        cdef Term *term
        while i:
            term = &self.terms[i]
            i = term.next
            if term.left == NULL:
                continue
            affine.flags |= node_of(term.left).flags & INHERITED
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
                    term.right = NULL
                layer.inputs += 1
                weights[layer.inputs] = term.left
            term.left = NULL
        if weights[0] == NULL:
            weights[0] = Py_None
            Py_INCREF(Py_None)
        return 0
