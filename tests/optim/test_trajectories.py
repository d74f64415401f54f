"""The path that each optimizer takes: against its formulas in plain Python and against PyTorch."""

from __future__ import annotations

import math
import random

import pytest

from helpers import CLOSE, START, descend, each, set_grads, values
from micrograd import nn
from micrograd.optim import SGD, Adam, AdamW, RMSprop

STEPS = 1000


DECAY_AND_SIGN = [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "maximize": True}]


MOMENTUM = [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}, {"momentum": 0.9, "nesterov": True}]


CASES = [
    *((SGD, {"lr": 0.01, **some, **more}) for some in MOMENTUM for more in DECAY_AND_SIGN),
    *(
        (kind, {"lr": 0.01, "amsgrad": amsgrad, **more})
        for kind in (Adam, AdamW)
        for amsgrad in (False, True)
        for more in DECAY_AND_SIGN
    ),
    (SGD, {"lr": 0.01, "dampening": 0.5}),
    (Adam, {"lr": 0.01, "maximize": True}),
    (SGD, {}),
    (Adam, {}),
    (AdamW, {}),
    (Adam, {"lr": 0.02, "betas": (0.95, 0.5), "eps": 0.1, "amsgrad": True}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (AdamW, {"lr": 0.005, "betas": (0.85, 0.99), "weight_decay": 0.01}),
    *(
        (RMSprop, {"lr": 0.001, "momentum": momentum, "centered": centered, **more})
        for momentum in (0, 0.9)
        for centered in (False, True)
        for more in DECAY_AND_SIGN
    ),
    (RMSprop, {"lr": 0.005, "alpha": 0.4, "eps": 0.1, "centered": True}),
    (RMSprop, {"lr": 0.005, "alpha": 0.0, "eps": 0.01, "momentum": 0.5}),
]


# With these options the path on the objective is chaotic: another order of rounding leads elsewhere.
CHAOTIC = [
    (Adam, {"lr": 0.02, "betas": (0.0, 0.9)}),
    (Adam, {"lr": 0.02, "betas": (0.3, 0.0), "eps": 1e-3}),
    (RMSprop, {}),
]


# ---- A problem with valleys ------------------------------------------------------------------------------------------


def _sign(options) -> float:
    return -1.0 if options.get("maximize") else 1.0


def gradient(x: list[float]) -> list[float]:
    grads = [0.0] * len(x)
    for i, (a, b) in enumerate(zip(x, x[1:])):
        grads[i] += -2 * a * (b - a * a) - 0.5 * (1 - a) + 0.9 * math.cos(3 * a)
        grads[i + 1] += b - a * a
    return grads


def apart(x, y) -> float:
    """The greatest difference, relative to the greatest of the numbers: a point may cross zero."""
    return max(abs(a - b) for a, b in zip(x, y)) / max(map(abs, y))


# ---- Trajectories ----------------------------------------------------------------------------------------------------


def oracle_sgd(lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    buffers: dict[int, float] = {}

    def update(i, x, g, step):
        g = (-g if maximize else g) + weight_decay * x
        if momentum:
            buffers[i] = momentum * buffers[i] + (1 - dampening) * g if i in buffers else g
            g = g + momentum * buffers[i] if nesterov else buffers[i]
        return x - lr * g

    return update


def oracle_adam(
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
):
    m: dict[int, float] = {}
    v: dict[int, float] = {}
    highest: dict[int, float] = {}

    def update(i, x, g, step):
        g = -g if maximize else g
        if decoupled_weight_decay:
            x -= lr * weight_decay * x
        else:
            g += weight_decay * x
        m[i] = betas[0] * m.get(i, 0.0) + (1 - betas[0]) * g
        v[i] = betas[1] * v.get(i, 0.0) + (1 - betas[1]) * g**2
        highest[i] = max(highest.get(i, 0.0), v[i])
        m_hat = m[i] / (1 - betas[0] ** step)
        v_hat = (highest if amsgrad else v)[i] / (1 - betas[1] ** step)
        return x - lr * m_hat / (math.sqrt(v_hat) + eps)

    return update


def oracle_adamw(weight_decay=1e-2, **options):
    return oracle_adam(weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def oracle_rmsprop(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False):
    v: dict[int, float] = {}
    mean: dict[int, float] = {}
    buffers: dict[int, float] = {}

    def update(i, x, g, step):
        g = (-g if maximize else g) + weight_decay * x
        v[i] = alpha * v.get(i, 0.0) + (1 - alpha) * g**2
        mean[i] = alpha * mean.get(i, 0.0) + (1 - alpha) * g
        buffers[i] = momentum * buffers.get(i, 0.0) + g / (math.sqrt(v[i] - centered * mean[i] ** 2) + eps)
        return x - lr * buffers[i]

    return update


ORACLES = {SGD: oracle_sgd, Adam: oracle_adam, AdamW: oracle_adamw, RMSprop: oracle_rmsprop}


@each(CASES)
def test_the_trajectory_is_the_formulas(kind, options):
    params, sign = values(START), _sign(options)
    path = descend(kind(params, **options), params, STEPS, sign)
    update, x = ORACLES[kind](**options), list(START)
    for step, point in enumerate(path, 1):
        x = [update(i, xi, sign * g, step) for i, (xi, g) in enumerate(zip(x, gradient(x)))]
        assert apart(point, x) <= 1e-12, f"step {step}"
    assert max(abs(a - b) for a, b in zip(x, START)) > 0.1


@pytest.mark.slow
@each(CASES)
def test_the_trajectory_is_pytorchs(kind, options):
    torch = pytest.importorskip("torch")
    params, sign = values(START), _sign(options)
    path = descend(kind(params, **options), params, STEPS, sign)
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    theirs = getattr(torch.optim, kind.__name__)([x], **options)
    for step, point in enumerate(path, 1):
        theirs.zero_grad()
        a, b = x[:-1], x[1:]
        c = b - a * a
        (sign * (0.5 * c * c + 0.25 * (1 - a) * (1 - a) + 0.3 * torch.sin(3 * a)).sum()).backward()
        theirs.step()
        assert apart(point, x.tolist()) <= 1e-12, f"step {step}"


def grads_of_all_sizes(count, steps):
    """Some are 0.0. No function has to have these gradients."""
    draw = random.Random(7)
    return [
        [draw.gauss(0, 1) * 10 ** draw.uniform(-8, 3) * (draw.random() > 0.1) for _ in range(count)]
        for _ in range(steps)
    ]


@each(CASES + CHAOTIC)
def test_given_grads_move_parameters_by_the_formulas(kind, options):
    x = grads_of_all_sizes(30, 1)[0]
    params = values(x)
    optimizer, update = kind(params, **options), ORACLES[kind](**options)
    for step, grads in enumerate(grads_of_all_sizes(30, 100), 1):
        set_grads(params, grads)
        optimizer.step()
        x = [update(i, xi, g, step) for i, (xi, g) in enumerate(zip(x, grads))]
    assert [p.data for p in params] == pytest.approx(x, **CLOSE)


@each(CASES + CHAOTIC)
def test_given_grads_move_parameters_as_pytorchs(kind, options):
    torch = pytest.importorskip("torch")
    params = values(grads_of_all_sizes(30, 1)[0])
    x = torch.tensor([p.data for p in params], dtype=torch.float64)
    ours, theirs = kind(params, **options), getattr(torch.optim, kind.__name__)([x], **options)
    for grads in grads_of_all_sizes(30, 100):
        set_grads(params, grads)
        x.grad = torch.tensor(grads, dtype=torch.float64)
        ours.step()
        theirs.step()
    assert [p.data for p in params] == pytest.approx(x.tolist(), **CLOSE)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 41])
@pytest.mark.parametrize("joined", [0, 5], ids=["together", "some later"])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.1}, {"maximize": True}], ids=str)
@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.usefixtures("rounds_once")
def test_adams_bits_are_those_of_the_same_sums_of_floats(kind, options, joined, count):
    """So they do not depend on the width of the processor's vectors, nor on a parameter's position in them."""
    x = grads_of_all_sizes(count, 1)[0]
    m, v, highest = [0.0] * count, [0.0] * count, [0.0] * count
    params = values(x)
    optimizer = kind(params[: count // 2 + 1] if joined else params, **options)
    group = optimizer.param_groups[0]
    (b1, b2), decay = group["betas"], group["weight_decay"]
    for step, grads in enumerate(grads_of_all_sizes(count, 20)):
        if step == joined:
            group["params"] = params
        set_grads(params, grads)
        optimizer.step()
        for i in range(len(params) if step >= joined else count // 2 + 1):
            age = step + 1 - (joined if i > count // 2 else 0)
            g = _sign(options) * grads[i] + (decay * x[i] if decay and kind is Adam else 0.0)
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            highest[i] = max(highest[i], v[i]) if group["amsgrad"] else v[i]
            correction = math.sqrt(1 - b2**age)
            change = group["lr"] * correction / (1 - b1**age) * m[i]
            change /= math.sqrt(highest[i]) + group["eps"] * correction
            x[i] = (1 - group["lr"] * decay if kind is AdamW else 1.0) * x[i] - change
    assert [p.data for p in params] == x


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
@pytest.mark.usefixtures("rounds_once")
def test_rmsprops_averages_are_those_of_pytorchs_lerp(alpha):
    """To the bit: it goes from the nearer of its two ends, from the second where both are equally far."""
    [param], rest, mean = values([1.0]), 1.0 - alpha, 0.0
    optimizer = RMSprop([param], alpha=alpha, centered=True)
    for (g,) in grads_of_all_sizes(1, 200):
        param.grad = g
        optimizer.step()
        mean = mean + rest * (g - mean) if rest < 0.5 else g - (g - mean) * (1.0 - rest)
        assert optimizer.state_dict()["state"][0]["grad_avg"] == mean


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize(
    ("kind", "options"), [(SGD, {"momentum": 0.9}), (Adam, {}), (Adam, {"amsgrad": True}), (RMSprop, {})]
)
def test_a_grad_that_is_not_finite_goes_where_pytorchs_goes(kind, options, bad):
    torch = pytest.importorskip("torch")
    params = values([1.0, 2.0])
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    ours, theirs = kind(params, **options), getattr(torch.optim, kind.__name__)([x], **options)
    for g in (0.5, bad, 0.5):
        set_grads(params, [g, 0.25])
        x.grad = torch.tensor([g, 0.25], dtype=torch.float64)
        ours.step()
        theirs.step()
        assert [p.data for p in params] == pytest.approx(x.tolist(), nan_ok=True, **CLOSE)
    if options == {"amsgrad": True}:
        highest = [ours.state_dict()["state"][i]["max_exp_avg_sq"] for i in (0, 1)]
        assert highest == pytest.approx(theirs.state[x]["max_exp_avg_sq"].tolist(), nan_ok=True, **CLOSE)


def test_a_network_learns():
    random.seed(1)
    model = nn.MLP(2, [8, 1])
    points = [([x / 4, y / 4], 1.0 if x * y > 0 else -1.0) for x in (-3, -1, 1, 3) for y in (-3, -1, 1, 3)]
    optimizer = Adam(model.parameters(), lr=0.02)

    def closure():
        optimizer.zero_grad()
        loss = sum((model(x) - t) ** 2 for x, t in points)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).data for _ in range(200)]
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_the_learning_rate_can_change_between_steps(kind):
    params = values(START)
    optimizer, update, x = kind(params), None, list(START)
    state: dict[str, object] = {}
    for step in range(1, 200):
        optimizer.param_groups[0]["lr"] = lr = 0.05 / step
        descend(optimizer, params, 1)
        update = ORACLES[kind](lr=lr)
        # The oracle's averages carry over from one learning rate to the next.
        for name, cell in zip(update.__code__.co_freevars, update.__closure__):
            if isinstance(cell.cell_contents, dict):
                cell.cell_contents.update(state.get(name, {}))
                state[name] = cell.cell_contents
        x = [update(i, xi, g, step) for i, (xi, g) in enumerate(zip(x, gradient(x)))]
    assert [p.data for p in params] == pytest.approx(x, **CLOSE)
