"""Programs that need derivatives of derivatives, as forks of micrograd write them, against the same in PyTorch."""

from __future__ import annotations

import math

from both_engines import assert_as_in_torch, drawn, each_program, with_grads

POINTS = [-1.5, -0.5, 0.0, 0.75, 2.0]


def newton_for_a_root(e):
    x = e.value(2.0)
    for _ in range(6):
        y = x**3 - 2 * x - 5
        x = e.value((x - y / e.grad(y, x)).item())
    return [x, x**3 - 2 * x - 5]


def newton_for_a_minimum(e):
    """Of Rosenbrock's function, by its Hessian."""
    p = e.values([-0.5, 0.75])
    for _ in range(5):
        loss = (1 - p[0]) ** 2 + 20 * (p[1] - p[0] ** 2) ** 2
        g = e.grad(loss, p)
        (a, b), (c, d) = ([h.item() for h in e.grad(gi, p)] for gi in g)
        u, v = (gi.item() for gi in g)
        p[0].data -= (d * u - b * v) / (a * d - b * c)
        p[1].data -= (a * v - c * u) / (a * d - b * c)
    return [loss, [x.item() for x in p]]


def halley_by_the_third_derivative(e):
    """Each sample does one step for log(x) * x = a."""
    a = e.value(1.5)

    def step(x):
        y = x.log() * x - a
        first = e.grad(y, x)
        second = e.grad(first, x)
        third = e.grad(second, x)
        return x - 2 * y * first / (2 * first**2 - y * second) + 1e-3 * third

    return with_grads(e, step, [a], [0.75, 1.25, 2.0, 3.5])


def oscillator_by_a_network(e):
    """The residual of y'' + 0.2 y' + 4 y = 0, and y(0) = 1."""
    w, b, out = (e.values(drawn(s, 4)) for s in (71, 72, 73))

    def y(t):
        return sum(o * (wi * t + bi).tanh() for o, wi, bi in zip(out, w, b))

    def loss(t):
        position = y(t)
        velocity = e.grad(position, t)
        residual = e.grad(velocity, t) + 0.2 * velocity + 4 * position
        return residual**2 + (y(0.0 * t) - 1) ** 2

    return with_grads(e, loss, [*w, *b, *out], POINTS)


def heat_equation(e):
    """u_t = 0.1 u_xx: derivatives by two arguments, once by one and twice by the other."""
    w, out = e.values(drawn(74, 3, 3)), e.values(drawn(75, 3))

    def loss(t, x):
        u = sum(o * e.F.gelu(a * t + b * x + c) for o, (a, b, c) in zip(out, w))
        by_t, by_x = e.grad(u, [t, x])
        return (by_t - 0.1 * e.grad(by_x, x)) ** 2

    return with_grads(e, loss, [*out, *(p for row in w for p in row)], POINTS, POINTS[::-1])


def burgers_with_a_choice(e):
    """u_t + u u_x = nu u_xx, weighed more where the slope is steep."""
    w = e.values(drawn(76, 4, 4))

    def loss(t, x):
        u = sum(d * (a * t + b * x + c).sin() for a, b, c, d in w)
        by_t, by_x = e.grad(u, [t, x])
        residual = by_t + u * by_x - 0.05 * e.grad(by_x, x)
        return e.F.where(abs(by_x) > 0.5, 4.0, 1.0) * residual**2

    return with_grads(e, loss, [p for row in w for p in row], POINTS, POINTS[::-1])


def gradient_penalty(e):
    """Of a critic: (|grad| - 1)^2, with a gradient of 0 at one sample, where the root has no derivative."""
    w, out = e.values(drawn(77, 3, 2)), e.values(drawn(78, 3))

    def loss(xs):
        score = sum(o * (row[0] * xs[0] ** 2 + row[1] * xs[1] ** 2).tanh() for o, row in zip(out, w))
        square = sum(g * g for g in e.grad(score, [xs[0], xs[1]]))
        norm = e.F.where(square > 0, lambda: square.sqrt(), 0.0)
        return (norm - 1) ** 2

    return with_grads(e, loss, [*out, *(p for row in w for p in row)], [[0.5, -1.0], [0.0, 0.0], [-2.0, 0.25]])


