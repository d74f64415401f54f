"""This engine's own: the dialects of Value it takes at once, ops written by users, NumPy operands, copies, differences.
What it shares with karpathy/micrograd is in test_contract.py."""

from __future__ import annotations

import copy
import importlib
import math
import operator
import pickle
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from importlib import metadata

import numpy as np
import oracle
import pytest
from oracle import op

import micrograd
from micrograd import Value, mlp, nn
from micrograd._core import OPS

# -- imports


@pytest.mark.parametrize("home", ["micrograd", "micrograd.engine"])
def test_value_is_one_class_wherever_it_is_imported_from(home):
    assert importlib.import_module(home).Value is Value


def test_submodules_are_reached_from_the_top():
    assert micrograd.engine.Value is Value
    assert micrograd.nn is nn
    assert micrograd.mlp is mlp


def test_the_top_level_networks_are_the_tanh_dialect():
    assert (micrograd.MLP, micrograd.Layer, micrograd.Neuron) == (mlp.MLP, mlp.Layer, mlp.Neuron)
    assert issubclass(micrograd.MLP, nn.MLP)
    assert micrograd.MLP is not nn.MLP


def test_dir_lists_what_the_top_level_gives():
    assert {"MLP", "Layer", "Neuron", "Value", "engine", "mlp", "nn"} <= set(dir(micrograd))


def test_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("micrograd-cython")
    except metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert micrograd.__version__ == installed


def test_unknown_names_of_the_top_level():
    with pytest.raises(AttributeError, match="no attribute 'Tensor'"):
        _ = micrograd.Tensor


# -- the constructor


def test_a_leaf_by_default():
    v = Value(2)
    assert (v.data, v.grad, v._op, v._prev, v._children, v._local_grads, v.label) == (2.0, 0.0, "", set(), (), (), "")
    assert isinstance(v.data, float)
    assert isinstance(v.grad, float)


A, B = Value(3.0), Value(-2.0)


@pytest.mark.parametrize(
    ("args", "keywords", "expected"),
    [
        ((2,), {}, {}),
        ((), {"data": 2}, {}),
        ((2, (A, B)), {}, {"children": (A, B)}),
        ((2, [A, B]), {}, {"children": (A, B)}),
        ((2, (A, A)), {}, {"children": (A, A)}),
        ((2, {A}), {}, {"children": (A,)}),
        ((2, iter([A, B])), {}, {"children": (A, B)}),
        ((2, (A, B), "+"), {}, {"children": (A, B), "op": "+"}),
        ((2, (), "const"), {}, {"op": "const"}),
        ((2, (A, B), "+", "c"), {}, {"children": (A, B), "op": "+", "label": "c"}),
        ((2, (), "", "c"), {}, {"label": "c"}),
        ((2,), {"label": "c"}, {"label": "c"}),
        ((2,), {"_op": "const"}, {"op": "const"}),
        ((2,), {"_children": (A, B), "_op": "+"}, {"children": (A, B), "op": "+"}),
        ((2,), {"_prev": (A, B), "_op": "+"}, {"children": (A, B), "op": "+"}),
        ((2,), {"children": (A, B)}, {"children": (A, B)}),
        ((2, (A, B), (0.5, 4)), {}, {"children": (A, B), "local": (0.5, 4.0)}),
        ((2, (A, A), [0.5, 4]), {}, {"children": (A, A), "local": (0.5, 4.0)}),
        ((2, (), ()), {}, {}),
        ((2,), {"children": (A,), "local_grads": (7,)}, {"children": (A,), "local": (7.0,)}),
        ((2,), {"children": (), "local_grads": ()}, {}),
        ((2, (A,)), {"local_grads": [7], "_op": "f"}, {"children": (A,), "local": (7.0,), "op": "f"}),
        ((2, (A,), (7,)), {"label": "c"}, {"children": (A,), "local": (7.0,), "label": "c"}),
    ],
)
def test_every_dialect_of_the_constructor(args, keywords, expected):
    args = tuple(iter((A, B)) if hasattr(arg, "__next__") else arg for arg in args)
    v = Value(*args, **keywords)
    assert isinstance(v, Value)
    assert (v.data, v.grad) == (2.0, 0.0)
    assert v._children == expected.get("children", ())
    assert v._prev == set(expected.get("children", ()))
    assert v._op == expected.get("op", "")
    assert v.label == expected.get("label", "")
    assert v._local_grads == expected.get("local", ())
    assert repr(v) == "Value(data=2.0, grad=0.0)"


