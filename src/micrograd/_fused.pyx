# Fused sums: making them, their step of backward, and taking them apart. What they are is said in _fused.pxd.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.string cimport memset
from micrograd._cpython cimport *
from micrograd._core cimport double_read, sums_as_value
from micrograd._graph cimport RULES, node_turn_irregular, splits
from micrograd._lifetime cimport dead_release, fused_release, node_orphan
from micrograd._node cimport *
from micrograd._ops cimport ADD, MUL, rule_failed
from micrograd._slab cimport (heap, piece_take, result_new, result_or_null, slot_before, slot_init, slots_give_back,
                              slots_take_side_by_side)


# ---- Backward ------------------------------------------------------------------------------------

cdef enum:
    STRIP = 128  # inputs handled at a time, for all the sums: their data and grads stay in the first cache


cdef inline bint sum_grad(Sum *sum_, double data, double grad, double *g) noexcept:
    """What a node of these data and this grad sends to its sum; False with an exception set where the activation has
    nothing to send."""
    if sum_.op == ADD:
        g[0] = grad
        return True
    g[0] = RULES[sum_.op].d_left(sum_.total, 0.0, data, grad)
    return not rule_failed(g[0])


cdef inline bint sum_first(Sum *sum_, double data, double grad) noexcept:
    """The first pass since grads were cleared, when every small node has the grad of the sum."""
    cdef Node *bias
    cdef double g
    if not sum_grad(sum_, data, grad, &g):
        return False
    sum_.passes = 1
    sum_.sent = g
    bias = sum_bias(sum_)
    if bias != NULL:
        bias.grad += g
    return True


cdef void sums_send(Fused *fused, Sum *newest, Sum *oldest) noexcept:
    """Send on to the w and x what was `sent` to sums that stand side by side. What goes to an x is added up first: it
    is fetched once, not once a sum."""
    cdef double[STRIP] data
    cdef double[STRIP] grad
    cdef double *x = data
    cdef PyObject **w
    cdef Node *weight
    cdef Sum *sum_
    cdef double g
    cdef Py_ssize_t i, size, start = 0
    cdef bint numbers = fused.nodes == NULL and fused.hidden == NULL
    while start < fused.count:
        size = min(fused.count - start, <Py_ssize_t>STRIP)
        for i in range(size):
            grad[i] = 0.0
        if fused.nodes == NULL:
            x = fused.numbers + start
        else:
            for i in range(size):
                data[i] = fused.nodes[start + i].data
        sum_ = newest
        while sum_ >= oldest:
            g = sum_.sent
            w = sum_weights(sum_) + start
            if numbers:
                for i in range(size):
                    node_of(w[i]).grad += x[i] * g
            else:
                for i in range(size):
                    weight = node_of(w[i])
                    weight.grad += x[i] * g
                    grad[i] += weight.data * g
            sum_ -= 1
        if fused.hidden != NULL:
            for i in range(size):
                fused.numbers[fused.count + start + i] += grad[i]
        elif not numbers:
            for i in range(size):
                fused.nodes[start + i].grad += grad[i]
        start += size


cdef bint fused_first(Node *newest, Node *oldest) noexcept:
    """The first pass for sums over one sample that stand side by side, as do their places."""
    cdef Node *n = newest
    cdef Sum *sum_ = node_sum(newest)
    cdef Sum *last = node_sum(oldest)
    while sum_ >= last and sum_first(sum_, n.data, n.grad):
        n = slot_before(n, 1)
        sum_ -= 1
    sums_send(newest.b.fused, node_sum(newest), sum_ + 1)
    return sum_ < last


cdef bint hidden_first(Node *n) noexcept:
    """The first pass for a hidden layer. (No partial runs Python code unless it raises: nobody can look meanwhile.)"""
    cdef Fused *above = hidden_above(n)
    cdef Sum *sums = n.b.fused.sums
    cdef Py_ssize_t i = n.place
    while i >= 0 and sum_first(&sums[i], above.numbers[i], above.numbers[above.count + i]):
        i -= 1
    sums_send(n.b.fused, &sums[n.place], &sums[i + 1])
    return i < 0


