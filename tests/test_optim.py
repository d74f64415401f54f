"""Optimizers and clipping: trajectories against formulas in plain Python and against PyTorch, groups, state, errors."""

from __future__ import annotations

import copy
import math
import pickle
import random
import re

import pytest

from micrograd import Value, nn, optim, utils
from micrograd.optim import SGD, Adam, AdamW, Optimizer
from micrograd.utils import clip_grad_norm_, clip_grad_value_

STEPS = 1000
START = [-0.7, 0.9, 1.4, -1.1, 0.2]
CLOSE = {"rel": 1e-12, "abs": 1e-14}


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
]
# Of these the objective makes chaos, which no two orders of rounding go through together.
CHAOTIC = [
    (Adam, {"lr": 0.02, "betas": (0.0, 0.9)}),
    (Adam, {"lr": 0.02, "betas": (0.3, 0.0), "eps": 1e-3}),
]


def each(cases):
    names = [f"{kind.__name__} {' '.join(f'{k}={v}' for k, v in options.items() if v)}" for kind, options in cases]
    return pytest.mark.parametrize(("kind", "options"), cases, ids=map(str.strip, names))


# ---- A problem with valleys ------------------------------------------------------------------------------------------


def _sign(options) -> float:
    return -1.0 if options.get("maximize") else 1.0


def objective(x, sin):
    """The chained Rosenbrock function with ripples."""
    total = 0.0
    for a, b in zip(x, x[1:]):
        total = total + 0.5 * (b - a * a) * (b - a * a) + 0.25 * (1 - a) * (1 - a) + 0.3 * sin(3 * a)
    return total


def gradient(x: list[float]) -> list[float]:
    grads = [0.0] * len(x)
    for i, (a, b) in enumerate(zip(x, x[1:])):
        grads[i] += -2 * a * (b - a * a) - 0.5 * (1 - a) + 0.9 * math.cos(3 * a)
        grads[i + 1] += b - a * a
    return grads


def descend(optimizer, params, steps, sign=1.0):
    """Steps on the objective by this engine; gives the trajectory."""
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        (sign * objective(params, Value.sin)).backward()
        optimizer.step()
        path.append([p.data for p in params])
    return path


def values(numbers=START) -> list[Value]:
    return [Value(x) for x in numbers]


def apart(x, y) -> float:
    """The greatest difference, relative to the greatest of the numbers: a point may cross zero."""
    return max(abs(a - b) for a, b in zip(x, y)) / max(map(abs, y))


def set_grads(params, grads) -> None:
    for p, g in zip(params, grads):
        p.grad = g


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


ORACLES = {SGD: oracle_sgd, Adam: oracle_adam, AdamW: oracle_adamw}


@each(CASES)
def test_the_trajectory_is_the_formulas(kind, options):
    params, sign = values(), _sign(options)
    path = descend(kind(params, **options), params, STEPS, sign)
    update, x = ORACLES[kind](**options), list(START)
    for step, point in enumerate(path, 1):
        x = [update(i, xi, sign * g, step) for i, (xi, g) in enumerate(zip(x, gradient(x)))]
        assert apart(point, x) <= 1e-12, f"step {step}"
    assert max(abs(a - b) for a, b in zip(x, START)) > 0.1


@each(CASES)
def test_the_trajectory_is_pytorchs(kind, options):
    torch = pytest.importorskip("torch")
    params, sign = values(), _sign(options)
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
    """Some are 0.0; they need not come from anywhere."""
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
def test_adams_bits_are_those_of_the_same_sums_of_floats(kind, options, joined, count):
    """So they depend neither on a processor's vectors nor on where among them a parameter stands."""
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


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize(("kind", "options"), [(SGD, {"momentum": 0.9}), (Adam, {}), (Adam, {"amsgrad": True})])
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


# ---- step and zero_grad ----------------------------------------------------------------------------------------------