class Float(float):
    pass


@pytest.mark.parametrize(
    "number",
    [2, 2.0, Float(2), np.float64(2), np.float32(2), np.float16(2), np.int64(2), np.uint8(2), Fraction(2), Decimal(2)],
    ids=lambda number: type(number).__name__,
)
def test_numbers_of_any_type_become_floats(number):
    v = Value(number)
    v.grad = number
    assert (type(v.data), v.data, type(v.grad), v.grad) == (float, 2.0, float, 2.0)
    for out in (v + number, number + v, v * number, number * v):
        assert (type(out), type(out.data), out.data) == (Value, float, 4.0)


@pytest.mark.parametrize(("number", "data"), [(True, 1.0), (np.bool_(True), 1.0), (False, 0.0), (2**70, 2.0**70)])
def test_bools_and_large_ints_become_floats(number, data):
    assert Value(number).data == data
    assert (Value(3.0) * number).data == 3.0 * data


def test_init_again_makes_a_leaf():
    v = A * 3.0
    v.grad = 5.0
    v.__init__(7)
    assert (v.data, v.grad, v._children, v._op) == (7.0, 0.0, (), "")
    v.backward()
    assert v.grad == 1.0


# What goes wrong with creation order goes wrong in memory, so these have processes of their own.
YOUNGER_PARENTS = {
    "children from a generator, with local grads": """
x = Value(2.0)
y = Value(12.0, (x * 3.0 for _ in range(2)), (1.0, 1.0))
y.backward()
print(x.grad)""",
    "children from a generator, by keyword": """
x = Value(2.0)
y = Value(12.0, children=(x * 3.0 for _ in range(2)), local_grads=[1.0, 1.0])
y.backward()
print(x.grad)""",
    "a result that is made again": """
x = Value(2.0)
old = x * 1.0
young = x * 3.0
old.__init__(12.0, (young,), (2.0,))
old.backward()
print(x.grad)""",
    "a result with descendants that is made again": """
x = Value(2.0)
old = x * 1.0
root = old + old
young = x * 3.0
old.__init__(6.0, (young,), (1.0,))
root.backward()
print(x.grad)""",
    "a leaf with descendants that is made again": """
x = Value(2.0)
old = Value(1.0)
root = old + old
young = x * 3.0
old.__init__(6.0, (young,), (1.0,))
root.backward()
print(x.grad)""",
    "a subclass with descendants that is made again": """
class Sub(Value):
    pass
x = Value(2.0)
old = Sub(1.0)
root = old + old
young = x * 3.0
old.__init__(6.0, (young,), (1.0,))
root.backward()
print(x.grad)""",
}


@pytest.mark.parametrize("source", YOUNGER_PARENTS.values(), ids=YOUNGER_PARENTS)
def test_parents_may_be_younger_than_their_child(isolated, source):
    assert float(isolated("from micrograd import Value" + source)) == 6.0


# -- what every op shows


POINTS = {1: (0.75,), 2: (0.75, 1.5)}


def partials(name, *args):
    return [term(1.0) for term in op(name)(*map(oracle.Value, args)).terms]


@pytest.mark.parametrize("name", OPS)
def test_op_children_and_local_grads_of_every_op(name):
    symbol, arity = OPS[name]
    values = [Value(x) for x in POINTS[arity]]
    out = op(name)(*values)
    assert out._op == symbol
    assert out._children == tuple(values)
    assert out._local_grads == pytest.approx(partials(name, *POINTS[arity]))
    out.backward()
    assert tuple(v.grad for v in values) == out._local_grads


