# Slabs: the memory of nodes. A slab is 64 KB of slots, one for each node. Results of ops take the slots of a slab in
# ascending order, and slabs are linked in order of creation. So (slab, address) is a topological order of any graph. A
# slot is used again only after all nodes of its slab were freed. Leaves need no order: they are in slabs of their own
# and take any free slot, so a parameter that is alive for long keeps no slab of results.
#
# Gives slots (slot_*, slots_*), the link in a dead node (node_link, node_next), new nodes (leaf_*, result_new),
# memory for layers (piece_*), and the struct Slab (slab_*), which the backward walk goes through. Uses arenas.h, of
# trace_mode.pxi leaf_mark, and of modes.pxi `modes`.

cdef extern from "_core/arenas.h" nogil:
    void *arena_map(size_t size)
    void arena_unmap(void *p, size_t size)

cdef enum:
    VALUE_SIZE = sizeof(PyObject) + sizeof(Node) + sizeof(PyObject *)
    # One cache line, which a Value fills. A Value of 32 bits is smaller. One of a free-threaded CPython, whose objects
    # have longer heads, takes 80 bytes.
    SLOT_SIZE = 64 + (VALUE_SIZE - 64) * (VALUE_SIZE > 64)
    SLAB_SIZE = 65536
    SLAB_SLOTS = SLAB_SIZE // SLOT_SIZE - 1  # the header takes one more
    ARENA_SLABS = 32           # 2 MB, a huge page
    ARENA_SIZE = ARENA_SLABS * SLAB_SIZE
    SPARES = 8
    RESERVE = 256              # empty slabs kept for the next graph: 16 MB
    PIECE_STEP = 64            # bytes by which a size class of pieces is larger than the one before
    PIECE_KINDS = 64           # size classes of pieces that are kept when given back
    PIECES_SIZE = 1048576      # bytes of pieces that are kept at most

cdef struct Slab:        # the header of 64 KB, which are aligned to their size
    Slab *older          # neighbours in order of creation, in the list of leaf slabs with free slots, or in the reserve
    Slab *newer
    Node *free           # leaf slabs: freed slots
    Node *top            # backward walk: the newest marked node
    Py_ssize_t pending   # backward walk: marked nodes not handled yet
    Slab *arena          # the first slab of the 2 MB it was mapped with
    int taken            # in the first slab of an arena: how many slabs of the arena are not in the reserve
    int used             # slots handed out since the slab was opened
    int freed            # of these, slots given back
    bint leaves          # its nodes are leaves, in any order; else results of ops, in order of creation

cdef struct Piece:       # memory for a layer that was given back and is kept
    Piece *next          # in a list of pieces of one size class

cdef struct Heap:
    Slab *newest                # result slabs, newest first
    Slab *leaf_slabs            # leaf slabs with free slots
    Slab *reserve               # empty slabs
    int reserved                # how many empty slabs
    Piece *pieces[PIECE_KINDS]  # pieces to be used again, by size class
    size_t pieces_size          # bytes in them
    Slab *quick                 # the newest, or NO_SLOTS: what operators take slots of without a call
    Node *spare[SPARES]         # dead leaves, to be used again without a call: most results in no_grad live shortly
    Py_ssize_t spares           # how many

cdef Heap heap
cdef Slab NO_SLOTS  # a slab that is full
NO_SLOTS.used = SLAB_SLOTS
heap.quick = &NO_SLOTS

static_check(sizeof(Slab) <= SLOT_SIZE)
static_check((SLAB_SLOTS + 1) * SLOT_SIZE <= SLAB_SIZE)
static_check(sizeof(Piece) <= PIECE_STEP)
static_check(sizeof(Node *) <= sizeof(double))  # node_link() and layer_materialize() put pointers over doubles
static_check(OP_COUNT <= 256)                   # a node's op has one byte,
static_check(LISTED < 65536)                    # and its flags have two


# ---- Slots ---------------------------------------------------------------------------------------