def test_step_calls_the_closure_before_it_updates_and_returns_its_loss():
    params = values([3.0])
    optimizer = SGD(params, lr=0.5)
    seen = []

    def closure():
        seen.append(params[0].data)
        params[0].grad = 2.0
        return "the loss"

    assert optimizer.step(closure) == "the loss"
    assert optimizer.step() is None
    assert seen == [3.0]
    assert params[0].data == 1.0


def test_an_exception_in_the_closure_leaves_the_parameters():
    params = values([3.0])
    params[0].grad = 1.0
    optimizer = Adam(params)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    assert params[0].data == 3.0
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("how", [{}, {"set_to_none": True}, {"set_to_none": False}], ids=str)
def test_zero_grad_sets_every_grad_to_0(how):
    params = values()
    set_grads(params, [1.0, math.nan, math.inf, -2.0, 3.0])
    SGD([{"params": params[:2]}, {"params": params[2:]}]).zero_grad(**how)
    assert [str(p.grad) for p in params] == ["0.0"] * 5
    assert [p.data for p in params] == START


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_learning_rate_can_change_between_steps(kind):
    params = values()
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


@pytest.mark.parametrize(("kind", "option", "value"), [(SGD, "momentum", 0.9), (Adam, "amsgrad", True)])
def test_an_option_turned_on_later_begins_then(kind, option, value):
    params = values([1.0])
    optimizer = kind(params, lr=0.1)
    descend(optimizer, [params[0], Value(0.0)], 3)
    optimizer.param_groups[0][option] = value
    optimizer.zero_grad()
    params[0].grad = 0.5
    before = params[0].data
    optimizer.step()
    entry = optimizer.state_dict()["state"][0]
    if kind is SGD:
        assert entry == {"momentum_buffer": 0.5}
        assert params[0].data == before - 0.1 * 0.5
    else:
        assert entry["max_exp_avg_sq"] == entry["exp_avg_sq"]


def test_a_step_over_4192_parameters_makes_no_nodes(isolated):
    """Whatever is made next is where it would have been without, and Python's memory does not grow."""
    isolated(
        """
import sys
from micrograd import Value
from micrograd.optim import Adam
from micrograd.utils import clip_grad_norm_
params = [Value(i / 4192) for i in range(4192)]
optimizer = Adam(params, weight_decay=0.1, amsgrad=True)
for p in params:
    p.grad = 1.0
def round():
    optimizer.step()
    clip_grad_norm_(params, 1.0)
    optimizer.zero_grad()
for _ in range(100):  # the interpreter's own caches
    round()
leaf, result = id(Value(0.0)), params[0] + 1
blocks = sys.getallocatedblocks()
for _ in range(100):
    round()
assert sys.getallocatedblocks() - blocks < 1000  # a node a parameter would be 419,200
assert id(Value(0.0)) == leaf
assert id(params[0] + 1) - id(result) == 64  # the next slot: results are handed out in order
assert all(p._children == () for p in params)
"""
    )


def test_instances_of_subclasses_are_parameters():
    class Weight(Value):
        pass

    params = [Weight(1.0), Value(1.0)]
    set_grads(params, [1.0, 1.0])
    SGD(params, lr=0.5).step()
    assert [p.data for p in params] == [0.5, 0.5]


def test_step_and_zero_grad_can_be_extended_and_replaced():
    calls = []

    class Counting(SGD):
        def step(self, closure=None):
            calls.append("step")
            return super().step(closure)

        def zero_grad(self, set_to_none=True):
            calls.append("zero_grad")
            super().zero_grad(set_to_none=set_to_none)

    params = values([1.0])
    params[0].grad = 1.0
    optimizer = Counting(params, lr=0.5)
    optimizer.step(closure=optimizer.zero_grad)
    assert calls == ["step", "zero_grad"]
    params[0].grad = 1.0
    SGD.step(optimizer)
    assert params[0].data == 0.5
    optimizer.step = lambda closure=None: "replaced"  # as PyTorch's schedulers do
    assert optimizer.step() == "replaced"


