"""The GPT of scalar_gpt.py over matrices: the loss of documents and its gradients in PyTorch, JAX, NumPy and C.

Each function takes `batches`, arrays (documents, length + 1) of tokens, and returns a `step()` for the next of them and
a `check()`. The loss is the sum over the documents of the mean over their positions.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import numpy as np

from benchmarks import contestants, scalar_gpt

WIDTH, HEADS, EPSILON = scalar_gpt.WIDTH, scalar_gpt.HEADS, 1e-5
SIZE = WIDTH // HEADS


def matrices() -> dict[str, np.ndarray]:
    return {name: np.array(matrix) for name, matrix in scalar_gpt.make_parameters(float).items()}


def numbers(loss: object, gradients: np.ndarray) -> list[float]:
    """What all contestants have to agree on: the loss, and a weighted sum of all gradients."""
    return [float(loss), float(gradients @ (np.arange(len(gradients)) % 7 + 1))]


def flat(gradients) -> np.ndarray:
    return np.concatenate([np.ravel(g) for g in gradients])


def causal_mask(length: int) -> np.ndarray:
    return np.triu(np.full((length, length), -np.inf), 1)


def logits_of(p, tokens, mask, softmax, relu):
    """The logits (documents, length, vocabulary) in PyTorch or JAX; `mask` is -inf above the diagonal."""
    length = len(mask)

    def norm(x):
        return x * ((x * x).mean(-1, keepdims=True) + EPSILON) ** -0.5

    def heads(x):
        return x.reshape(-1, length, HEADS, SIZE).swapaxes(1, 2)

    x = norm(p["token"][tokens] + p["position"][:length])
    a = norm(x)
    q, k, v = heads(a @ p["query"].T), heads(a @ p["key"].T), heads(a @ p["value"].T)
    weights = softmax(q @ k.swapaxes(2, 3) / SIZE**0.5 + mask)
    x = (weights @ v).swapaxes(1, 2).reshape(-1, length, WIDTH) @ p["out"].T + x
    x = relu(norm(x) @ p["up"].T) @ p["down"].T + x
    return x @ p["head"].T


def torch_loss(torch, p, tokens, mask):
    logits = logits_of(p, tokens[:, :-1], mask, lambda x: torch.softmax(x, -1), torch.relu)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")
    return loss / len(mask)


def torch_eager(batches: list[np.ndarray]):
    torch = contestants.torch()
    p = {name: torch.tensor(m, requires_grad=True) for name, m in matrices().items()}
    tensors = [torch.tensor(batch) for batch in batches]
    turns, mask = itertools.cycle(tensors), torch.tensor(causal_mask(batches[0].shape[1] - 1))

    def both(tokens):
        for m in p.values():
            m.grad = None
        loss = torch_loss(torch, p, tokens, mask)
        loss.backward()
        return loss

    def check():
        loss = both(tensors[0]).item()
        return numbers(loss, flat(m.grad for m in p.values()))

    return (lambda: both(next(turns))), check


def jax_jit(batches: list[np.ndarray]):
    jax = contestants.jax()
    jnp = jax.numpy
    p = {name: jnp.array(m) for name, m in matrices().items()}
    turns, mask = itertools.cycle(batches), jnp.array(causal_mask(batches[0].shape[1] - 1))

    @jax.jit
    @jax.value_and_grad
    def both(p, tokens):
        logits = logits_of(p, tokens[:, :-1], mask, jax.nn.softmax, jax.nn.relu)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, 1:, None], -1)
        return -chosen.sum() / len(mask)

    def check():
        loss, gradients = both(p, batches[0])
        return numbers(loss, flat(gradients[name] for name in p))

    return (lambda: jax.block_until_ready(both(p, next(turns)))), check


def numpy_by_hand(batches: list[np.ndarray]):
    """Forward and backward over the positions of all documents at once, with p's arrays as rows of outputs."""
    p, turns = matrices(), itertools.cycle(batches)
    length = batches[0].shape[1] - 1
    mask = causal_mask(length)

    def norm(x):
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)
        return x * scale, scale

    def norm_back(y, scale, gy):
        return scale * (gy - y * (gy * y).mean(-1, keepdims=True))

    def heads(x):
        return x.reshape(-1, length, HEADS, SIZE).swapaxes(1, 2)

    def rows(x):
        return x.swapaxes(1, 2).reshape(-1, WIDTH)

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def both(tokens):
        inputs, targets = tokens[:, :-1].ravel(), tokens[:, 1:].ravel()
        places = np.tile(np.arange(length), len(tokens))
        x, x_scale = norm(p["token"][inputs] + p["position"][places])
        a, a_scale = norm(x)
        q, k, v = (heads(a @ p[name].T) for name in ("query", "key", "value"))
        weights = softmax(q @ k.swapaxes(2, 3) / SIZE**0.5 + mask)
        attended = rows(weights @ v)
        y = attended @ p["out"].T + x
        b, b_scale = norm(y)
        hidden = np.maximum(b @ p["up"].T, 0)
        z = hidden @ p["down"].T + y
        shares = softmax(z @ p["head"].T)
        at = np.arange(len(targets))
        loss = -np.log(shares[at, targets]).sum() / length

        g = {}
        shares[at, targets] -= 1
        shares /= length
        g["head"], gy = shares.T @ z, shares @ p["head"]
        g["down"], ghidden = gy.T @ hidden, (gy @ p["down"]) * (hidden > 0)
        g["up"] = ghidden.T @ b
        gy = gy + norm_back(b, b_scale, ghidden @ p["up"])
        g["out"], gattended = gy.T @ attended, heads(gy @ p["out"])
        gweights = gattended @ v.swapaxes(2, 3)
        gscores = weights * (gweights - (gweights * weights).sum(-1, keepdims=True)) / SIZE**0.5
        ga = 0
        for name, gheads in (
            ("query", gscores @ k),
            ("key", gscores.swapaxes(2, 3) @ q),
            ("value", weights.swapaxes(2, 3) @ gattended),
        ):
            g[name] = rows(gheads).T @ a
            ga = ga + rows(gheads) @ p[name]
        gx = norm_back(x, x_scale, gy + norm_back(a, a_scale, ga))
        for name, index in (("token", inputs), ("position", places)):
            g[name] = np.zeros_like(p[name])
            np.add.at(g[name], index, gx)
        return loss, g

    def check():
        loss, gradients = both(batches[0])
        return numbers(loss, flat(gradients[name] for name in p))

    return (lambda: both(next(turns))), check


