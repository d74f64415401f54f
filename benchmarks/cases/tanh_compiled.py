"""Tanh networks through `micrograd.compile` on 10,000 samples: squared errors, their gradients and an update by SGD, on
one thread. PyTorch and NumPy compute tanh in vectors; C calls the system's tanh.
"""

from __future__ import annotations

import random

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, compare_parts, entry, training
from benchmarks.networks import Problem, c_by_hand, jax_jit, numpy_by_hand, torch_eager

NAME = "tanh_compiled"
NETWORKS = {"MLP(3, [4, 4, 1])": [3, 4, 4, 1], "MLP(16, [64, 64, 1])": [16, 64, 64, 1]}
RATE = 1e-6  # of the sum over all samples


def model_of(sizes: list[int]):
    random.seed(1337)
    return contestants.ours().tanh.MLP(sizes[0], sizes[1:])


def problem(sizes: list[int], samples: int) -> Problem:
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(samples, sizes[0])), draw.uniform(-1, 1, samples)
    weights = [p.data for p in model_of(sizes).parameters()]
    return Problem(sizes, weights, X, y, hinge=False, rate=lambda step: RATE)


def compiled(micrograd, data: Problem):
    model = model_of(data.sizes)

    @micrograd.compile
    def loss(x, y):
        return (model(x) - y) ** 2

    return training(micrograd.optim.SGD(model.parameters(), lr=RATE), lambda: loss.sum(data.X, data.y))


def entries(micrograd, data: Problem) -> list[tuple]:
    return [
        entry("ours", micrograd, lambda: compiled(micrograd, data)),
        entry("PyTorch eager", contestants.torch(), lambda: torch_eager(data)),
        entry("JAX jit", contestants.jax(), lambda: jax_jit(data)),
        entry("NumPy by hand", np, lambda: numpy_by_hand(data)),
        entry("C by hand", contestants.c_library(), lambda: c_by_hand(data)),
    ]


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    samples = 1_000 if quick else 10_000
    parts = [(name, entries(micrograd, problem(sizes, samples))) for name, sizes in NETWORKS.items()]
    return compare_parts(NAME, f"tanh networks on {samples:,} samples, compiled", parts, rounds)
