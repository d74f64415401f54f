"""A recurrent network of 4 tanh neurons over 1,000 steps in time: one deep graph, forward, backward and update."""

from __future__ import annotations

import math
import random

from benchmarks import contestants
from benchmarks.harness import Result, compare, entry

NAME = "rnn"
STEPS, HIDDEN, RATE = 1000, 4, 0.01
SERIES = [math.sin(0.1 * t) + 0.5 * math.sin(0.037 * t) for t in range(STEPS + 1)]


def weights() -> list[float]:
    rng = random.Random(7)
    return [rng.uniform(-0.5, 0.5) for _ in range(HIDDEN * (HIDDEN + 2) + HIDDEN + 1)]


def networks(engine):
    """The program in the `nn` of an engine: the cell is a layer over [x, *hidden], the readout one linear neuron."""
    cell, readout = engine.tanh.Layer(1 + HIDDEN, HIDDEN), engine.nn.Neuron(HIDDEN, nonlin=False)
    parameters = [*cell.parameters(), *readout.parameters()]
    for p, data in zip(parameters, weights()):
        p.data = data

    def step():
        hidden, losses = [0.0] * HIDDEN, []
        for x, target in zip(SERIES, SERIES[1:]):
            hidden = cell([x, *hidden])
            losses.append((readout(hidden) - target) ** 2)
        loss = sum(losses) * (1 / STEPS)
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= RATE * p.grad
        return loss

    return step


def xad_tape():
    xad = contestants.xad()
    data, size = weights(), HIDDEN + 2

    def step():
        nonlocal data
        with xad.Tape() as tape:
            reals = [xad.Real(p) for p in data]
            tape.registerInputs(reals)
            tape.newRecording()
            cell = [reals[j * size : (j + 1) * size] for j in range(HIDDEN)]
            readout = reals[HIDDEN * size :]
            hidden, losses = [0.0] * HIDDEN, []
            for x, target in zip(SERIES, SERIES[1:]):
                row = [x, *hidden]
                hidden = [xad.math.tanh(sum((w * xi for w, xi in zip(n, row)), n[-1])) for n in cell]
                losses.append((sum((w * h for w, h in zip(readout, hidden)), readout[-1]) - target) ** 2)
            loss = sum(losses) * (1 / STEPS)
            tape.registerOutput(loss)
            loss.derivative = 1.0
            tape.computeAdjoints()
            data = [p - RATE * r.derivative for p, r in zip(data, reals)]
            return loss.value

    return step


def _matrices(array):
    """[W_x, W_h, b, v, c] of the cell and the readout."""
    data, size = weights(), HIDDEN + 2
    rows = [data[j * size : (j + 1) * size] for j in range(HIDDEN)]
    cell = [[r[0] for r in rows], [r[1:-1] for r in rows], [r[-1] for r in rows]]
    return [array(a) for a in (*cell, data[HIDDEN * size : -1], data[-1])]


def torch_eager():
    torch = contestants.torch()
    parameters = _matrices(lambda a: torch.tensor(a, requires_grad=True))
    W_x, W_h, b, v, c = parameters
    series = torch.tensor(SERIES)

    def loss_of():
        h, hidden = torch.zeros(HIDDEN), []
        for drive in (series[:-1, None] * W_x + b).unbind():
            h = torch.tanh(W_h @ h + drive)
            hidden.append(h)
        return ((torch.stack(hidden) @ v + c - series[1:]) ** 2).mean()

    return contestants.torch_training(loss_of, parameters, lambda: RATE)


def jax_scan():
    jax = contestants.jax()
    jnp = jax.numpy
    state, series = _matrices(jnp.array), jnp.array(SERIES)

    def loss_of(parameters):
        W_x, W_h, b, v, c = parameters

        def cell(h, x):
            h = jnp.tanh(W_h @ h + x * W_x + b)
            return h, h

        _, hidden = jax.lax.scan(cell, jnp.zeros(HIDDEN), series[:-1])
        return ((hidden @ v + c - series[1:]) ** 2).mean()

    return contestants.jax_training(loss_of, state, lambda: RATE)


def measure(rounds: int, quick: bool) -> Result:
    ours, reference = contestants.ours(), contestants.reference()
    entries = [
        entry("ours", ours, lambda: networks(ours)),
        entry("reference", reference, lambda: networks(reference)),
        entry("reference, collector off", reference, lambda: networks(reference), collector=False),
        entry("XAD tape", contestants.xad(), xad_tape),
        entry("PyTorch eager", contestants.torch(), torch_eager),
        entry("JAX jit, scan", contestants.jax(), jax_scan),
    ]
    return compare(NAME, "RNN, 1,000 steps in time", entries, rounds)
