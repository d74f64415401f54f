"""`micrograd.utils.detect_anomaly()`: the first NaN or infinity raises, with the line that made the node."""

from __future__ import annotations

import gc
import math
import re
import sys
import threading

import numpy as np
import pytest

import micrograd
from helpers import BINARY, OF_A_LIST, UNARY, bits, linux, op
from micrograd import Value, functional, nn
from micrograd.utils import detect_anomaly


def next_line():
    """The line after that of the call, as messages name it."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno + 1}"


def message(work):
    with pytest.raises(RuntimeError) as raised:
        work()
    return str(raised.value)


# ---- Forward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda x: x * 10, "'*' of 1e+308, 10.0 is inf"),
        (lambda x: 10.0 * x, "'*' of 1e+308, 10.0 is inf"),
        (lambda x: x * -x, None),
        (lambda x: x + x, "'+' of 1e+308, 1e+308 is inf"),
        (lambda x: -x - x, "'-' of -1e+308, 1e+308 is -inf"),
        (lambda x: 3.0 - x * Value(math.nan), "'*' of 1e+308, nan is nan"),
        (lambda x: 3.0 - Value(math.inf), "'-' of 3.0, inf is -inf"),
        (lambda x: 1.0 / (x * 0.0 + 1.0) * Value(math.inf), "'*' of 1.0, inf is inf"),
        (lambda x: Value(math.nan).relu(), "'ReLU' of nan is nan"),
        (lambda x: Value(math.inf) ** 2, "'**2' of inf is inf"),
        (lambda x: np.float64(10.0) * x, "'*' of 1e+308, 10.0 is inf"),
        (lambda x: functional.sum([x] * 8), f"'sum' of {', '.join(['1e+308'] * 8)} is inf"),
        (lambda x: functional.sum([x] * 10), f"'sum' of {', '.join(['1e+308'] * 8)}, 2 more is inf"),
        (lambda x: functional.dot([x, x], [1.0, 2.0]), "'*' of 1e+308, 2.0 is inf"),
        (lambda x: nn.Neuron(1, nonlin=False)([x * Value(math.inf)]), "'*' of 1e+308, inf is inf"),
        (lambda x: Value(math.inf, (x,), "mine"), "'mine' of 1e+308 is inf"),
        (lambda x: Value(math.inf, (x,), (1.0,)), "a compiled function, or an op without a name, of 1e+308 is inf"),
    ],
)
def test_the_first_result_that_is_not_finite_raises(make, text):
    x = Value(1e308)
    with detect_anomaly():
        found = message(lambda: make(x))
    assert re.match(rf"{re.escape(__file__)}, line \d+: ", found)
    assert text is None or found.endswith(f": {text}")
    assert not math.isfinite(make(x).data)
    assert x.grad == 0.0


def test_the_line_is_the_users():
    x = Value(1e308)
    layer = nn.Layer(2, 2)
    layer.neurons[1].w[1].data = 10.0
    with detect_anomaly():
        _ = x * 1.0
        expected = next_line()
        found = message(lambda: layer([1.0, x]))
    assert found == f"{expected}: '*' of 10.0, 1e+308 is inf"


def test_a_sum_in_no_grad_names_the_sample():
    f = micrograd.compile(lambda x: x * 1e308)
    with detect_anomaly(), micrograd.no_grad(), pytest.raises(RuntimeError, match=r"sample 1: .* gives inf"):
        f.sum([1.0, 10.0])


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_finite_ops_are_the_same(name):
    arguments = [0.7, 1.3][: 2 if name in BINARY else 1]

    def run():
        leaves = [Value(x) for x in arguments]
        out = op(name)(*leaves) * 1.5
        out.backward()
        return [bits(out.data), *(bits(leaf.grad) for leaf in leaves)]

    expected = run()
    with detect_anomaly():
        assert run() == expected


@pytest.mark.parametrize("name", OF_A_LIST)
def test_functional_is_the_same(name):
    def run():
        leaves = [Value(x) for x in (0.3, -0.8, 1.7)]
        out = OF_A_LIST[name](leaves)
        out.backward()
        return [out.data, *(leaf.grad for leaf in leaves)]

    expected = run()
    with detect_anomaly():
        assert run() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("retain_grads", [True, False])
def test_networks_are_the_same(retain_grads):
    model = micrograd.MLP(3, [4, 4, 1])

    def run():
        model.zero_grad()
        loss = (model([0.1, -0.2, 0.3]) - 1.0) ** 2
        for _ in range(2):
            loss.backward(retain_grads=retain_grads)
        return [loss.data, *(p.grad for p in model.parameters())]

    expected = run()
    with detect_anomaly():
        assert run() == pytest.approx(expected, rel=1e-13)


def test_errors_of_ops_are_pythons():
    with detect_anomaly():
        for work, error in ((lambda: Value(0.0).log(), ValueError), (lambda: Value(1e200) ** 2, OverflowError)):
            with pytest.raises(error):
                work()


# ---- Backward --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retain_grads", [True, False])
def test_the_first_gradient_that_is_not_finite_raises(retain_grads):
    x, scale = Value(1e-200), Value(1e200)
    with detect_anomaly():
        expected = next_line()
        h = x * scale
        y = h * 1e200
        z = y * 1e-100 * 1e-100 * Value(1e150)
        found = message(lambda: (z * 1e150).backward(retain_grads=retain_grads))
    assert found == f"{expected}: backward() of '*' of 1e-200, 1e+200 passes on a gradient of inf"


def test_what_an_op_has_no_derivative_for_raises_with_the_line():
    x = Value(0.0)
    with detect_anomaly():
        expected = next_line()
        y = x.sqrt()
        with pytest.raises(RuntimeError) as raised:
            (y * 2.0).backward()
    error = raised.value.__cause__
    assert isinstance(error, ZeroDivisionError)  # its text depends on the version of Python
    assert str(raised.value) == f"{expected}: backward() of 'sqrt' of 0.0 raises ZeroDivisionError: {error}"


def test_a_node_from_outside_has_no_line():
    x = Value(0.0)
    y = x.sqrt() * 2.0
    with detect_anomaly():
        found = message(y.backward)
    assert re.fullmatch(
        r"backward\(\) of 'sqrt' of 0.0 raises ZeroDivisionError: (float )?division by zero. It was made outside of "
        r"detect_anomaly\(\), so that its line is not known",
        found,
    )


def test_a_node_from_an_earlier_context_has_its_line():
    x = Value(0.0)
    with detect_anomaly():
        expected = next_line()
        y = x.sqrt()
    with detect_anomaly():
        assert message(y.backward).startswith(f"{expected}: backward() of 'sqrt' of 0.0")


def test_a_layer_from_outside():
    neuron = nn.Neuron(2, nonlin=False)
    neuron.w[0].data = 1e300
    x = Value(1e-300)
    y = neuron([x, 2.0 * x]) * 1e300
    with detect_anomaly():
        found = message(y.backward)
    assert found.startswith("backward() of a neuron of 2 inputs passes on a gradient of inf. It was made outside")


def test_a_users_function():
    x = Value(2.0)
    with detect_anomaly():
        expected = next_line()
        out = Value(4.0, (x,), "mine")

        def step():
            x.grad += math.nan

        out._backward = step
        assert message((out * 2.0).backward) == f"{expected}: backward() of 'mine' of 2.0 passes on a gradient of nan"
        out._backward = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            out.backward()


def test_grads_of_leaves_from_before_do_not_count():
    """The pass to be examined is often the second one, after a pass that gave NaN."""
    x, w = Value(2.0), Value(3.0)
    x.grad, w.grad = math.nan, math.inf
    with detect_anomaly():
        (x * w + x * x).backward()
        assert math.isnan(x.grad)
        assert w.grad == math.inf
        x.grad = w.grad = 0.0
        (x * w + x * x).backward()
    assert (x.grad, w.grad) == (7.0, 2.0)


@pytest.mark.parametrize("make", [lambda x, w: w / x, lambda x, w: Value(1.0, (x, w), "mine")], ids=["/", "a user's"])
def test_grads_of_leaves_from_before_are_kept_where_the_pass_raises(make):
    x, w = Value(1e-200), Value(1.0)
    with detect_anomaly():
        y = make(x, w)
        if y._op == "mine":
            y._backward = lambda: 1 / 0
        x.grad, w.grad = math.inf, -math.inf
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            y.backward()
    assert (x.grad, w.grad) == (math.inf, -math.inf)


@pytest.mark.parametrize("make", [lambda x: x * 3.0, lambda x: functional.sum([x, x, x])])
def test_grads_of_inner_nodes_from_before_are_named(make):
    x = Value(2.0)
    h = make(x)
    y = h * h
    h.grad = math.nan
    with detect_anomaly():
        assert "would pass on nan, its grad from before: call zero_grad() of the root" in message(y.backward)
        y.backward(retain_grads=False)
    assert x.grad == 36.0


# ---- The mode --------------------------------------------------------------------------------------------------------


def test_it_nests_decorates_and_ends():
    x = Value(1e308)

    @detect_anomaly()
    def work():
        with detect_anomaly():
            pass
        return x * 10

    message(work)
    assert (x * 10).data == math.inf


def test_it_is_a_mode_of_its_thread():
    x = Value(1e308)
    results = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: results.append((x * 10).data))
        thread.start()
        thread.join()
        message(lambda: x * 10)
    assert results == [math.inf]


def test_in_no_grad_results_are_checked_and_leaves():
    x = Value(1e308)
    with micrograd.no_grad(), detect_anomaly():
        assert message(lambda: x * 10).endswith("'*' of 1e+308, 10.0 is inf")
        message(lambda: Value(math.nan, (x,), "mine"))
        for out in (x * 0.5, x.relu(), functional.sum([x]), nn.Neuron(1)([x]), Value(1.0, (x,), "mine")):
            assert (out._prev, out._op) == (set(), "")


@linux
def test_nodes_are_freed_with_their_lines(check):
    check(
        """
