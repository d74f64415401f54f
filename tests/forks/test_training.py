"""Training by hand, as forks of micrograd write it, against the same in PyTorch: losses, and parameters afterwards."""

from __future__ import annotations

import math
import random

from both_engines import assert_as_in_torch, drawn, each_program

XS = drawn(61, 8, 2)
SIGNS = [1.0 if x[0] * x[1] > 0 else -1.0 for x in XS]


def network(e, *sizes, seed=62):
    """Nested lists of weights, and their flat list: each row ends with the bias."""
    layers = [e.values(drawn(seed + i, n_out, n_in + 1)) for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]))]
    return layers, [w for layer in layers for row in layer for w in row]


def forward(layers, xs):
    for i, layer in enumerate(layers):
        xs = [sum((w * x for w, x in zip(row, xs)), row[-1]) for row in layer]
        xs = [x.tanh() for x in xs] if i + 1 < len(layers) else xs
    return xs if len(xs) > 1 else xs[0]


def squared_error(layers):
    return lambda xs, y: (forward(layers, xs) - y) ** 2


def states(params):
    return [p.item() for p in params]


def momentum_and_weight_decay(e):
    layers, params = network(e, 2, 4, 1)
    loss, velocity, seen = e.batch(squared_error(layers)), [0.0] * len(params), []
    for _ in range(10):
        total = loss(XS, SIGNS)
        grads = e.grads(total, params)
        velocity = [0.9 * v + g + 1e-3 * p.item() for v, g, p in zip(velocity, grads, params)]
        for p, v in zip(params, velocity):
            p.data -= 0.02 * v
        seen.append(total)
    return [seen, states(params)]


def adam_with_a_cosine_schedule(e):
    layers, params = network(e, 2, 4, 1)
    loss, m, v, seen = e.batch(squared_error(layers)), [0.0] * len(params), [0.0] * len(params), []
    for step in range(1, 11):
        total = loss(XS, SIGNS) / len(XS)
        lr = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 10))
        for i, (p, g) in enumerate(zip(params, e.grads(total, params))):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            p.data -= lr * (m[i] / (1 - 0.9**step)) / ((v[i] / (1 - 0.999**step)) ** 0.5 + 1e-8)
        seen.append(total)
    return [seen, states(params)]


def clipped_gradients_and_early_stopping(e):
    layers, params = network(e, 2, 3, 1)
    loss, best, kept, seen = e.batch(squared_error(layers)), math.inf, None, []
    for _ in range(15):
        total = loss(XS[:5], SIGNS[:5])
        grads = e.grads(total, params)
        norm = sum(g * g for g in grads) ** 0.5
        for p, g in zip(params, grads):
            p.data -= 0.3 * g * min(1.0, 1.0 / norm)
        with e.no_grad():
            held_out = loss(XS[5:], SIGNS[5:]).item()
        seen += [norm, held_out]
        if held_out < best:
            best, kept = held_out, states(params)
    return [seen, kept]


def lasso_by_absolute_values(e):
    w = e.values(drawn(63, 2))
    fit = e.batch(lambda xs, y: (sum(wi * x for wi, x in zip(w, xs)) - y) ** 2)
    for _ in range(20):
        total = fit(XS, SIGNS) + 0.5 * sum(abs(wi) for wi in w)
        for p, g in zip(w, e.grads(total, w)):
            p.data -= 0.02 * g
    return states(w)


def logistic_regression_with_accuracy(e):
    w = e.values([0.0, 0.0, 0.0])
    labels = [1.0 if x[0] + 0.3 > x[1] else 0.0 for x in XS]

    def score(xs):
        return w[0] * xs[0] + w[1] * xs[1] + w[2]

    loss = e.batch(lambda xs, y: e.F.maximum(score(xs), 0.0) - score(xs) * y + (1 + (-abs(score(xs))).exp()).log())
    accuracies = []
    right = e.batch(lambda xs, y: e.F.where(e.F.eq(e.F.where(score(xs) > 0, 1.0, 0.0), y), 1.0, 0.0))
    for _ in range(20):
        for p, g in zip(w, e.grads(loss(XS, labels) / len(XS), w)):
            p.data -= 1.0 * g
        with e.no_grad():
            accuracies.append(right(XS, labels).item() / len(XS))
    return [accuracies, states(w)]


def two_moons_with_a_margin(e):
    layers, params = network(e, 2, 4, 1)
    loss = e.batch(lambda xs, y: (1 - y * forward(layers, xs)).relu())
    for step in range(10):
        total = loss(XS, SIGNS) / len(XS) + 1e-4 * sum(p * p for p in params)
        for p, g in zip(params, e.grads(total, params)):
            p.data -= (1.0 - 0.9 * step / 100) * g
    return [total, states(params)]


def polynomial_by_adagrad(e):
    coefficients, squares = e.values([0.0] * 4), [0.0] * 4
    points = [i / 4 - 1 for i in range(9)]
    loss = e.batch(lambda x, y: (sum(c * x**k for k, c in enumerate(coefficients)) - y) ** 2)
    for _ in range(15):
        grads = e.grads(loss(points, [math.exp(x) for x in points]), coefficients)
        squares = [s + g * g for s, g in zip(squares, grads)]
        for c, g, s in zip(coefficients, grads, squares):
            c.data -= 0.5 * g / (s**0.5 + 1e-8)
    return states(coefficients)