def c_by_hand(batches: list[np.ndarray]):
    """gpt.c, with all documents of a batch in one call."""
    function = contestants.c_library("gpt").gpt
    doubles, ints = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int)
    function.restype = ctypes.c_double
    function.argtypes = [doubles, ints, ctypes.c_int, ctypes.c_int, doubles]
    p = flat(matrices().values())
    gradients, arrays = np.empty_like(p), [np.ascontiguousarray(batch, dtype=np.intc) for batch in batches]
    documents, length = arrays[0].shape[0], arrays[0].shape[1] - 1
    inputs, outputs = p.ctypes.data_as(doubles), gradients.ctypes.data_as(doubles)
    pointers = [a.ctypes.data_as(ints) for a in arrays]
    turns = itertools.cycle(pointers)

    def both(tokens) -> float:
        assert len(arrays) == len(pointers)  # this reference keeps the arrays alive as long as the pointers
        return function(inputs, tokens, documents, length, outputs)

    return (lambda: both(next(turns))), (lambda: numbers(both(pointers[0]), gradients))


def array_entries(batches: list[np.ndarray], entry: Callable[..., tuple]) -> list[tuple]:
    """The contestants of this file as entries of `harness.compare`."""
    return [
        entry("C by hand", contestants.c_library("gpt"), lambda: c_by_hand(batches)),
        entry("JAX jit", contestants.jax(), lambda: jax_jit(batches)),
        entry("NumPy by hand", np, lambda: numpy_by_hand(batches)),
        entry("PyTorch eager", contestants.torch(), lambda: torch_eager(batches)),
    ]
