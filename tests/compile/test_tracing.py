"""What code may do while it is traced, and that a trace has no effects after its end."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
import random

import pytest

import micrograd
from micrograd import TraceError, Value, functional, nn, nn_tanh, optim, utils
from micrograd.compiler import Compiled


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destructor_that_runs_in_a_trace_does_not_fail_it():
    w = Value(2.0)

    class Reads:
        def __del__(self):
            seen.append(repr(w))
            seen.append(w.data)

    def f(x):
        Reads()
        return x * w

    seen = []
    assert micrograd.compile(f)(3.0).data == 6.0
    assert seen == ["Value(data=?, grad=?)"]


def test_errors_of_every_call_may_be_caught():
    zero = Value(2.0)

    def f(x):
        total = x * zero
        for op in (
            lambda: x / 0,
            lambda: Value(-1.0).log(),
            lambda: Value(0.0) ** -1,
            lambda: (Value(1.0) - 1) / (Value(3.0) - 3),
            lambda: x / (Value(3.0) - 3),
            lambda: Value("no number"),
        ):
            with pytest.raises((ArithmeticError, ValueError, TypeError)):
                op()
            total = total + 1
        return total

    assert micrograd.compile(f)(3.0).data == 12.0


def test_a_value_made_in_the_function_may_be_read():
    class P(Value):
        pass

    def f(x):
        a, b, c = Value(2.0), P(3.0), Value(4.0, label="c")
        y = (a * b + c).tanh() + functional.sum([a, 1.0]) + nn.Neuron(2)([a, b]) * 0
        assert y.data == math.tanh(10.0) + 3.0
        assert y
        assert a != b
        assert repr(a) == "Value(data=2.0, grad=0.0)"
        y.backward()
        assert (c.grad, b.grad) != (0.0, 0.0)
        y.zero_grad()
        a.grad = 1.0
        assert a.grad == 1.0
        assert copy.deepcopy(b).data == 3.0
        for _ in range(2000):  # read at every step, and no walk through all of it each time
            y = y * 0.5 + 1.0
            assert y.data > 0
        return x * a + y

    compiled = micrograd.compile(f)
    assert compiled(3.0).data == 8.0
    assert compiled.captured == []


def test_a_value_made_in_an_earlier_trace_comes_from_outside():
    kept = []

    def first(x):
        kept.append(Value(2.0))
        assert kept[0].data == 2.0
        return kept[0] * x

    assert micrograd.compile(first)(1.0).data == 2.0
    with pytest.raises(TraceError, match="comes from outside"):
        micrograd.compile(lambda x: x if kept[0].data else -x)(1.0)
    assert kept[0].data == 2.0


def test_data_must_not_be_assigned_in_a_trace():
    """Code before the assignment would use the old number, code after it the new one; a trace has one."""

    def f(x):
        v = Value(2.0)
        y = v * x
        v.data = 3.0
        return y + v

    with pytest.raises(TraceError, match=r"assigning \.data of a Value"):
        micrograd.compile(f)(1.0)


def test_the_repr_of_a_placeholder():
    w = Value(2.0)
    shown = []
    micrograd.compile(lambda x: shown.extend([repr(x), str(w), f"{w * 2}", repr(x * 2), repr(Value(3.0))]) or x)(1.0)
    assert shown == ["Value(data=?, grad=?)"] * 4 + ["Value(data=3.0, grad=0.0)"]
    assert repr(w) == "Value(data=2.0, grad=0.0)"


def test_the_max_of_captured_logits_is_computed_at_every_call():
    ws = [Value(1.0), Value(2.0)]
    for loss in (functional.softmax, functional.log_softmax, lambda v: functional.cross_entropy(v, [0.5, 0.5])):
        f = micrograd.compile(lambda x: loss(ws))  # noqa: B023
        for high in (2.0, 2000.0, -2000.0):
            ws[1].data = high
            found, expected = f(0.0), loss(ws)
            pairs = list(zip(found, expected)) if isinstance(found, list) else [(found, expected)]
            assert [a.data for a, _ in pairs] == [b.data for _, b in pairs]


def test_a_module_keeps_its_state_in_a_trace():
    model = nn.MLP(2, [2, 1])
    optimizer = optim.Adam(model.parameters())
    before = model.state_dict()
    for touch in (
        model.zero_grad,
        model.state_dict,
        lambda: model.load_state_dict(before),
        optimizer.zero_grad,
        optimizer.step,
        lambda: utils.clip_grad_norm_(model.parameters(), 1.0),
        lambda: utils.clip_grad_value_(model.parameters(), 1.0),
        lambda: copy.deepcopy(model),
        lambda: pickle.dumps(model),
    ):
        with pytest.raises(TraceError):
            micrograd.compile(lambda x: touch() or x)(1.0)  # noqa: B023
    assert model.state_dict() == before


@pytest.mark.parametrize("call", ["sum", "mean", "map", "value_and_grad"])
def test_a_batch_is_refused_in_a_trace(call):
    w = Value(2.0)
    inner = micrograd.compile(lambda x: w * x)
    inner.sum([1.0])
    with pytest.raises(TraceError, match="a batch is computed while a compiled function is traced"):
        micrograd.compile(lambda x: getattr(inner, call)([1.0, 2.0]) and x)(1.0)
    with pytest.raises(TraceError, match="a batch is computed while a compiled function is traced"):
        micrograd.compile(lambda x: getattr(inner, call)(x=[1.0, 2.0]) and x)(1.0)
    assert inner.sum([1.0, 2.0]).data == 6.0


@pytest.mark.parametrize(
    "static", [(Value(1.0), "a"), ["a", Value(1.0)], {"a": Value(1.0)}, {Value(1.0)}, frozenset([Value(1.0)]),
               ("a", ("b", [Value(1.0)])), {Value(1.0): 1}],
    ids=range(7),
)  # fmt: skip
def test_a_value_is_never_static(static):
    with pytest.raises(TypeError, match="argument 'table' is static"):
        micrograd.compile(lambda x, table: x)(1.0, table=static)
    with pytest.raises(TypeError, match="argument 'table' is static"):
        micrograd.compile(lambda x, table: x).sum([1.0], table=static)


@pytest.mark.parametrize("function", [math.exp, float, len, round, Value])
def test_conversions_that_values_do_not_have_are_type_errors_in_a_trace_too(function):
    with pytest.raises(TypeError):
        micrograd.compile(lambda x: function(x))(1.0)


def test_values_outside_a_trace_are_not_affected():
    a, b = Value(1.0), Value(1.0)
    assert a
    assert a != b
    assert a == a
    assert a != 1.0
    assert {a: 1}[a] == 1
    assert a in [b, a]
    assert (a < 1.0) is False
    assert (a <= b) is True


def test_ops_in_python_are_refused_by_name():
    def cube(x):
        out = Value(2.0, (x,), "cube")
        out._backward = lambda: None
        return out

    with pytest.raises(TraceError, match="the op 'cube' cannot be compiled"):
        micrograd.compile(cube)(1.0)

    def own_step(x):
        out = x * x
        out._backward = lambda: None
        return out

    with pytest.raises(TraceError, match=r"the op '\*' cannot be compiled"):
        micrograd.compile(own_step)(1.0)
    with pytest.raises(TraceError, match="an op without a name cannot be compiled"):
        micrograd.compile(lambda x: Value(2.0, (x,), (1.0,)))(1.0)
    outside = cube(Value(1.0))
    with pytest.raises(TraceError, match="the op 'cube' cannot be compiled"):
        micrograd.compile(lambda x: x * outside)(1.0)


@pytest.mark.parametrize("kind", [{"local_grads": (1.0,)}, {"_op": "cube"}])
def test_a_value_that_was_computed_from_itself_is_refused(kind):
    a = Value(1.0)
    b = a * 2.0
    a.__init__(1.0, (b,), **kind)
    for value in a, b, b + 1.0:
        with pytest.raises(TraceError, match="cannot be compiled"):
            micrograd.compile(lambda x, value=value: x * value)(2.0)
    a.__init__(1.0)  # the collector does not free such a circle; while it is there, each backward() sorts its graph


def test_placeholders_kept_after_their_trace_are_refused():
    kept = []
    f = micrograd.compile(lambda x: kept.append(x * 1) or x)
    assert f(1.0).data == 1.0
    with pytest.raises(TraceError):
        _ = kept[0].data
    with pytest.raises(TraceError, match="the trace of another call"):
        micrograd.compile(lambda x: x * kept[0])(1.0)
    g = micrograd.compile(lambda x: x * 2.0)
    assert g(1.0).data == 2.0
    with pytest.raises(TraceError):
        _ = g(kept[0]).data


def test_a_function_that_raised_is_traced_anew():
    fail = [True]

    def f(x):
        if fail[0]:
            raise KeyError("once")
        return x * x

    compiled = micrograd.compile(f)
    with pytest.raises(KeyError):
        compiled(1.0)
    fail[0] = False
    assert compiled(3.0).data == 9.0
    assert compiled.retraces == 0


def test_arguments_of_compile():
    with pytest.raises(TypeError, match="takes a function, not 'int'"):
        micrograd.compile(3)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        micrograd.compile(abs, threads=0)
    with pytest.raises(TypeError):
        micrograd.compile(abs, threads=1.5)
    decorated = micrograd.compile(threads=2)(lambda x: x * 2)
    assert isinstance(decorated, Compiled)
    assert decorated.map([1.0, 2.0]).tolist() == [2.0, 4.0]


def test_an_argument_from_a_trace_that_has_ended():
    """It has no data; nothing is computed with it."""
    kept = []
    f = micrograd.compile(lambda x: x * 2.0)
    assert f(1.0).data == 2.0
    micrograd.compile(lambda x: kept.append(x) or x)(1.0)
    assert repr(f(kept[0])) == "Value(data=?, grad=?)"
    assert f(3.0).data == 6.0
    g = micrograd.compile(lambda x, y, z: x * y + z)
    for i in range(3):
        given = [2.0, 3.0, 4.0]
        assert g(*given).data == 10.0
        given[i] = kept[0]
        assert repr(g(*given)) == "Value(data=?, grad=?)"


HELD = {
    "an operand": lambda v, x: v * x,
    "an operand of several": lambda v, x: (v + v.exp()) * (2.0 - v) * x,
    "an input of a neuron": lambda v, x: functional.dot([2.0, 3.0], [v, x]),
    "an input of a layer": lambda v, x: functional.sum(nn.Layer(2, 5, activation="tanh")([v, v])) * x,
    "an input of a network": lambda v, x: functional.sum(nn_tanh.MLP(2, [3, 3])([v, v])) * x,
    "a weight": lambda v, x: functional.dot([v, v], [x, x]),
    "weights of several neurons": lambda v, x: functional.sum(functional.linear([x, x], [[v, v]] * 5)),
    "a bias": lambda v, x: functional.sum(functional.linear([x], [[x]] * 3, [v, v, v])),
    "one of many": lambda v, x: functional.logsumexp([v, x, v]),
}


@pytest.mark.parametrize("name", HELD)
def test_a_leaf_that_one_other_holds_is_read_at_every_call(name, exact):
    """Only what is known to the graph alone becomes a number of the program."""
    v = Value(0.5)

    def function(x):
        random.seed(1)
        return HELD[name](v, x)

    f = micrograd.compile(function, exact=exact)
    for data in (0.5, 2.0, -1.0):
        v.data = data
        assert f(1.5).data == pytest.approx(function(Value(1.5)).data, rel=1e-12)
    assert v in f.captured


def test_data_of_layers_made_in_a_trace_may_be_read_again():
    def f(x):
        weights = [[Value(w)] for w in (2.0, 3.0, 4.0)]
        outputs = functional.linear([Value(1.0)], weights)
        read = [out.data for out in outputs * 2]
        functional.sum(outputs).backward()
        assert [w.grad for (w,) in weights] == [1.0] * 3
        return x * sum(read)

    assert micrograd.compile(f)(2.0).data == 36.0


def test_data_of_an_own_op_of_what_is_outside_may_not_be_read():
    outside = Value(3.0)
    assert micrograd.compile(lambda x: x * Value(5.0, (Value(1.0),), (1.0,)).data)(2.0).data == 10.0
    with pytest.raises(TraceError, match=r"reading .data of a Value that comes from outside"):
        micrograd.compile(lambda x: x * Value(5.0, (outside,), (1.0,)).data)(2.0)


def test_an_instance_made_in_a_trace_keeps_the_step_of_its_class():
    class Own(Value):
        def _backward(self):
            calls.append(self.grad)

    calls, made = [], []
    micrograd.compile(lambda x: made.append(Own(2.0)) or x)(1.0)
    (made[0] * 3.0).backward()
    assert calls == [3.0]


def test_the_first_of_several_errors_is_raised():
    def f(x):
        for use in (lambda: x.data, lambda: bool(x), lambda: float(x)):
            with contextlib.suppress(TraceError, TypeError):
                use()
        return x

    with pytest.raises(TraceError, match=r"reading \.data of"):
        micrograd.compile(f)(1.0)


def test_own_ops_in_no_grad_are_refused():
    """Their data would be those of one call."""

    def f(x):
        with micrograd.no_grad():
            return Value(2.0, (x,), "cube") + x

    with pytest.raises(TraceError, match="cannot be compiled"):
        micrograd.compile(f)(1.0)


def test_the_number_of_an_op_outside_may_not_be_read():
    """It is no number of the traced function, though its leaf is made as it is read."""

    def f(x):
        (number,) = (v for v in outside._children if v is not three)
        return x * number.data

    three = Value(3.0)
    outside = three * 2.0
    with pytest.raises(TraceError, match="comes from outside"):
        micrograd.compile(f)(1.0)