@pytest.mark.parametrize("name", [name for name, (_, arity) in OPS.items() if arity == 2])
def test_op_children_and_local_grads_with_a_number_on_the_right(name):
    a, b = POINTS[2]
    out = op(name)(Value(a), b)
    shown = 1 if name == "__pow__" else 2
    assert out._local_grads == pytest.approx(partials(name, a, b)[:shown])
    assert [v.data for v in out._children] == [a, b][:shown]


@pytest.mark.parametrize("name", [name for name, (_, arity) in OPS.items() if arity == 2 and name.startswith("__")])
def test_op_children_and_local_grads_with_a_number_on_the_left(name):
    a, b = POINTS[2]
    out = op(name)(a, Value(b))
    order = -1 if name in ("__add__", "__mul__") else 1  # 2 * v is v * 2, as in the reference
    assert out._local_grads == pytest.approx(partials(name, a, b)[::order])
    assert [v.data for v in out._children] == [a, b][::order]


def test_children_keep_duplicates_and_prev_does_not():
    v = A + A
    assert v._children == (A, A)
    assert v._prev == {A}
    assert (A * A)._local_grads == (3.0, 3.0)


# -- the deliberate differences


def test_constants_looked_at_late_have_the_grad_that_the_last_pass_would_send_now():
    x = Value(3.0)
    y = x * 2.0
    z = y * y
    z.backward()
    z.backward()
    x.data -= 1.0
    (constant,) = y._prev - {x}
    assert constant.grad == x.data * y.grad


def test_differences_and_quotients_are_single_nodes():
    assert [v._op for v in (A - B, -A, A / B, A - 1, 1 - A, A / 2, 2 / A)] == ["-", "neg", "/", "-", "-", "/", "/"]
    assert (A - B)._prev == (A / B)._prev == {A, B}
    assert (-A)._prev == {A}


def test_data_and_grad_are_floats_throughout():
    x = Value(2)
    y = (x * 3 - 7).relu() + x**2
    y.backward()
    for v in (x, y, *y._children):
        assert isinstance(v.data, float)
        assert isinstance(v.grad, float)
    assert repr(Value(2)) == "Value(data=2.0, grad=0.0)"
    assert repr(Value(0) * -1) == "Value(data=-0.0, grad=0.0)"


@pytest.mark.parametrize(
    ("f", "data", "grads", "op"),
    [
        (lambda v, _: 2**v, 8.0, (8.0 * math.log(2), 0.0), "**"),
        (lambda v, w: v**w, 9.0, (6.0, 9.0 * math.log(3)), "**"),
        (lambda v, _: v**v, 27.0, (27.0 * (1 + math.log(3)), 0.0), "**"),
        (lambda v, _: v ** np.int64(2), 9.0, (6.0, 0.0), "**2"),
        (lambda v, _: v ** np.float64(2), 9.0, (6.0, 0.0), "**2.0"),
        (lambda v, _: v ** np.float32(0.5), 3**0.5, (0.5 * 3**-0.5, 0.0), "**0.5"),
        (lambda v, _: v ** Fraction(2), 9.0, (6.0, 0.0), "**2.0"),
        (lambda v, _: np.float64(2) ** v, 8.0, (8.0 * math.log(2), 0.0), "**"),
    ],
)
def test_exponents_of_any_kind(f, data, grads, op):
    v, w = Value(3.0), Value(2.0)
    out = f(v, w)
    out.backward()
    assert out._op == op
    assert out.data == pytest.approx(data)
    assert (v.grad, w.grad) == pytest.approx(grads)


def test_the_exponent_of_a_negative_base_has_no_gradient():
    v, w = Value(-3.0), Value(2.0)
    (v**w).backward()
    assert v.grad == -6.0
    assert math.isnan(w.grad)


def test_zero_grad_clears_the_whole_graph():
    x = Value(3.0)
    h = x * 2.0
    y = h * h
    y.backward()
    y.zero_grad()
    assert [v.grad for v in (x, h, y, *h._children)] == [0.0] * 5
    y.backward()
    assert x.grad == 24.0


