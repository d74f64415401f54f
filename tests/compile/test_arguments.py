"""What a compiled function takes and returns for one sample: numbers, Values, nested lists."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import micrograd
from helpers import linux
from micrograd import Value, functional

# ---- One sample ------------------------------------------------------------------------------------------------------


def test_gradients_of_one_sample_go_to_captured_leaves_and_to_arguments_that_are_values():
    w, x, y = Value(1.0), Value(3.0), Value(2.0)
    out = micrograd.compile(lambda x, y: x**y + w * x)(x, y)
    out.backward()
    assert out.data == 12.0
    assert (x.grad, y.grad, w.grad) == (7.0, 9.0 * math.log(3.0), 3.0)  # 2 * 3 of x**2, and 1 of w x


def test_an_argument_may_be_given_twice():
    x = Value(3.0)
    micrograd.compile(operator.mul)(x, x).backward()
    assert x.grad == 6.0


@pytest.mark.parametrize("count", [3, 6, 14])
def test_gradients_of_arguments_that_are_read_early_and_late(count, exact):
    """The gradient of the one that is read last is there first, and stays while the others are computed."""

    def chain(xs):
        y = xs[0].sin()
        for x in xs[1:]:
            y = (y * 2.0 + 1.0).tanh().exp().sigmoid() * x
        return y

    f = micrograd.compile(
        lambda xs, last: chain([*xs[last + 1 :], *xs[: last + 1]]), static_argnames="last", exact=exact
    )
    points = [0.5 + 0.1 * i for i in range(count)]
    for last in range(count):
        ours, theirs = [*map(Value, points)], [*map(Value, points)]
        f(ours, last).backward()
        chain([*theirs[last + 1 :], *theirs[: last + 1]]).backward()
        assert [x.grad for x in ours] == pytest.approx([x.grad for x in theirs], rel=1e-12)


def test_nested_arguments_and_results():
    w = Value(2.0)
    f = micrograd.compile(lambda x: [x[0] * w, (x[1][0] + x[1][1], [5.0, w])])
    first, (second, (third, fourth)) = f([1.0, (2.0, 3.0)])
    assert [v.data for v in (first, second, third, fourth)] == [2.0, 5.0, 5.0, 2.0]
    (first * 3 + fourth).backward()
    assert w.grad == 4.0
    assert isinstance(f([1.0, (2.0, 3.0)])[1], tuple)
    assert f.program.startswith("<lambda>(3 numbers, nested)\n")


def test_lists_and_tuples_stay_what_they_are_at_any_depth():
    def kinds(x):
        return (type(x), [*map(kinds, x)]) if isinstance(x, (list, tuple)) else None

    seen = []
    f = micrograd.compile(lambda x: seen.append(kinds(x)) or x)
    for nested in ((1.0, [2.0, (3.0, [4.0, (5.0, 6.0)])]), [1.0, (2.0, [3.0, (4.0, [5.0, 6.0])])], [[((1.0, 2.0),)]]):
        assert kinds(f(nested)) == kinds(nested) == seen[-1]
    assert f.retraces == 2


def test_tuples_stay_tuples_and_arrays_count_as_lists():
    f = micrograd.compile(lambda x: x[0] + (*x, 1.0)[isinstance(x, tuple)])
    assert [f(x).data for x in ((2.0, 3.0), [2.0, 3.0], (2.0, 3.0, 4.0))] == [5.0, 4.0, 5.0]
    f = micrograd.compile(lambda x: x[0] + (*x, 1.0)[isinstance(x, tuple)])
    assert [f(x).data for x in ([2.0, 3.0], (2.0, 3.0), [2.0, 3.0])] == [4.0, 5.0, 4.0]
    g = micrograd.compile(lambda x: x[0] + ([*x, 1.0])[-1])
    assert g([2.0, 3.0]).data == g(np.array([2.0, 3.0])).data == 3.0
    assert g.retraces == 0


def test_results_that_do_not_depend_on_the_arguments():
    w = Value(2.0)
    assert micrograd.compile(lambda x: 3.0)(1.0).data == 3.0
    assert micrograd.compile(lambda x: 3.0).sum([1.0, 2.0]).data == 6.0
    total = micrograd.compile(lambda x: w * w).sum([1.0, 2.0])
    total.backward()
    assert (total.data, w.grad) == (8.0, 8.0)
    assert micrograd.compile(lambda: w * 2)().data == 4.0


def test_an_empty_list_is_returned():
    f = micrograd.compile(lambda x: [])
    assert f(1.0) == []
    assert f.map([1.0, 2.0]).shape == (2, 0)


@pytest.mark.parametrize("result", [None, "a", {"a": 1}, [1.0, None]])
def test_other_results_are_type_errors(result):
    with pytest.raises(TypeError, match="what a compiled function returns must be a real number"):
        micrograd.compile(lambda x: result)(1.0)


@pytest.mark.parametrize("argument", ["a", None, {"a": 1}, [1.0, "a"], 1j])
def test_other_arguments_are_type_errors(argument):
    with pytest.raises(TypeError, match="argument 0 must be a real number"):
        micrograd.compile(lambda x: 1.0)(argument)


def test_gradients_are_in_the_order_of_captured():
    a, b, c = Value(1.0), Value(2.0), Value(3.0)
    f = micrograd.compile(lambda x, first: a * x if first else c * x + b * x * 2)
    f(1.0, first=True)
    _, grads = f.value_and_grad([1.0, 2.0], first=False)
    order = {id(p): g for p, g in zip(f.captured, grads)}
    assert [order[id(p)] for p in (a, b, c)] == [0.0, 6.0, 3.0]


# ---- Odd arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("np.longdouble(2)", None),
        ("np.ones(2, np.longdouble) * 2", None),
        ("np.array([[2, 3], [4, 5]], np.longdouble)", None),
        ("[np.longdouble(2), (2, Fraction(2))]", None),
        ("loop", "ValueError: argument 0 is nested more than 100 deep"),
        ("[1.0, loop]", "ValueError: argument 0 is nested more than 100 deep"),
        ("deep", "ValueError: argument 0 is nested more than 100 deep"),
        ("Returns('self')", "TypeError: argument 0 must be a real number, not 'Returns'"),
        ("Returns([Returns('self')])", "TypeError: argument 0 must be a real number, not 'Returns'"),
        ("Returns('new')", "ValueError: argument 0 is nested more than 100 deep"),
        ("Returns((1.0,))", "TypeError: argument 0 must be a real number, not 'tuple'"),
        ("Returns(None)", "TypeError: argument 0 must be a real number, not 'NoneType'"),
        ("[Grows(), 1.0]", None),
        ("[Shrinks(), 1.0, 1.0, 1.0]", None),
        ("np.broadcast_to(0.0, sys.maxsize // 64)", "ValueError: argument 0 has more than 16,777,216 numbers a sample"),
        ("[[]] * 3", None),
    ],
)
def test_arguments_and_results_that_are_odd_or_change_while_they_are_read(isolated, argument, error):
    """As a sample, a batch, a static argument and a result: a number or an error, never a crash."""
    isolated(
        f"""
