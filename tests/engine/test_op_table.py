"""The columns of the op table that other code relies on, held to the functions beside them: what each partial reads,
its shape, and whether the arguments commute."""

from __future__ import annotations

import itertools
import math

import pytest

from helpers import BINARY, SPECIAL, bits, op, outcome
from micrograd._core import OPS, Value, op_columns, op_names, op_partial, op_value

VARIADIC = ["sum", "logsumexp", "max"]
POINTS = list(itertools.product((0.25, 0.75, -0.75), (2.0, 3.0), (0.125, 0.625, -0.625), (1.0, -3.0)))  # a, b, r, g


def replaced(point, what, x):
    return [x if name == what else y for name, y in zip("abrg", point)]


@pytest.mark.parametrize("name", op_names())
def test_a_partial_reads_what_its_row_says(name):
    """What it does not read may be anything; what it reads makes a difference."""

    def partial(side, point):
        gain, error = outcome(op_partial, name, side, *point)
        return error or bits(gain)

    for side, reads in enumerate(op_columns(name)["reads"]):
        for what in "abr":
            same = all(
                partial(side, replaced(point, what, x)) == partial(side, point)
                for point in POINTS
                for x in (0.5, -0.5, 0.0, 1.0, 2.5, math.nan)
            )
            assert same == (what not in reads), (side, what)


@pytest.mark.parametrize("name", [*OPS, *VARIADIC])
def test_partials_have_the_shape_that_the_row_says(name):
    columns = op_columns(name)
    for side in range(len(columns["reads"])):
        slopes = {op_partial(name, side, *point) / point[3] for point in POINTS}
        product = all(op_partial(name, side, *point) == point[1 - side] * point[3] for point in POINTS)
        assert columns["shape"] == (
            "zero" if slopes == {0.0} else "linear" if len(slopes) == 1 else "product" if product else "nonlinear"
        )


@pytest.mark.parametrize("name", ["_take", "_entropy_normalizer"])
def test_the_argument_at_an_index_has_another_partial_than_the_others(name):
    """b says whether it is the one at the index."""
    assert op_columns(name)["shape"] == "indexed"
    for a, _, r, g in POINTS:
        at, elsewhere = op_partial(name, 0, a, 1.0, r, g), op_partial(name, 0, a, 0.0, r, g)
        assert (at, elsewhere) == ((g, 0.0) if name == "_take" else (0.0, op_partial("logsumexp", 0, a, 0.0, r, g)))


@pytest.mark.parametrize("name", BINARY)
def test_arguments_commute_where_the_row_says(name):
    def result(a, b):
        value, error = outcome(op(name), Value(a), Value(b))
        return error or bits(math.nan if value.data != value.data else value.data)

    assert op_columns(name)["commutes"] == all(
        result(a, b) == result(b, a) for a, b in itertools.product(SPECIAL, repeat=2)
    )


CHOICES = {
    "_less": lambda a, b: float(a < b),
    "_less_equal": lambda a, b: float(a <= b),
    "_equal": lambda a, b: float(a == b),
    "_and": lambda a, b: float(bool(a) and bool(b)),
    "_or": lambda a, b: float(bool(a) or bool(b)),
    "_then": lambda a, b: b if a else -0.0,
    "_otherwise": lambda a, b: -0.0 if a else b,
    "_guard": lambda a, b: b if a else 0.5,
}


@pytest.mark.parametrize("name", CHOICES)
def test_conditions_and_choices_are_pythons(name):
    """In compiled functions vector loops compute them: the rows are for the other uses of the table."""
    for a, b in itertools.product(SPECIAL, repeat=2):
        assert bits(op_value(name, Value(a), Value(b)).data) == bits(CHOICES[name](a, b)), (a, b)
    assert [op_value("_not", Value(x)).data for x in (0.0, -0.0, 1.0, math.nan)] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("condition", [0.0, 1.0])
def test_a_choice_is_a_sum_in_which_the_other_side_changes_nothing(condition):
    for a, b in itertools.product(SPECIAL, repeat=2):
        sides = [op_value(name, Value(condition), Value(x)) for name, x in (("_then", a), ("_otherwise", b))]
        assert bits((sides[0] + sides[1]).data) == bits(a if condition else b)


def test_the_maximum_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the maximum of no values"):
        op_value("max")
