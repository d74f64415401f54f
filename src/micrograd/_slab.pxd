# Slabs: where nodes live. Results of ops are handed out upwards from slabs linked in order of creation, so (slab,
# address) is a topological order of any graph. A slot is not used again before its whole slab is free. Leaves have no
# order to keep: they live in slabs of their own and reuse slots, so a parameter that lives long pins no results.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t
from micrograd._cpython cimport Py_SET_TYPE, PyErr_NoMemory, PyTypeObject, set_first_reference
from micrograd._debug cimport SANITIZE, check, poison, unpoison
from micrograd._node cimport END, LEAF, MADE, Node, node_attributes, node_link, node_next, node_of, object_of


cdef enum:
    SLOT_SIZE = 64
    SLAB_SIZE = 65536
    SLAB_SLOTS = 1023      # one more is the header
    PIECE_STEP = 64        # bytes by which a kind of piece is larger than the one before
    PIECE_KINDS = 64       # larger ones are not kept
    PIECES_SIZE = 1048576  # nor are more bytes than these

cdef struct Slab:        # heads 64 KB, aligned to their size, of which the rest are slots
    Slab *older          # neighbours in order of creation, in the list of leaf slabs with room, or in the reserve
    Slab *newer
    Node *free           # leaf slabs: freed slots
    Node *top            # backward walk: the highest marked node
    Py_ssize_t pending   # backward walk: marked nodes not handled yet
    Slab *arena          # the first slab of the 2 MB it was mapped with
    int taken            # in the first slab of an arena: how many of its slabs are not in the reserve
    int used             # slots ever handed out
    int freed            # slots given back
    bint leaves          # holds leaves, in any order; else results of ops, in order of creation

cdef struct Piece:       # of memory that was given back
    Piece *next

cdef struct Heap:
    Slab *newest                # op slabs, newest first
    Slab *roomy                 # leaf slabs with room
    Slab *reserve               # empty slabs
    int reserved                # how many
    Piece *pieces[PIECE_KINDS]  # kept to be used again, by size
    size_t pieces_size          # bytes in them
    PyTypeObject *value_type    # of every object in a slab: Value, which _core tells when it is imported

cdef Heap heap

cdef struct Tracing:            # a trace under way: a mode of its thread
    uint64_t thread             # whose it is: this_thread()
    unsigned int number         # other than those of all traces before
    Tracing *next

cdef Tracing *traces            # those under way in all threads; NULL nearly always, so the question costs a comparison

cdef Tracing *trace_here() noexcept
cdef int trace_begin() except -1
cdef void trace_end() noexcept
cdef void leaf_mark(Node *n) noexcept


cdef Slab *slab_open(bint leaves) noexcept nogil
cdef void slot_settle(Node *n, Slab *slab) noexcept nogil
cdef Node *slot_take_leaf() noexcept nogil


cdef inline Slab *slab_of(Node *n) noexcept nogil:
    return <Slab *>(<uintptr_t>n & ~<uintptr_t>(SLAB_SIZE - 1))


cdef inline Node *slab_slot(Slab *slab, int i) noexcept nogil:
    return node_of(<PyObject *>(<char *>slab + (i + 1) * SLOT_SIZE))


cdef inline Node *slot_before(Node *n, int steps) noexcept nogil:
    return <Node *>(<char *>n - steps * SLOT_SIZE)


cdef inline void slots_poison(Node *n, Py_ssize_t count) noexcept nogil:
    """A slot without a node, and others before it. What may be touched is the link in a leaf's, and in a result's what
    the backward walk reads: op, form, flags and place."""
    if SANITIZE:
        for _ in range(count):
            poison(object_of(n), SLOT_SIZE)
            if slab_of(n).leaves:
                unpoison(object_of(n), sizeof(Node *))
            else:
                unpoison(&n.op, <char *>node_attributes(n) - <char *>&n.op)
            n = slot_before(n, 1)


cdef inline void slots_unpoison(Node *n, Py_ssize_t count) noexcept nogil:
    unpoison(object_of(slot_before(n, <int>count - 1)), count * SLOT_SIZE)