cdef bint fused_again(Node *n) noexcept:
    """A further pass: the small nodes' grads accumulate like any other's, so from here on they are kept.

    With s[i] the sum of the bias and the first i products: stale[i] is the grad of product i, stale[count + i] that of
    s[i] for 0 < i < count, and stale[count] that of the whole sum where an activation follows."""
    cdef Fused *fused = n.b.fused
    cdef Sum *sum_ = node_sum(n)
    cdef PyObject **w = sum_weights(sum_)
    cdef Node *bias = sum_bias(sum_)
    cdef double *products = sum_.stale
    cdef double *sums
    cdef double g
    cdef Py_ssize_t i, count = fused.count
    hidden_show(fused)  # from here on the x have grads to be added to one by one
    if not sum_grad(sum_, n.data, n.grad, &g):
        return False
    if products == NULL:
        products = <double *>PyMem_Malloc(2 * count * sizeof(double))
        if products == NULL:
            PyErr_NoMemory()
            return False
        for i in range(2 * count):
            products[i] = sum_.sent
        sum_.stale = products
    sum_.passes = 2
    sums = products + count
    if n.op != ADD:
        sums[0] += g
        g = sums[0]
    for i in range(count - 1, -1, -1):
        products[i] += g
        if fused.nodes == NULL:
            node_of(w[i]).grad += fused.numbers[i] * products[i]
        else:
            node_of(w[i]).grad += fused.nodes[i].data * products[i]
            fused.nodes[i].grad += node_of(w[i]).data * products[i]
        if i > 0:
            sums[i] += g
            g = sums[i]
        elif bias != NULL:
            bias.grad += g
    return True


cdef void fused_forget(Node *n) noexcept:
    """Clear the small nodes' grads."""
    cdef Sum *sum_ = node_sum(n)
    sum_.passes = 0
    PyMem_Free(sum_.stale)
    sum_.stale = NULL


# ---- Taking apart --------------------------------------------------------------------------------

cdef void hidden_show(Fused *fused) noexcept:
    """If the sample is a hidden layer, make its nodes, in the slots that were kept for them. Each goes where its number
    stood, which was read before; the grads stand behind."""
    cdef Node *n = fused.hidden
    cdef Fused *below
    cdef Py_ssize_t i
    cdef int flags
    if n == NULL:
        return
    below = n.b.fused
    flags = n.flags & PENDING
    fused.hidden = NULL
    fused.nodes = <Node **>fused.numbers
    below.held = fused.count  # by the hidden layer once, by each of its nodes from here on
    for i in range(fused.count - 1, -1, -1):
        slot_init(n, below.sums[i].op, FUSED, flags | (WALKED if below.sums[i].passes else 0), fused.numbers[i])
        n.grad = fused.numbers[fused.count + i]
        n.a = NULL
        n.b.fused = below
        n.place = i
        fused.nodes[i] = n
        n = slot_before(n, 1)


cdef Node *small_node(int op, int form, Node *a, Node *b, double number, double data, int flags,
                      double grad) except NULL:
    cdef Node *n = result_new(op, form, flags, data)
    n.grad = grad
    n.a = a
    Py_INCREF(object_of(a))
    if form == BINARY:
        n.b.node = b
        Py_INCREF(object_of(b))
    else:
        n.b.number = number
    return n


cdef int fused_split(Node *n) except -1:
    """Make the small nodes and become the last of them. They are younger than the node, so creation order says nothing
    about it any more: it turns irregular."""
    global splits
    cdef Fused *fused = n.b.fused
    cdef Sum *sum_ = node_sum(n)
    cdef double *stale = sum_.stale
    cdef double sent = sum_.sent if sum_.passes else 0.0
    cdef Node *total = sum_bias(sum_)
    cdef Node *last = NULL
    cdef Node *w
    cdef Node *x
    cdef double grad
    cdef int op = n.op
    cdef int flags = WALKED if sum_.passes else 0
    cdef Py_ssize_t i
    hidden_show(fused)
    if total != NULL:
        Py_INCREF(object_of(total))
    try:
        for i in range(fused.count):
            w = node_of(sum_weights(sum_)[i])
            grad = stale[i] if stale != NULL else sent
            if fused.nodes == NULL:
                last = small_node(MUL, NUMBER_RIGHT, w, NULL, fused.numbers[i], w.data * fused.numbers[i],
                                  flags | w.flags & INHERITED, grad)
            else:
                x = fused.nodes[i]
                last = small_node(MUL, BINARY, w, x, 0.0, w.data * x.data,
                                  flags | (w.flags | x.flags) & INHERITED, grad)
            if i == fused.count - 1 and op == ADD:
                break  # the last addition is the node itself
            grad = stale[fused.count + (i + 1) % fused.count] if stale != NULL else sent
            try:
                if total == NULL:
                    x = small_node(ADD, NUMBER_RIGHT, last, NULL, 0.0, 0.0 + last.data,
                                   last.flags & (WALKED | INHERITED), grad)
                else:
                    x = small_node(ADD, BINARY, total, last, 0.0, total.data + last.data,
                                   flags | (total.flags | last.flags) & INHERITED, grad)
                    Py_DECREF(object_of(total))
                total = x
            finally:
                Py_DECREF(object_of(last))
    except MemoryError:
        if total != NULL:
            Py_DECREF(object_of(total))
        raise
    node_orphan(n)
    n.op = op
    n.flags &= ~END
    if op != ADD:
        n.form = UNARY
        n.a = total
        n.b.number = 0.0
    elif total == NULL:
        n.form = NUMBER_RIGHT
        n.a = last
        n.b.number = 0.0
    else:
        n.form = BINARY
        n.a = total
        n.b.node = last
    node_turn_irregular(n, 0)
    splits += 1
    return 0


