# cython: language_level=3
# Slabs: opening, closing, taking and giving back slots. The reasons are in _slab.pxd.

from libc.string cimport memset

cdef extern from *:
    """
    #if defined(_WIN32)
      #include <malloc.h>
      #define slab_memory(bytes, alignment) _aligned_malloc(bytes, alignment)
      #define slab_memory_free(p) _aligned_free(p)
    #else
      #include <stdlib.h>
      static void *slab_memory(size_t bytes, size_t alignment) {
          void *p = NULL;
          return posix_memalign(&p, alignment, bytes) == 0 ? p : NULL;
      }
      #define slab_memory_free(p) free(p)
    #endif
    """
    void *slab_memory(size_t size, size_t alignment) nogil
    void slab_memory_free(void *p) nogil


cdef enum:
    RESERVE = 256  # empty slabs kept for the next graph: 16 MB


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


cdef Slab *slab_open(bint leaves) noexcept nogil:
    """A fresh slab at the head of its list; NULL when memory is out."""
    cdef Slab *slab = heap.reserve
    if slab != NULL:
        heap.reserve = slab.older
        heap.reserved -= 1
    else:
        slab = <Slab *>slab_memory((SLAB_SLOTS + 1) * SLOT_SIZE, SLAB_SIZE)
        if slab == NULL:
            return NULL
    memset(slab, 0, sizeof(Slab))
    slab.leaves = leaves
    slab_link(slab, &heap.roomy if leaves else &heap.newest)
    return slab


cdef void slab_close(Slab *slab) noexcept nogil:
    """Take an empty slab out of its list, into the reserve or back to the system."""
    slab_unlink(slab, &heap.roomy if slab.leaves else &heap.newest)
    if heap.reserved < RESERVE:
        slab.older = heap.reserve
        heap.reserve = slab
        heap.reserved += 1
    else:
        slab_memory_free(slab)


cdef Node *slot_take_leaf() noexcept nogil:
    """A slot for a leaf, used before or not; NULL when memory is out."""
    cdef Slab *slab = heap.roomy
    cdef Node *n
    if slab == NULL:
        slab = slab_open(leaves=True)
        if slab == NULL:
            return NULL
    n = slab.free
    if n != NULL:
        slab.free = node_link(n)[0]
        slab.freed -= 1
    else:
        n = slab_slot(slab, slab.used)
        slab.used += 1
    if slab.free == NULL and slab.used == SLAB_SLOTS:
        slab_unlink(slab, &heap.roomy)
    return n


cdef void slot_give_back(Node *n) noexcept nogil:
    cdef Slab *slab = slab_of(n)
    slab.freed += 1
    if slab.leaves:
        if slab.free == NULL and slab.used == SLAB_SLOTS:  # it was full, and in no list
            slab_link(slab, &heap.roomy)
        node_link(n)[0] = slab.free
        slab.free = n
        if slab.freed == slab.used and slab.older != NULL:
            slab_close(slab)
    elif slab.freed == slab.used:
        if slab == heap.newest:  # start it again: a loop that keeps nothing stays in one slab
            slab.used = slab.freed = 0
        else:
            slab_close(slab)
