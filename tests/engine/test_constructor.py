"""Value(...): every signature that micrograd's dialects call it with, and parents of any age."""

from __future__ import annotations

import inspect

import pytest

from micrograd import Value


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


def test_init_again_makes_a_leaf():
    v = A * 3.0
    v.grad = 5.0
    v.__init__(7)
    assert (v.data, v.grad, v._children, v._op) == (7.0, 0.0, (), "")
    v.backward()
    assert v.grad == 1.0


# A fault in the creation order would corrupt memory, so each of these runs in a process of its own.
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


def test_the_constructor_has_a_signature():
    parameters = inspect.signature(Value).parameters
    assert str(inspect.signature(Value)) == (
        "(data, _children=(), _op='', label=None, *, children=(), _prev=(), local_grads=None)"
    )
    given = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert Value(2.0, **given).data == 2.0
    assert Value.__doc__.startswith("A number that remembers")
    assert inspect.signature(type("Sub", (Value,), {})) == inspect.signature(Value)