# ---- Making --------------------------------------------------------------------------------------
# Functions that return a pointer or say `noexcept` leave an exception set without raising it: their callers have
# something to give back first.

cdef inline bint is_any_value(PyObject *o) noexcept:
    return Py_TYPE(o) == heap.value_type or (
        not PyFloat_CheckExact(o) and not PyLong_CheckExact(o) and PyType_IsSubtype(Py_TYPE(o), heap.value_type))


cdef inline bint is_value(PyObject *o) noexcept:
    """Is it a Value whose class adds and multiplies as Value does?"""
    return Py_TYPE(o) == heap.value_type or is_any_value(o) and sums_as_value(Py_TYPE(o))


cdef bint fused_read(Fused *fused, list x, int *flags) noexcept:
    """Read the sample. False if Values and numbers stand among each other, a Value's class has operators of its own, or
    an exception is set."""
    cdef PyObject *o
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>x)
    cdef bint sound
    flags[0] = 0
    if is_any_value(PyList_GET_ITEM(<PyObject *>x, 0)):
        fused.nodes = <Node **>fused.numbers
        for i in range(count):
            o = PyList_GET_ITEM(<PyObject *>x, i)
            if not is_value(o):
                return False
            fused.nodes[i] = node_of(o)
            flags[0] |= node_of(o).flags & INHERITED
            Py_INCREF(o)
            fused.count += 1
        return True
    for i in range(count):
        if PyList_GET_SIZE(<PyObject *>x) != count:  # Python code that ran meanwhile changed the list
            return False
        o = PyList_GET_ITEM(<PyObject *>x, i)
        if PyFloat_CheckExact(o):
            fused.numbers[i] = PyFloat_AS_DOUBLE(o)
            continue
        Py_INCREF(o)
        sound = not is_any_value(o) and double_read(o, "an input", &fused.numbers[i])
        Py_DECREF(o)
        if not sound:
            return False
    fused.count = count
    return True


cdef Fused *fused_room(size_t size, Py_ssize_t sums) noexcept:
    """Room for a sample of so many bytes, nothing of it read so far, and so many sums over it. NULL with an exception
    set when memory is out."""
    cdef Py_ssize_t i
    cdef Fused *fused
    size += sizeof(Fused) + (sums - 1) * sizeof(Sum)
    fused = <Fused *>piece_take(size)
    if fused == NULL:
        PyErr_NoMemory()
        return NULL
    fused.count = 0
    fused.held = 1
    fused.nodes = NULL
    fused.hidden = NULL
    fused.size = size
    fused.numbers = <double *>(fused.sums + sums)
    for i in range(sums):
        fused.sums[i].row = NULL
    return fused


cdef Fused *fused_new(list x, Py_ssize_t sums, int *flags) noexcept:
    """A sample, and room for as many sums over it. Their rows, flags and ops are the caller's to fill in, and
    fused_outputs() does the rest; `flags` gets those of the x. NULL where there is nothing to fuse: no input, or
    Values and numbers among each other; or with an exception set."""
    cdef Py_ssize_t count = PyList_GET_SIZE(<PyObject *>x)
    cdef Fused *fused = fused_room(count * sizeof(double), sums) if count and sums else NULL
    if fused != NULL and not fused_read(fused, x, flags):
        fused_drop(fused)
        return NULL
    return fused


cdef void fused_drop(Fused *fused) noexcept:
    """Give up the maker's hold."""
    fused_release(fused)
    dead_release()


cdef void fused_add_up(Fused *fused, Py_ssize_t sums) noexcept:
    """Compute the totals of the sums, each in order. The data of the x are fetched once for all of them."""
    cdef double[STRIP] data
    cdef double *x = data
    cdef PyObject **w
    cdef Node *bias
    cdef double total
    cdef Py_ssize_t i, k, size, start = 0
    while start < fused.count:
        size = min(fused.count - start, <Py_ssize_t>STRIP)
        if fused.nodes == NULL:
            x = fused.numbers + start
        else:
            for i in range(size):
                data[i] = fused.nodes[start + i].data
        for k in range(sums):
            if start:
                total = fused.sums[k].total
            else:
                bias = sum_bias(&fused.sums[k])
                total = bias.data if bias != NULL else 0.0
            w = sum_weights(&fused.sums[k]) + start
            for i in range(size):
                total += node_of(w[i]).data * x[i]
            fused.sums[k].total = total
        start += size


