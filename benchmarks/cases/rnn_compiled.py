"""The recurrent network of the case "rnn" through `micrograd.compile`: a training step on one sequence of 1,000 steps,
and on 64 sequences in a call.
"""

from __future__ import annotations

import ctypes

import numpy as np

from benchmarks import contestants
from benchmarks.cases.rnn import HIDDEN, RATE, STEPS, _matrices, weights
from benchmarks.harness import Result, compare_parts, entry, training

NAME = "rnn_compiled"
SEQUENCES = 64


def sequences(count: int) -> np.ndarray:
    """Sums of two sines as in the case "rnn", each sequence with phases of its own."""
    t, phase = np.arange(STEPS + 1), np.arange(count)[:, None]
    return np.sin(0.1 * t + phase) + 0.5 * np.sin(0.037 * t + 0.3 * phase)


def compiled(micrograd, series: np.ndarray):
    engine = contestants.ours()
    cell, readout = engine.tanh.Layer(1 + HIDDEN, HIDDEN), engine.nn.Neuron(HIDDEN, nonlin=False)
    parameters = [*cell.parameters(), *readout.parameters()]
    for p, data in zip(parameters, weights()):
        p.data = data

    @micrograd.compile
    def loss(xs):
        hidden, errors = [0.0] * HIDDEN, []
        for x, target in zip(xs, xs[1:]):
            hidden = cell([x, *hidden])
            errors.append((readout(hidden) - target) ** 2)
        return sum(errors) * (1 / STEPS)

    # The rate is divided by the number of sequences everywhere, which makes it that of their mean.
    return training(micrograd.optim.SGD(parameters, lr=RATE / len(series)), lambda: loss.sum(series))


def c_by_hand(series: np.ndarray):
    function = contestants.c_library("rnn").rnn_step
    doubles = ctypes.POINTER(ctypes.c_double)
    function.restype = ctypes.c_double
    function.argtypes = [doubles, doubles, ctypes.c_int, ctypes.c_int, ctypes.c_double]
    arrays = [np.array(weights()), np.ascontiguousarray(series)]
    pointers = [a.ctypes.data_as(doubles) for a in arrays]

    def step():
        assert len(arrays) == 2  # this reference keeps the arrays alive as long as the pointers
        return function(*pointers, len(series), STEPS, RATE / len(series))

    return step


def torch_eager(series: np.ndarray):
    torch = contestants.torch()
    parameters = _matrices(lambda a: torch.tensor(a, requires_grad=True))
    W_x, W_h, b, v, c = parameters
    xs = torch.tensor(series)

    def loss_of():
        h, hidden = torch.zeros(len(series), HIDDEN), []
        for drive in (xs[:, :-1, None] * W_x + b).unbind(1):
            h = torch.tanh(h @ W_h.T + drive)
            hidden.append(h)
        return ((torch.stack(hidden, 1) @ v + c - xs[:, 1:]) ** 2).mean(1).sum()

    return contestants.torch_training(loss_of, parameters, lambda: RATE / len(series))


def jax_scan(series: np.ndarray):
    jax = contestants.jax()
    jnp = jax.numpy
    state, xs = _matrices(jnp.array), jnp.array(series)

    def loss_of(parameters):
        W_x, W_h, b, v, c = parameters

        def cell(h, x):
            h = jnp.tanh(h @ W_h.T + x[:, None] * W_x + b)
            return h, h

        _, hidden = jax.lax.scan(cell, jnp.zeros((len(series), HIDDEN)), xs[:, :-1].T)
        return ((hidden @ v + c - xs[:, 1:].T) ** 2).mean(0).sum()

    return contestants.jax_training(loss_of, state, lambda: RATE / len(series))


def entries(micrograd, series: np.ndarray) -> list[tuple]:
    return [
        entry("ours", micrograd, lambda: compiled(micrograd, series)),
        entry("C by hand", contestants.c_library("rnn"), lambda: c_by_hand(series)),
        entry("JAX jit, scan", contestants.jax(), lambda: jax_scan(series)),
        entry("PyTorch eager", contestants.torch(), lambda: torch_eager(series)),
    ]


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    parts = [
        (label, entries(micrograd, sequences(count)))
        for label, count in (("1 sequence", 1), (f"{SEQUENCES} sequences", SEQUENCES))
    ]
    return compare_parts(NAME, "RNN, 1,000 steps in time, compiled", parts, rounds)
