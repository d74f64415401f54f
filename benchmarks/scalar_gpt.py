"""A one-layer character GPT of scalars, over any number type that has + - * / ** and exp, log, relu.

The cases call `loss(parameters, tokens)` with the Values of an engine, or with plain floats, which is the same program
without a graph.
"""

import math
import random

VOCABULARY, WIDTH, HEADS, CONTEXT = 27, 16, 4, 16
TOKENS = [26, 4, 12, 12, 0, 13, 20, 4, 26]


def exp(x):
    return math.exp(x) if isinstance(x, float) else x.exp()


def log(x):
    return math.log(x) if isinstance(x, float) else x.log()


def relu(x):
    return (x if x > 0 else 0.0) if isinstance(x, float) else x.relu()


def make_parameters(number):
    """Random weights of a fixed seed, 4,192 numbers, as a dict of matrices."""
    rng = random.Random(42)

    def matrix(rows, columns):
        return [[number(rng.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]

    return {
        "token": matrix(VOCABULARY, WIDTH),
        "position": matrix(CONTEXT, WIDTH),
        "query": matrix(WIDTH, WIDTH),
        "key": matrix(WIDTH, WIDTH),
        "value": matrix(WIDTH, WIDTH),
        "out": matrix(WIDTH, WIDTH),
        "up": matrix(4 * WIDTH, WIDTH),
        "down": matrix(WIDTH, 4 * WIDTH),
        "head": matrix(VOCABULARY, WIDTH),
    }


def flatten(parameters):
    return [p for matrix in parameters.values() for row in matrix for p in row]


def linear(x, weight):
    return [sum(w * xi for w, xi in zip(row, x)) for row in weight]


def softmax(logits):
    highest = max(x if isinstance(x, float) else x.data for x in logits)
    exps = [exp(x - highest) for x in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x):
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def step(p, token, position, keys, values):
    x = rmsnorm([t + q for t, q in zip(p["token"][token], p["position"][position])])
    residual = x
    x = rmsnorm(x)
    query = linear(x, p["query"])
    keys.append(linear(x, p["key"]))
    values.append(linear(x, p["value"]))
    heads = []
    size = WIDTH // HEADS
    for h in range(0, WIDTH, size):
        q = query[h : h + size]
        scores = [sum(a * b for a, b in zip(q, k[h : h + size])) / size**0.5 for k in keys]
        weights = softmax(scores)
        heads += [sum(w * v[h + j] for w, v in zip(weights, values)) for j in range(size)]
    x = [a + b for a, b in zip(linear(heads, p["out"]), residual)]
    residual = x
    hidden = [relu(a) for a in linear(rmsnorm(x), p["up"])]
    x = [a + b for a, b in zip(linear(hidden, p["down"]), residual)]
    return linear(x, p["head"])


def loss(parameters, tokens=TOKENS):
    keys, values, losses = [], [], []
    for position in range(len(tokens) - 1):
        probabilities = softmax(step(parameters, tokens[position], position, keys, values))
        losses.append(-log(probabilities[tokens[position + 1]]))
    return sum(losses) * (1 / len(losses))
