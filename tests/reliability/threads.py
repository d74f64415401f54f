"""`make threads`: compiled calls on several threads, in a build under ThreadSanitizer, which prints each data race and
ends the process with 66. `make valgrind` runs it too, as its short program.

    PYTHONPATH=tests python -m reliability.threads [--rounds 20]

Chunks of a batch are computed without the GIL by threads of the call; the other threads here call the same functions,
change weights, raise, and run eager code meanwhile."""

from __future__ import annotations

import argparse
import random
import threading

import micrograd
from micrograd import Value, functional, nn, optim
from reliability.compiled_entries import RAGGED, add


def rows(count, width=2):
    return [[0.001 * (i * width + j) for j in range(width)] for i in range(count)]


def calls(threads, exact, count):
    """Work for a thread: every kind of call of a function of its own, and of one that all share."""
    model = nn.MLP(2, [8, 8, 1])
    loss = micrograd.compile(lambda x, y: (model(x) - y) ** 2, threads=threads, exact=exact)
    powers = micrograd.compile(lambda x: (x + 1.0) ** 0.5 + functional.where(x > 0.5, x.log(), x), threads=threads)
    ragged = micrograd.compile(add, threads=threads)
    X, y = rows(count), [0.5] * count
    optimizer = optim.SGD(model.parameters(), lr=0.001)

    def work():
        optimizer.zero_grad()
        loss.mean(X, y).backward()
        optimizer.step()
        loss.map(X, y)
        loss.value_and_grad(X, y)
        ragged.sum(RAGGED)
        powers.map(y)
        try:
            powers.map([*y, -2.0, *y])
        except ValueError:
            pass
        else:
            raise AssertionError("the root of a negative number")
        z = Value(1.0)
        for _ in range(500):
            z = z * 1.001 + 0.1
        z.backward()

    return work


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=20_000)
    options = parser.parse_args()
    random.seed(1)
    works = [calls(4, exact, options.samples) for exact in (False, True)]
    failed = []

    def run(work):
        try:
            for _ in range(options.rounds):
                work()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in (*works, works[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(threads)} threads, {options.rounds} rounds: {len(failed)} failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
