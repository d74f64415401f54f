"""Subclasses of Value: their own operators, `__init__` and `_backward`."""

from __future__ import annotations

import pytest

from micrograd import Value, functional


def test_subclasses(engine):
    class Parameter(engine.Value):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

        def square(self):
            return self * self

    p = Parameter(3.0, "w")
    y = 2 * p.square() + p
    y.backward()
    assert isinstance(p, engine.Value)
    assert (p.name, p.grad, y.data) == ("w", 13.0, 21.0)
    assert p in (p * 1.0)._prev


def test_a_subclass_may_override_an_operator(engine):
    class Saturating(engine.Value):
        def __mul__(self, other):
            return Saturating(min((super().__mul__(other)).data, 10.0))

    assert (Saturating(6.0) * 7).data == 10.0
    assert (Saturating(2.0) * 3).data == 6.0


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


def test_a_metaclass_that_raises_while_an_instance_is_made():
    class Refuses(type):
        def __getattribute__(cls, name):
            if name == "_backward":
                raise LookupError(name)
            return super().__getattribute__(name)

    class Refused(Value, metaclass=Refuses):
        pass

    with pytest.raises(LookupError, match="_backward"):
        Refused(1.0)


JOINED = {
    "+": lambda a, b: a + b,
    "sum": lambda a, b: functional.sum([a, b]),
    "sum of many": lambda a, b: functional.sum([a, Value(0.0), Value(0.0), b]),
    "dot": lambda a, b: functional.dot([Value(1.0), Value(1.0)], [a, b]),
    "weights": lambda a, b: functional.dot([a, b], [1.0, 1.0]),
    "bias": lambda a, b: functional.dot([a], [1.0], bias=b),
    "layer": lambda a, b: functional.linear([a, b], [[Value(0.0), Value(0.0)], [Value(1.0), Value(1.0)]])[1],
    "local gradients": lambda a, b: Value(a.data + b.data, (a, b), (1.0, 1.0)),
    "children": lambda a, b: users_sum(a, b),
}


def users_sum(a, b):
    out = Value(a.data + b.data, (a, b), "+")

    def step():
        a.grad += out.grad
        b.grad += out.grad

    out._backward = step
    return out


@pytest.mark.parametrize("joined", JOINED)
@pytest.mark.parametrize("retain", [True, False])
def test_results_of_subclasses_are_parents_at_any_place(joined, retain):
    """They are in no slab, so that their graphs are walked in another order."""

    class Sub(Value):
        pass

    for swapped in (False, True):
        x = Value(5.0)
        a, b = x * 1.0, Sub(1.0, (x * 2.0,), local_grads=(3.0,))
        later = x * 10.0
        out = JOINED[joined](*((b, a) if swapped else (a, b))) + later
        out.backward(retain_grads=retain)
        assert x.grad == 17.0