def test_gradients_do_not_depend_on_the_run(isolated):
    source = """
import random
from micrograd.nn import MLP
random.seed(7)
model = MLP(3, [8, 8, 1])
model([1.0, -2.0, 0.5]).backward()
print([p.grad.hex() for p in model.parameters()])
"""
    assert len({isolated(source, PYTHONHASHSEED=str(seed)) for seed in (0, 1, 2)}) == 1


# -- ops written by users


def lecture_tanh(self):
    x = self.data
    t = (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)
    out = Value(t, (self,), "tanh")

    def _backward():
        self.grad += (1 - t**2) * out.grad

    out._backward = _backward
    return out


def microgpt_tanh(self):
    t = math.tanh(self.data)
    return Value(t, (self,), (1 - t**2,))


def microgpt_log(self):
    return Value(math.log(self.data), children=(self,), local_grads=(1 / self.data,))


USER_TANHS = [lecture_tanh, microgpt_tanh]


@pytest.mark.parametrize("tanh", USER_TANHS)
def test_a_tanh_of_the_users_mixes_with_builtin_ops(tanh):
    def neuron(f):
        x, w, b = Value(0.5), Value(-1.5), Value(0.25)
        n = f(x * w + b)
        out = (n * x + n**2) * f(n)
        out.backward()
        return [out.data, x.grad, w.grad, b.grad]

    assert neuron(tanh) == pytest.approx(neuron(Value.tanh), rel=1e-12)


@pytest.mark.parametrize("tanh", USER_TANHS)
def test_a_chain_of_user_ops_accumulates_like_builtin_ones(tanh):
    def twice(f):
        x = Value(0.5)
        h = x
        for _ in range(30):
            h = f(h) + f(h * 0.5) * x
        h.backward()
        h.backward()
        return x.grad

    assert twice(tanh) == pytest.approx(twice(Value.tanh), rel=1e-11)


def test_local_grads_of_a_user_op():
    a, b = Value(3.0), Value(-2.0)
    product = Value(a.data * b.data, (a, b), (b.data, a.data))
    assert product._local_grads == (-2.0, 3.0)
    (product * 2.0).backward()
    assert (a.grad, b.grad) == (-4.0, 6.0)
    a.data = 100.0
    assert product._local_grads == (-2.0, 3.0)


def test_local_grads_of_a_duplicated_child_add_up():
    a = Value(3.0)
    Value(9.0, (a, a), (3.0, 3.0)).backward()
    assert a.grad == 6.0


def test_a_user_op_of_many_children():
    xs = [Value(float(i)) for i in range(1000)]
    Value(sum(x.data for x in xs), xs, [1.0] * len(xs)).backward()
    assert {x.grad for x in xs} == {1.0}


def test_a_user_op_without_a_rule_sends_nothing():
    x = Value(2.0)
    out = Value(4.0, (x,), "square")
    (out * 3.0).backward()
    assert (out.grad, x.grad) == (3.0, 0.0)
    assert out._local_grads == ()


@pytest.mark.parametrize("make", [lambda x: Value(9.0, (x,), "square"), lambda x: x * x, lambda _: Value(9.0)])
def test_a_rule_assigned_after_descendants_exist(make):
    x = Value(3.0)
    out = make(x)
    y = (out * 2.0).relu()
    z = y + y * out
    out._backward = lambda: setattr(x, "grad", x.grad + 6.0 * out.grad)
    z.backward()
    assert (out.grad, x.grad) == (38.0, 6.0 * 38.0)


def test_a_user_op_reached_twice_runs_once_after_its_grad_is_complete():
    x = Value(2.0)
    seen = []
    out = Value(4.0, (x,), "square")
    out._backward = lambda: seen.append(out.grad)
    (out * 3.0 + out * out + out).backward()
    assert seen == [12.0]


