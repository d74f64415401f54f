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


@linux
def test_a_node_is_64_bytes(check):
    check(
        """
        x = Value(1.0)
        size = object.__basicsize__ + 48  # an object's head has 16 bytes, and 32 in a free-threaded CPython
        assert sys.getsizeof(x) == sys.getsizeof(x + x)
        assert sys.getsizeof(x) == size if sys.maxsize > 2**32 else sys.getsizeof(x) < 64  # then a slot has 64
        before = rss()
        y = chain(x, 10**6)
        used = (rss() - before) / 10**6
        print(used, "bytes a node")
        assert used <= size + 2, f"{used} bytes a node"
        """
    )


@linux
def test_a_leaf_is_64_bytes(check):
    check(
        """
        leaves = [None] * 10**6
        before = rss()
        for i in range(10**6):
            leaves[i] = Value(1.0)
        used = (rss() - before) / 10**6
        print(used, "bytes a leaf")
        assert used <= sys.getsizeof(leaves[0]) + 3, f"{used} bytes a leaf"
        """
    )
