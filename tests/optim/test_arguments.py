"""Arguments of optimizers: refusals, defaults and reprs."""

from __future__ import annotations

import math
import re

import pytest

from helpers import START, set_grads, values
from micrograd import Value, optim, utils
from micrograd.optim import SGD, Adam, AdamW, Optimizer, RMSprop


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
        (RMSprop, {"lr": -0.1}, "Invalid learning rate: -0.1"),
        (RMSprop, {"alpha": -0.1}, "Invalid alpha value: -0.1"),
        (RMSprop, {"eps": -0.1}, "Invalid epsilon value: -0.1"),
        (RMSprop, {"momentum": -0.1}, "Invalid momentum value: -0.1"),
        (RMSprop, {"weight_decay": -0.1}, "Invalid weight_decay value: -0.1"),
    ],
)
def test_options_out_of_range(kind, options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        kind(values(START), **options)
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
    for kind in (SGD, Adam, AdamW, RMSprop):
        ours = kind(values(START)).defaults
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
