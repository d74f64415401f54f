"""A whole training step of the scalar GPT: functional.linear/softmax/cross_entropy and optim.Adam against plain Python.

All contestants train with Adam: the plain programs as a Python loop over Values, PyTorch with torch.optim.Adam.
"""

from __future__ import annotations

import importlib.util

from benchmarks import contestants, scalar_gpt
from benchmarks.cases.gpt import _mask, matrix_loss
from benchmarks.harness import Result, compare, entry, training

NAME = "gpt_functional"
RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.999, 1e-8


class PlainAdam:
    """Adam as a loop over Values in Python."""

    def __init__(self, parameters):
        self.parameters, self.steps = parameters, 0
        self.m, self.v = [0.0] * len(parameters), [0.0] * len(parameters)

    def zero_grad(self):
        for p in self.parameters:
            p.grad = 0.0

    def step(self):
        self.steps += 1
        m, v = self.m, self.v
        first, second = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        for i, p in enumerate(self.parameters):
            g = p.grad
            m[i] = BETA1 * m[i] + (1 - BETA1) * g
            v[i] = BETA2 * v[i] + (1 - BETA2) * g * g
            p.data -= RATE * (m[i] / first) / ((v[i] / second) ** 0.5 + EPSILON)


def plain(engine):
    parameters = scalar_gpt.make_parameters(engine.Value)
    return training(PlainAdam(scalar_gpt.flatten(parameters)), lambda: scalar_gpt.loss(parameters))


def copy_of_gpt(**functions):
    """A copy of the module scalar_gpt with other functions in place of some of its own."""
    spec = importlib.util.spec_from_file_location("copy_of_gpt", scalar_gpt.__file__)
    gpt = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gpt)
    vars(gpt).update(functions)
    return gpt


def functional_gpt(functional):
    """scalar_gpt with `functional` for linear, softmax and the cross-entropy of the loss."""
    gpt = copy_of_gpt(linear=functional.linear, softmax=functional.softmax)

    def loss(parameters, tokens=gpt.TOKENS):
        keys, values = [], []
        losses = [
            functional.cross_entropy(gpt.step(parameters, token, position, keys, values), target)
            for position, (token, target) in enumerate(zip(tokens, tokens[1:]))
        ]
        return sum(losses) * (1 / len(losses))

    gpt.loss = loss
    return gpt


def functional_step(functional, optim):
    gpt = functional_gpt(functional)
    parameters = gpt.make_parameters(contestants.ours().Value)
    return training(optim.Adam(gpt.flatten(parameters), lr=RATE), lambda: gpt.loss(parameters))


def torch_step():
    torch = contestants.torch()
    matrices = {name: torch.tensor(m, requires_grad=True) for name, m in scalar_gpt.make_parameters(float).items()}
    tokens, mask = torch.tensor(scalar_gpt.TOKENS), torch.tensor(_mask())

    def loss():
        return -matrix_loss(matrices, tokens, lambda x: torch.softmax(x, -1), torch.relu, mask).log().mean()

    return training(torch.optim.Adam(matrices.values(), lr=RATE), loss)


def measure(rounds: int, quick: bool) -> Result:
    ours, reference = contestants.ours(), contestants.reference()
    functional, optim = contestants.ours_module("functional"), contestants.ours_module("optim")
    entries = [
        entry("ours", functional and optim, lambda: functional_step(functional, optim)),
        entry("ours, plain program", ours, lambda: plain(ours)),
        entry("reference", reference, lambda: plain(reference)),
        entry("reference, collector off", reference, lambda: plain(reference), collector=False),
        entry("PyTorch eager, matrices", contestants.torch(), torch_step),
    ]
    return compare(NAME, "scalar GPT, a training step: functional + Adam", entries, rounds)