cdef inline Slab *slab_of(Node *n) noexcept nogil:
    """The slab that a node is in."""
    return <Slab *>(<uintptr_t>n & ~<uintptr_t>(SLAB_SIZE - 1))


cdef inline Node *slab_slot(Slab *slab, int i) noexcept nogil:
    """The node of the slab's slot i, counted from the oldest."""
    return node_of(<PyObject *>(<char *>slab + (i + 1) * SLOT_SIZE))


cdef inline Node *slot_before(Node *n, Py_ssize_t count) noexcept nogil:
    """The node that is `count` slots before n, so older."""
    return <Node *>(<char *>n - count * SLOT_SIZE)


# Free slots of leaves, and dead nodes, are in lists that are linked through the memory of `data`.

cdef inline void node_link(Node *n, Node *next) noexcept nogil:
    memcpy(&n.data, &next, sizeof(next))


cdef inline Node *node_next(Node *n) noexcept nogil:
    cdef Node *next
    memcpy(&next, &n.data, sizeof(next))
    return next


cdef inline void slots_poison(Node *n, Py_ssize_t count) noexcept nogil:
    """Mark `count` slots without a node, n and those before it, as not to be read. Excepted are the link in a leaf's
    slot, and what the backward walk reads in a result's: op, form, flags and index."""
    if SANITIZE:
        for _ in range(count):
            poison(object_of(n), SLOT_SIZE)
            if slab_of(n).leaves:
                unpoison(&n.data, sizeof(Node *))
            else:
                unpoison(&n.op, <char *>node_attributes(n) - <char *>&n.op)
            n = slot_before(n, 1)


cdef inline void slots_unpoison(Node *n, Py_ssize_t count) noexcept nogil:
    unpoison(object_of(slot_before(n, count - 1)), count * SLOT_SIZE)


cdef inline void slots_give_back(Node *n, Py_ssize_t count) noexcept nogil:
    """Give back `count` slots, n and those before it; of leaves one at a time."""
    cdef Slab *slab = slab_of(n)
    slab.freed += <int>count
    check(slab.freed <= slab.used, "no slot is given back twice")
    slots_poison(n, count)
    if slab.leaves or slab.freed == slab.used:
        slot_settle(n, slab)


cdef inline bint slot_is_newest(Node *n) noexcept nogil:
    """Is it in the last slot that a result took? Then all other results were made before it."""
    return heap.newest != NULL and heap.newest.used > 0 and n == slab_slot(heap.newest, heap.newest.used - 1)


cdef inline Node *slots_take_of(Slab *slab, Py_ssize_t count) noexcept nogil:
    """Take the next `count` slots of a slab, and return the last. NULL where it has not as many left. Their flags have
    no PENDING: arenas are zeros at first, and walks clear it."""
    if slab.used + count > SLAB_SLOTS:
        return NULL
    slab.used += <int>count
    slots_unpoison(slab_slot(slab, slab.used - 1), count)
    return slab_slot(slab, slab.used - 1)


cdef inline Node *slots_take_here(Py_ssize_t count) noexcept nogil:
    """Slots of the newest slab. NULL where it has not as many left, and while a thread is in a mode (modes.pxi)."""
    return slots_take_of(heap.quick, count)


cdef Node *slots_take_anywhere(Py_ssize_t count) noexcept nogil:
    """Slots of the newest slab, also while a thread is in a mode, or of a new one. NULL when memory is out."""
    cdef Node *n = slots_take_of(heap.newest, count) if heap.newest != NULL else NULL
    if n == NULL and slab_open(leaves=False) != NULL:
        n = slots_take_of(heap.newest, count)
    return n


cdef inline Node *slots_take(Py_ssize_t count) noexcept nogil:
    """Slots for results, at most SLAB_SLOTS. NULL when memory is out."""
    cdef Node *n = slots_take_here(count)
    return n if n != NULL else slots_take_anywhere(count)


