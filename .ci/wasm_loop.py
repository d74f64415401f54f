"""Measures the README's loop in Pyodide, by wasm.mjs: this engine, and the reference with the lecture's networks."""

import random
import statistics
import sys
import time

sys.path[:0] = ["/checkout", "/checkout/tests"]

from benchmarks.contestants import ours, reference  # noqa: E402

SAMPLES, TARGETS = [[-2, 3, -1], [3, -1, 0.5], [0.5, 1, 1], [1, 1, -1]], [1, -1, -1, 1]


def microseconds(engine, steps):
    """The median of five rounds, for a step; and the losses of the first five steps."""
    random.seed(1337)
    model = engine.tanh.MLP(3, [4, 4, 1])
    for i, p in enumerate(model.parameters()):
        p.data = ((i * 37) % 41 - 20) / 20  # the reference's biases begin at 0
    losses, rounds = [], []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(steps):
            predictions = [model(sample) for sample in SAMPLES]
            loss = sum((p - t) ** 2 for p, t in zip(predictions, TARGETS))
            model.zero_grad()
            loss.backward()
            for p in model.parameters():
                p.data -= 0.1 * p.grad
            losses.append(loss.data)
        rounds.append((time.perf_counter() - start) / steps * 1e6)
    return statistics.median(rounds), losses[:5]


mine, losses = microseconds(ours(), 500)
theirs, expected = microseconds(reference(), 20)
print(f"Python {sys.version.split()[0]} on {sys.platform}; losses of the README's loop: {losses}")
print(f"a step: {mine:,.0f} us, {theirs:,.0f} us for the reference, {theirs / mine:.0f} times as long")
int(any(abs(a - b) > 1e-12 * abs(b) for a, b in zip(losses, expected)))
