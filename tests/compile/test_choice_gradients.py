"""Gradients in compiled functions go through choices: what is not chosen is not differentiated either."""

from __future__ import annotations

import math
import random

import pytest

import micrograd
from helpers import agrees
from micrograd import Value
from micrograd import functional as F

W = [Value(-1.0), Value(0.5), Value(2.0)]
POINTS = [-3.0, -1.0, -0.25, 0.5, 1.5, 2.0, 3.0]
FUNCTIONS = {
    "sqrt": lambda x: F.where(x > 0, lambda: (x * W[2]).sqrt(), lambda: x * x * W[2]),
    "log": lambda x: F.where(x > 1, lambda: x.log() * W[0], lambda: (2 - x).log() / W[1]),
    "nested": lambda x: F.where(
        x > 0,
        lambda: F.where(x.log() > 0, lambda: x.log() ** 1.5, lambda: (-x.log()) ** 1.5),
        lambda: 1 / (x - 1),
    ),
    "two choices": lambda x: F.where(x > 0, lambda: x.log() * x, 0.0) + F.where(x < -0.5, 1.0, lambda: x**3),
    "used by both sides": lambda x: (lambda y: F.where(x > 0, lambda: y.exp() * W[1], lambda: y.sin() / W[2]) * y)(
        (x * W[1]).tanh()
    ),
    "greater": lambda x: F.maximum(x * W[1], x * x) * F.minimum(x, W[2]) + x.clamp(-2, 2) ** 3,
    "a layer": lambda x: F.where(
        x > 0, lambda: F.sum([y.tanh() for y in F.linear([x.sqrt(), x], [[W[0], W[1]], [W[2], 0.5]])]), x
    ),
}


def values_and_grads(function, v):
    """Data and gradients of an argument and W."""
    for w in W:
        w.grad = 0.0
    x = Value(v)
    y = function(x)
    y.backward()
    return [y.data, x.grad, *(w.grad for w in W)]


# What a condition reads is needed for all samples, its gradient where the side is taken: at 0, none of these has one.


def many_choices(r):
    a = (r * r + 0.1).sqrt()
    z = F.where(r > -0.0, a, 0.75)
    b = (z * z + 0.1).sqrt()
    c = F.where(r > -0.0, b, r)
    d, e = F.where(c > 0.65, c, b), F.where(z < c, c, 0.0)
    return d + e + F.where(a < -0.0, e, 0.75)


READ_BY_CONDITIONS = {
    "a root": lambda x: (lambda r: F.where(r > 0, r * W[2], x))((x * W[1]).sqrt()),
    "a length": lambda x: (lambda d: F.where(d > 1e-9, lambda: x / d, 0.0))((x * x * W[2]).sqrt()),
    "what is computed from it": lambda x: (lambda t: F.where(t > 0, lambda: t * x, W[1] * x))((x**0.5 * W[2]).tanh()),
    "in two choices": lambda x: (lambda r: F.where(r > 0, r, F.where(r > -1, x, r)) + F.where(r < 1, x, r))(
        x.abs().cbrt()
    ),
    "nested": lambda x: (lambda r: F.where(x < 5, lambda: F.where(r > 0, lambda: r.log(), x), r))((x * W[2]).sqrt()),
    "both": lambda x: (lambda r: F.where((r > 0) & (r < 9), r, W[0] * x))((x * x).sqrt()),
    "on both sides of one and on one of another": lambda x: (
        lambda r: (lambda z: F.where(z > 0.5, z, x) + F.where(x > 0.5, r * W[2], 0.0))(
            F.where(x > 0.5, r * W[1], r).sqrt()
        )
    )((x * x + 0.25).sqrt()),
    "many in few instructions": lambda x: many_choices(x.sqrt()),
    "only the condition": lambda x: F.where((x * W[2]).sqrt() < 1, x * W[1], lambda: x.sqrt()),
}


@pytest.mark.parametrize("name", READ_BY_CONDITIONS)
def test_what_a_condition_reads_sends_no_gradient(name, exact):
    function = READ_BY_CONDITIONS[name]
    compiled = micrograd.compile(function, exact=exact)
    for v in (0.0, 1e-300, 0.25, 4.0, 9.0):
        assert values_and_grads(compiled, v) == pytest.approx(values_and_grads(function, v), rel=1e-12, abs=1e-15)
    points = [0.0, 0.25, 0.0, 4.0]
    total, grads = compiled.value_and_grad(points)
    expected = [values_and_grads(function, v) for v in points]
    assert math.isclose(total, sum(e[0] for e in expected), rel_tol=1e-12)
    for leaf, found in zip(compiled.captured, grads):
        assert math.isclose(found, sum(e[2 + W.index(leaf)] for e in expected), rel_tol=1e-12, abs_tol=1e-15)