def leapfrog_of_a_learned_energy(e):
    k, c = e.value(1.5), e.value(0.1)

    def force(q):
        return -e.grad(0.5 * k * q**2 + c * q**4, q)

    def loss(q, p):
        for _ in range(3):
            p = p + 0.05 * force(q)
            q = q + 0.1 * p
            p = p + 0.05 * force(q)
        return (q - 0.3) ** 2 + p**2

    return with_grads(e, loss, [k, c], POINTS, POINTS[::-1])


def euler_lagrange(e):
    """The acceleration of two coupled arms from its Lagrangian: mixed second derivatives."""
    mass, length = e.value(1.5), e.value(0.75)

    def loss(q, v):
        inertia = mass * length**2 * (1.5 + q.cos())
        by_q, by_v = e.grad(0.5 * inertia * v**2 + 9.81 * mass * length * q.cos(), [q, v])
        mixed, inertia = e.grad(by_v, [q, v])
        return ((by_q - mixed * v) / inertia) ** 2

    return with_grads(e, loss, [mass, length], POINTS, POINTS[::-1])


def curvature_of_a_curve(e):
    a = e.values([1.0, 0.5])

    def curvature(t):
        x, y = a[0] * t.cos() + 0.1 * t**2, a[1] * t.sin() * t.exp()
        dx, dy = e.grad(x, t), e.grad(y, t)
        return abs(dx * e.grad(dy, t) - dy * e.grad(dx, t)) / (dx * dx + dy * dy) ** 1.5

    return with_grads(e, curvature, a, POINTS)


def score_matching(e):
    """The trace of a Hessian and the square of a gradient of log p."""
    w = e.values(drawn(79, 3, 3))

    def loss(xs):
        x = [xs[0], xs[1]]
        log_p = -sum(e.F.gelu(a * x[0] + b * x[1] + c) ** 2 for a, b, c in w)
        scores = e.grad(log_p, x)
        trace = sum(e.grad(score, x)[i] for i, score in enumerate(scores))
        return trace + 0.5 * sum(score**2 for score in scores)

    return with_grads(e, loss, [p for row in w for p in row], drawn(80, 4, 2))


def a_gradient_step_inside_the_loss(e):
    """Meta-learning: the loss after one step on the task's own sample."""
    w, b, rate = e.value(0.5), e.value(-0.25), e.value(0.1)

    def error(w, b, x, y):
        return ((w * x + b).tanh() - y) ** 2

    def loss(x, y, test_x, test_y):
        dw, db = e.grad(error(w, b, x, y), [w, b])
        return error(w - rate * dw, b - rate * db, test_x, test_y)

    return with_grads(e, loss, [w, b, rate], POINTS, POINTS[::-1], [*POINTS[1:], 1.0], POINTS[:1] * 5)


def fisher_information(e):
    """Of a logistic model: the square of the gradient of log p, against minus its second derivative."""
    w = e.value(0.75)

    def difference(x, y):
        log_p = y * (w * x).sigmoid().log() + (1 - y) * (1 - (w * x).sigmoid()).log()
        score = e.grad(log_p, w)
        return score**2 + e.grad(score, w)

    return with_grads(e, difference, [w], POINTS, [1.0, 0.0, 1.0, 0.0, 1.0])


def greeks_of_an_option(e):
    """Black and Scholes: delta, gamma, vega and vanna."""
    rate = e.value(0.02)

    def greeks(spot, strike, volatility, years):
        spread = volatility * years.sqrt()
        d1 = ((spot / strike).log() + (rate + 0.5 * volatility**2) * years) / spread
        phi = [0.5 * (1 + e.F.erf(d * math.sqrt(0.5))) for d in (d1, d1 - spread)]
        price = spot * phi[0] - strike * (-rate * years).exp() * phi[1]
        delta, vega = e.grad(price, [spot, volatility])
        gamma, vanna = e.grad(delta, [spot, volatility])
        return price + 2 * delta + 3 * vega + 5 * gamma + 7 * vanna

    return with_grads(e, greeks, [rate], [90.0, 100.0, 120.0], [100.0] * 3, [0.2, 0.25, 0.4], [0.5, 1.0, 2.0])


