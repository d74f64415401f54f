"""The sizes that networks are made with, and the errors that name a wrong one."""

from __future__ import annotations

import random
import re
import sys

import numpy as np
import pytest

from micrograd import nn, nn_tanh


@pytest.mark.parametrize("module", [nn, nn_tanh])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.Neuron(0), "a neuron's number of inputs must be at least 1, not 0"),
        (lambda m: m.Neuron(-3), "a neuron's number of inputs must be at least 1, not -3"),
        (lambda m: m.Layer(0, 2), "a layer's number of inputs must be at least 1, not 0"),
        (lambda m: m.Layer(2, 0), "a layer's number of outputs must be at least 1, not 0"),
        (lambda m: m.MLP(0, [1]), "an MLP's number of inputs must be at least 1, not 0"),
        (lambda m: m.MLP(2, [4, 0, 1]), "the width of an MLP's layer 1 must be at least 1, not 0"),
        (lambda m: m.MLP(2, []), "an MLP needs at least one layer, but nouts is []"),
        (lambda m: m.Neuron(2)([1.0]), "Neuron(2) takes 2 inputs, not 1"),
        (lambda m: m.Neuron(2)(1.0), "Neuron(2) takes 2 inputs, not 1"),
        (lambda m: m.Layer(2, 1)([1.0, 2.0, 3.0]), "takes 2 inputs, not 3"),
        (lambda m: m.MLP(3, [4, 1])([1.0, 2.0]), "takes 3 inputs, not 2"),
        (lambda m: m.MLP(3, [4, 1])([]), "takes 3 inputs, not 0"),
        (lambda m: m.MLP(3, [4, 1])(np.zeros(5)), "takes 3 inputs, not 5"),
        (lambda m: m.MLP(3, [4, 1])(x for x in ()), "takes 3 inputs, not 0"),
    ],
)
def test_wrong_sizes_are_named(module, make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(module)


@pytest.mark.parametrize(
    "make", [nn.Neuron, lambda n: nn.Layer(n, 2), lambda n: nn.Layer(2, n), lambda n: nn.MLP(2, [n])]
)
def test_sizes_that_no_list_has_are_refused_at_once(make):
    """Before, the weights were made until memory was out."""
    with pytest.raises(OverflowError, match=f"must be at most {sys.maxsize}, not {2**70}"):
        make(2**70)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Neuron(2.5),
        lambda: nn.Neuron("2"),
        lambda: nn.Layer(2, None),
        lambda: nn.MLP(2, 3),
        lambda: nn.MLP(2, [2.0]),
        lambda: nn.Layer(2, 2, depth=3),
        lambda: nn.Neuron(2)(["a", "b"]),
        lambda: nn.Neuron(2)([None, 1.0]),
        lambda: nn.Neuron(2)([[1.0], [2.0]]),
    ],
)
def test_wrong_types(make):
    with pytest.raises(TypeError):
        make()


def test_sizes_of_numpy_and_other_sequences():
    random.seed(5)
    expected = repr(nn.MLP(2, [3, 1]))
    assert repr(nn.MLP(np.int64(2), np.array([3, 1]))) == repr(nn.MLP(2, (3, 1))) == expected
    assert repr(nn.MLP(2, iter([3, 1]))) == expected
    assert repr(nn.MLP(np.array(2), [np.array(3), True])) == expected
    with pytest.raises(TypeError):
        nn.Layer(2, np.array(3.0))


def test_sizes_that_are_tensors():
    torch = pytest.importorskip("torch")
    assert repr(nn.MLP(torch.tensor(2), torch.tensor([3, 1]))) == repr(nn.MLP(2, [3, 1]))
    assert repr(nn.Neuron(torch.tensor(2))) == "ReLUNeuron(2)"
