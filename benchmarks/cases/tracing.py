"""How much longer the first call of a compiled function takes than the second: it traces, and builds the program.

The GPT is traced twice: the plain program, some 70,000 operations on Values in Python, and that over `functional`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from benchmarks import contestants, scalar_gpt
from benchmarks.cases.gpt_compiled import documents, gpt
from benchmarks.cases.gpt_functional import copy_of_gpt
from benchmarks.harness import Result, Row, clock, row

NAME = "tracing"


def first_call(call: Callable[[], object]) -> float:
    """Milliseconds that the first call takes longer than the second."""
    start = clock()
    call()
    middle = clock()
    call()
    return 1e3 * ((middle - start) - (clock() - middle))


def network(micrograd, sizes: list[int]) -> Callable[[], object]:
    random.seed(1337)
    model = micrograd.nn.MLP(sizes[0], sizes[1:])
    X, y = np.ones((8, sizes[0])), np.ones(8)
    f = micrograd.compile(lambda x, y: (1 - y * model(x)).relu())
    return lambda: f.mean(X, y)


def plain_gpt(micrograd) -> Callable[[], object]:
    """scalar_gpt.py; what needs numbers while it is traced, indices and maxima, is from `functional`."""
    F, p, tokens = micrograd.functional, scalar_gpt.make_parameters(micrograd.Value), documents(1)
    program = copy_of_gpt(softmax=F.softmax)

    def loss(tokens):
        keys, values, losses = [], [], []
        for position, (token, target) in enumerate(zip(tokens, tokens[1:])):
            tables = {**p, "token": [F.embedding(token, p["token"])]}
            losses.append(F.cross_entropy(program.step(tables, 0, position, keys, values), target))
        return sum(losses) * (1 / len(losses))

    f = micrograd.compile(loss)
    return lambda: f.value_and_grad(tokens)


def functional_gpt(micrograd) -> Callable[[], object]:
    p, tokens = scalar_gpt.make_parameters(micrograd.Value), documents(1)
    f = micrograd.compile(lambda tokens: gpt(micrograd.functional, p, tokens))
    return lambda: f.value_and_grad(tokens)


PROGRAMS = {
    "moons": lambda micrograd: network(micrograd, [2, 16, 16, 1]),
    "64, 64, 64, 1": lambda micrograd: network(micrograd, [64, 64, 64, 1]),
    "scalar GPT": plain_gpt,
    "scalar GPT over functional": functional_gpt,
}


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    rows = []
    for program, make in PROGRAMS.items():
        name = f"{program}: trace and build"
        times = [first_call(make(micrograd)) for _ in range(rounds)] if micrograd else []
        rows.append(row(name, times) if times else Row(name, None))
    return Result(NAME, "first call of a compiled function", rows, unit="ms")
