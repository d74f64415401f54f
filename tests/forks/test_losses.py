"""Losses as forks of micrograd write them, against the same in PyTorch: data and gradients."""

from __future__ import annotations

from functools import reduce

from both_engines import assert_as_in_torch, drawn, each_program

LOGITS = drawn(1, 6, 3)
LABELS = [0, 2, 1, 1, 0, 2]
BINARY = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]
SCORES = [-40.0, -2.0, 0.0, 0.5, 3.0, 40.0]


def linear_in(e, loss, xs=LOGITS, ys=LABELS, seed=2, outputs=3):
    """The loss of outputs that are linear in the samples, its gradients."""
    weight, bias = e.values(drawn(seed, outputs, len(xs[0]))), e.values(drawn(seed + 1, outputs))

    def of_sample(x, y):
        return loss([sum((w * xi for w, xi in zip(row, x)), b) for row, b in zip(weight, bias)], y)

    params = [*bias, *(w for row in weight for w in row)]
    total = e.batch(of_sample)(xs, ys)
    return [total, e.grads(total, params)]


def of_scores(e, loss, scores=SCORES, ys=BINARY):
    scale, shift = e.values([1.25, 0.0])
    total = e.batch(lambda x, y: loss(scale * x + shift, y))(scores, ys)
    return [total, e.grads(total, [scale, shift])]


def binary_cross_entropy(e):
    def loss(z, y):
        p = e.F.clamp(z.sigmoid(), 1e-7, 1 - 1e-7)
        return -(y * p.log() + (1 - y) * (1 - p).log())

    return of_scores(e, loss)


def binary_cross_entropy_with_logits(e):
    def loss(z, y):
        return e.F.maximum(z, 0.0) - z * y + (-abs(z)).exp().log1p()

    return of_scores(e, loss)


def focal_loss(e):
    def loss(z, y):
        p = z.sigmoid()
        pt = e.F.where(y > 0.5, p, 1 - p)
        alpha = e.F.where(y > 0.5, 0.25, 0.75)
        return -alpha * (1 - pt) ** 2.0 * (pt + 1e-9).log()

    return of_scores(e, loss)


def max_margin(e):
    def loss(z, y):
        return (1 + -(2 * y - 1) * z).relu()

    return of_scores(e, loss)


def squared_hinge(e):
    def loss(z, y):
        margin = 1 - e.F.where(e.F.eq(y, 1.0), z, -z)
        return e.F.where(margin <= 0, 0.0, lambda: margin**2)

    return of_scores(e, loss)


def huber(e, delta=1.0):
    def loss(z, y):
        error = abs(z - y)
        return e.F.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta))

    return of_scores(e, loss, scores=[-3.0, -1.0, 0.0, 0.8, 1.6, 4.0])


def log_cosh(e):
    def loss(z, y):
        d = abs(z - y)
        return d + (-2 * d).exp().log1p() - 0.6931471805599453

    return of_scores(e, loss)


def pinball(e):
    def loss(z, y):
        d = y - z
        return e.F.maximum(0.9 * d, (0.9 - 1) * d)

    return of_scores(e, loss)


def poisson(e):
    def loss(z, y):
        rate = e.F.minimum(z, 5.0).exp()
        return rate - y * rate.log()

    return of_scores(e, loss, ys=[0.0, 1.0, 2.0, 0.0, 3.0, 4.0])


def gaussian_with_a_learned_variance(e):
    def loss(z, y):
        mean, log_variance = z[0], e.F.clamp(z[1], min=-4.0, max=0.5)
        return 0.5 * (log_variance + (y - mean) ** 2 / log_variance.exp())

    return linear_in(e, loss, outputs=2)


def softmax_that_subtracts_the_greatest(e):
    def loss(z, y):
        top = reduce(e.F.maximum, z)
        exps = [(zi - top).exp() for zi in z]
        total = sum(exps)
        one_hot = [e.F.where(e.F.eq(y, float(k)), 1.0, 0.0) for k in range(3)]
        return -sum(hot * (p / total + 1e-4).log() for hot, p in zip(one_hot, exps))

    return linear_in(e, loss)


def label_smoothing(e, smoothing=0.1):
    def loss(z, y):
        logs = e.F.log_softmax(z)
        return -(1 - smoothing) * e.F.take(logs, y) - smoothing * e.F.mean(logs)

    return linear_in(e, loss)


def multiclass_hinge(e):
    def loss(z, y):
        right = e.F.take(z, y)
        return sum((1 + zi - right).relu() for zi in z) - 1

    return linear_in(e, loss)


def kl_of_two_softmaxes(e, temperature=2.0):
    teacher = drawn(9, 3)

    def loss(z, y):
        p = e.F.softmax([t / temperature for t in teacher])
        q = e.F.log_softmax([zi / temperature for zi in z])
        return sum(pi * (pi.log() - qi) for pi, qi in zip(p, q)) * temperature**2 + 0.0 * y

    return linear_in(e, loss)


def triplet_with_a_margin(e):
    """The first two samples have the same embedding: a distance of 0, of which a root has no derivative."""
    weight = e.values(drawn(4, 2, 3))

    def embed(x):
        return [sum(w * xi for w, xi in zip(row, x)).tanh() for row in weight]

    def distance(a, b):
        square = sum((ai - bi) ** 2 for ai, bi in zip(a, b))
        return e.F.where(square > 0, lambda: square.sqrt(), 0.0)

    def loss(anchor, positive, negative):
        a, p, n = embed(anchor), embed(positive), embed(negative)
        return (distance(a, p) - distance(a, n) + 0.5).relu()

    total = e.batch(loss)(LOGITS[:4], [LOGITS[0], *LOGITS[2:5]], [LOGITS[5], LOGITS[1], LOGITS[0], LOGITS[3]])
    return [total, e.grads(total, [w for row in weight for w in row])]


def cosine_similarity(e):
    def loss(z, y):
        target = [1.0, y, -1.0]
        norm = e.F.maximum(sum(zi * zi for zi in z).sqrt(), 1e-8)
        return 1 - sum(zi * ti for zi, ti in zip(z, target)) / (norm * (2 + y * y) ** 0.5)

    return linear_in(e, loss)


def dice(e):
    def loss(z, y):
        p = [zi.sigmoid() for zi in z]
        target = [e.F.where(y >= k, 1.0, 0.0) for k in range(3)]
        both = sum(pi * ti for pi, ti in zip(p, target))
        return 1 - (2 * both + 1) / (sum(p) + sum(target) + 1)

    return linear_in(e, loss)


def ranked_hinge(e):
    """The two greatest of a list, by `sorted`: decided by the data."""
    z = e.values([0.3, -1.2, 0.9, 0.7])
    first, second = sorted(z)[::-1][:2]
    total = (1 - first + second).relu() + max(z) * min(z) - max(z[0], 0.5)
    return [total, e.grads(total, z)]


PROGRAMS = [
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_similarity,
    dice,
    focal_loss,
    gaussian_with_a_learned_variance,
    huber,
    kl_of_two_softmaxes,
    label_smoothing,
    log_cosh,
    max_margin,
    multiclass_hinge,
    pinball,
    poisson,
    softmax_that_subtracts_the_greatest,
    squared_hinge,
    triplet_with_a_margin,
]


@each_program(*PROGRAMS, eager_only=[ranked_hinge])
def test_losses(program, engine):
    assert_as_in_torch(program, engine)