def test_the_order_of_user_rules_is_topological():
    x = Value(1.0)
    seen, nodes = [], [x]
    for i in range(50):
        out = Value(1.0, (nodes[-1], nodes[i // 2]), "f")
        out._backward = lambda i=i, out=out: (seen.append(i), [setattr(c, "grad", out.grad) for c in out._children])
        nodes.append(out)
    nodes[-1].backward()
    assert seen == list(range(49, -1, -1))


def test_a_rule_may_run_backward_of_another_graph():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")

    def _backward():
        inner = Value(x.data)
        (inner * inner).backward()
        x.grad += inner.grad * out.grad

    out._backward = _backward
    (out * 2.0 + x).backward()
    assert x.grad == 13.0


def test_a_rule_may_run_backward_of_a_graph_with_rules():
    def checkpoint(f, x):
        out = Value(f(Value(x.data)).data, (x,), "checkpoint")

        def _backward():
            again = Value(x.data)
            y = f(again)
            y.backward()
            x.grad += again.grad * out.grad

        out._backward = _backward
        return out

    x, direct = Value(0.5), Value(0.5)
    y = checkpoint(lambda v: checkpoint(lambda u: u * u, v) * v, x * 2.0)
    y.backward()
    ((direct * 2.0) ** 3).backward()
    assert x.grad == pytest.approx(direct.grad)


def test_a_rule_may_run_backward_of_what_it_is_part_of():
    x = Value(3.0)
    h = x * 2.0
    out = Value(6.0, (h,), "identity")

    def _backward():
        h.backward()
        h.grad += out.grad

    out._backward = _backward
    out.backward()
    assert x.grad == 2.0 + 2.0 * 2.0


def test_a_rule_may_build_and_drop_nodes():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")

    def _backward():
        for _ in range(5000):
            junk = x * x + out
        x.grad += junk.data * out.grad

    out._backward = _backward
    (out + x).backward()
    assert x.grad == 19.0


def test_an_exception_in_a_rule_propagates_and_the_engine_goes_on():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")
    y = out * 2.0

    def _backward():
        raise LookupError("no rule")

    out._backward = _backward
    for _ in range(2):
        with pytest.raises(LookupError, match="no rule"):
            y.backward()
    assert (y.grad, x.grad) == (1.0, 0.0)
    (x * x).backward()
    assert x.grad == 6.0
    x.grad = out.grad = 0.0
    out._backward = lambda: setattr(x, "grad", x.grad + 6.0 * out.grad)
    y.backward()
    assert x.grad == 12.0


def test_a_subclass_may_override_backward_of_a_node():
    class Reversed(Value):
        """Identity forward, negated gradient backward."""

        def __init__(self, child):
            super().__init__(child.data, (child,), "reversed")

        def _backward(self):
            for child in self._children:
                child.grad -= self.grad

    x = Value(2.0)
    y = Reversed(x * 3.0) * 2.0 + x
    y.backward()
    assert (y.data, x.grad) == (14.0, -5.0)


def test_a_subclass_leaf_may_override_backward():
    class Watched(Value):
        seen = ()

        def _backward(self):
            self.seen = (*self.seen, self.grad)

    x = Watched(2.0)
    (x * x * x).backward()
    assert x.seen == (12.0,)


def test_a_subclass_may_call_the_builtin_step():
    class Halved(Value):
        def __init__(self, a, b):
            super().__init__(a.data * b.data, (a, b), (b.data, a.data))

        def _backward(self):
            self.grad /= 2
            super()._backward()

    a, b = Value(3.0), Value(4.0)
    (Halved(a, b) * 2.0).backward()
    assert (a.grad, b.grad) == (4.0, 3.0)


def test_a_subclass_with_an_init_of_its_own():
    class Parameter(Value):
        def __init__(self, name, *, scale=1.0):
            super().__init__(0.5 * scale, label=name)
            self.velocity = 0.0

    p = Parameter("w", scale=4.0)
    (p * p).backward()
    assert (p.label, p.data, p.grad, p.velocity) == ("w", 2.0, 4.0, 0.0)


def test_a_subclass_that_forgets_super_init_is_a_leaf_of_0():
    class Forgetful(Value):
        def __init__(self):
            pass

    v = Forgetful()
    assert (v.data, v.grad, v._children) == (0.0, 0.0, ())
    (v * 3.0).backward()
    assert v.grad == 3.0


# -- NumPy


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.longdouble, np.int64, np.int8, np.uint32])
@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_numpy_scalars_on_either_side_give_a_value(f, kind):
    for out, data in ((f(Value(3.0), kind(2)), f(3.0, 2.0)), (f(kind(2), Value(3.0)), f(2.0, 3.0))):
        assert type(out) is Value
        assert out.data == pytest.approx(data)


@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arrays_give_object_arrays_of_values(f):
    array = np.array([1.0, 2.0, 4.0])
    v = Value(3.0)
    for out, data in ((f(array, v), f(array, 3.0)), (f(v, array), f(3.0, array))):
        assert (type(out), out.dtype, out.shape) == (np.ndarray, np.dtype(object), (3,))
        assert all(type(o) is Value for o in out)
        assert [o.data for o in out] == pytest.approx(data)


def test_arrays_of_values_compute_and_differentiate():
    w = np.array([[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]])
    x = np.array([10.0, 20.0])
    out = (w @ x).sum() * np.float64(0.5)
    out.backward()
    assert out.data == 80.0
    assert [v.grad for v in w.ravel()] == [5.0, 10.0, 5.0, 10.0]


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "cos", "sqrt", "abs"])
def test_numpy_functions_call_the_method_of_their_name(name):
    v = Value(0.5)
    for out in (getattr(np, name)(v), getattr(np, name)(np.array([v]))[0]):
        v.grad = 0.0
        out.backward()
        assert out.data == pytest.approx(getattr(np, name)(0.5))
        assert v.grad == pytest.approx(partials(name, 0.5)[0])