def test_an_option_that_changes_the_groups_when_it_is_read():
    params = values([1.0])
    optimizer = SGD(params)

    class Rate:
        def __float__(self):
            optimizer.param_groups.append({**optimizer.param_groups[0], "params": []})
            return 0.5

    optimizer.param_groups[0]["lr"] = Rate()
    params[0].grad = 1.0
    with pytest.raises(IndexError):
        optimizer.step()
    assert params[0].data == 0.5


# ---- Parameter groups ------------------------------------------------------------------------------------------------


def test_groups_have_options_of_their_own():
    torch = pytest.importorskip("torch")
    params = values()
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]

    def groups(p):
        return [{"params": p[:2]}, {"params": p[2], "lr": 0.1, "momentum": 0.5}, {"params": p[3:], "weight_decay": 0.3}]

    ours = SGD(groups(params), lr=0.01, momentum=0.9)
    theirs = torch.optim.SGD(groups(tensors), lr=0.01, momentum=0.9)
    for _ in range(100):
        theirs.zero_grad()
        objective(tensors, torch.sin).backward()
        theirs.step()
    descend(ours, params, 100)
    assert [p.data for p in params] == pytest.approx([t.item() for t in tensors], **CLOSE)


def test_param_groups_show_params_and_every_option():
    a, b = values([1.0, 2.0])
    optimizer = AdamW([{"params": [a], "lr": 0.5, "name": "first"}, {"params": iter([b])}])
    first, second = optimizer.param_groups
    assert first["params"] == [a]
    assert second["params"] == [b]
    assert first["name"] == "first"
    assert (first["lr"], second["lr"]) == (0.5, 1e-3)
    assert second == {
        "params": [b],
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 1e-2,
        "amsgrad": False,
        "maximize": False,
        "decoupled_weight_decay": True,
    }
    assert optimizer.defaults["lr"] == 1e-3


def test_params_is_any_iterable_and_the_list_given_is_not_kept():
    given = values([1.0, 2.0])
    for params in (given, tuple(given), iter(given), dict.fromkeys(given)):
        assert SGD(params).param_groups[0]["params"] == given
    optimizer = SGD(given)
    given.append(Value(3.0))
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_the_dict_of_a_group_stays_its_own():
    group = {"params": values([1.0]), "lr": 0.1}
    optimizer = SGD([group])
    assert optimizer.param_groups[0] is group


@pytest.mark.parametrize("how", ["append", "replace the list", "replace it by a tuple", "add_param_group"])
def test_parameters_that_join_later_start_from_scratch_and_others_go_on(how):
    old, new = values([1.0, 2.0]), Value(3.0)
    optimizer = Adam(old, lr=0.1)
    set_grads([*old, new], [0.5, -1.0, 2.0])
    for _ in range(3):
        optimizer.step()
    group = optimizer.param_groups[0]
    if how == "append":
        group["params"].append(new)
    elif how == "replace the list":
        group["params"] = [old[0], old[1], new]
    elif how == "add_param_group":
        optimizer.add_param_group({"params": new})
    else:
        group["params"] = (old[0], old[1], new)
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert [state[i]["step"] for i in range(3)] == [4.0, 4.0, 1.0]
    assert new.data == pytest.approx(2.9)
    assert [p.data for p in old] == pytest.approx([0.6, 2.4])


def test_state_follows_a_parameter_that_is_moved():
    a, b, c = params = values([1.0, 2.0, 3.0])
    optimizer = SGD([{"params": [a, b]}, {"params": [c]}], momentum=0.9)
    set_grads(params, [10.0, 20.0, 30.0])
    optimizer.step()
    optimizer.param_groups[1]["params"] = [b, c]
    optimizer.param_groups[0]["params"].remove(b)
    optimizer.param_groups.reverse()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    assert [state["state"][i]["momentum_buffer"] for i in range(3)] == [20.0, 30.0, 10.0]


def test_a_parameter_replaced_in_place_is_noticed():
    a, b = values([1.0, 2.0])
    optimizer = SGD([a], lr=1.0)
    optimizer.param_groups[0]["params"][0] = b
    del a
    b.grad = 1.0
    optimizer.step()
    assert b.data == 1.0


