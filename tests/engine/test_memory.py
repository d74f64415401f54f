"""Memory comes back when a graph is freed, and does not grow over training steps."""

from __future__ import annotations

import os

import pytest

from helpers import linux

returns = pytest.mark.skipif(
    os.environ.get("MICROGRAD_PLAIN", "0") != "0", reason="a plain build has its memory from malloc, which may keep it"
)


@linux
@returns
@pytest.mark.parametrize("rounds", [1, 5])
@pytest.mark.parametrize(
    ("make", "most"),
    [("chain(x, 10**6)", 20), ("[[Value(1.0) for _ in range(50)] for _ in range(20_000)]", 28)],
    ids=["graph", "leaves"],
)
def test_freed_graphs_return_their_memory(check, rounds, make, most):
    """All but the reserve of 16 MB, and some of what the lists took."""
    check(
        f"""
        x = Value(1.0)
        before = rss()
        for _ in range({rounds}):
            {make}
        left = (rss() - before) / 2**20
        print(left, "MB left")
        assert left < {most}, f"{{left}} MB left of {{10**6 * 64 // 2**20}} MB"
        """
    )


@linux
def test_memory_is_flat_over_training_steps(check):
    check(
        """
        gc.disable()
        w = [Value(0.1 * i - 0.35) for i in range(8)]

        def step(i):
            x = [Value(0.1 * (i % 7)), 0.5, -0.25, 1.0]
            hidden = (x[0] * w[0] + x[1] * w[1] + w[2]).tanh()
            out = (hidden * w[3] + x[2] * w[4] - w[5] / 3).relu() + (w[6] ** 2 + 1.0).log() * w[7]
            loss = (out - 1.0) ** 2
            for p in w:
                p.grad = 0.0
            loss.backward()
            for p in w:
                p.data -= 0.01 * p.grad

        for i in range(5_000):
            step(i)
        before = rss()
        for i in range(100_000):
            step(i)
        grown = rss() - before
        assert grown < 2**20, f"{grown} bytes more"
        """
    )
