"""Training by the optimizers and schedules of the library, and second-order methods, as users of PyTorch write them,
against the same in PyTorch: losses, learning rates and the parameters afterwards."""

from __future__ import annotations

import math

from both_engines import assert_as_in_torch, drawn, each_program

XS = drawn(301, 8, 2)
YS = [math.sin(2 * x[0]) + 0.5 * x[1] for x in XS]


class Model:
    """One hidden layer of tanh; each row ends with the bias."""

    def __init__(self, e, width=3):
        self.hidden, self.out = e.values(drawn(302, width, 3)), e.values(drawn(303, width + 1))
        self.loss = e.batch(lambda xs, y: (self(xs) - y) ** 2)

    def __call__(self, xs):
        hs = [sum((w * x for w, x in zip(row, xs)), row[-1]).tanh() for row in self.hidden]
        return sum((w * h for w, h in zip(self.out, hs)), self.out[-1])

    def parameters(self):
        return [*(w for row in self.hidden for w in row), *self.out]


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def fit(model, optimizer, *schedulers, steps=12, before_step=lambda: None):
    """The losses and learning rates of some steps, and the parameters afterwards."""
    seen = []
    for _ in range(steps):
        loss = model.loss(XS, YS) / len(XS)
        optimizer.zero_grad()
        loss.backward()
        before_step()
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        seen += [loss, rates(optimizer)]
    return [seen, model.parameters()]


def steps_with_nesterov(e):
    model = Model(e)
    optimizer = e.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    return fit(model, optimizer, e.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3))


def exponential_decay_with_adam(e):
    model = Model(e)
    optimizer = e.optim.Adam(model.parameters(), lr=0.05, betas=(0.8, 0.95), amsgrad=True)
    return fit(model, optimizer, e.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9))


def warm_up_and_cosine_with_adamw(e):
    model = Model(e)
    optimizer = e.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.05)
    warm_up = e.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    return fit(model, optimizer, warm_up, e.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-3))


def schedule_of_the_transformer(e):
    """Rises for some steps, and falls with the root of their number."""
    model = Model(e)
    optimizer = e.optim.RMSprop(model.parameters(), lr=0.05, alpha=0.9, momentum=0.5, centered=True)
    schedule = e.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min((n + 1) ** -0.5, (n + 1) * 4**-1.5))
    return fit(model, optimizer, schedule)


def groups_with_rates_of_their_own(e):
    model = Model(e)
    groups = [{"params": model.parameters()[:9]}, {"params": model.out, "lr": 0.3, "momentum": 0.5}]
    optimizer = e.optim.SGD(groups, lr=0.05)
    factors = [lambda n: 0.9**n, lambda n: 1 / (1 + n)]
    return fit(model, optimizer, e.optim.lr_scheduler.LambdaLR(optimizer, factors))


def clipped_in_two_ways(e):
    model, norms = Model(e), []
    optimizer = e.optim.SGD(model.parameters(), lr=0.5)

    def clip():
        norms.append(e.clip_norm(model.parameters(), 0.5))
        e.clip_value(model.parameters(), 0.2)

    return [fit(model, optimizer, before_step=clip), norms]


def grads_of_small_batches_add_up(e):
    model = Model(e)
    optimizer = e.optim.Adam(model.parameters(), lr=0.02)
    for step in range(9):
        loss = model.loss(XS[step % 4 :: 4], YS[step % 4 :: 4]) / len(XS)
        loss.backward()
        if step % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
    return [loss, model.parameters()]


def rate_that_falls_on_a_plateau(e):
    """Written by hand, as there is no scheduler of this kind."""
    model, best, waited, seen = Model(e), math.inf, 0, []
    optimizer = e.optim.SGD(model.parameters(), lr=0.9)
    for _ in range(20):
        fit(model, optimizer, steps=1)
        with e.no_grad():
            held_out = model.loss(XS[:3], YS[:3]).item()
        waited = 0 if held_out < best - 1e-3 else waited + 1
        best = min(best, held_out)
        if waited == 2:
            waited = 0
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
        seen += [held_out, rates(optimizer)]
    return seen


def early_stopping_restores_the_best(e):
    """Patience, then the parameters of the best epoch come back, and the optimizer starts anew."""
    model, best, kept, patience = Model(e), math.inf, [], 0
    optimizer, epochs = e.optim.SGD(model.parameters(), lr=0.6, momentum=0.95), 0
    while patience < 3 and epochs < 40:
        fit(model, optimizer, steps=1)
        with e.no_grad():
            held_out = model.loss(XS[5:], YS[5:]).item()
        epochs, patience = epochs + 1, patience + 1
        if held_out < best:
            best, kept, patience = held_out, [p.item() for p in model.parameters()], 0
    for p, x in zip(model.parameters(), kept):
        p.data += x - p.item()
    return [epochs, best, fit(model, e.optim.SGD(model.parameters(), lr=0.05), steps=2)]


def training_that_is_resumed(e):
    """From the states of an optimizer and a schedule, in new ones."""
    model = Model(e)

    def made():
        optimizer = e.optim.Adam(model.parameters(), lr=0.05)
        return optimizer, e.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)

    optimizer, scheduler = made()
    fit(model, optimizer, scheduler, steps=5)
    states = optimizer.state_dict(), scheduler.state_dict()
    optimizer, scheduler = made()
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    return [fit(model, optimizer, scheduler, steps=5), scheduler.get_last_lr()]


def averages_of_the_weights(e):
    model = Model(e)
    optimizer, averages = e.optim.SGD(model.parameters(), lr=0.2), [p.item() for p in model.parameters()]
    for _ in range(8):
        fit(model, optimizer, steps=1)
        averages = [0.9 * a + 0.1 * p.item() for a, p in zip(averages, model.parameters())]
    return [averages, model.parameters()]


