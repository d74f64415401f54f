"""`make interruption`: how long Ctrl-C waits in each long piece of work on ten million nodes or rows.

    PYTHONPATH=tests python -m reliability.interruption [--size 10000000] [kind ...]

A child process sends SIGINT at a random moment of the work and notes when; the figure is the longest time until
KeyboardInterrupt reached Python code, of all rounds, less the time in which the process waited for a processor (Linux).
A wait counts only where the work was not at its end by then."""

from __future__ import annotations

import argparse
import ast
import gc
import os
import random
import signal
import sys
import time
from itertools import repeat
from pathlib import Path

import numpy as np

import micrograd
from micrograd import Value, functional

LIMIT = 0.1  # s
ROUNDS = 5
NO_LIMIT = {"free"}  # docs/reliability.md says why


def chain(x, length):
    for _ in repeat(None, length):
        x = x + 1.0
    return x


def build(size):
    return lambda: chain(Value(1.0), size)


def build_sum(size):
    values = [Value(1.0)] * size
    return lambda: functional.sum(values)


def backward(size):
    y = chain(Value(1.0), size)
    return lambda: y.backward()


def zero_grad(size):
    y = chain(Value(1.0), size)
    return lambda: y.zero_grad()


def general(size):
    x = Value(1.0)
    first = Value(1.0, (x,), "op")
    first._backward = print
    y = chain(first * 1.0, size)
    first._backward = int
    return lambda: y.backward()


def replay(size):
    f = micrograd.compile(lambda x: x.tanh().sin().exp().tanh())
    X = np.ones(size)
    f.map(X[:4])
    return lambda: f.map(X)


def trace(size):
    f = micrograd.compile(lambda x: chain(x, size // 10))  # a tenth: a program takes ten times the memory of nodes
    return lambda: f(1.0)


def free(size):
    graph = [chain(Value(1.0), size)]

    def work():
        graph.clear()
        time.sleep(0)

    return work


KINDS = {f.__name__: f for f in (build, build_sum, backward, zero_grad, general, replay, trace, free)}


def queued(process):
    """For how many seconds a process has waited for a processor that others had, where the system says so."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) * 1e-9
    except OSError:
        return 0.0


def interrupt(work, delay):
    """Run the work and send SIGINT after `delay` seconds. How long the signal waited; None where the work was over."""
    sent, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.read(go[0], 1)
        time.sleep(delay)
        os.write(sent[1], repr((time.monotonic(), queued(os.getppid()))).encode())
        os.kill(os.getppid(), signal.SIGINT)
        os._exit(0)
    over = caught = None
    try:
        os.write(go[1], b".")
        work()
        over = time.monotonic()
        time.sleep(60)
    except KeyboardInterrupt:
        caught = time.monotonic() - queued(os.getpid())
    os.waitpid(child, 0)
    at, before = ast.literal_eval(os.read(sent[0], 200).decode())
    for end in (*sent, *go):
        os.close(end)
    if over is not None and over < at:
        return None
    return max(caught - (at - before), 0.0)


def longest(kind, size, rounds=ROUNDS):
    """The work's whole time, and the longest wait of all rounds; None where no signal came in time."""
    work = KINDS[kind](size)
    start = time.monotonic()
    work()
    whole = time.monotonic() - start
    waits, expected = [], whole
    for _ in range(10 * rounds):
        work = KINDS[kind](size)
        wait = interrupt(work, random.uniform(0.05, 0.6) * expected)
        if wait is None:
            expected /= 2  # the first time may have been that of a processor shared with others
        else:
            waits.append(wait)
        del work
        gc.collect()
        if len(waits) == rounds:
            break
    return whole, max(waits, default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10**7)
    parser.add_argument("--limit", type=float, default=LIMIT * 1000, help="ms")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    late = []
    for kind in options.kinds:
        whole, wait = longest(kind, options.size, options.rounds)
        told = "no signal came in time" if wait is None else f"Ctrl-C waited {wait * 1000:.0f} ms at most"
        print(f"{kind}: {whole * 1000:.0f} ms for {options.size}, {told}", flush=True)
        if kind not in NO_LIMIT and (wait is None or wait > options.limit / 1000):
            late.append(kind)
    sys.exit(f"late: {', '.join(late)}" if late else 0)


if __name__ == "__main__":
    main()
