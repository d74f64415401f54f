"""One step of Adam over 4,192 parameters: optim.Adam against a loop in Python."""

from __future__ import annotations

import random

from benchmarks import contestants
from benchmarks.cases.gpt_functional import RATE, PlainAdam
from benchmarks.harness import Result, compare, entry

NAME = "adam"
COUNT = 4192


def numbers() -> list[tuple[float, float]]:
    rng = random.Random(3)
    return [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(COUNT)]


def over_values(engine, make_optimizer):
    values = []
    for data, grad in numbers():
        values.append(engine.Value(data))
        values[-1].grad = grad
    optimizer = make_optimizer(values)

    def check():
        optimizer.step()
        optimizer.step()
        return [sum(p.data for p in values)]

    return optimizer.step, check


def torch_step():
    torch = contestants.torch()
    data, grads = zip(*numbers())
    p = torch.tensor(data, requires_grad=True)
    p.grad = torch.tensor(grads)
    optimizer = torch.optim.Adam([p], lr=RATE)

    def check():
        optimizer.step()
        optimizer.step()
        return [p.sum().item()]

    return optimizer.step, check


def measure(rounds: int, quick: bool) -> Result:
    ours, reference, optim = contestants.ours(), contestants.reference(), contestants.ours_module("optim")
    entries = [
        entry("ours", optim, lambda: over_values(ours, lambda values: optim.Adam(values, lr=RATE))),
        entry("Python loop over our Values", ours, lambda: over_values(ours, PlainAdam)),
        entry("Python loop over the reference's", reference, lambda: over_values(reference, PlainAdam)),
        entry("PyTorch, one tensor", contestants.torch(), torch_step),
    ]
    return compare(NAME, "optimizer step, Adam over 4,192 parameters", entries, rounds)