cdef inline void slots_give_back(Node *n, int count) noexcept nogil:
    """A slot, and as many before it as make up the count: these are none of leaves."""
    cdef Slab *slab = slab_of(n)
    slab.freed += count
    check(slab.freed <= slab.used, "no slot is given back twice")
    slots_poison(n, count)
    if slab.leaves or slab.freed == slab.used:
        slot_settle(n, slab)


cdef inline bint slot_is_newest(Node *n) noexcept nogil:
    """Is this the last slot handed out to the result of an op, so that whatever else there is was made before it?"""
    return heap.newest != NULL and heap.newest.used > 0 and n == slab_slot(heap.newest, heap.newest.used - 1)


cdef inline Node *slot_take_ordered() noexcept nogil:
    """The next slot in order of creation, for the result of an op; NULL when memory is out."""
    cdef Slab *slab = heap.newest
    if slab == NULL or slab.used == SLAB_SLOTS:
        slab = slab_open(leaves=False)
        if slab == NULL:
            return NULL
    slab.used += 1
    slots_unpoison(slab_slot(slab, slab.used - 1), 1)
    return slab_slot(slab, slab.used - 1)


cdef inline Node *slots_take_side_by_side(Py_ssize_t count) noexcept nogil:
    """The last of so many slots next to each other, the next in order of creation; NULL where the newest slab has no
    room for them. They have no mark: arenas are zeros at first, and walks take their marks away."""
    cdef Slab *slab = heap.newest
    if slab == NULL or slab.used + count > SLAB_SLOTS:
        return NULL
    slab.used += <int>count
    slots_unpoison(slab_slot(slab, slab.used - 1), count)
    return slab_slot(slab, slab.used - 1)


cdef inline void slot_init(Node *n, int op, int form, int flags, double data) noexcept nogil:
    set_first_reference(object_of(n))
    Py_SET_TYPE(object_of(n), heap.value_type)
    n.data = data
    n.grad = 0.0
    n.op = op
    n.form = form
    n.flags = flags
    node_attributes(n)[0] = NULL


cdef inline Node *leaf_new(double data) except NULL:
    cdef Node *n = slot_take_leaf()
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, 0, LEAF, END, data)
    if traces != NULL:
        leaf_mark(n)
    return n


cdef inline Node *result_or_null(int op, int form, int flags, double data) noexcept:
    """A node for the result of an op; the caller fills in the parents, with a reference to each. NULL with an exception
    set when memory is out."""
    cdef Node *n = slot_take_ordered()
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, op, form, flags, data)
    return n


cdef inline Node *result_new(int op, int form, int flags, double data) except NULL:
    """The same, raising."""
    return result_or_null(op, form, flags, data)


# Memory of other sizes, for fused sums: a network takes and gives back hundreds of pieces of a kilobyte, which malloc
# would join and split each time, 3 % of a training step.

cdef inline void *piece_take(size_t size) noexcept:
    """Memory as PyMem_Malloc() gives it; NULL when it is out."""
    cdef size_t kind = (size + PIECE_STEP - 1) // PIECE_STEP
    cdef Piece *piece = heap.pieces[kind] if kind < PIECE_KINDS else NULL
    if piece == NULL:
        piece = <Piece *>PyMem_Malloc(kind * PIECE_STEP)
        if SANITIZE and piece != NULL:
            poison(<char *>piece + size, kind * PIECE_STEP - size)
        return piece
    heap.pieces[kind] = piece.next
    heap.pieces_size -= kind * PIECE_STEP
    unpoison(piece, size)
    return piece


cdef inline void piece_give_back(void *piece, size_t size) noexcept:
    """Give back what piece_take() gave for this size."""
    cdef size_t kind = (size + PIECE_STEP - 1) // PIECE_STEP
    check(heap.pieces_size <= PIECES_SIZE, "no more is kept than is worth keeping")
    if kind >= PIECE_KINDS or heap.pieces_size + kind * PIECE_STEP > PIECES_SIZE:
        PyMem_Free(piece)
        return
    poison(<Piece *>piece + 1, kind * PIECE_STEP - sizeof(Piece))
    (<Piece *>piece).next = heap.pieces[kind]
    heap.pieces[kind] = <Piece *>piece
    heap.pieces_size += kind * PIECE_STEP
