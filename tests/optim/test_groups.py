"""Parameter groups."""

from __future__ import annotations

import pytest

from helpers import CLOSE, START, descend, objective, set_grads, values
from micrograd import Value
from micrograd.optim import SGD, Adam, AdamW


def test_groups_have_options_of_their_own():
    torch = pytest.importorskip("torch")
    params = values(START)
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
    later = {"params": values([2.0])}
    optimizer.add_param_group(later)
    assert optimizer.param_groups[1] is later
    set_grads([*group["params"], *later["params"]], [1.0, 1.0])
    group["lr"], later["lr"] = 0.5, 0.25
    optimizer.step()
    assert [p.data for g in optimizer.param_groups for p in g["params"]] == [0.5, 1.75]


def test_a_parameter_of_a_group_that_is_removed_keeps_its_state_where_it_moves():
    params = values([1.0, 2.0, 3.0])
    optimizer = SGD([{"params": [p]} for p in params], momentum=0.5)
    set_grads(params, [1.0, 2.0, 4.0])
    optimizer.step()
    for place in (2, 0):  # the last group, then the first of the two that are left
        removed = optimizer.param_groups.pop(place)
        optimizer.param_groups[0]["params"] += removed["params"]
        state = optimizer.state_dict()
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        buffers = [state["state"][i]["momentum_buffer"] for i in range(3)]
        assert buffers == [p.grad for p in moved]


@pytest.mark.parametrize("how", ["append", "another list", "a tuple", "an iterator", "add_param_group"])
def test_parameters_that_join_later_start_from_scratch_and_others_go_on(how):
    old, new = values([1.0, 2.0]), Value(3.0)
    optimizer = Adam(old, lr=0.1)
    set_grads([*old, new], [0.5, -1.0, 2.0])
    for _ in range(3):
        optimizer.step()
    group = optimizer.param_groups[0]
    if how == "append":
        group["params"].append(new)
    elif how == "another list":
        group["params"] = [old[0], old[1], new]
    elif how == "add_param_group":
        optimizer.add_param_group({"params": new})
    elif how == "an iterator":
        group["params"] = iter([*old, new])
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


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_parameter_replaced_in_place_is_noticed(at):
    params, new = values([1.0, 2.0, 3.0]), Value(5.0)
    set_grads([*params, new], [1.0] * 4)
    optimizer = SGD(params, lr=1.0)
    optimizer.step()
    optimizer.param_groups[0]["params"][at] = new
    optimizer.step()
    assert new.data == 4.0
    assert [p.data for p in params] == [x - 1.0 if i == at else x - 2.0 for i, x in enumerate([1.0, 2.0, 3.0])]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_parameter_that_joins_anywhere_has_a_first_step_of_its_own(at):
    """The bias of Adam's averages is corrected by the number of a parameter's own steps."""
    params, new = values([1.0, 2.0, 3.0]), Value(5.0)
    set_grads([*params, new], [0.5, -1.0, 2.0, 3.0])
    optimizer, alone = Adam(params, lr=0.1), Adam(values([1.0, 2.0, 3.0]), lr=0.1)
    set_grads(alone.param_groups[0]["params"], [0.5, -1.0, 2.0])
    for _ in range(3):
        optimizer.step()
        alone.step()
    optimizer.param_groups[0]["params"].insert(at, new)
    for _ in range(2):
        optimizer.step()
        alone.step()
    assert new.data == pytest.approx(4.8)
    assert [p.data for p in params] == [p.data for p in alone.param_groups[0]["params"]]


def test_parameters_taken_away_are_left_alone():
    a, b = values([1.0, 2.0])
    set_grads([a, b], [1.0, 1.0])
    optimizer = SGD([a, b], lr=0.5, momentum=0.9)
    optimizer.step()
    optimizer.param_groups[0]["params"].clear()
    optimizer.step()
    assert (a.data, b.data) == (0.5, 1.5)
    assert optimizer.state_dict()["state"] == {}


def test_a_group_taken_away_is_left_alone():
    a, b = values([1.0, 2.0])
    optimizer = SGD([{"params": [a]}, {"params": [b]}], lr=0.5)
    set_grads([a, b], [1.0, 1.0])
    optimizer.step()
    optimizer.param_groups.pop()
    optimizer.step()
    optimizer.zero_grad()
    assert [(p.data, p.grad) for p in (a, b)] == [(0.0, 0.0), (1.5, 1.0)]


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
