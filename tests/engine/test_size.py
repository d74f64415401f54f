"""The size of a node, and graphs of ten million nodes, each in a process of its own."""

from __future__ import annotations

import pytest

from helpers import linux


@pytest.mark.slow
@linux
@pytest.mark.parametrize("where", ["main thread", "128 KB thread"])
def test_a_chain_of_ten_million(check, where):
    check(
        f"""
        def work():
            x = Value(1.0)
            y = chain(x, 10**7)
            assert y.data == 10**7 + 1
            y.backward()
            assert x.grad == 1.0
            y.zero_grad()
            assert x.grad == 0.0
            print("RSS", rss() // 2**20, "MB")
            del y
            still_works()
            done.append(True)

        done = []
        run_in({where!r}, work)
        assert done
        """
    )


# A Value of 32 bits does not fill its slot. An object's head has 16 bytes, and 32 in a free-threaded CPython.
SLOT = max(64, object.__basicsize__ + 48)


@linux
def test_a_node_is_64_bytes(check):
    check(
        f"""
        x = Value(1.0)
        assert sys.getsizeof(x) == sys.getsizeof(x + x)
        assert sys.getsizeof(x) == {SLOT} if sys.maxsize > 2**32 else sys.getsizeof(x) < {SLOT}
        before = rss()
        y = chain(x, 10**6)
        used = (rss() - before) / 10**6
        print(used, "bytes a node")
        assert used <= {SLOT} + 2, used
        """
    )


@linux
def test_a_leaf_is_64_bytes(check):
    check(
        f"""
        leaves = [None] * 10**6
        before = rss()
        for i in range(10**6):
            leaves[i] = Value(1.0)
        used = (rss() - before) / 10**6
        print(used, "bytes a leaf")
        assert used <= {SLOT} + 3, used
        """
    )
