"""Layers and networks as forks of micrograd write them, against the same in PyTorch: data and gradients."""

from __future__ import annotations

import math

from both_engines import assert_as_in_torch, drawn, each_program, with_grads

SEQUENCES = drawn(21, 4, 5)
TARGETS = [0.5, -0.25, 0.75, -1.0]
WORDS = [[0, 2, 1, 2], [3, 3, 0, 1], [2, 0, 2, 3]]


def affine(row, xs, bias=0.0):
    return sum((w * x for w, x in zip(row, xs)), bias)


def recurrent_cell(e):
    w, u, b, out = e.values(drawn(22, 3)), e.values(drawn(23, 3)), e.values(drawn(24, 3)), e.values(drawn(25, 3))

    def loss(xs, y):
        h = [0.0, 0.0, 0.0]
        for x in xs:
            h = [(wi * x + ui * hi + bi).tanh() for wi, ui, hi, bi in zip(w, u, h, b)]
        return (affine(out, h) - y) ** 2

    return with_grads(e, loss, [w, u, b, out], SEQUENCES, TARGETS)


def lstm_cell(e):
    w, b = e.values(drawn(26, 4, 2)), e.values([0.0, 1.0, 0.0, 0.0])

    def loss(xs, y):
        h = c = 0.0
        for x in xs:
            i, f, o, g = (affine(row, [x, h], bias) for row, bias in zip(w, b))
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return abs(h - y)

    return with_grads(e, loss, [*w, b], SEQUENCES, TARGETS)


def gated_unit_with_a_mask(e):
    """Steps after the first number above 0.4 do not change the state."""
    w = e.values(drawn(27, 3, 2))

    def loss(xs, y):
        h, running = 0.0, True
        for x in xs:
            z, r = affine(w[0], [x, h]).sigmoid(), affine(w[1], [x, h]).sigmoid()
            new = (1 - z) * h + z * affine(w[2], [x, r * h]).tanh()
            h = e.F.where(running, new, h)
            running = e.F.logical_and(running, e.F.logical_not(x > 0.4))
        return (h - y) ** 2

    return with_grads(e, loss, w, SEQUENCES, TARGETS)


def causal_attention_head(e):
    table, wq, wk, wv = (e.values(drawn(s, 4, 4)) for s in (28, 29, 30, 31))

    def loss(words):
        xs = [e.F.embedding(i, table) for i in words]
        keys, values = ([e.F.linear(x, w) for x in xs] for w in (wk, wv))
        total = 0.0
        for t in range(len(words) - 1):
            q = e.F.linear(xs[t], wq)
            scores = [sum(qi * ki for qi, ki in zip(q, keys[s])) / math.sqrt(4) for s in range(t + 1)]
            weights = e.F.softmax(scores)
            mixed = [sum(a * values[s][j] for s, a in enumerate(weights)) for j in range(4)]
            total += e.F.cross_entropy([m + x for m, x in zip(mixed, xs[t])], words[t + 1])
        return total / (len(words) - 1)

    return with_grads(e, loss, [*table, *wq, *wk, *wv], WORDS)


def attention_by_the_library(e):
    table, key, value = (e.values(drawn(s, 4, 3)) for s in (32, 33, 34))

    def loss(words):
        query = e.F.layer_norm(e.F.embedding(words[0], table))
        hidden = e.F.gelu(e.F.scaled_dot_product_attention(query, key, value), approximate="tanh")
        return e.F.cross_entropy([*hidden, sum(query)], words[1])

    return with_grads(e, loss, [*table, *key, *value], WORDS)


def batch_norm(e):
    w, gain, shift = e.values(drawn(35, 5)), e.value(1.5), e.value(-0.25)

    def loss(batch):
        z = [affine(w, xs) for xs in batch]
        mean = sum(z) / len(z)
        variance = sum((zi - mean) ** 2 for zi in z) / len(z)
        normed = [gain * (zi - mean) / (variance + 1e-5) ** 0.5 + shift for zi in z]
        return sum((n.relu() - y) ** 2 for n, y in zip(normed, TARGETS)) / len(z)

    return with_grads(e, loss, [w, gain, shift], [SEQUENCES])


def dropout_by_a_mask(e, keep=0.75):
    w, out = e.values(drawn(36, 4, 5)), e.values(drawn(37, 4))
    masks = [[float(u < keep) / keep for u in row] for row in drawn(38, 4, 4)]

    def loss(xs, mask, y):
        hidden = [affine(row, xs).relu() * m for row, m in zip(w, mask)]
        return (affine(out, hidden) - y) ** 2

    return with_grads(e, loss, [*w, out], SEQUENCES, masks, TARGETS)


def convolution_and_max_pool(e):
    """Two equal maxima share the gradient."""
    kernel, out = e.values([0.5, -1.0]), e.values(drawn(39, 2))

    def loss(xs):
        maps = [affine(kernel, xs[i : i + 2]) for i in range(len(xs) - 1)]
        pooled = [e.F.maximum(maps[i], maps[i + 1]) for i in range(0, len(maps), 2)]
        return (affine(out, pooled) - 1) ** 2

    return with_grads(e, loss, [kernel, out], [*SEQUENCES, [1.0, 0.5, 1.0, 0.5, 1.0], [2.0] * 5])