def sharpness_aware_steps(e):
    """The gradient where the loss is greatest nearby."""
    model, seen = Model(e), []
    for _ in range(6):
        grads = e.grads(model.loss(XS, YS), model.parameters())
        norm = math.sqrt(sum(g * g for g in grads))
        shifts = [0.05 * g / norm for g in grads]
        for p, shift in zip(model.parameters(), shifts):
            p.data += shift
        total = model.loss(XS, YS)
        for p, shift, g in zip(model.parameters(), shifts, e.grads(total, model.parameters())):
            p.data -= shift + 0.02 * g
        seen.append(total)
    return [seen, model.parameters()]


def frozen_first_layer(e):
    """Its parameters get grads, which no optimizer uses."""
    model = Model(e)
    return [fit(model, e.optim.AdamW(model.out, lr=0.1)), [model.hidden[0][0].item() == drawn(302, 3, 3)[0][0]]]


def quasi_newton(e):
    """BFGS on Rosenbrock's function, with a search along the line."""
    x, inverse = e.values([-1.2, 1.0]), [[1.0, 0.0], [0.0, 1.0]]

    def value_and_grads():
        y = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        return y.item(), e.grads(y, x)

    y, g = value_and_grads()
    for _ in range(12):
        way = [-sum(h * gi for h, gi in zip(row, g)) for row in inverse]
        slope, length = sum(d * gi for d, gi in zip(way, g)), 1.0
        start, old_y, old_g = [xi.item() for xi in x], y, g
        while True:
            for xi, s, d in zip(x, start, way):
                xi.data += s + length * d - xi.item()
            y, g = value_and_grads()
            if y <= old_y + 1e-4 * length * slope:
                break
            length /= 2
        s, z = [length * d for d in way], [a - b for a, b in zip(g, old_g)]
        rho = 1 / sum(a * b for a, b in zip(s, z))
        keep = [[(i == j) - rho * s[i] * z[j] for j in range(2)] for i in range(2)]
        half = [[sum(keep[i][k] * inverse[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
        inverse = [
            [sum(half[i][k] * keep[j][k] for k in range(2)) + rho * s[i] * s[j] for j in range(2)] for i in range(2)
        ]
    return [y, [xi.item() for xi in x]]


def newton_by_the_hessian(e):
    """Logistic regression of one weight and a bias."""
    at = [0.0, 0.0]

    def loss(v):
        signs = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0]
        return sum((1 + (-s * (v[0] * x + v[1])).exp()).log() for x, s in zip(range(6), signs))

    for _ in range(4):
        (g, h), (a, b) = e.derivative("jacobian", loss, at), e.derivative("hessian", loss, at)
        determinant = a[0] * b[1] - a[1] * b[0]
        at = [at[0] - (b[1] * g - a[1] * h) / determinant, at[1] - (a[0] * h - b[0] * g) / determinant]
    return [at, a, b]


def levenberg_and_marquardt(e):
    """Least squares of a decay, by the Jacobian of its residuals."""
    at, damping, seen = [1.0, -0.1], 0.1, []
    times, seen_there = [0.0, 1.0, 2.0, 4.0], [2.1, 1.2, 0.75, 0.2]

    def residuals(v):
        return [v[0] * (v[1] * t).exp() - y for t, y in zip(times, seen_there)]

    def square(v):
        with e.no_grad():
            return sum(float(r.item()) ** 2 for r in residuals(e.values(v)))

    for _ in range(8):
        rows = e.derivative("jacobian", residuals, at)
        with e.no_grad():
            errors = [float(r.item()) for r in residuals(e.values(at))]
        p, q, r = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
        g, h = (sum(row[i] * error for row, error in zip(rows, errors)) for i in (0, 1))
        determinant = (p + damping) * (r + damping) - q * q
        new = [
            at[0] - ((r + damping) * g - q * h) / determinant,
            at[1] - ((p + damping) * h - q * g) / determinant,
        ]
        better = square(new) < square(at)
        at, damping = (new, damping / 3) if better else (at, damping * 2)
        seen.append(square(at))
    return [at, seen]


def conjugate_gradients_by_hvp(e):
    """One Newton step without a Hessian, for a sum of soft hinges."""
    at = [0.3, -0.2, 0.5]

    def loss(v):
        return sum((v[i] * v[j] - 0.5 * i).tanh() ** 2 for i in range(3) for j in range(i + 1)) + sum(x * x for x in v)

    step, left = [0.0] * 3, [-g for g in e.derivative("jacobian", loss, at)]
    way = left
    for _ in range(3):
        along = e.derivative("hvp", loss, at, way)[1]
        size = sum(r * r for r in left)
        length = size / sum(d * a for d, a in zip(way, along))
        step = [s + length * d for s, d in zip(step, way)]
        left = [r - length * a for r, a in zip(left, along)]
        way = [r + sum(x * x for x in left) / size * d for r, d in zip(left, way)]
    return [step, e.derivative("hvp", loss, at, step)]


PROGRAMS = [
    averages_of_the_weights,
    clipped_in_two_ways,
    early_stopping_restores_the_best,
    exponential_decay_with_adam,
    frozen_first_layer,
    grads_of_small_batches_add_up,
    groups_with_rates_of_their_own,
    rate_that_falls_on_a_plateau,
    schedule_of_the_transformer,
    sharpness_aware_steps,
    steps_with_nesterov,
    training_that_is_resumed,
    warm_up_and_cosine_with_adamw,
]
EAGER_ONLY = [conjugate_gradients_by_hvp, levenberg_and_marquardt, newton_by_the_hessian, quasi_newton]


@each_program(*PROGRAMS, eager_only=EAGER_ONLY)
def test_optimizers(program, engine):
    assert_as_in_torch(program, engine)