def inputs_moved_against_the_loss(e):
    """Adversarial training: the loss one step up the gradient by the inputs, through a norm and a linear layer."""
    w, gain = e.values(drawn(81, 3, 2)), e.values([1.0, 0.5, -0.5])

    def error(x, label):
        return e.F.cross_entropy(e.F.gelu(e.F.layer_norm(e.F.linear(x, w), gain)), label)

    def loss(xs, label):
        x = [xs[0], xs[1]]
        moved = [xi + 0.1 * g for xi, g in zip(x, e.grad(error(x, label), x))]
        return error(x, label) + error(moved, label)

    return with_grads(e, loss, [gain, w], drawn(82, 4, 2), [0, 2, 1, 2])


def words_moved_against_the_loss(e):
    """The same for rows of a table, chosen by indices, in attention."""
    table, keys, values = e.values(drawn(83, 4, 3)), e.values(drawn(84, 4, 3)), e.values(drawn(85, 4, 3))

    def error(query, following):
        return e.F.cross_entropy(e.F.scaled_dot_product_attention(query, keys, values), following)

    def loss(word, following):
        row = list(e.F.embedding(word, table))
        grads = e.grad(error(row, following), row)
        return error([x + 0.5 * g for x, g in zip(row, grads)], following) + sum(g * g for g in grads)

    return with_grads(e, loss, [table, keys, values], [0, 3, 1], [1, 2, 2])


def influence_of_samples(e):
    """A Hessian times a vector, by the weights, for each sample: no Hessian is made."""
    w = e.values(drawn(86, 3, 2))
    rows = [p for row in w for p in row]

    def along(xs, label, vector):
        logs = e.F.log_softmax([sum(wi * x for wi, x in zip(row, xs)) for row in w])
        slope = sum(g * v for g, v in zip(e.grad(-e.F.take(logs, label), rows), vector))
        return sum(h * h for h in e.grad(slope, rows))

    return with_grads(e, along, w, drawn(87, 3, 2), [0, 2, 1], drawn(88, 3, 6))


def taylors_series(e):
    """Of functions that have no end of derivatives, by the fourth."""
    a = e.values([0.7, 1.3])

    def series(x, step):
        y = (a[0] * x).atan() + (a[1] * x).erf() * x.cosh() + (1 + x * x).log10()
        total, power = y, 1.0
        for n in range(1, 5):
            y, power = e.grad(y, x), power * step / n
            total = total + y * power
        return total

    return with_grads(e, series, a, [-0.9, 0.2, 1.1], [0.3, -0.5, 0.1])


def smooth_and_kinked(e):
    """Second derivatives of activations with a kink, also at it."""
    w = e.value(1.0)
    names = ["relu", "elu", "selu", "leaky_relu", "softsign", "silu", "mish"]

    def loss(x):
        y = (
            sum(getattr(e.F, name)(w * x) for name in names)
            + e.F.maximum(w * x, 0.5) ** 2
            + e.F.clamp(w * x, -1.0, 1.0) ** 3
        )
        return e.grad(e.grad(y, x), x) + e.grad(y, x)

    return with_grads(e, loss, [w], [*POINTS, 0.5, -1.0, 1.0])


PROGRAMS = [
    a_gradient_step_inside_the_loss,
    burgers_with_a_choice,
    curvature_of_a_curve,
    euler_lagrange,
    fisher_information,
    gradient_penalty,
    greeks_of_an_option,
    halley_by_the_third_derivative,
    heat_equation,
    influence_of_samples,
    inputs_moved_against_the_loss,
    leapfrog_of_a_learned_energy,
    oscillator_by_a_network,
    score_matching,
    smooth_and_kinked,
    taylors_series,
    words_moved_against_the_loss,
]


@each_program(*PROGRAMS, eager_only=[newton_for_a_minimum, newton_for_a_root])
def test_derivatives(program, engine):
    assert_as_in_torch(program, engine)