cdef inline void slot_init(Node *n, int op, int form, int flags, double data) noexcept nogil:
    """Make a slot a Value with one reference and no attributes. The caller sets `a`, `b` and `index`."""
    check(not n.flags & PENDING, "a slot has no mark when it is handed out")
    set_first_reference(object_of(n))
    Py_SET_TYPE(object_of(n), VALUE)
    n.data = data
    n.grad = 0.0
    n.op = op
    n.form = form
    n.flags = flags
    node_attributes(n)[0] = NULL


cdef inline void leaf_free(Node *n) noexcept nogil:
    """Keep a dead leaf with no flags or attributes among the spare ones, or give back its slot."""
    check_flags(n)
    if heap.spares == SPARES or not slab_of(n).leaves:  # a result may have become a leaf
        slots_give_back(n, 1)
        return
    poison(object_of(n), SLOT_SIZE)
    heap.spare[heap.spares] = n
    heap.spares += 1


cdef inline Node *leaf_result(double data) except NULL:
    """A new leaf, of a thread that is in no trace."""
    cdef Node *n
    if heap.spares:
        heap.spares -= 1
        n = heap.spare[heap.spares]
        unpoison(object_of(n), SLOT_SIZE)
        set_first_reference(object_of(n))
        n.data = data
        n.grad = 0.0
        return n
    n = slot_take_leaf()
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, NO_OP, LEAF, END, data)
    return n


cdef inline Node *leaf_new(double data) except NULL:
    """A new leaf."""
    cdef Node *n = leaf_result(data)
    if traces != NULL:
        leaf_mark(n)
    return n


cdef inline Node *result_new(int op, int form, int flags, double data) except NULL:
    """A node for the result of an op. The caller sets the parents, with a reference to each."""
    cdef Node *n = slots_take(1)
    if n == NULL:
        PyErr_NoMemory()
        return NULL
    slot_init(n, op, form, flags, data)
    return n


# ---- Slabs ---------------------------------------------------------------------------------------

cdef void slab_link(Slab *slab, Slab **head) noexcept nogil:
    slab.newer = NULL
    slab.older = head[0]
    if head[0] != NULL:
        head[0].newer = slab
    head[0] = slab


cdef void slab_unlink(Slab *slab, Slab **head) noexcept nogil:
    if slab.newer != NULL:
        slab.newer.older = slab.older
    else:
        head[0] = slab.older
    if slab.older != NULL:
        slab.older.newer = slab.newer


cdef void slab_quick(bint usable) noexcept nogil:
    """Let operators take slots of the newest slab without a call, or not."""
    heap.quick = heap.newest if usable and heap.newest != NULL else &NO_SLOTS


cdef bint arena_open() noexcept nogil:
    """Put the slabs of a new arena into the reserve, to be taken in order of address. False when memory is out."""
    cdef char *arena = <char *>arena_map(ARENA_SIZE)
    cdef Slab *slab
    cdef int i
    if arena == NULL:
        return False
    for i in range(ARENA_SLABS - 1, -1, -1):
        slab = <Slab *>(arena + i * SLAB_SIZE)
        slab.arena = <Slab *>arena
        slab.taken = 0
        slab_link(slab, &heap.reserve)
    heap.reserved += ARENA_SLABS
    return True


cdef void arena_close(Slab *arena) noexcept nogil:
    cdef int i
    for i in range(ARENA_SLABS):
        slab_unlink(<Slab *>(<char *>arena + i * SLAB_SIZE), &heap.reserve)
    heap.reserved -= ARENA_SLABS
    unpoison(arena, ARENA_SIZE)
    arena_unmap(arena, ARENA_SIZE)


