"""`make soak`: repeats what programs do all day, with the collector off, and prints by how much the process grew.

    PYTHONPATH=tests python -m reliability.soak [--steps 1000000] [kind ...]

Growth of the resident memory after the first hundredth of the steps (10,000 of a million), in KB."""

from __future__ import annotations

import argparse
import copy
import gc
import pickle
import random
import sys
import time

import numpy as np

import micrograd
from micrograd import Value, nn, optim
from reliability import counts
from reliability.compiled_entries import RAGGED, add

LIMIT = 256 * 1024


def training():
    model = nn.MLP(2, [3, 1])
    optimizer = optim.Adam(model.parameters(), lr=0.001)

    def step(i):
        optimizer.zero_grad()
        loss = (model([0.1 * (i % 7), -0.5]) - 1.0) ** 2
        loss.backward()
        optimizer.step()

    return step


def inference():
    model = micrograd.MLP(3, [4, 1])

    def step(i):
        with micrograd.no_grad():
            return model([0.1 * (i % 7), 0.5, -1.0]).data

    return step


def compiled():
    model = nn.MLP(2, [3, 1])
    loss = micrograd.compile(lambda x, y: (model(x) - y) ** 2)
    X, y = np.ones((8, 2)), np.ones(8)

    def step(i):
        X[0, 0] = 0.1 * (i % 7)
        model.zero_grad()
        loss.mean(X, y).backward()

    return step


def ragged():
    total = micrograd.compile(add)
    return lambda i: total.mean(RAGGED[i % 3 :])


def closures():
    """Ops as users write them. Each is a cycle, which reference counts do not free: it is broken by hand."""
    x = Value(0.5)

    def step(i):
        out = Value(2.0 * x.data, (x,), "twice")

        def backward():
            x.grad += 2.0 * out.grad

        out._backward = backward
        y = out * 3.0 + x
        y.backward()
        x.grad = 0.0
        del out._backward, backward

    return step


def pickling():
    layer = nn.Layer(2, 1)

    def step(i):
        if i % 2:
            return pickle.loads(pickle.dumps(layer))
        return copy.deepcopy(layer)

    return step


def looking():
    x, y = Value(0.5), Value(-2.0)

    def step(i):
        z = (x * y + 2.0 * x).tanh() - y / 3
        return [(v._op, v._prev, v._local_grads, repr(v)) for v in (z, *z._children)]

    return step


KINDS = {f.__name__: f for f in (training, inference, compiled, ragged, closures, pickling, looking)}


def grown(kind, steps):
    """By how many bytes the process grew after its first steps; how long the others took."""
    step = KINDS[kind]()
    for i in range(max(steps // 100, 200)):
        step(i)
    before, start = counts.rss(), time.monotonic()
    for i in range(steps):
        step(i)
    return counts.rss() - before, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10**6)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    random.seed(1)
    gc.collect()
    gc.disable()
    failed = []
    for kind in options.kinds:
        growth, seconds = grown(kind, options.steps)
        print(f"{kind}: {options.steps} steps, {growth // 1024} KB more ({seconds:.0f} s)", flush=True)
        failed += [kind] if growth >= LIMIT else []
    sys.exit(f"{', '.join(failed)}: more than {LIMIT // 1024} KB" if failed else 0)


if __name__ == "__main__":
    main()
