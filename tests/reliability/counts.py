"""What a process holds, counted exactly: blocks of Python's allocator, objects, bytes of malloc, and nodes in slabs.

Nodes are counted from the headers of the slabs, which have the layout of `struct Slab` in _core/slabs.pxi. That costs
the engine nothing. It needs 64-bit Linux, a release's slabs (not MICROGRAD_PLAIN's), and a Python that takes its larger
blocks from malloc, which a free-threaded one does not."""

from __future__ import annotations

import ctypes
import gc
import os
import struct
import sys
from array import array
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import FREE_THREADED
from micrograd import Value
from micrograd._core import BUILD, SANITIZED

SLAB_SIZE, ARENA_SLABS = 65536, 32
ARENA_SIZE = SLAB_SIZE * ARENA_SLABS
SPARES = 8  # dead leaves that the engine keeps
ARENA_FIELD, USED_FIELD = 40, 52  # of struct Slab: `arena`, a pointer; `used` and `freed`, two ints

LINUX64 = sys.platform.startswith("linux") and sys.maxsize > 2**32
ABLE = LINUX64 and not FREE_THREADED and not SANITIZED and not BUILD["plain"]
NEEDS = "reads the slabs of a release build on 64-bit Linux"
able = pytest.mark.skipif(not ABLE, reason=NEEDS)


class Counts(NamedTuple):
    blocks: int  # of at most 512 bytes, from Python's allocator
    objects: int  # that the cyclic collector knows
    malloced: int  # bytes: larger blocks
    nodes: int  # Values in slabs, hidden ones included


def _arenas() -> list[int]:
    """Addresses of the blocks of 2 MB whose 32 slabs all point to the first."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, *_, inode = line.split()[:5]
        first, end = (int(address, 16) for address in span.split("-"))
        if not access.startswith("rw") or inode != "0":
            continue
        for at in range(-(-first // ARENA_SIZE) * ARENA_SIZE, end - ARENA_SIZE + 1, ARENA_SIZE):
            own = struct.pack("P", at)
            if all(ctypes.string_at(at + i * SLAB_SIZE + ARENA_FIELD, 8) == own for i in range(ARENA_SLABS)):
                found.append(at)
    return found


def live_nodes() -> int:
    """Values that are alive. The spare leaves are put to use first, so that none of them counts."""
    kept = [Value(0.0) for _ in range(SPARES)]
    count = 0
    for arena in _arenas():
        for slab in range(arena, arena + ARENA_SIZE, SLAB_SIZE):
            used, freed = struct.unpack("2i", ctypes.string_at(slab + USED_FIELD, 8))
            count += used - freed
    return count - len(kept)


class _MallInfo(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


def malloced() -> int:
    """Bytes that malloc has given out, where the C library says so. Blocks in its caches count, so a process that
    counts exactly runs with GLIBC_TUNABLES=glibc.malloc.tcache_count=0."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo.restype = _MallInfo
    info = mallinfo()
    return info.uordblks + info.hblkhd


class Counter:
    """Counts twice and gives the growth. Its numbers are in an array, so that they are no blocks themselves."""

    def __init__(self):
        self.numbers = array("q", bytes(16 * len(Counts._fields)))
        for at in (0, 1):  # what a count allocates for good, it has allocated then
            self.count(at)

    def count(self, at):
        for _ in range(2):  # a finalizer may leave something to the second run
            gc.collect()
        first = at * len(Counts._fields)
        self.numbers[first + 3] = live_nodes()
        self.numbers[first + 2] = malloced()
        self.numbers[first + 1] = len(gc.get_objects())
        self.numbers[first] = sys.getallocatedblocks()

    def growth(self):
        old, new = self.numbers[: len(Counts._fields)], self.numbers[len(Counts._fields) :]
        return Counts(*(after - before for before, after in zip(old, new)))


def rss() -> int:
    """Resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_rss() -> int:
    import resource  # which Windows and browsers lack

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def exact_environment() -> dict[str, str]:
    """For a process that counts."""
    return {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