import sys
from fractions import Fraction
import numpy as np
import micrograd
from micrograd import Value

loop = []
loop.append(loop)
deep = []
for _ in range(80_000):
    deep = [deep]

class Returns:
    def __init__(self, x): self.x = x
    def tolist(self): return self if self.x == "self" else [Returns("new")] if self.x == "new" else self.x

class Grows:
    def __float__(self):
        if len(argument) < 1000:
            argument.extend([1.0] * 100)
        return 2.0

class Shrinks:
    def __float__(self):
        del argument[1:]
        return 2.0

def first(x):
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    return x if isinstance(x, Value) else Value(2.0)

def outcome(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except (TypeError, ValueError, MemoryError) as raised:
        return type(raised).__name__ + ": " + str(raised)

make = lambda: {argument}
argument = make()
found = outcome(micrograd.compile(first), argument)
error = {error!r}
assert found.data == 2.0 if error is None else found == error, found
argument = make()
found = outcome(micrograd.compile(lambda x: argument), 1.0)
if error is not None:
    assert found == error.replace("argument 0", "what a compiled function returns"), found
for call in (
    lambda: micrograd.compile(first).sum(argument),
    lambda: micrograd.compile(first).map([argument]),
    lambda: micrograd.compile(first)(x=argument),
    lambda: micrograd.compile(lambda x, s: x)(1.0, s=("a", argument)),
):
    argument = make()
    outcome(call)
assert micrograd.compile(lambda x: x * x)(3.0).data == 9.0
"""
    )


@linux
@pytest.mark.parametrize(
    "shapes",
    [
        "[(0, most)] * 32",
        "[(0, most)]",
        "[(0, root, root)]",
        "[(3, 0, most // 4)]",
        "[(0, most, 0)]",
        "[(0, 2**24, 2)]",
        "[(0, 2**24), (0, 1)]",
        "[(0,) + (2,) * 25]",
    ],
)
def test_sizes_do_not_overflow(isolated, shapes):
    isolated(
        f"""
import math, resource, sys
import numpy as np
import micrograd

most = sys.maxsize // 16  # NumPy refuses arrays of more bytes than sys.maxsize, even if they have none
root = math.isqrt(most)
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
f = micrograd.compile(lambda *args: 1.0)
for call in (f.sum, f.map, f.value_and_grad):
    try:
        call(*[np.empty(shape) for shape in {shapes}])
    except ValueError as error:
        assert "numbers a sample" in str(error), error
    else:
        assert {shapes!r} == "[(3, 0, most // 4)]"
try:
    f.map(np.empty((most if most > 2**32 else 10**6, 0)))  # results of half of all addresses of 32 bits take too long
except MemoryError:
    pass
assert f.sum(np.ones(3)).data == 3.0
"""
    )


class Convertible:
    """An array to NumPy, without `tolist`."""

    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, 2.0, 3.0])


def test_samples_of_a_ragged_batch_that_numpy_converts():
    f = micrograd.compile(lambda x: functional.sum(x))
    assert f.map([Convertible(), [1.0]]) == [6.0, 1.0]
    assert f.map([[2.0], Convertible()]) == [2.0, 6.0]


@pytest.mark.slow
def test_lists_of_too_many_numbers():
    many = [0.0] * (16_777_216 + 1)
    f = micrograd.compile(lambda x: Value(1.0))
    for call, argument in ((f, many), (f.map, [[1.0], many])):
        with pytest.raises(ValueError, match="argument 0 has more than 16,777,216 numbers a sample"):
            call(argument)