def test_no_array_ufunc():
    # It sits in the class for NumPy to find fast that there is none; a subclass may have one.
    assert not hasattr(Value, "__array_ufunc__")
    assert not hasattr(Value(1.0), "__array_ufunc__")
    with pytest.raises(AttributeError, match="__array_ufunc__"):
        _ = Value.__array_ufunc__
    stubborn = type("Stubborn", (Value,), {"__array_ufunc__": None})
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(stubborn(1.0))
    assert (np.float64(2.0) * stubborn(3.0)).data == 6.0


# -- pickle, copy, deepcopy


COPIES = {
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "pickle protocol 2": lambda v: pickle.loads(pickle.dumps(v, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


class Named(Value):
    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def _leaf():
    return Value(2.5)


def _result():
    return Value(5.0) * 0.5


def _user_op():
    x = Value(0.5)
    out = lecture_tanh(x)
    out.data = 2.5
    return out


def _user_op_with_local_grads():
    return Value(2.5, (Value(1.0), Value(2.0)), (1.0, 2.0))


def _subclass():
    return Named(2.5, "w")


@every_copy
@pytest.mark.parametrize("make", [_leaf, _result, _user_op, _user_op_with_local_grads, _subclass])
def test_a_copy_is_a_leaf_with_data_grad_and_attributes(make, duplicate):
    v = make()
    v.grad, v.label, v.history = -1.5, "v", [1, 2]
    twin = duplicate(v)
    assert twin is not v
    assert isinstance(twin, type(v)) if make is _subclass else type(twin) is Value
    assert (twin.data, twin.grad, twin.label, twin.history) == (2.5, -1.5, "v", [1, 2])
    assert (twin._children, twin._prev, twin._op, twin._local_grads) == ((), set(), "", ())
    assert getattr(twin, "name", None) == getattr(v, "name", None)
    (twin * 2.0).backward()
    assert (twin.grad, v.grad) == (0.5, -1.5)


@every_copy
def test_nonfinite_and_signed_zero_data_survive(duplicate):
    for x in (math.nan, math.inf, -math.inf, -0.0, 5e-324):
        assert duplicate(Value(x)).data.hex() == x.hex()


def test_deepcopy_and_pickle_keep_shared_values_shared():
    v = Value(2.0)
    for duplicate in (copy.deepcopy, COPIES["pickle"]):
        a, b = duplicate([v, v])
        assert a is b
        assert a is not v


def test_deepcopy_is_deep_and_copy_is_not():
    v = Value(2.0)
    v.history = []
    assert copy.copy(v).history is v.history
    assert copy.deepcopy(v).history is not v.history


@pytest.mark.parametrize("duplicate", [COPIES["pickle"], copy.deepcopy])
def test_modules_are_copied_without_their_graphs(duplicate):
    random.seed(1)
    model = nn.MLP(2, [3, 1])
    model.step = 7
    out = model([1.0, -1.0])
    out.backward()
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    assert twin.step == 7
    assert twin.state_dict() == model.state_dict()
    assert [p.grad for p in twin.parameters()] == [p.grad for p in model.parameters()]
    assert not {*twin.parameters()} & {*model.parameters()}
    assert twin([1.0, -1.0]).data == out.data


@pytest.mark.parametrize("duplicate", [COPIES["pickle"], copy.deepcopy])
def test_a_module_of_computed_values_is_copied_without_the_graph(duplicate):
    neuron = nn.Neuron(2)
    for _ in range(10_000):
        neuron.b = neuron.b * 1.0
    twin = duplicate(neuron)
    assert twin.b._children == ()
    assert len(pickle.dumps(neuron)) < 1000


@every_copy
def test_the_end_of_a_long_chain_is_copied_without_recursion(duplicate):
    v = Value(1.0)
    for _ in range(100_000):
        v = v + 1.0
    assert duplicate(v).data == 100_001.0
    assert len(pickle.dumps(v)) < 500


def test_unpickling_in_another_process():
    v = Value(2.5)
    v.label = "v"
    source = "import pickle, sys; v = pickle.load(sys.stdin.buffer); print(v, v.label)"
    done = subprocess.run([sys.executable, "-c", source], input=pickle.dumps(v), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "Value(data=2.5, grad=0.0) v"


# -- what DIFFERENCES.md says of these dialects


def grads_of_passes(value, function, count):
    a, b = value(2.0), value(4.0)
    out = function(a, b)
    found = []
    for _ in range(count):
        out.backward()
        found.append((a.grad, b.grad))
    return found


def test_single_nodes_have_no_inner_node_whose_grad_stays(reference):
    def minus(a, b):
        return a - b

    def over(a, b):
        return a / b

    assert grads_of_passes(reference.Value, minus, 3) == [(1, -1), (2, -3), (3, -6)]
    assert grads_of_passes(Value, minus, 3) == [(1, -1), (2, -2), (3, -3)]
    assert grads_of_passes(reference.Value, over, 3) == [(0.25, -0.125), (0.5, -0.375), (0.75, -0.75)]
    assert grads_of_passes(Value, over, 3) == [(0.25, -0.125), (0.5, -0.25), (0.75, -0.375)]


def test_a_division_is_by_the_divisor_s_data_of_the_day(reference):
    grads = []
    for value in (reference.Value, Value):
        a, b = value(2.0), value(4.0)
        out = a / b
        a.data, b.data = 3.0, 5.0
        out.backward()
        grads.append((a.grad, b.grad))
    assert grads == [(0.25, pytest.approx(-0.12)), (0.2, pytest.approx(-0.12))]


def test_single_nodes_have_their_operands_for_children():
    for out, children, local in [
        (A - B, (A, B), (1.0, -1.0)),
        (-A, (A,), (-1.0,)),
        (A / B, (A, B), (B.data**-1, -1 * B.data**-2 * A.data)),
    ]:
        assert (out._children, out._local_grads) == (children, local)


def test_prev_of_a_tuple_is_a_set_and_children_keep_duplicates():
    a = Value(1.0)
    for out in (a + a, Value(2.0, (a, a), "+"), Value(2.0, _prev=(a, a), _op="+")):
        assert (out._prev, out._children) == ({a}, (a, a))


def test_vars_are_what_was_set(reference):
    v = Value(1.0)
    assert vars(v) == vars(v * 2.0) == {}
    v.label = "v"
    assert vars(v) == {"label": "v"}
    assert set(vars(reference.Value(1.0))) == {"data", "grad", "_backward", "_prev", "_op"}