def test_parameters_taken_away_are_left_alone():
    a, b = values([1.0, 2.0])
    set_grads([a, b], [1.0, 1.0])
    optimizer = SGD([a, b], lr=0.5, momentum=0.9)
    optimizer.step()
    optimizer.param_groups[0]["params"].clear()
    optimizer.step()
    assert (a.data, b.data) == (0.5, 1.5)
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda groups: groups[0]["params"].append(1.0), TypeError, "'float'"),
        (lambda groups: groups[0]["params"].append(groups[0]["params"][0]), ValueError, "more than once"),
        (lambda groups: groups[0]["params"].append(Value(1.0) + 1), ValueError, "result of an op"),
        (lambda groups: groups[0].update(lr="fast"), TypeError, "lr must be a real number, not 'str'"),
        (lambda groups: groups[0].update(lr=Value(0.1)), TypeError, "lr must be a real number, not 'Value'"),
        (lambda groups: groups[0].update(betas=(0.9, 1.0)), ValueError, r"Invalid betas: \(0.9, 1.0\)"),
    ],
    ids=["not a Value", "twice", "not a leaf", "lr a string", "lr a Value", "betas"],
)
def test_a_change_that_makes_no_sense_is_refused_by_step(change, error, text):
    params = values([1.0])
    params[0].grad = 1.0
    optimizer = Adam(params)
    change(optimizer.param_groups)
    with pytest.raises(error, match=text):
        optimizer.step()
    assert params[0].data == 1.0


# ---- State -----------------------------------------------------------------------------------------------------------

STATEFUL = [
    (SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.01, "momentum": 0.9, "dampening": 0.5}),
    (SGD, {"lr": 0.01}),
    (Adam, {"lr": 0.01}),
    (Adam, {"lr": 0.01, "amsgrad": True}),
    (AdamW, {"lr": 0.01}),
]


def _split(params):
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]


@each(STATEFUL)
@pytest.mark.parametrize("way", ["state_dict", "pickled state_dict", "pickle", "deepcopy"])
def test_training_goes_on_from_saved_state_to_the_bit(kind, options, way):
    params = values()
    optimizer = kind(_split(params), **options)
    descend(optimizer, params, 50)
    if way == "deepcopy":
        resumed, again = copy.deepcopy((params, optimizer))
    elif way == "pickle":
        resumed, again = pickle.loads(pickle.dumps((params, optimizer)))
    else:
        state = optimizer.state_dict()
        resumed = values([p.data for p in params])
        again = kind(_split(resumed), lr=0.7)
        again.load_state_dict(pickle.loads(pickle.dumps(state)) if way != "state_dict" else state)
    assert again.state_dict() == optimizer.state_dict()
    assert descend(again, resumed, 50) == descend(optimizer, params, 50)


@each(STATEFUL)
def test_state_of_pytorch_is_taken_over_and_looks_the_same(kind, options):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]
    theirs = getattr(torch.optim, kind.__name__)(_split(tensors), **options)

    def step():
        theirs.zero_grad()
        objective(tensors, torch.sin).backward()
        theirs.step()

    for _ in range(50):
        step()
    saved = theirs.state_dict()
    saved["state"] = {
        i: {name: None if x is None else float(x) for name, x in entry.items()} for i, entry in saved["state"].items()
    }
    params = values([t.item() for t in tensors])
    ours = kind(_split(params))
    ours.load_state_dict(saved)
    mine = ours.state_dict()
    assert mine["state"] == saved["state"]
    assert [{**group} for group in mine["param_groups"]] == saved["param_groups"]
    descend(ours, params, 50)
    for _ in range(50):
        step()
    assert [p.data for p in params] == pytest.approx([t.item() for t in tensors], **CLOSE)


def test_state_dict_numbers_parameters_through_all_groups():
    params = values([1.0, 2.0, 3.0])
    optimizer = Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    assert optimizer.state_dict()["state"] == {}
    set_grads(params, [1.0, 2.0, 3.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1, 2]]
    assert state["state"][2] == {"step": 1.0, "exp_avg": pytest.approx(0.3), "exp_avg_sq": pytest.approx(0.009)}