def q_learning_with_a_target_network(e):
    """The target is max over the next state's values by a copy, and 0 behind the last step: no gradient goes there."""
    layers, params = network(e, 2, 4, 3)
    copy, copied = network(e, 2, 4, 3)

    def loss(state, action, reward, following, done):
        best = e.F.maximum(*forward(copy, following)[:2])
        target = e.F.where(done > 0, reward, lambda: reward + 0.9 * e.F.maximum(best, forward(copy, following)[2]))
        return abs(e.F.take(forward(layers, state), action) - target.detach())

    td, seen = e.batch(loss), []
    for step in range(9):
        total = td(XS[:4], [0, 2, 1, 2], [1.0, 0.0, -1.0, 0.5], XS[4:], [0.0, 0.0, 1.0, 0.0])
        for p, g in zip(params, e.grads(total, params)):
            p.data -= 0.05 * g
        if step % 3 == 2:
            for old, new in zip(copied, params):
                old.data += 0.5 * (new.data - old.data)
        seen.append(total)
    return [seen, states(params), e.grads(td(XS[:1], [1], [0.0], XS[1:2], [0.0]), copied)]


def policy_gradient_with_a_baseline(e):
    layers, params = network(e, 2, 3, 2)
    loss = e.batch(lambda state, action, gain: -gain * e.F.take(e.F.log_softmax(forward(layers, state)), action))
    draw, average = random.Random(64), 0.0
    for _ in range(10):
        with e.no_grad():
            actions = [int(draw.random() < e.F.softmax(forward(layers, xs))[1].item()) for xs in XS]
        rewards = [float(a == (s > 0)) for a, s in zip(actions, SIGNS)]
        average = 0.8 * average + 0.2 * sum(rewards) / len(rewards)
        for p, g in zip(params, e.grads(loss(XS, actions, [r - average for r in rewards]), params)):
            p.data -= 0.1 * g
    return [average, states(params)]


def clipped_policy_ratio(e):
    w, old = e.values([0.4, -0.7]), [0.1, 0.2]

    def loss(xs, advantage):
        ratio = (sum(wi * x for wi, x in zip(w, xs)) - sum(o * x for o, x in zip(old, xs))).exp()
        return -e.F.minimum(ratio * advantage, e.F.clamp(ratio, 0.8, 1.2) * advantage)

    total = e.batch(loss)(XS, SIGNS)
    return [total, e.grads(total, w)]


def adversarial_pair(e):
    """A generator and a discriminator in turn; neither step changes the other."""
    (making, makers), (judging, judges) = network(e, 1, 3, 1, seed=65), network(e, 1, 3, 1, seed=66)
    real, noise = [0.8 + 0.1 * x[0] for x in XS], [x[1] for x in XS]

    def judged(x):
        return forward(judging, [x]).sigmoid()

    judge_loss = e.batch(lambda x, z: -(judged(x).log() + (1 - judged(forward(making, [z]).detach())).log()))
    maker_loss = e.batch(lambda z: -judged(forward(making, [z])).log())
    seen = []
    for _ in range(6):
        for loss, columns, params in ((judge_loss, (real, noise), judges), (maker_loss, (noise,), makers)):
            total = loss(*columns) / len(XS)
            for p, g in zip(params, e.grads(total, params)):
                p.data -= 0.2 * g
            seen.append(total)
    return [seen, states(makers), states(judges)]


def kalman_filter_with_learned_noise(e):
    logs = e.values([-1.0, 0.5])

    def loss(observed):
        process, noise = logs[0].exp(), logs[1].exp()
        mean, variance, total = observed[0] * 0.0, 1.0, 0.0
        for z in observed:
            spread = variance + process + noise
            total += 0.5 * (spread.log() + (z - mean) ** 2 / spread)
            gain = (variance + process) / spread
            mean = mean + gain * (z - mean)
            variance = (1 - gain) * (variance + process)
        return total

    walk = e.batch(loss)
    for _ in range(8):
        total = walk(drawn(67, 3, 6))
        for p, g in zip(logs, e.grads(total, logs)):
            p.data -= 0.05 * g
    return [total, states(logs)]


def bigrams_of_letters(e):
    table = e.values(drawn(68, 4, 4))
    rows = [p for row in table for p in row]
    loss = e.batch(lambda a, b: e.F.cross_entropy(e.F.embedding(a, table), b))
    text = [0, 1, 1, 2, 3, 0, 1, 2, 2, 3]
    for _ in range(10):
        for p, g in zip(rows, e.grads(loss(text[:-1], text[1:]), rows)):
            p.data -= 0.5 * g
    with e.no_grad():
        best = [max(range(4), key=lambda k, row=row: row[k].item()) for row in table]
    return [best, states(rows)]


def predictions_by_the_greatest(e):
    """Eager: `max` and `sorted` over scores decide by the data, and formatting prints it."""
    layers, params = network(e, 2, 3, 3)
    scores = [forward(layers, [e.constant(x) for x in xs]) for xs in XS]
    guesses = [row.index(max(row, key=lambda s: s.item())) for row in scores]
    order = sorted(range(len(XS)), key=lambda i: max(scores[i]))
    total = sum(max(row) - min(row) for row in scores)
    return [guesses, order, float(f"{total.item():.6f}"), e.grads(total, params)]


PROGRAMS = [
    adam_with_a_cosine_schedule,
    adversarial_pair,
    bigrams_of_letters,
    clipped_gradients_and_early_stopping,
    clipped_policy_ratio,
    kalman_filter_with_learned_noise,
    lasso_by_absolute_values,
    logistic_regression_with_accuracy,
    momentum_and_weight_decay,
    policy_gradient_with_a_baseline,
    polynomial_by_adagrad,
    q_learning_with_a_target_network,
    two_moons_with_a_margin,
]


@each_program(*PROGRAMS, eager_only=[predictions_by_the_greatest])
def test_training(program, engine):
    assert_as_in_torch(program, engine)