cdef Slab *slab_open(bint leaves) noexcept nogil:
    """An empty slab at the head of its list; NULL when memory is out."""
    cdef Slab *slab
    if heap.reserve == NULL and not arena_open():
        return NULL
    slab = heap.reserve
    slab_unlink(slab, &heap.reserve)
    heap.reserved -= 1
    slab.arena.taken += 1
    slab.free = slab.top = NULL
    slab.pending = 0
    slab.used = slab.freed = 0
    slab.leaves = leaves
    slots_poison(slab_slot(slab, SLAB_SLOTS - 1), SLAB_SLOTS)
    slab_link(slab, &heap.leaf_slabs if leaves else &heap.newest)
    slab_quick(modes == NULL)
    return slab


cdef void slab_close(Slab *slab) noexcept nogil:
    """Move an empty slab from its list to the reserve. If all slabs of its arena are there, and the reserve has enough
    others, give the arena back to the system."""
    cdef Slab *arena = slab.arena
    slab_unlink(slab, &heap.leaf_slabs if slab.leaves else &heap.newest)
    slab_quick(modes == NULL)
    slab_link(slab, &heap.reserve)
    heap.reserved += 1
    arena.taken -= 1
    check(0 <= arena.taken < ARENA_SLABS, "an arena counts its slabs outside of the reserve")
    if arena.taken == 0 and heap.reserved >= RESERVE + ARENA_SLABS:
        arena_close(arena)


cdef Node *slot_take_leaf() noexcept nogil:
    """A slot for a leaf, used before or not; NULL when memory is out."""
    cdef Slab *slab = heap.leaf_slabs
    cdef Node *n
    if slab == NULL:
        slab = slab_open(leaves=True)
        if slab == NULL:
            return NULL
    n = slab.free
    if n != NULL:
        slab.free = node_next(n)
        slab.freed -= 1
    else:
        n = slab_slot(slab, slab.used)
        slab.used += 1
    slots_unpoison(n, 1)
    check(slab.leaves and slab_of(n) == slab and n != slab_slot(slab, -1), "a slab's free slots are in the slab")
    if slab.free == NULL and slab.used == SLAB_SLOTS:
        slab_unlink(slab, &heap.leaf_slabs)
    return n


cdef void slot_settle(Node *n, Slab *slab) noexcept nogil:
    """To be called after slot n was given back: puts a leaf's slot onto the slab's free list, and closes a slab without
    nodes."""
    if slab.leaves:
        if slab.free == NULL and slab.used == SLAB_SLOTS:  # it was full, so it was in no list
            slab_link(slab, &heap.leaf_slabs)
        node_link(n, slab.free)
        slab.free = n
        if slab.freed == slab.used and slab.older != NULL:
            slab_close(slab)
    elif slab.freed == slab.used:
        if slab == heap.newest:  # use it again: a loop that keeps no results stays in one slab
            slab.used = slab.freed = 0
        else:
            slab_close(slab)


# ---- Pieces --------------------------------------------------------------------------------------

cdef inline bint array_fits(size_t count, size_t size) noexcept nogil:
    """Does an array of so many items of this size take at most a quarter of all addresses, so that the size of a struct
    with two of them cannot overflow? `count` is the length of a list, which answers it where pointers have 64 bits."""
    return sizeof(void *) > 4 or count <= <size_t>-1 // 4 // size


# Memory for layers. A network takes and gives back hundreds of pieces of a kilobyte in a training step. With malloc,
# which merges and divides free blocks each time, a step takes 3 % more.

cdef inline void *piece_take(size_t size) noexcept:
    """Memory of this size, in bytes; NULL when memory is out."""
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
    check(heap.pieces_size <= PIECES_SIZE, "pieces that are kept are within their limit")
    if kind >= PIECE_KINDS or heap.pieces_size + kind * PIECE_STEP > PIECES_SIZE:
        PyMem_Free(piece)
        return
    poison(<Piece *>piece + 1, kind * PIECE_STEP - sizeof(Piece))
    (<Piece *>piece).next = heap.pieces[kind]
    heap.pieces[kind] = <Piece *>piece
    heap.pieces_size += kind * PIECE_STEP
