"""`micrograd.utils.detect_anomaly()` and `micrograd.grad`."""

from __future__ import annotations

import math
import re

import pytest

from micrograd import Value, functional, grad, nn
from micrograd.utils import detect_anomaly


def message(work):
    with pytest.raises(RuntimeError) as raised:
        work()
    return str(raised.value)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("make", "data", "text"),
    [
        (lambda x: x.sqrt(), 0.0, "'sqrt' of 0.0 raises ZeroDivisionError: "),
        (lambda x: x.log(), 5e-324, "'log' of 5e-324 passes on a gradient of inf"),
        (lambda x: x * 1e300 * 1e300, 1e-300, "'*' of 1e-300, 1e+300 passes on a gradient of inf"),
        (lambda x: functional.sum([x * 1e200, x]) * 1e200, 1e-300, "'*' of 1e-300, 1e+200 passes on a gradient of inf"),
        (
            lambda x: x * Value(1e200) * 1e-50 * Value(1e150) * 1e150,
            1e-290,
            "'*' of 1e-290, 1e+200 passes on a gradient",
        ),
    ],
)
def test_the_node_is_named(make, data, text, create_graph):
    zero = Value(0.0)
    with detect_anomaly():
        x = Value(data)
        y = make(x)
        found = message(lambda: grad(y, [x, zero], create_graph, allow_unused=True))
    assert re.match(rf"{re.escape(__file__)}, line \d+: backward\(\) of {re.escape(text)}", found), found
    assert x.grad == 0.0


def test_what_is_finite_raises_nothing():
    x = Value(1e-300)
    with detect_anomaly():
        y = x * 1e300 * 1e300
    assert grad(y, x) == grad(y, x, create_graph=True).data == math.inf
    with detect_anomaly():
        assert grad(y * 1e-300, x) == pytest.approx(1e300)


def test_layers_that_were_made_outside():
    neuron = nn.Neuron(2, nonlin=False)
    neuron.w[0].data = 1e300
    x, w = Value(1e-300), [Value(1e300), Value(1.0)]
    y = neuron([x, 2.0 * x]) * 1e300
    z = functional.dot(w, [Value(1e-300), 1e300]) * 1e200
    with detect_anomaly():
        found = message(lambda: grad(y, x))
        assert found.startswith("backward() of a neuron of 2 inputs passes on a gradient of inf. It was made outside")
        assert grad(y * 1e-300, x) == pytest.approx(1e300)
        assert "passes on a gradient of inf. It was made outside" in message(lambda: grad(z, w))
        assert grad(z, w[0]) == pytest.approx(1e-100)


@pytest.mark.parametrize("at", range(3))
def test_each_output_of_a_layer_is_looked_at(at):
    weights = [[Value(1e-300)] for _ in range(3)]
    outputs = functional.linear([1e300], weights)
    y = functional.sum(out * (1e20 if i == at else 1.0) for i, out in enumerate(outputs))
    with detect_anomaly():
        assert "of a neuron of 1 inputs passes on a gradient of inf" in message(
            lambda: grad(y, [w for (w,) in weights])
        )


def test_an_error_of_a_users_op_is_its_own():
    x = Value(1.0)
    own = Value(4.0, (x,), "mine")
    own._backward = lambda: 1 / 0
    with detect_anomaly(), pytest.raises(ZeroDivisionError):
        grad(own, x)
