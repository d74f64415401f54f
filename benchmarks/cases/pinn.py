"""A physics-informed network through `micrograd.compile`: a training step for y'' = -y on 1,000 points, on one thread.
The loss is the mean of (y'' + y)², where y'' is a gradient of a gradient by the input; an update by SGD follows.

PyTorch takes the gradients by the input with `create_graph`, for all points at once, and JAX by `grad` of `grad` under
`vmap` and `jit`.
"""

from __future__ import annotations

import numpy as np

from benchmarks import contestants
from benchmarks.cases.tanh_compiled import model_of
from benchmarks.harness import Result, compare_parts, entry, training
from benchmarks.networks import Problem

NAME = "pinn"
NETWORKS = {"MLP(1, [8, 1])": [1, 8, 1], "MLP(1, [16, 16, 1])": [1, 16, 16, 1]}
POINTS = 1_000
RATE = 1e-3


def problem(sizes: list[int]) -> Problem:
    X = np.linspace(-2.0, 2.0, POINTS)
    weights = [p.data for p in model_of(sizes).parameters()]
    return Problem(sizes, weights, X, X, hinge=False, rate=lambda step: RATE)


def compiled(micrograd, data: Problem):
    model = model_of(data.sizes)

    @micrograd.compile
    def loss(x):
        y = model([x])
        slope = micrograd.grad(y, x, create_graph=True)
        return (micrograd.grad(slope, x, create_graph=True) + y) ** 2

    return training(micrograd.optim.SGD(model.parameters(), lr=RATE), lambda: loss.mean(data.X))


def layers(parameters, x, tanh):
    for W, b in zip(parameters[::2], parameters[1::2]):
        x = tanh(x @ W + b)
    return x


def torch_double_backward(data: Problem):
    torch = contestants.torch()
    x = torch.tensor(data.X[:, None], requires_grad=True)
    parameters = [torch.tensor(a, requires_grad=True) for a in data.matrices()]

    def loss_of():
        y = layers(parameters, x, torch.tanh)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return ((bend + y) ** 2).mean()

    return contestants.torch_training(loss_of, parameters, lambda: RATE)


def jax_jit(data: Problem):
    jax = contestants.jax()
    X, parameters = jax.numpy.array(data.X), [jax.numpy.array(a) for a in data.matrices()]

    def loss_of(parameters):
        def y(x):
            return layers(parameters, x[None], jax.numpy.tanh)[0]

        return ((jax.vmap(jax.grad(jax.grad(y)))(X) + jax.vmap(y)(X)) ** 2).mean()

    return contestants.jax_training(loss_of, parameters, lambda: RATE)


def entries(micrograd, data: Problem) -> list[tuple]:
    return [
        entry("ours", micrograd, lambda: compiled(micrograd, data)),
        entry("PyTorch eager, double backward", contestants.torch(), lambda: torch_double_backward(data)),
        entry("JAX jit", contestants.jax(), lambda: jax_jit(data)),
    ]


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    parts = [(name, entries(micrograd, problem(sizes))) for name, sizes in NETWORKS.items()]
    return compare_parts(NAME, f"y'' = -y on {POINTS:,} points, compiled", parts, rounds)
