"""MLP(64, [256, 256, 10]) on 1,024 samples, cross-entropy, through `micrograd.compile`: 85,000 weights, where BLAS is
efficient.

PyTorch also takes the samples one at a time, as scalar code does; that row compares the times for one sample.
"""

from __future__ import annotations

import random

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Contestant, Result, compare, entry, row, take_turns

NAME = "wide_compiled"
RATE = 0.01


class Problem:
    """The data, and the initial weights of all contestants: W (in, out) and b (out,) of each layer."""

    def __init__(self, quick: bool) -> None:
        self.samples, self.sizes = (64, [64, 32, 10]) if quick else (1024, [64, 256, 256, 10])
        draw = np.random.default_rng(0)
        self.X = draw.normal(size=(self.samples, self.sizes[0]))
        self.Y = np.eye(self.sizes[-1])[draw.integers(0, self.sizes[-1], self.samples)]
        self.layers = [
            (draw.uniform(-1, 1, (nin, nout)) / nin**0.5, np.zeros(nout))
            for nin, nout in zip(self.sizes, self.sizes[1:])
        ]


def compiled(problem: Problem, micrograd):
    random.seed(0)
    model = micrograd.nn.MLP(problem.sizes[0], problem.sizes[1:])
    for layer, (W, b) in zip(model.layers, problem.layers):
        for neuron, weights, bias in zip(layer.neurons, W.T, b):
            neuron.b.data = float(bias)
            for w, x in zip(neuron.w, weights):
                w.data = float(x)
    optimizer = micrograd.optim.SGD(model.parameters(), lr=RATE)

    @micrograd.compile
    def loss(x, y):
        return micrograd.functional.cross_entropy(model(x), y)

    def step():
        total = loss.mean(problem.X, problem.Y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total

    return step


def numpy_by_hand(problem: Problem):
    X, Y = problem.X, problem.Y
    layers = [(W.copy(), b.copy()) for W, b in problem.layers]

    def step():
        outs = [X]
        for i, (W, b) in enumerate(layers):
            z = outs[-1] @ W + b
            outs.append(np.maximum(z, 0) if i < len(layers) - 1 else z)
        z = outs[-1] - outs[-1].max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = -(Y * (z - np.log(total))).sum() / len(X)
        g = (e / total - Y) / len(X)
        for i in reversed(range(len(layers))):
            W, b = layers[i]
            dW, db = outs[i].T @ g, g.sum(axis=0)
            if i:
                g = (g @ W.T) * (outs[i] > 0)
            W -= RATE * dW
            b -= RATE * db
        return float(loss)

    return step


def torch_eager(problem: Problem, samples: int | None = None):
    torch = contestants.torch()
    X, Y = torch.tensor(problem.X[:samples]), torch.tensor(problem.Y[:samples])
    layers = [(torch.tensor(W, requires_grad=True), torch.tensor(b, requires_grad=True)) for W, b in problem.layers]

    def step():
        x = X
        for i, (W, b) in enumerate(layers):
            x = x @ W + b
            if i < len(layers) - 1:
                x = torch.relu(x)
        loss = torch.nn.functional.cross_entropy(x, Y)
        for pair in layers:
            for p in pair:
                p.grad = None
        loss.backward()
        with torch.no_grad():
            for pair in layers:
                for p in pair:
                    p -= RATE * p.grad
        return loss

    return step


def measure(rounds: int, quick: bool) -> Result:
    problem = Problem(quick)
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    entries = [
        entry("ours", micrograd, lambda: compiled(problem, micrograd)),
        entry("NumPy by hand", np, lambda: numpy_by_hand(problem)),
        entry("PyTorch eager", contestants.torch(), lambda: torch_eager(problem)),
    ]
    result = compare(NAME, "MLP(64, [256, 256, 10]) on 1,024 samples, compiled", entries, rounds)
    if micrograd and contestants.torch():
        pair = [Contestant("ours", compiled(problem, micrograd)), Contestant("one", torch_eager(problem, 1))]
        times = take_turns(pair, rounds)
        ratios = [one * problem.samples / mine for one, mine in zip(times["one"], times["ours"])]
        result.rows.append(row("PyTorch eager, a sample", ratios))
    return result