cdef PyObject *row_new(list weights, PyObject *bias, int *flags) noexcept:
    """The row of a sum, and what flags its node has of it; NULL where one of them is no Value, or the bias neither a
    Value nor None, or with an exception."""
    cdef Py_ssize_t i, count = PyList_GET_SIZE(<PyObject *>weights)
    cdef PyObject *row
    cdef PyObject *o
    cdef int common = END
    _bias, _weights = <object>bias, weights  # held: a new tuple may set off the collector, and that any Python code
    row = PyTuple_New(count + 1)
    if row == NULL:
        return NULL
    flags[0] = 0
    for i in range(count + 1):
        if i > PyList_GET_SIZE(<PyObject *>weights):
            Py_DECREF(row)
            return NULL
        o = PyList_GET_ITEM(<PyObject *>weights, i - 1) if i else bias
        if is_value(o):
            flags[0] |= node_of(o).flags & INHERITED
            common &= node_of(o).flags
        elif i or o != Py_None:
            Py_DECREF(row)
            return NULL
        tuple_items(row)[i] = o
        Py_INCREF(o)
    if not common & END:
        flags[0] |= GROWN
    return row


cdef inline bint sum_output(Sum *sum_, double *r) noexcept:
    """What comes of a sum that has been added up. False with an exception set where its activation raises."""
    sum_.passes = 0
    sum_.stale = NULL
    r[0] = sum_.total
    if sum_.op == ADD:
        return True
    r[0] = RULES[sum_.op].forward(sum_.total, 0.0)
    return not rule_failed(r[0])


cdef PyObject *sum_new(Fused *fused, Py_ssize_t place, int flags) noexcept:
    """The node of a sum that has been added up; `flags` are those of the x."""
    cdef Sum *sum_ = &fused.sums[place]
    cdef double r
    cdef Node *n
    if not sum_output(sum_, &r):
        return NULL
    n = result_or_null(sum_.op, FUSED, flags | sum_.flags, r)
    if n == NULL:
        return NULL
    n.a = NULL
    n.b.fused = fused
    n.place = place
    fused.held += 1
    return object_of(n)


cdef bint fused_outputs(Fused *fused, Py_ssize_t sums, bint filled, int flags, PyObject **outputs) noexcept:
    """Make the nodes of the sums, and give up the maker's hold on what has none. False where the rows are not `filled`
    in, or with an exception set; `outputs`, NULL before, then has the nodes that were made."""
    cdef Py_ssize_t i, made = 0
    if filled:
        fused_add_up(fused, sums)
        while made < sums:
            outputs[made] = sum_new(fused, made, flags)
            if outputs[made] == NULL:
                break
            made += 1
    for i in range(made, sums):
        Py_XDECREF(fused.sums[i].row)
    fused_drop(fused)
    return made == sums


cdef bint sums_hide(Fused *fused, Py_ssize_t sums, int flags, Fused *next) noexcept:
    """Make of the outputs of the sums a hidden layer, the sample of `next`. False with an exception set, or where they
    have to be nodes: a pass at a hidden layer marks no weights, and hidden_show() knows of no inherited flags."""
    cdef Node *n
    cdef Py_ssize_t i
    for i in range(sums):
        flags |= fused.sums[i].flags
    if flags & (INHERITED | GROWN):
        return False
    n = slots_take_side_by_side(sums)
    if n == NULL:
        return False
    fused_add_up(fused, sums)
    for i in range(sums):
        if not sum_output(&fused.sums[i], &next.numbers[i]):
            slots_give_back(n, sums)
            return False
        next.numbers[sums + i] = 0.0
    slot_init(n, 0, HIDDEN, 0, 0.0)
    n.a = <Node *>next
    n.b.fused = fused
    n.place = sums - 1
    next.hidden = n
    next.count = sums
    return True


cdef Fused *fused_onto(Fused *fused, Py_ssize_t sums, bint filled, int *flags, Py_ssize_t next_sums) noexcept:
    """Make of the sums, of a layer that nobody else sees, the sample of the next sums. NULL where fused_outputs() would
    be False: of either then nothing is left."""
    cdef Fused *next = fused_room(2 * sums * sizeof(double), next_sums)
    cdef PyObject **outputs
    cdef bint sound
    if next == NULL:
        fused_outputs(fused, sums, False, 0, NULL)
        return NULL
    if filled and sums_hide(fused, sums, flags[0], next):
        flags[0] = 0
        return next
    next.nodes = <Node **>next.numbers
    outputs = <PyObject **>next.nodes
    memset(outputs, 0, sums * sizeof(PyObject *))
    sound = fused_outputs(fused, sums, filled and PyErr_Occurred() == NULL, flags[0], outputs)
    flags[0] = 0
    while next.count < sums and outputs[next.count] != NULL:
        next.nodes[next.count] = node_of(outputs[next.count])
        flags[0] |= next.nodes[next.count].flags & INHERITED
        next.count += 1
    if not sound:
        fused_drop(next)
        return NULL
    return next