def test_state_dict_is_a_copy():
    params = values([1.0])
    optimizer = SGD(params, momentum=0.9)
    params[0].grad = 1.0
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][0]["momentum_buffer"] = 5.0
    state["param_groups"][0]["lr"] = 5.0
    assert optimizer.state_dict()["state"] == {0: {"momentum_buffer": 1.0}}
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_loading_keeps_the_parameters_and_the_groups_and_replaces_the_rest():
    params = values([1.0])
    optimizer = Adam(params, lr=0.1, amsgrad=True)
    group = optimizer.param_groups[0]
    state = Adam(values([2.0]), lr=0.3).state_dict()
    state["param_groups"][0]["initial_lr"] = 0.7
    del state["param_groups"][0]["decoupled_weight_decay"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0] is group
    assert group["params"] == params
    assert (group["lr"], group["amsgrad"], group["initial_lr"]) == (0.3, False, 0.7)
    assert group["decoupled_weight_decay"] is False


def test_adamw_stays_decoupled():
    optimizer = AdamW(values([1.0]))
    optimizer.load_state_dict(Adam(values([1.0])).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def _without(d, *path):
    d = copy.deepcopy(d)
    inner = d
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return d


def _with(d, value, *path):
    d = copy.deepcopy(d)
    inner = d
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return d


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: [s], TypeError, "state_dict must be a mapping, not 'list'"),
        (lambda s: _without(s, "state"), ValueError, "state_dict lacks 'state'"),
        (lambda s: {}, ValueError, "state_dict lacks 'state', 'param_groups'"),
        (lambda s: _with(s, [], "param_groups"), ValueError, "groups of [] parameters, the optimizer of [2]"),
        (lambda s: _with(s, [0], "param_groups", 0, "params"), ValueError, "groups of [1] parameters"),
        (lambda s: _without(s, "param_groups", 0, "lr"), ValueError, "lacks 'lr'"),
        (lambda s: _with(s, -1.0, "param_groups", 0, "lr"), ValueError, "Invalid learning rate: -1.0"),
        (lambda s: _with(s, {}, "state", 7), ValueError, "state_dict has state of 7"),
        (lambda s: _without(s, "state", 0, "exp_avg"), ValueError, "the state of parameter 0 lacks 'exp_avg'"),
        (lambda s: _with(s, 1.0, "state", 1, "momentum"), ValueError, "the state of parameter 1 has 'momentum'"),
        (lambda s: _with(s, True, "param_groups", 0, "amsgrad"), ValueError, "lacks 'max_exp_avg_sq'"),
        (lambda s: _with(s, -1.0, "state", 0, "step"), ValueError, "step of 0 must be at least 0, not -1.0"),
        (lambda s: _with(s, "1", "state", 0, "exp_avg"), TypeError, "exp_avg of 0 must be a real number, not 'str'"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(change, error, text):
    params = values([1.0, 2.0])
    set_grads(params, [1.0, 2.0])
    optimizer = Adam(params)
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(error, match=re.escape(text)):
        optimizer.load_state_dict(change(before))
    assert optimizer.state_dict() == before


def test_state_of_another_optimizer_is_refused():
    params = values([1.0])
    params[0].grad = 1.0
    adam = Adam(params)
    adam.step()
    with pytest.raises(ValueError, match="lacks 'momentum', 'dampening'"):
        SGD(params).load_state_dict(adam.state_dict())


# ---- Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (SGD, {"lr": -0.1}, "Invalid learning rate: -0.1"),
        (SGD, {"momentum": -0.1}, "Invalid momentum value: -0.1"),
        (SGD, {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
        (SGD, {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov momentum requires a momentum and zero"),
        (Adam, {"lr": -0.1}, "Invalid learning rate: -0.1"),
        (Adam, {"lr": math.nan}, "Invalid learning rate: nan"),
        (Adam, {"eps": -1e-8}, "Invalid epsilon value: -1e-08"),
        (Adam, {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        (Adam, {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
        (Adam, {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
        (AdamW, {"lr": -0.1}, "Invalid learning rate: -0.1"),
    ],
)
def test_options_out_of_range(kind, options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        kind(values(), **options)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=re.escape(text)):
        getattr(torch.optim, kind.__name__)([torch.zeros(1)], **options)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda x: SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda x: SGD(x), TypeError, "params must be an iterable of Values or of dicts, not a Value"),
        (lambda x: SGD([1.0]), TypeError, "can only optimize Values, but was given a 'float'"),
        (lambda x: SGD([x, {"params": []}]), TypeError, "was given a 'dict'"),
        (lambda x: SGD([{"params": [x]}, x]), TypeError, "a parameter group must be a dict, not 'Value'"),
        (lambda x: SGD([{"lr": 0.1}]), ValueError, "a parameter group must have 'params', but this one has ['lr']"),
        (lambda x: SGD([{"params": {x}}]), TypeError, "a set has no order"),
        (lambda x: SGD([x, x]), ValueError, "appears more than once"),
        (lambda x: SGD([{"params": [x]}, {"params": [x]}]), ValueError, "appears more than once"),
        (lambda x: SGD([x * 2]), ValueError, "the result of an op"),
        (lambda x: SGD([{"params": x, "lr": -3}]), ValueError, "Invalid learning rate: -3"),
        (lambda x: SGD([x], lr="0.1"), TypeError, "lr must be a real number, not 'str'"),
        (lambda x: SGD([x], 0.1, dampening="no", nesterov=True, momentum=0.9), TypeError, "dampening must be a real"),
        (lambda x: Adam([x], betas=0.9), ValueError, "betas must be two numbers, not 0.9"),
        (lambda x: Adam([x], betas=(0.9, None)), TypeError, "betas[1] must be a real number, not 'NoneType'"),
    ],
)
def test_parameters_and_options_of_a_wrong_kind(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make(Value(1.0))


def test_a_group_that_is_refused_leaves_the_optimizer_as_it_was():
    a, b = values([1.0, 2.0])
    optimizer = SGD([a])
    group = {"params": [b], "lr": -1.0}
    with pytest.raises(ValueError, match="Invalid learning rate"):
        optimizer.add_param_group(group)
    assert group == {"params": [b], "lr": -1.0}
    assert len(optimizer.param_groups) == 1


def test_a_repr_is_pytorchs():
    torch = pytest.importorskip("torch")
    options = {"lr": 0.1, "momentum": 0.9}
    ours = repr(SGD([{"params": values([1.0])}, {"params": values([2.0]), "lr": 0.2}], **options))
    theirs = repr(torch.optim.SGD([{"params": torch.zeros(1)}, {"params": torch.zeros(1), "lr": 0.2}], **options))
    only_theirs = ("foreach", "differentiable", "fused")
    assert ours.split("\n") == [line for line in theirs.split("\n") if not line.strip().startswith(only_theirs)]


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for kind in (SGD, Adam, AdamW):
        ours = kind(values()).defaults
        theirs = getattr(torch.optim, kind.__name__)([torch.zeros(1)]).defaults
        assert ours == {name: theirs[name] for name in ours}


def test_an_optimizer_of_ones_own():
    class Halve(Optimizer):
        def __init__(self, params):
            super().__init__(params, {"by": 2})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data /= group["by"]

    params = values([1.0, 2.0])
    optimizer = Halve([{"params": params[:1]}, {"params": params[1:], "by": 4}])
    optimizer.step()
    assert [p.data for p in params] == [0.5, 0.5]
    assert optimizer.state_dict()["param_groups"] == [{"by": 2, "params": [0]}, {"by": 4, "params": [1]}]
    optimizer.load_state_dict(optimizer.state_dict())
    set_grads(params, [1.0, 1.0])
    optimizer.zero_grad()
    assert [p.grad for p in params] == [0.0, 0.0]
    with pytest.raises(NotImplementedError, match="Optimizer has no step"):
        Optimizer(params, {}).step()


def test_the_modules_are_reached_through_the_package():
    import micrograd

    assert micrograd.optim is optim
    assert micrograd.utils is utils


# ---- Clipping --------------------------------------------------------------------------------------------------------

GRADS = [
    [3.0, -4.0],
    [0.3, -0.4, 0.0],
    [1e-9, -2e3, 5.5, 0.0],
    [0.0, 0.0],
    [math.nan, 1.0],
    [1.0, math.nan, 2.0],
    [math.inf, 1.0],
    [1e200, 1e200],
    [],
]


@pytest.mark.parametrize("grads", GRADS, ids=str)
@pytest.mark.parametrize("norm_type", [2, 1, 3.5, 0, -1.5, math.inf, -math.inf, "inf"], ids=str)
@pytest.mark.parametrize("max_norm", [1.0, 0, 10, math.inf], ids=str)
def test_clip_grad_norm_is_pytorchs(grads, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    params = values([0.0] * len(grads))
    set_grads(params, grads)
    tensors = [torch.zeros((), dtype=torch.float64) for _ in grads]
    for t, g in zip(tensors, grads):
        t.grad = torch.tensor(g, dtype=torch.float64)
    ours = clip_grad_norm_(params, max_norm, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(tensors, max_norm, norm_type)
    assert type(ours) is float
    assert ours == pytest.approx(theirs.item(), nan_ok=True, **CLOSE)
    assert [p.grad for p in params] == pytest.approx([t.grad.item() for t in tensors], nan_ok=True, **CLOSE)


def test_clip_grad_norm_scales_the_grads_to_the_norm():
    params = values([0.0, 0.0])
    set_grads(params, [3.0, -4.0])
    assert clip_grad_norm_(iter(params), 2.5) == 5.0
    assert [p.grad for p in params] == pytest.approx([1.5, -2.0], rel=1e-6)
    assert clip_grad_norm_(params, 2.5) == pytest.approx(2.5, rel=1e-6)
    single = Value(0.0)
    single.grad = -8.0
    assert clip_grad_norm_(single, 1.0, norm_type=1) == 8.0
    assert single.grad == pytest.approx(-1.0, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clip_grad_norm_refuses_what_is_not_finite_where_asked_to(bad):
    params = values([0.0, 0.0])
    set_grads(params, [bad, 1.0])
    with pytest.raises(RuntimeError, match=f"the norm of order 2.0 of the grads is {bad}"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[1].grad == 1.0


@pytest.mark.parametrize("clip_value", [0.5, 0, 2, math.inf], ids=str)
def test_clip_grad_value_is_pytorchs(clip_value):
    torch = pytest.importorskip("torch")
    grads = [3.0, -4.0, 0.25, -0.5, 0.0, math.nan, math.inf, -math.inf]
    params = values([0.0] * len(grads))
    set_grads(params, grads)
    x = torch.zeros(len(grads), dtype=torch.float64)
    x.grad = torch.tensor(grads, dtype=torch.float64)
    clip_grad_value_(params, clip_value)
    torch.nn.utils.clip_grad_value_(x, clip_value)
    assert [p.grad for p in params] == pytest.approx(x.grad.tolist(), nan_ok=True)


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
@pytest.mark.parametrize(
    ("params", "limit", "error", "text"),
    [
        ([Value(1.0), 2.0], 0.1, TypeError, "a parameter must be a Value, not 'float'"),
        ([Value(1.0)], -1.0, ValueError, "must be at least 0, not -1.0"),
        ([Value(1.0)], math.nan, ValueError, "must be at least 0, not nan"),
        ([Value(1.0)], "1", TypeError, "must be a real number, not 'str'"),
    ],
)
def test_what_clipping_refuses(clip, params, limit, error, text):
    params[0].grad = 5.0
    with pytest.raises(error, match=re.escape(text)):
        clip(params, limit)
    assert params[0].grad == 5.0
