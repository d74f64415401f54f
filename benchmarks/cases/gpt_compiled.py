"""The GPT of scalar_gpt.py through `micrograd.compile`, written over `functional`, with the tokens as arguments: value
and gradient of one document and of 32 in a call, and a training step with Adam.

The reference's training step is the plain program's on one document. A batch of it takes as long a document or longer.
"""

from __future__ import annotations

import itertools

import numpy as np

from benchmarks import contestants, scalar_gpt
from benchmarks.cases.gpt_functional import RATE, PlainAdam
from benchmarks.harness import Contestant, Result, Row, compare_parts, entry, row, take_turns, training, verify
from benchmarks.matrix_gpt import EPSILON, SIZE, array_entries, numbers

NAME = "gpt_compiled"
TITLE = "scalar GPT, compiled: value and gradient"
BATCH, LETTERS = 32, 8


def documents(count: int) -> np.ndarray:
    """Documents of eight tokens and the one before the first."""
    draw = np.random.default_rng(0)
    return draw.integers(0, scalar_gpt.VOCABULARY, (count, LETTERS + 1))


def gpt(F, p, tokens):
    """The mean loss over the positions of one document, in `functional`."""
    keys, values, losses = [], [], []
    for token, position, target in zip(tokens, p["position"], tokens[1:]):
        residual = F.rms_norm([t + q for t, q in zip(F.embedding(token, p["token"]), position)], eps=EPSILON)
        x = F.rms_norm(residual, eps=EPSILON)
        query = F.linear(x, p["query"])
        keys.append(F.linear(x, p["key"]))
        values.append(F.linear(x, p["value"]))
        attended = []
        for h in range(0, scalar_gpt.WIDTH, SIZE):
            part = slice(h, h + SIZE)
            attended += F.scaled_dot_product_attention(query[part], [k[part] for k in keys], [v[part] for v in values])
        residual = [a + b for a, b in zip(F.linear(attended, p["out"]), residual)]
        hidden = F.relu(F.linear(F.rms_norm(residual, eps=EPSILON), p["up"]))
        x = [a + b for a, b in zip(F.linear(hidden, p["down"]), residual)]
        losses.append(F.cross_entropy(F.linear(x, p["head"]), target))
    return F.mean(losses)


def compiled(micrograd, batches: list[np.ndarray]):
    p = scalar_gpt.make_parameters(micrograd.Value)
    loss = micrograd.compile(lambda tokens: gpt(micrograd.functional, p, tokens))
    turns = itertools.cycle(batches)

    def check():
        total, gradients = loss.value_and_grad(batches[0])
        known = {id(v): g for v, g in zip(loss.captured, gradients)}  # without the positions after the eighth
        return numbers(total, np.array([known.get(id(v), 0.0) for v in scalar_gpt.flatten(p)]))

    return (lambda: loss.value_and_grad(next(turns))), check


def compiled_training(micrograd, batches: list[np.ndarray]):
    p = scalar_gpt.make_parameters(micrograd.Value)
    loss = micrograd.compile(lambda tokens: gpt(micrograd.functional, p, tokens))
    turns = itertools.cycle(batches)
    return training(micrograd.optim.Adam(scalar_gpt.flatten(p), lr=RATE), lambda: loss.mean(next(turns)))


def plain_training(engine, batches: list[np.ndarray]):
    p, turns = scalar_gpt.make_parameters(engine.Value), itertools.cycle(batches)
    return training(PlainAdam(scalar_gpt.flatten(p)), lambda: scalar_gpt.loss(p, next(turns)[0].tolist()))


def training_rows(micrograd, one: list[np.ndarray], many: list[np.ndarray], rounds: int) -> list[Row]:
    """The reference's training step on one document, over ours on one and over a document of ours on 32."""
    reference = contestants.reference()
    names = ["reference", "reference, collector off"]
    labels = {1: "training step, 1 document", BATCH: f"training step, a document of {BATCH}"}
    if not (micrograd and reference):
        return [Row(f"{name}, {label}", None) for label in labels.values() for name in names]
    theirs = [
        Contestant(name, plain_training(reference, one), collector=name == "reference", slow=True) for name in names
    ]
    ours = [Contestant(label, compiled_training(micrograd, b)) for label, b in zip(labels.values(), (one, many))]
    verify([ours[0], *theirs])
    times = take_turns([*ours, *theirs], rounds)
    return [
        row(f"{name}, {label}", [t / (o / count) for t, o in zip(times[name], times[label])])
        for count, label in labels.items()
        for name in names
    ]


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    many = [documents(BATCH)]
    one = list(many[0][:, None, :])
    parts = [
        (label, [entry("ours", micrograd, lambda b=batches: compiled(micrograd, b)), *array_entries(batches, entry)])
        for label, batches in (("1 document", one), (f"{BATCH} documents", many))
    ]
    result = compare_parts(NAME, TITLE, parts, rounds)
    result.rows += training_rows(micrograd, one, many, rounds)
    return result
