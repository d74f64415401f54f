"""One training step of a multilayer perceptron, for the contestants without a micrograd-like `nn`: PyTorch, JAX, NumPy,
C and XAD. Each function takes a `Problem` and returns a `step()` that does one training step and returns the loss.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import contestants

L2 = 1e-4


@dataclass
class Problem:
    """A network and what it is trained on."""

    sizes: list[int]  # of the inputs and of each layer
    weights: list[float]  # in micrograd's order: neuron after neuron, its weights and then its bias
    X: np.ndarray
    y: np.ndarray
    hinge: bool  # ReLU, a linear last layer, mean hinge loss + L2; otherwise tanh throughout, the sum of squared errors
    rate: Callable[[int], float]  # the learning rate of each step

    def matrices(self) -> list[np.ndarray]:
        """W and b of each layer in turn, such that a layer is x @ W + b."""
        arrays, at = [], 0
        for nin, nout in zip(self.sizes, self.sizes[1:]):
            block = np.array(self.weights[at : at + (nin + 1) * nout]).reshape(nout, nin + 1)
            arrays += [block[:, :nin].T.copy(), block[:, nin].copy()]
            at += (nin + 1) * nout
        return arrays


def array_loss(problem: Problem, parameters, X, y, tanh, relu):
    """The loss of the whole batch, on arrays of the library that `tanh` and `relu` are from."""
    x, last = X, len(parameters) - 2
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i] + parameters[i + 1]
        if not problem.hinge:
            x = tanh(x)
        elif i < last:
            x = relu(x)
    score = x[:, 0]
    if problem.hinge:
        return relu(1 - y * score).mean() + L2 * sum((p * p).sum() for p in parameters)
    return ((score - y) ** 2).sum()


def torch_eager(problem: Problem) -> Callable[[], object]:
    torch = contestants.torch()
    X, y = torch.tensor(problem.X), torch.tensor(problem.y)
    parameters = [torch.tensor(a, requires_grad=True) for a in problem.matrices()]
    steps = itertools.count()

    def loss_of():
        return array_loss(problem, parameters, X, y, torch.tanh, torch.relu)

    return contestants.torch_training(loss_of, parameters, lambda: problem.rate(next(steps)))


def jax_jit(problem: Problem) -> Callable[[], float]:
    jax = contestants.jax()
    jnp = jax.numpy
    X, y = jnp.array(problem.X), jnp.array(problem.y)
    state = [jnp.array(a) for a in problem.matrices()]
    steps = itertools.count()

    def loss_of(parameters):
        return array_loss(problem, parameters, X, y, jnp.tanh, jax.nn.relu)

    return contestants.jax_training(loss_of, state, lambda: problem.rate(next(steps)))


def numpy_by_hand(problem: Problem) -> Callable[[], float]:
    """Backpropagation written out, over the whole batch at once."""
    parameters, X, y = problem.matrices(), problem.X, problem.y
    layers, steps = len(parameters) // 2, itertools.count()

    def step():
        outs = [X]
        for i in range(layers):
            z = outs[-1] @ parameters[2 * i] + parameters[2 * i + 1]
            if not problem.hinge:
                z = np.tanh(z)
            elif i < layers - 1:
                z = np.maximum(z, 0)
            outs.append(z)
        score = outs[-1][:, 0]
        if problem.hinge:
            margin = np.maximum(1 - y * score, 0)
            loss = margin.mean() + L2 * sum((p * p).sum() for p in parameters)
            g = ((margin > 0) * -y / len(y))[:, None]
        else:
            loss = ((score - y) ** 2).sum()
            g = 2 * (score - y)[:, None]
        rate = problem.rate(next(steps))
        for i in reversed(range(layers)):
            if not problem.hinge:
                g = g * (1 - outs[i + 1] ** 2)
            elif i < layers - 1:
                g = g * (outs[i + 1] > 0)
            W, b = parameters[2 * i], parameters[2 * i + 1]
            dW, db, g = outs[i].T @ g, g.sum(axis=0), g @ W.T
            if problem.hinge:
                dW, db = dW + 2 * L2 * W, db + 2 * L2 * b
            W -= rate * dW
            b -= rate * db
        return float(loss)

    return step


def c_by_hand(problem: Problem, steps_a_call: int = 1) -> Callable[[], float]:
    """mlp.c, with one or more steps in each call, all at the learning rate of the call's first step."""
    function = contestants.c_library().train_steps
    doubles, ints = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int)
    function.restype = ctypes.c_double
    function.argtypes = [doubles] * 3 + [ctypes.c_int, ints, ctypes.c_int, ctypes.c_int, ctypes.c_double, ctypes.c_int]
    arrays = [np.ascontiguousarray(a, dtype=float) for a in (problem.weights, problem.X, problem.y)]
    sizes, steps = np.array(problem.sizes, dtype=np.intc), itertools.count()
    pointers = [a.ctypes.data_as(doubles) for a in arrays]
    fixed = (*pointers, len(problem.y), sizes.ctypes.data_as(ints), len(problem.sizes) - 1, int(problem.hinge))

    def step():
        # These references keep the arrays alive as long as the pointers into them.
        assert len(arrays) == 3
        assert len(sizes)
        return function(*fixed, problem.rate(next(steps)), steps_a_call)

    return step


