"""step() and zero_grad(): closures, changed options, subclasses."""

from __future__ import annotations

import math

import pytest

from helpers import START, descend, set_grads, values
from micrograd import Value
from micrograd.optim import SGD, Adam


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


def test_the_closure_may_add_a_parameter():
    first, second = values([3.0, 4.0])
    optimizer = SGD([first], lr=0.5)

    def closure():
        optimizer.param_groups[0]["params"].append(second)
        first.grad = second.grad = 2.0

    optimizer.step()
    optimizer.step(closure)
    assert (first.data, second.data) == (2.0, 3.0)


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
    params = values(START)
    set_grads(params, [1.0, math.nan, math.inf, -2.0, 3.0])
    SGD([{"params": params[:2]}, {"params": params[2:]}]).zero_grad(**how)
    assert [str(p.grad) for p in params] == ["0.0"] * 5
    assert [p.data for p in params] == START


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


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_momentum_that_is_turned_on_later_begins_with_the_grad(weight_decay):
    """Undamped, as in a first step."""
    params = values([1.0])
    params[0].grad = 2.0
    optimizer = SGD(params, lr=0.5, weight_decay=weight_decay)
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}
    before = params[0].data
    optimizer.param_groups[0].update(momentum=0.5, dampening=0.25)
    optimizer.step()
    gain = 2.0 + weight_decay * before
    assert (params[0].data, optimizer.state_dict()["state"]) == (before - 0.5 * gain, {0: {"momentum_buffer": gain}})


def test_a_step_over_4192_parameters_makes_no_nodes(isolated):
    """The next node gets the slot it would get without the step, and Python's memory does not grow."""
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
slot = max(64, sys.getsizeof(result))  # a Value of 32 bits does not fill it
assert id(params[0] + 1) - id(result) == slot  # the next one: results are handed out in order
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
