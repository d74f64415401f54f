"""A one-layer character GPT of scalars (scalar_gpt.py): forward and backward over 4,192 parameters, one import changed.

"Plain floats" is the same program on floats: forward only, no graph. PyTorch and JAX compute on matrices, all positions
at once, as programs for them are usually written.
"""

from __future__ import annotations

import numpy as np

from benchmarks import contestants, scalar_gpt
from benchmarks.harness import Result, compare, entry

NAME = "gpt"


def total(grads) -> float:
    """A weighted sum of the gradients, to compare all of them as one number."""
    return float(sum(g * (i % 7 + 1) for i, g in enumerate(grads)))


def zero(values) -> None:
    for p in values:
        p.grad = 0.0


def scalars(engine):
    parameters = scalar_gpt.make_parameters(engine.Value)
    flat = scalar_gpt.flatten(parameters)

    def step():
        loss = scalar_gpt.loss(parameters)
        loss.backward()
        return loss

    def check():
        zero(flat)
        loss = step().data
        return [loss, total(p.grad for p in flat)]

    return step, check


def floats():
    parameters = scalar_gpt.make_parameters(float)
    return (lambda: scalar_gpt.loss(parameters)), (lambda: [scalar_gpt.loss(parameters)])


def matrix_loss(p, tokens, softmax, relu, mask):
    """The loss over matrices of PyTorch or JAX; `mask` is -inf above the diagonal."""
    size = scalar_gpt.WIDTH // scalar_gpt.HEADS

    def rmsnorm(x):
        return x * ((x * x).mean(-1)[:, None] + 1e-5) ** -0.5

    def heads(x):
        return x.reshape(len(mask), scalar_gpt.HEADS, size).swapaxes(0, 1)

    x = rmsnorm(p["token"][tokens[:-1]] + p["position"][: len(mask)])
    residual, x = x, rmsnorm(x)
    q, k, v = heads(x @ p["query"].T), heads(x @ p["key"].T), heads(x @ p["value"].T)
    weights = softmax(q @ k.swapaxes(1, 2) / size**0.5 + mask)
    attended = (weights @ v).swapaxes(0, 1).reshape(len(mask), scalar_gpt.WIDTH)
    x = attended @ p["out"].T + residual
    x = relu(rmsnorm(x) @ p["up"].T) @ p["down"].T + x
    probabilities = softmax(x @ p["head"].T)
    return probabilities[np.arange(len(mask)), tokens[1:]]


def _mask() -> np.ndarray:
    n = len(scalar_gpt.TOKENS) - 1
    return np.triu(np.full((n, n), -np.inf), 1)


def torch_eager():
    torch = contestants.torch()
    matrices = {name: torch.tensor(m, requires_grad=True) for name, m in scalar_gpt.make_parameters(float).items()}
    tokens, mask = torch.tensor(scalar_gpt.TOKENS), torch.tensor(_mask())

    def step():
        loss = -matrix_loss(matrices, tokens, lambda x: torch.softmax(x, -1), torch.relu, mask).log().mean()
        loss.backward()
        return loss

    def check():
        for m in matrices.values():
            m.grad = None
        loss = float(step().data)
        return [loss, total(g for m in matrices.values() for g in m.grad.flatten().tolist())]

    return step, check


def jax_jit():
    jax = contestants.jax()
    jnp = jax.numpy
    matrices = {name: jnp.array(m) for name, m in scalar_gpt.make_parameters(float).items()}
    tokens, mask = np.array(scalar_gpt.TOKENS), jnp.array(_mask())

    @jax.jit
    @jax.value_and_grad
    def both(p):
        chosen = matrix_loss({**p}, tokens, jax.nn.softmax, jax.nn.relu, mask)
        return -jnp.log(chosen).mean()

    def step():
        return float(jax.block_until_ready(both(matrices))[0])

    def check():
        loss, grads = both(matrices)
        return [float(loss), total(g for name in matrices for g in np.ravel(grads[name]).tolist())]

    return step, check


def measure(rounds: int, quick: bool) -> Result:
    ours, reference = contestants.ours(), contestants.reference()
    entries = [
        entry("ours", ours, lambda: scalars(ours)),
        entry("plain floats, forward only", True, floats),
        entry("reference", reference, lambda: scalars(reference)),
        entry("reference, collector off", reference, lambda: scalars(reference), collector=False),
        entry("PyTorch eager, matrices", contestants.torch(), torch_eager),
        entry("JAX jit, matrices", contestants.jax(), jax_jit),
    ]
    return compare(NAME, "scalar GPT, forward and backward", entries, rounds)