@pytest.mark.parametrize("sides", ["both", "one of each of two"])
def test_long_chains_of_choices_that_read_what_they_choose_from(sides):
    """A chain has a number of ways through it that doubles with each choice."""

    def chain(x):
        z = x
        for _ in range(200):
            if sides == "both":
                z = F.where(z > W[1], lambda z=z: z.log() + W[2], lambda z=z: z * W[0] + 1.0)
            else:
                z = F.where(z > 0.5, lambda z=z: z.log() + W[2], 0.0) + F.where(z > 1, lambda z=z: z.sqrt(), 0.25)
        return z

    compiled = micrograd.compile(chain)
    for v in (0.25, 3.0):
        assert values_and_grads(compiled, v) == pytest.approx(values_and_grads(chain, v), rel=1e-9, abs=1e-12)


def test_long_chains_of_choices_by_what_they_do_not_compute(exact):
    """Every step is needed in three cases of the next one, whose conditions come after it in the function."""

    def chain(x):
        z = x
        for i in range(60):
            z = F.where(x + W[0] > i, lambda z=z: (z * z + 1.0).log(), F.where(x * W[1] > i, z * W[2], z - 0.5))
        return z

    compiled = micrograd.compile(chain, exact=exact)
    for v in (-2.0, 30.5, 75.25):
        assert values_and_grads(compiled, v) == pytest.approx(values_and_grads(chain, v), rel=1e-9, abs=1e-12)
    assert compiled.program.count("log") < 70


def test_conditions_of_parameters_send_no_gradient(exact):
    w, v = Value(0.0), Value(3.0)
    for root in (lambda: w.sqrt(), lambda: (w * v).sqrt().clamp(-1, 1), lambda: w.abs() ** 0.5 * v):
        for condition in (lambda root=root: root() < 1, lambda root=root: F.eq(root(), root())):
            f = micrograd.compile(lambda x, condition=condition: F.where(condition(), x * v, 2.0), exact=exact)
            total, grads = f.value_and_grad([1.0, 2.0])
            assert (total, dict(zip(map(id, f.captured), grads))) == (9.0, {id(w): 0.0, id(v): 3.0})


def test_grad_of_a_side_that_divides_by_0():
    for side in (lambda x: x / 0.0, lambda x: x / Value(0.0)):
        f = micrograd.compile(lambda x, side=side: micrograd.grad(F.where(x < 1, lambda: x * x, lambda: side(x)), x))
        assert f.map([0.5, -2.0]).tolist() == [1.0, -4.0]
        with pytest.raises(ZeroDivisionError, match="sample 1: "):
            f.map([0.5, 1.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.where(F.eq(x, -1.0), w, x) / w.expm1(),
        lambda x, w: F.where(x > 9.0, lambda: w * x, x * x) / w.tanh(),
        lambda x, w: F.where(w < 0.0, w.exp(), x) * (w * w + 1.0).log(),
    ],
)
def test_second_derivatives_of_parameters_behind_a_choice(function, exact):
    w = Value(0.475)

    def derivatives(x):
        slope = micrograd.grad(function(x, w), w, create_graph=True)
        return [slope, micrograd.grad(slope, w, create_graph=True)]

    found = micrograd.compile(derivatives, exact=exact).map([2.0, 3.0, -1.0])
    for x, row in zip([2.0, 3.0, -1.0], found.tolist()):
        assert row == pytest.approx([g.data for g in derivatives(Value(x))], rel=1e-12)


