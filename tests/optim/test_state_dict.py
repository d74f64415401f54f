"""State: state_dict, load_state_dict, pickles and PyTorch's states."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest

from helpers import CLOSE, START, descend, each, objective, set_grads, values
from micrograd.optim import SGD, Adam, AdamW, RMSprop

STATEFUL = [
    (SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.01, "momentum": 0.9, "dampening": 0.5}),
    (SGD, {"lr": 0.01}),
    (Adam, {"lr": 0.01}),
    (Adam, {"lr": 0.01, "amsgrad": True}),
    (AdamW, {"lr": 0.01}),
    (RMSprop, {"lr": 0.001}),
    (RMSprop, {"lr": 0.001, "momentum": 0.9}),
    (RMSprop, {"lr": 0.001, "momentum": 0.9, "centered": True}),
]


def _split(params):
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]


@each(STATEFUL)
@pytest.mark.parametrize("way", ["state_dict", "pickled state_dict", "pickle", "deepcopy"])
def test_training_goes_on_from_saved_state_to_the_bit(kind, options, way):
    params = values(START)
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


def test_a_group_without_parameters_takes_no_number():
    params = values([1.0, 2.0])
    make = lambda params: Adam([{"params": p} for p in ([], params[:1], [], params[1:])])  # noqa: E731
    optimizer = make(params)
    set_grads(params, [1.0, 2.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[], [0], [], [1]]
    assert list(state["state"]) == [0, 1]
    again = make(values([1.0, 2.0]))
    again.load_state_dict(state)
    assert again.state_dict() == state


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
    optimizer = Adam(params, lr=0.1, amsgrad=True, maximize=True)
    group = optimizer.param_groups[0]
    state = Adam(values([2.0]), lr=0.3).state_dict()
    state["param_groups"][0]["initial_lr"] = 0.7
    del state["param_groups"][0]["decoupled_weight_decay"], state["param_groups"][0]["maximize"]
    group["params"] = iter(params)
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0] is group
    assert group["params"] == params
    assert (group["lr"], group["amsgrad"], group["initial_lr"]) == (0.3, False, 0.7)
    assert (group["decoupled_weight_decay"], group["maximize"]) == (False, False)


def test_options_that_were_loaded_are_copies():
    state = Adam(values([1.0]), betas=[0.5, 0.6]).state_dict()
    optimizer = Adam(values([1.0]))
    optimizer.load_state_dict(state)
    state["param_groups"][0]["betas"][0] = 2.0
    assert optimizer.param_groups[0]["betas"] == [0.5, 0.6]


def test_adamw_stays_decoupled():
    for sizes in ([1], [1, 2, 1]):
        optimizer, adam = (kind([{"params": values([1.0] * n)} for n in sizes]) for kind in (AdamW, Adam))
        optimizer.load_state_dict(adam.state_dict())
        assert [group["decoupled_weight_decay"] for group in optimizer.param_groups] == [True] * len(sizes)


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
        (lambda s: _with(s, math.nan, "param_groups", 0, "lr"), ValueError, "Invalid learning rate: nan"),
        (lambda s: _with(s, "1", "param_groups", 0, "lr"), TypeError, "lr must be a real number, not 'str'"),
        (lambda s: _with(s, -1.0, "param_groups", 0, "eps"), ValueError, "Invalid epsilon value: -1.0"),
        (lambda s: _with(s, {}, "state", 7), ValueError, "state_dict has state of 7"),
        (lambda s: _with(s, s["state"][0], "state", "0"), ValueError, "state_dict has state of '0'"),
        (lambda s: {**s, "state": {str(i): x for i, x in s["state"].items()}}, ValueError, "state of '0', '1'"),
        (lambda s: _without(s, "state", 0, "exp_avg"), ValueError, "the state of parameter 0 lacks 'exp_avg'"),
        (lambda s: _with(s, 1.0, "state", 1, "momentum"), ValueError, "the state of parameter 1 has 'momentum'"),
        (lambda s: _with(s, True, "param_groups", 0, "amsgrad"), ValueError, "lacks 'max_exp_avg_sq'"),
        (lambda s: _with(s, -1.0, "state", 0, "step"), ValueError, "step of 0 must be at least 0, not -1.0"),
        (lambda s: _with(s, math.nan, "state", 0, "step"), ValueError, "step of 0 must be at least 0, not nan"),
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


def test_state_of_options_that_were_turned_off_is_kept():
    params = values([1.0])
    params[0].grad = 2.0
    optimizer = RMSprop(params, momentum=0.5, centered=True)
    optimizer.step()
    optimizer.param_groups[0].update(momentum=0, centered=False)
    state = optimizer.state_dict()
    assert set(state["state"][0]) == {"step", "square_avg", "momentum_buffer", "grad_avg"}
    again = RMSprop(values([1.0]))
    again.load_state_dict(state)
    assert again.state_dict() == state
    state["param_groups"][0]["momentum"] = 0.5
    del state["state"][0]["momentum_buffer"]
    with pytest.raises(ValueError, match="the state of parameter 0 lacks 'momentum_buffer'"):
        again.load_state_dict(state)


def test_state_of_another_optimizer_is_refused():
    params = values([1.0])
    params[0].grad = 1.0
    adam = Adam(params)
    adam.step()
    with pytest.raises(ValueError, match="lacks 'momentum', 'dampening'"):
        SGD(params).load_state_dict(adam.state_dict())
