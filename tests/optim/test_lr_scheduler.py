"""Learning rates of the schedulers: their closed forms, PyTorch's to the bit, saved state, refusals."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest

from helpers import values
from micrograd import optim
from micrograd.optim import SGD, Adam, lr_scheduler
from micrograd.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, LRScheduler, StepLR

LRS = [0.3, 0.07]


def cosine(lr, way, low=0.0):
    """On the half period from `lr` to `low`, after a part of the way."""
    return low + (lr - low) * (1 + math.cos(math.pi * way)) / 2


def line(lr, way, start, end=1.0):
    """The same on a straight line between two factors."""
    return lr * (start + (end - start) * min(way, 1.0))


def warm_then_decay(step):
    return min(1.0, (step + 1) / 20) / (1 + 0.01 * step)


class Decay:
    """A factor with state of its own."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate**step


# Scheduler, options, and the learning rate after `t` steps from `lr`.
CASES = [
    (StepLR, {"step_size": 30}, lambda lr, t: lr * 0.1 ** (t // 30)),
    (StepLR, {"step_size": 1, "gamma": 0.99}, lambda lr, t: lr * 0.99**t),
    (StepLR, {"step_size": 7, "gamma": 1.1}, lambda lr, t: lr * 1.1 ** (t // 7)),
    (ExponentialLR, {"gamma": 0.97}, lambda lr, t: lr * 0.97**t),
    (ExponentialLR, {"gamma": 1.0}, lambda lr, t: lr),
    (CosineAnnealingLR, {"T_max": 50}, lambda lr, t: cosine(lr, t / 50)),
    (CosineAnnealingLR, {"T_max": 7, "eta_min": 0.01}, lambda lr, t: cosine(lr, t / 7, 0.01)),
    (CosineAnnealingLR, {"T_max": 1}, lambda lr, t: lr * (t % 2 == 0)),
    (CosineAnnealingLR, {"T_max": 1000, "eta_min": 0.5}, lambda lr, t: cosine(lr, t / 1000, 0.5)),
    (LinearLR, {}, lambda lr, t: line(lr, t / 5, 1 / 3)),
    (LinearLR, {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 200}, lambda lr, t: line(lr, t / 200, 1.0, 0.0)),
    (LinearLR, {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 33}, lambda lr, t: line(lr, t / 33, 0.1, 0.5)),
    (LinearLR, {"start_factor": 0.5, "total_iters": 0}, lambda lr, t: lr * 0.5),
    (LambdaLR, {"lr_lambda": warm_then_decay}, lambda lr, t: lr * warm_then_decay(t)),
]
NAMES = [f"{kind.__name__} {'' if 'lr_lambda' in options else options}" for kind, options, _ in CASES]
each = pytest.mark.parametrize(("kind", "options", "closed"), CASES, ids=NAMES)
STEPS = 400


def ours(kind=SGD, lrs=LRS, **options):
    return kind([{"params": values([1.0, 2.0]), "lr": lr} for lr in lrs], **options)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def follow(optimizer, *schedulers, steps=STEPS):
    """The learning rates of the groups before the first step and after each."""
    path = [rates(optimizer)]
    for _ in range(steps):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        path.append(rates(optimizer))
    return path


@each
def test_learning_rates_are_those_of_the_closed_form(kind, options, closed):
    optimizer = ours()
    scheduler = kind(optimizer, **options)
    for t, lrs in enumerate(follow(optimizer, scheduler)):
        assert lrs == pytest.approx([closed(lr, t) for lr in LRS], rel=1e-9, abs=1e-15), t
    assert scheduler.get_last_lr() == rates(optimizer)
    assert scheduler.last_epoch == STEPS
    assert scheduler.base_lrs == LRS


def theirs(torch):
    return torch.optim.SGD([{"params": [torch.zeros(2, requires_grad=True)], "lr": lr} for lr in LRS])


@each
def test_learning_rates_are_pytorchs_to_the_bit(kind, options, closed):
    torch = pytest.importorskip("torch")
    mine, other = ours(), theirs(torch)
    scheduler = kind(mine, **options)
    their_scheduler = getattr(torch.optim.lr_scheduler, kind.__name__)(other, **options)
    assert follow(mine, scheduler) == follow(other, their_scheduler)
    assert scheduler.get_last_lr() == their_scheduler.get_last_lr()


def test_functions_one_for_each_group():
    torch = pytest.importorskip("torch")
    factors = [lambda step: 0.9**step, Decay(0.5)]
    mine, other = ours(), theirs(torch)
    path = follow(mine, LambdaLR(mine, factors))
    assert path == follow(other, torch.optim.lr_scheduler.LambdaLR(other, factors))
    assert path[2] == [0.3 * 0.9**2, 0.07 * 0.25]


def test_schedulers_of_one_optimizer_and_changes_by_hand_add_up_as_in_pytorch():
    torch = pytest.importorskip("torch")
    paths = []
    for optimizer, home in (ours(), lr_scheduler), (theirs(torch), torch.optim.lr_scheduler):
        chain = [
            home.LinearLR(optimizer, start_factor=0.25, total_iters=10),
            home.CosineAnnealingLR(optimizer, T_max=30, eta_min=0.001),
            home.StepLR(optimizer, step_size=25, gamma=0.5),
            home.ExponentialLR(optimizer, gamma=0.999),
        ]
        path = follow(optimizer, *chain, steps=60)
        optimizer.param_groups[1]["lr"] *= 3
        paths.append([*path, *follow(optimizer, *chain, steps=60), [s.get_last_lr() for s in chain]])
    assert paths[0] == paths[1]


@each
def test_a_schedule_resumed_by_last_epoch_is_pytorchs(kind, options, closed):
    torch = pytest.importorskip("torch")
    paths = []
    for optimizer, home in (ours(), lr_scheduler), (theirs(torch), torch.optim.lr_scheduler):
        for group in optimizer.param_groups:
            group["initial_lr"] = 2 * group["lr"]
        scheduler = getattr(home, kind.__name__)(optimizer, **options, last_epoch=6)
        paths.append([*follow(optimizer, scheduler, steps=50), scheduler.base_lrs])
    assert paths[0] == paths[1]


@each
@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_a_saved_schedule_goes_on(kind, options, closed, way):
    optimizer = ours(Adam)
    scheduler = kind(optimizer, **options)
    follow(optimizer, scheduler, steps=37)
    if way == "state_dict":
        again = ours(Adam, lrs=[1.0, 1.0])
        resumed = kind(again, **options)
        state = pickle.loads(pickle.dumps((scheduler.state_dict(), optimizer.state_dict())))
        resumed.load_state_dict(state[0])
        again.load_state_dict(state[1])
    else:
        copied = copy.deepcopy if way == "deepcopy" else lambda x: pickle.loads(pickle.dumps(x))
        resumed, again = copied((scheduler, optimizer))
        assert resumed.optimizer is again
    assert resumed.state_dict() == scheduler.state_dict()
    assert follow(again, resumed, steps=60) == follow(optimizer, scheduler, steps=60)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(LinearLR, {"end_factor": 0.0, "total_iters": 4}), (ExponentialLR, {"gamma": -0.5})],
    ids=["by rounding", "by a factor"],
)
def test_a_learning_rate_below_zero_can_be_saved_and_loaded(kind, options):
    optimizer = ours(Adam)
    follow(optimizer, kind(optimizer, **options), steps=5)
    assert max(rates(optimizer)) < 0.0
    again = ours(Adam)
    again.load_state_dict(optimizer.state_dict())
    assert rates(again) == rates(optimizer)


@each
def test_pytorch_and_this_package_load_each_others_state(kind, options, closed):
    torch = pytest.importorskip("torch")
    mine, other = ours(), theirs(torch)
    scheduler = kind(mine, **options)
    their_scheduler = getattr(torch.optim.lr_scheduler, kind.__name__)(other, **options)
    follow(other, their_scheduler, steps=21)
    scheduler.load_state_dict(their_scheduler.state_dict())
    for group, lr in zip(mine.param_groups, rates(other)):
        group["lr"] = lr
    path = follow(mine, scheduler, steps=21)
    assert path == follow(other, their_scheduler, steps=21)
    their_scheduler.load_state_dict(scheduler.state_dict())
    assert follow(mine, scheduler, steps=21) == follow(other, their_scheduler, steps=21)


def test_factors_that_are_objects_keep_their_attributes_in_the_state():
    optimizer = ours()
    scheduler = LambdaLR(optimizer, [Decay(0.5), warm_then_decay])
    assert scheduler.state_dict()["lr_lambdas"] == [{"rate": 0.5}, None]
    again = LambdaLR(ours(), [Decay(0.9), warm_then_decay])
    again.load_state_dict(scheduler.state_dict())
    assert again.lr_lambdas[0].rate == 0.5
    several, others = LambdaLR(ours(), [Decay(0.5), Decay(0.25)]), LambdaLR(ours(), [Decay(0.9), Decay(0.8)])
    others.load_state_dict(several.state_dict())
    assert [factor.rate for factor in others.lr_lambdas] == [0.5, 0.25]
    built_in = LambdaLR(ours(), math.exp)
    assert built_in.state_dict()["lr_lambdas"] == [{}, {}]
    built_in.load_state_dict(built_in.state_dict())


@pytest.mark.parametrize("held", [["x", None], [{"rate": 0.1}, {"rate": 0.1}], 0.5, [0.5, None]])
def test_attributes_of_factors_that_do_not_fit_are_refused_and_change_nothing(held):
    scheduler = LambdaLR(ours(), [Decay(0.5), math.exp])
    before = scheduler.state_dict()
    with pytest.raises(TypeError):
        scheduler.load_state_dict({**before, "last_epoch": 7, "lr_lambdas": held})
    assert scheduler.state_dict() == before


def test_state_dict_is_a_copy():
    scheduler = StepLR(ours(), step_size=1)
    scheduler.state_dict()["base_lrs"][0] = 5.0
    scheduler.get_last_lr()[0] = 5.0
    assert scheduler.base_lrs == scheduler.get_last_lr() == LRS


def test_a_scheduler_of_ones_own():
    class Halving(LRScheduler):
        def get_lr(self):
            return [lr / 2**self.last_epoch for lr in self.base_lrs]

    optimizer = ours(lrs=[1.0])
    assert follow(optimizer, Halving(optimizer), steps=3) == [[1.0], [0.5], [0.25], [0.125]]
    with pytest.raises(NotImplementedError, match="LRScheduler has no get_lr"):
        LRScheduler(ours())


# ---- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda o: StepLR("x", 3), TypeError, "str is not an Optimizer"),
        (lambda o: LambdaLR("x", []), TypeError, "str is not an Optimizer"),
        (lambda o: StepLR(o, 0), ValueError, "step_size must be positive, not 0"),
        (lambda o: CosineAnnealingLR(o, T_max=-2), ValueError, "T_max must be positive, not -2"),
        (lambda o: LinearLR(o, start_factor=0.0), ValueError, "greater than 0 and at most 1, not 0.0"),
        (lambda o: LinearLR(o, start_factor=math.nan), ValueError, "start_factor must be greater than 0"),
        (lambda o: LinearLR(o, end_factor=1.5), ValueError, "end_factor must be between 0 and 1, not 1.5"),
        (lambda o: StepLR(o, "3"), TypeError, "step_size must be a real number, not 'str'"),
        (lambda o: StepLR(o, 3, gamma=None), TypeError, "gamma must be a real number, not 'NoneType'"),
        (lambda o: ExponentialLR(o, "0.9"), TypeError, "gamma must be a real number, not 'str'"),
        (lambda o: CosineAnnealingLR(o, 3, eta_min=[0.1]), TypeError, "eta_min must be a real number, not 'list'"),
        (lambda o: LinearLR(o, start_factor="a"), TypeError, "start_factor must be a real number, not 'str'"),
        (lambda o: LinearLR(o, end_factor=None), TypeError, "end_factor must be a real number, not 'NoneType'"),
        (lambda o: LinearLR(o, total_iters="5"), TypeError, "total_iters must be a real number, not 'str'"),
        (lambda o: LambdaLR(o, 0.9), TypeError, "lr_lambda must be a function or a list of them, not 'float'"),
        (
            lambda o: LambdaLR(o, [warm_then_decay, 0.9]),
            TypeError,
            "an item of lr_lambda must be a function, not 'float'",
        ),
        (lambda o: LambdaLR(o, [warm_then_decay]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda o: ExponentialLR(o, 0.9, last_epoch=3), KeyError, "'initial_lr' is not specified in param_groups[0]"),
    ],
)
def test_arguments_that_are_refused(make, error, text):
    optimizer = ours()
    with pytest.raises(error, match=re.escape(text)):
        make(optimizer)
    assert [sorted(group) for group in optimizer.param_groups] == [sorted(group) for group in ours().param_groups]


def test_a_state_that_was_saved_or_loaded_is_not_shared():
    scheduler, other = StepLR(ours(), 3), StepLR(ours(), 3)
    state = scheduler.state_dict()
    other.load_state_dict(state)
    for shared in (state["base_lrs"], state["_last_lr"], other.get_last_lr(), scheduler.get_last_lr()):
        shared[0] = 7.0
    assert other.state_dict() == scheduler.state_dict() == StepLR(ours(), 3).state_dict()


def test_a_step_that_fails_changes_nothing():
    optimizer = ours()
    scheduler = LambdaLR(optimizer, [warm_then_decay, lambda step: 1 / (1 - step)])
    before = scheduler.state_dict(), rates(optimizer)
    with pytest.raises(ZeroDivisionError):
        scheduler.step()
    assert (scheduler.state_dict(), rates(optimizer)) == before

    def interrupted(step):
        raise KeyboardInterrupt

    scheduler.lr_lambdas[1] = interrupted
    with pytest.raises(KeyboardInterrupt):
        scheduler.step()
    assert (scheduler.last_epoch, rates(optimizer)) == (before[0]["last_epoch"], before[1])
    scheduler = CosineAnnealingLR(ours(), 10)
    scheduler.optimizer.add_param_group({"params": values([3.0])})
    StepLR(scheduler.optimizer, 10).step()
    for _ in range(10):
        scheduler.last_epoch += 1
    with pytest.raises(ValueError, match="2 learning rates for an optimizer with 3 parameter groups"):
        scheduler.step()
    assert scheduler.last_epoch == 10


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: [s], TypeError, "state_dict must be a mapping, not 'list'"),
        (lambda s: {}, ValueError, "the state of StepLR lacks 'step_size', 'gamma', 'base_lrs'"),
        (lambda s: {**s, "base_lrs": [0.1]}, ValueError, "base_lrs of the state has 1 items, not 2"),
        (lambda s: {**s, "_last_lr": [0.1] * 3}, ValueError, "_last_lr of the state has 3 items, not 2"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, error, text):
    scheduler = StepLR(ours(), 3)
    before = scheduler.state_dict()
    with pytest.raises(error, match=re.escape(text)):
        scheduler.load_state_dict(change(before))
    assert scheduler.state_dict() == before


def test_the_module_is_reached_as_in_pytorch(isolated):
    assert optim.lr_scheduler is lr_scheduler
    source = "from micrograd import optim; print(optim.lr_scheduler.StepLR.__module__, hasattr(optim, 'lr_schedule'))"
    assert isolated(source) == "micrograd.optim.lr_scheduler False\n"
