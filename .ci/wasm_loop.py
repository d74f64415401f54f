"""Measures the README's loop in Pyodide, by wasm.mjs: this engine, and the reference with the lecture's networks."""

import random
import statistics
import sys
import time

sys.path[:0] = ["/checkout", "/checkout/tests"]

from benchmarks.contestants import ours, reference  # noqa: E402

SAMPLES, TARGETS = [[-2, 3, -1], [3, -1, 0.5], [0.5, 1, 1], [1, 1, -1]], [1, -1, -1, 1]


class Loop:
    """The loop over a network of an engine, with the same weights in each."""

    def __init__(self, engine):
        self.model = engine.tanh.MLP(3, [4, 4, 1])
        self.losses = []
        random.seed(1337)
        for p in self.model.parameters():
            p.data = random.uniform(-1, 1)

    def microseconds(self, steps):
        """The mean time of so many steps."""
        start = time.perf_counter()
        for _ in range(steps):
            predictions = [self.model(sample) for sample in SAMPLES]
            loss = sum((p - t) ** 2 for p, t in zip(predictions, TARGETS))
            self.model.zero_grad()
            loss.backward()
            for p in self.model.parameters():
                p.data -= 0.1 * p.grad
            self.losses.append(loss.data)
        return (time.perf_counter() - start) / steps * 1e6


mine, theirs = Loop(ours()), Loop(reference())
rounds = [(mine.microseconds(1000), theirs.microseconds(20)) for _ in range(15)]  # in turns, so that a load slows both
print(f"Python {sys.version.split()[0]} on {sys.platform}; losses of the README's loop: {mine.losses[:5]}")
a, b = (statistics.median(times) for times in zip(*rounds))
ratio = statistics.median(theirs / mine for mine, theirs in rounds)
print(f"a step, medians: {a:,.0f} us, {b:,.0f} us for the reference, {ratio:.0f} times as long")
int(any(abs(a - b) > 1e-9 * abs(b) for a, b in zip(mine.losses, theirs.losses)))