from micrograd.utils import detect_anomaly
x = Value(0.5)
def work(count):
    with detect_anomaly():
        for _ in repeat(None, count):
            y = (x * 0.5 + 1).tanh()
            y.backward(retain_grads=False)
work(1_000)
before = rss()
work(20_000)
assert rss() - before < 1 << 20
"""
    )


def test_attributes_are_those_of_other_nodes():
    x = Value(2.0)
    with detect_anomaly():
        y = x * 3.0
    y.label = "y"
    assert vars(y) == {"label": "y"}
    y._backward = lambda: None
    assert vars(y) == {"label": "y"}
    gc.collect()
    y.backward()
    assert x.grad == 0.0


# ---- Compiled functions ----------------------------------------------------------------------------------------------

NAMES_THE_OP = r"\. Called without compile\(\) in detect_anomaly\(\), the function names the op$"


def failing():
    w = Value(1e200)
    batch = np.array([1.0, 2.0, 1e10, 4.0])
    return w, batch, micrograd.compile(lambda x: w * x * 1e100)


@pytest.mark.parametrize("call", ["sum", "mean", "map", "value_and_grad"])
def test_outputs_of_a_batch_are_checked(call):
    _, batch, f = failing()
    with detect_anomaly():
        found = message(lambda: getattr(f, call)(batch))
        assert re.search(r", line \d+: sample 2: a compiled function gives inf" + NAMES_THE_OP, found)
        getattr(f, call)(batch[:2])
    getattr(f, call)(batch)


def test_outputs_of_a_sample_are_checked():
    w, _, f = failing()
    with detect_anomaly():
        for x in (1e10, Value(1e10)):
            expected = next_line()
            found = message(lambda: f(x))  # noqa: B023
            assert re.match(re.escape(expected) + ": a compiled function gives inf" + NAMES_THE_OP, found)
        y = f(2.0)
        y.backward()
    assert w.grad == 2e100


def test_gradients_are_checked():
    """The outputs are finite, and x**3 overflows."""
    w = Value(1e-300)
    f = micrograd.compile(lambda x: w * x * x * x)
    batch = np.array([1.0, 2.0, 1e103])
    with detect_anomaly():
        for work in (lambda: f.sum(batch), lambda: f.value_and_grad(batch)):
            assert "sample 2: a compiled function passes on a gradient of inf" in message(work)
        for work in (lambda: f(1e103), lambda: micrograd.compile(lambda x: x.log())(Value(5e-324))):
            assert ": a compiled function passes on a gradient of inf" in message(work)
        with micrograd.no_grad():
            assert f.sum(batch).data == pytest.approx(1e9)
            assert f(1e103).data == pytest.approx(1e9)


@pytest.mark.parametrize("call", ["sum", "map", "value_and_grad"])
def test_ragged_batches_are_checked(call):
    w = Value(1e200)
    f = micrograd.compile(lambda x: functional.sum(x) * w * 1e100)
    with detect_anomaly():
        found = message(lambda: getattr(f, call)([[1.0], [2.0, 3.0], [4.0], [1.0, 1e10]]))
    assert "sample 3: a compiled function gives inf" in found


def test_the_gradients_of_a_mean_are_those_of_its_terms():
    """Without the factor 1 / samples the gradient of sample 0 would overflow."""
    w = Value(0.1)
    f = micrograd.compile(lambda x: w * x * 2.0)
    with detect_anomaly():
        assert math.isfinite(f.mean([1e308, 1.0, 1.0, 1.0]).data)
        assert "sample 3: a compiled function gives inf" in message(lambda: f.mean([1e308, 1.0, 1.0, math.inf]))


def test_a_sum_that_overflows_is_no_samples():
    _, _, f = failing()
    with detect_anomaly():
        assert "the sum over the samples of a compiled function, or of its gradients, is not finite" in message(
            lambda: f.sum([1e8] * 3)
        )


def test_a_function_can_be_traced_inside():
    """The data of a trace are NaN."""
    w = Value(2.0)

    @micrograd.compile
    def f(x):
        with detect_anomaly():
            return (w * x).tanh()

    with detect_anomaly():
        y = f(0.5)
        assert math.isfinite(micrograd.compile(nn.MLP(2, [3, 1]))([1.0, 2.0]).data)
    assert y.data == pytest.approx(math.tanh(1.0))