def test_a_derivative_of_0_is_no_product_with_nan():
    """The gradient by the exponent is NaN, and x**0 has the derivative 0."""
    w = Value(-1.5)
    f = micrograd.compile(lambda x: micrograd.grad(F.where(x > 0, lambda: w ** (x**0) + x, x), x))
    assert f.map([2.0, -2.0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_through_choices(name, order, exact):
    def derivative(x):
        y = FUNCTIONS[name](x)
        for _ in range(order):
            y = micrograd.grad(y, x, create_graph=True, allow_unused=True)
            y = y if isinstance(y, Value) else Value(y or 0.0)
        return y + 0.0 * x

    compiled = micrograd.compile(derivative, exact=exact)
    for v in POINTS:
        for a, b in zip(values_and_grads(compiled, v), values_and_grads(derivative, v)):
            assert agrees(a, b, exact=False) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), (v, a, b)
    assert compiled.map(POINTS).tolist() == [compiled(v).data for v in POINTS]


@pytest.mark.parametrize("samples", [1, 7, 8, 17, 24, 40, 100, 200])
@pytest.mark.parametrize(
    "choose", [F.maximum, F.minimum, lambda a, b: F.where(a > b, a, b * 2.0), lambda a, b: F.where(a > b, 1.0, a)]
)
def test_gradients_of_choices_are_added_to_others_for_each_sample(choose, samples, exact):
    """The product has sent its gradient before the choice sends one to the same Value."""

    def function(x, y):
        hidden = x * W[1]
        return choose(hidden, y) * hidden

    f = micrograd.compile(function, exact=exact)
    draw = random.Random(samples)
    xs = [draw.uniform(-1.0, 1.0) for _ in range(samples)]
    ys = [x * 0.5 if i % 3 == 0 else draw.uniform(-1.0, 1.0) for i, x in enumerate(xs)]  # a third are ties
    W[1].grad = 0.0
    F.sum([function(Value(x), Value(y)) for x, y in zip(xs, ys)]).backward()
    expected, W[1].grad = W[1].grad, 0.0
    f.sum(xs, ys).backward()
    assert W[1].grad == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_random_choices_are_differentiated():
    """Chains of nested choices, of which each side is defined where it is taken alone."""
    for seed in range(40):

        def function(x, seed=seed):
            draw = random.Random(seed)
            y = x * W[1]
            for _ in range(4):
                bound, z = draw.uniform(-1, 1), y
                a = draw.choice([lambda z=z, b=bound: (z - b).sqrt() * W[2], lambda z=z, b=bound: (z - b).log() - z])
                b = draw.choice([lambda z=z, b=bound: (b + 1 - z).sqrt(), lambda z=z, b=bound: z / (z - b - 1)])
                y = F.where(z > bound, a, b) * 0.5
            return y

        def slope(x, function=function):
            return micrograd.grad(function(x), x, create_graph=True)

        compiled = micrograd.compile(slope)
        for v in (-1.5, -0.3, 0.7, 2.5):
            assert math.isclose(compiled(v).data, slope(Value(v)).data, rel_tol=1e-9, abs_tol=1e-9), (seed, v)


BEHIND = {
    "a softmax": lambda w: F.softmax([w * 1.5, w])[0],
    "a root": lambda w: (w * w + 2.0).sqrt(),
    "a norm": lambda w: F.rms_norm([w, 2.0], eps=0.1)[0],
}


@pytest.mark.parametrize("name", BEHIND)
def test_gradients_on_one_side_of_a_choice_and_on_both_of_one_by_it(name, exact):
    """The second choice asks for what is computed on either side of the first, which is known then."""
    w = Value(-0.5)

    def f(x, y):
        r = BEHIND[name](w)
        z = F.where(x > 0.5, w * r, r).tanh()
        return z + F.where(z > y, x, r)

    def slopes(x, y):
        return micrograd.grad(f(x, y), w, create_graph=True)

    points = [(1.0, 0.0), (0.0, 0.0), (1.0, 2.0), (0.0, 2.0), (1.0, -2.0)]
    found = micrograd.compile(slopes, exact=exact).map(*map(list, zip(*points)))
    assert found.tolist() == pytest.approx([slopes(*map(Value, point)).data for point in points], rel=1e-12)


SIDES = {
    "a product": lambda x, w: -x * w,
    "a product of a sum": lambda x, w: (x - 1.0) * w,
    "a product of a sum with a leaf": lambda x, w: (w + x) * w,
    "a product of a difference": lambda x, w: (2.0 - x) * w,
    "a product of a multiple": lambda x, w: (x * 3.0) * (w * 2.0),
    "sums of products": lambda x, w: F.dot([-x, x + 2.0, x], [w, w * w, w]),
    "a choice": lambda x, w: F.where(x > 0.0, -x, x) * w,
    "a sum with a bias": lambda x, w: F.dot([w, w * w], [w, w], bias=x) * w,
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_what_is_infinite_on_a_side_that_is_not_taken_sends_nothing(side, exact):
    w = Value(0.5)

    def f(x):
        return F.where((x < 1e300) & (x > -1e300), lambda: side(x, w), 1.0)

    compiled = micrograd.compile(f, exact=exact)
    for x in ([math.inf], [math.inf, -math.inf, math.nan, 2.0, -0.25]):
        expected = micrograd.grad(F.sum([f(Value(a)) for a in x]), w, allow_unused=True) or 0.0
        assert compiled.value_and_grad(x)[1].tolist() == pytest.approx([expected])


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("inner", [lambda z, w: z * w, lambda z, w: F.where(z > 2.0, z, w) * w, lambda z, w: w / z])
def test_what_is_infinite_on_the_outer_side_alone_sends_nothing_to_the_inner(inner, exact):
    w = Value(0.5)

    def f(x, y):
        def outer():
            z = y * y
            return z.tanh() + F.where(x > 1.0, lambda: inner(z, w), lambda: x)

        return F.where(x > 0.0, outer, lambda: x)

    compiled = micrograd.compile(f, exact=exact)
    points = [(0.5, math.inf), (0.5, 0.0), (2.0, 3.0), (-1.0, math.nan), (2.0, 0.5), (0.5, math.nan)]
    expected = sum(micrograd.grad(f(Value(x), Value(y)), w, allow_unused=True) or 0.0 for x, y in points)
    assert compiled.value_and_grad(*map(list, zip(*points)))[1].tolist() == pytest.approx([expected])


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ["asin", "acos"])
def test_what_a_condition_reads_may_have_a_pole_elsewhere_than_at_0(name, exact):
    """At 1 and -1 the condition does not hold, and nothing asks for the gradient."""

    def f(x):
        r = getattr(x, name)()
        return F.where((r < 1.5) & (r > -1.5) & F.logical_not(r < 0.1), r, 0.0)

    compiled = micrograd.compile(f, exact=exact)
    for point in (1.0, -1.0, 0.5):
        theirs, ours = Value(point), Value(point)
        f(theirs).backward()
        compiled(ours).backward()
        assert ours.grad == pytest.approx(theirs.grad)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("read", [lambda x: 1.0 / x, lambda x: x**-1.0])
def test_a_quotient_that_a_condition_reads_may_have_no_derivative(read, exact):
    """It has a value at -1e-200, where it is not chosen."""

    def f(x):
        r = read(x)
        return F.where(r > 0.0, r, x)

    compiled = micrograd.compile(f, exact=exact)
    for point in (-1e-200, 0.5):
        theirs, ours = Value(point), Value(point)
        f(theirs).backward()
        compiled(ours).backward()
        assert ours.grad == pytest.approx(theirs.grad)


@pytest.mark.parametrize("exact", [True, False])
def test_a_choice_within_one_by_the_same_condition(exact):
    """Its other side is never taken, so that it raises nothing."""

    def f(x):
        holds = x > 0.0
        return F.where(
            holds,
            lambda: F.where(holds, lambda: x.log(), lambda: (-x).log() + x**-0.5),
            lambda: F.where(holds, lambda: x.sqrt(), lambda: (-x).sqrt()),
        )

    compiled, points = micrograd.compile(f, exact=exact), [2.0, -4.0, 0.25, -0.0]
    assert compiled.map(points).tolist() == pytest.approx([f(Value(x)).data for x in points])
    for point in points[:3]:
        theirs, ours = Value(point), Value(point)
        f(theirs).backward()
        compiled(ours).backward()
        assert ours.grad == pytest.approx(theirs.grad)


def test_a_chain_of_choices_within_a_choice_is_a_program_of_its_size():
    """Also where the condition around them comes last: no instruction has a copy for each way through the chain."""

    def f(x):
        z = [x, x + 1.0, x * x]
        for _ in range(12):
            z.append(F.where(z[-3] > 1.0, z[-1] * z[-2], z[-2]))
        return F.where(x < 1.2, z[-1], 0.0)

    compiled = micrograd.compile(f, exact=True)
    assert compiled.map([0.7, 1.1, 1.3]).tolist() == [f(Value(x)).data for x in (0.7, 1.1, 1.3)]
    (traced,) = compiled._programs.values()
    assert len(traced.program.instructions) < 3 * traced.program.trace.read