def c_of_known_sizes(problem: Problem) -> Callable[[], float]:
    """mlp.c's step of the moons' network, with its sizes as constants."""
    function = contestants.c_library().moons_step
    doubles = ctypes.POINTER(ctypes.c_double)
    function.restype = ctypes.c_double
    function.argtypes = [doubles, doubles, doubles, ctypes.c_int, ctypes.c_double]
    assert problem.sizes == [2, 16, 16, 1]
    arrays = [np.ascontiguousarray(a, dtype=float) for a in (problem.weights, problem.X, problem.y)]
    pointers, steps = [a.ctypes.data_as(doubles) for a in arrays], itertools.count()

    def step():
        assert len(arrays) == 3  # this reference keeps the arrays alive as long as the pointers
        return function(*pointers, len(problem.y), problem.rate(next(steps)))

    return step


def xad_tape(problem: Problem) -> Callable[[], float]:
    """The scalar program on XAD's tape: parameters are Reals, neurons sums of products."""
    xad = contestants.xad()
    Real, tanh, largest = xad.Real, xad.math.tanh, xad.math.max
    data, steps, layers = list(problem.weights), itertools.count(), len(problem.sizes) - 1
    samples, targets = problem.X.tolist(), problem.y.tolist()

    def score(reals, x):
        at = 0
        for layer, (nin, nout) in enumerate(zip(problem.sizes, problem.sizes[1:])):
            outs = []
            for _ in range(nout):
                total = sum((w * xi for w, xi in zip(reals[at : at + nin], x)), reals[at + nin])
                if not problem.hinge:
                    total = tanh(total)
                elif layer < layers - 1:
                    total = largest(total, 0.0)
                outs.append(total)
                at += nin + 1
            x = outs
        return x[0]

    def step():
        nonlocal data
        with xad.Tape() as tape:
            reals = [Real(p) for p in data]
            tape.registerInputs(reals)
            tape.newRecording()
            scores = [score(reals, x) for x in samples]
            if problem.hinge:
                losses = [largest(1 + -t * s, 0.0) for t, s in zip(targets, scores)]
                loss = sum(losses) * (1.0 / len(losses)) + L2 * sum(p * p for p in reals)
            else:
                loss = sum((s - t) ** 2 for s, t in zip(scores, targets))
            tape.registerOutput(loss)
            loss.derivative = 1.0
            tape.computeAdjoints()
            rate = problem.rate(next(steps))
            data = [p - rate * r.derivative for p, r in zip(data, reals)]
            return loss.value

    return step


def array_entries(problem: Problem, entry: Callable[..., tuple]) -> list[tuple]:
    """The contestants of this file as entries of `harness.compare`."""
    return [
        entry("XAD tape", contestants.xad(), lambda: xad_tape(problem)),
        entry("PyTorch eager", contestants.torch(), lambda: torch_eager(problem)),
        entry("JAX jit", contestants.jax(), lambda: jax_jit(problem)),
        entry("NumPy by hand", np, lambda: numpy_by_hand(problem)),
        entry("C by hand", contestants.c_library(), lambda: c_by_hand(problem)),
    ]