def gated_linear_unit(e):
    gate, up, down = e.values(drawn(40, 3, 5)), e.values(drawn(41, 3, 5)), e.values(drawn(42, 3))

    def loss(xs, y):
        hidden = [e.F.silu(affine(g, xs)) * affine(u, xs) for g, u in zip(gate, up)]
        return e.F.mse_loss([affine(down, hidden)], [y])

    return with_grads(e, loss, [*gate, *up, down], SEQUENCES, TARGETS)


def activations_with_a_slope_of_their_own(e):
    w, slope, beta = e.values(drawn(43, 5)), e.value(0.25), e.value(1.5)

    def loss(xs, y):
        z = affine(w, xs)
        leaky = e.F.where(z > 0, z, slope * z)
        swish = z * (beta * z).sigmoid()
        return (leaky + swish - y) ** 2

    return with_grads(e, loss, [w, slope, beta], SEQUENCES, TARGETS)


def every_activation(e):
    w = e.values(drawn(44, 9, 5))

    def loss(xs, y):
        z = [affine(row, xs, 0.1) for row in w]
        names = ["gelu", "silu", "mish", "softsign", "elu", "selu", "leaky_relu", "softplus", "erf"]
        hidden = [getattr(e.F, name)(zi) for name, zi in zip(names, z)]
        return (sum(hidden) - y) ** 2

    return with_grads(e, loss, w, SEQUENCES, TARGETS)


def maxout_and_hard_functions(e):
    w = e.values(drawn(45, 3, 5))

    def loss(xs, y):
        pieces = [affine(row, xs) for row in w]
        top = e.F.maximum(e.F.maximum(pieces[0], pieces[1]), pieces[2])
        hard_sigmoid = e.F.clamp(pieces[0] / 6 + 0.5, 0.0, 1.0)
        hard_swish = pieces[1] * e.F.clamp(pieces[1] + 3, 0.0, 6.0) / 6
        shrunk = e.F.where(abs(pieces[2]) > 0.5, pieces[2], 0.0)
        return (top + hard_sigmoid + hard_swish + shrunk - y) ** 2

    return with_grads(e, loss, w, SEQUENCES, TARGETS)


def highway_with_residuals(e):
    w, gates = e.values(drawn(46, 5, 5)), e.values(drawn(47, 5, 5))

    def loss(xs, y):
        for _ in range(2):
            carried = [affine(g, xs, -1.0).sigmoid() for g in gates]
            xs = [x + t * (affine(row, xs).tanh() - x) for x, t, row in zip(xs, carried, w)]
        return (sum(xs) - y) ** 2

    return with_grads(e, loss, [*w, *gates], SEQUENCES, TARGETS)


def autoencoder(e):
    code, back = e.values(drawn(48, 2, 5)), e.values(drawn(49, 5, 2))

    def loss(xs):
        hidden = [affine(row, xs).sigmoid() for row in code]
        rate = [e.F.clamp(h, 0.01, 0.99) for h in hidden]
        sparse = sum(0.05 * (0.05 / r).log() + 0.95 * (0.95 / (1 - r)).log() for r in rate)
        return e.F.mse_loss([affine(row, hidden) for row in back], xs) + 0.1 * sparse

    return with_grads(e, loss, [*code, *back], SEQUENCES)


def variational_autoencoder(e):
    mean, spread, back = e.values(drawn(50, 5)), e.values(drawn(51, 5)), e.values(drawn(52, 5))

    def loss(xs, noise):
        mu, log_variance = affine(mean, xs), affine(spread, xs)
        z = mu + (0.5 * log_variance).exp() * noise
        divergence = -0.5 * (1 + log_variance - mu**2 - log_variance.exp())
        return sum((b * z - x) ** 2 for b, x in zip(back, xs)) + divergence

    return with_grads(e, loss, [mean, spread, back], SEQUENCES, drawn(53, 4))


def mixture_of_experts(e):
    """The better of two experts, chosen by its score."""
    router, first, second = e.values(drawn(54, 2, 5)), e.values(drawn(55, 5)), e.values(drawn(56, 5))

    def loss(xs, y):
        a, b = (affine(row, xs) for row in router)
        out = e.F.where(
            a >= b,
            lambda: a.sigmoid() * affine(first, xs).tanh(),
            lambda: b.sigmoid() * (affine(second, xs) ** 2 + 1).log(),
        )
        return (out - y) ** 2

    return with_grads(e, loss, [*router, first, second], SEQUENCES, TARGETS)


def soft_clusters(e):
    centers, log_beta = e.values(drawn(57, 3, 5)), e.value(0.5)

    def loss(xs):
        squares = [sum((x - c) ** 2 for x, c in zip(xs, center)) for center in centers]
        beta = log_beta.exp()
        nearest = e.F.minimum(e.F.minimum(squares[0], squares[1]), squares[2])
        return nearest - e.F.logsumexp([-beta * s for s in squares]) / beta

    return with_grads(e, loss, [*centers, log_beta], SEQUENCES)


PROGRAMS = [
    activations_with_a_slope_of_their_own,
    attention_by_the_library,
    autoencoder,
    batch_norm,
    causal_attention_head,
    convolution_and_max_pool,
    dropout_by_a_mask,
    every_activation,
    gated_linear_unit,
    gated_unit_with_a_mask,
    highway_with_residuals,
    lstm_cell,
    maxout_and_hard_functions,
    mixture_of_experts,
    recurrent_cell,
    soft_clusters,
    variational_autoencoder,
]


@each_program(*PROGRAMS)
def test_layers(program, engine):
    assert_as_in_torch(program, engine)
