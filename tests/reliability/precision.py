"""How far data and gradients of single ops are from the true ones, in units in the last place: part of `make ulps`.

The true values have 40 digits, by mpmath. Where a formula is well conditioned, the error is within 2 units; else within
2 and four times the condition number: what a relative change of the arguments is multiplied by, as it is near a root.
EXCEPTIONS has what is not, with bounds of its own and the reason: derivatives that cancel, as those of tanh and sigmoid
do where they are saturated, and functions of the C library.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from typing import NamedTuple

import mpmath

from exact import in_mpmath
from helpers import BINARY, NARROW, UNARY, op, outcome
from micrograd import Value

BOUND = 2.0
SMALLEST, LARGEST = 1e-290, 1e290  # of true values that are compared


class Region(NamedTuple):
    where: object  # which arguments it has
    bound: float  # the largest error
    size: float  # units are those of this number, where the true value is smaller
    why: str


def anywhere(*_args):
    return True


OPPOSITE = "two terms of opposite signs"
EXCEPTIONS = {
    ("tanh", "a"): Region(lambda x: abs(x) > 0.5, 4.0, 1.0, "absolute: 1 - t**2 cancels; saturation"),
    ("sigmoid", "a"): Region(lambda x: x > 0.5, 2.0, 1.0, "absolute: s * (1 - s) cancels; saturation"),
    ("gelu", "data"): Region(anywhere, 3.0, 0.0, "erfc, and a correction"),
    ("gelu", "a"): Region(lambda x: x < -1.5, 8.0, 0.0, OPPOSITE),
    ("silu", "a"): Region(lambda x: x < -2, 8.0, 0.0, OPPOSITE),
    ("mish", "data"): Region(anywhere, 3.0, 0.0, "a quotient of three roundings each"),
    ("mish", "a"): Region(lambda x: x < -2, 8.0, 0.0, OPPOSITE),
    ("atan2", "a"): Region(anywhere, 3.0, 0.0, "five roundings"),
    ("atan2", "b"): Region(anywhere, 3.0, 0.0, "five roundings"),
    ("cbrt", "data"): Region(anywhere, 4.0, 0.0, "the C library's"),
    ("cbrt", "a"): Region(anywhere, 12.0, 0.0, "from the square of the C library's"),
    ("__pow__", "a"): Region(anywhere, 100.0, 0.0, "b - 1 is rounded, and is an exponent"),
    ("softsign", "a"): Region(anywhere, 5.0, 0.0, "1 + |x| is rounded, and squared"),
}
ORDINARY = Region(anywhere, BOUND, 0.0, "")
ILL = "ill-conditioned"


def draw_number(draw, narrow):
    if narrow:
        return draw.uniform(-1, 1)
    size = draw.choice([draw.uniform(0, 3), math.exp(draw.uniform(-7, 4)), math.exp(draw.uniform(-30, 6))])
    return draw.choice([1, -1]) * size


def digits(name, args):
    """How many to compute with: where a function differs little from a constant, more are needed for the rest."""
    return 40 + int(min(max(x * x for x in args), 700) if name in (*UNARY, "elu") else 0)


def derivative(name, args, order):
    """The true one, of the given order by each argument."""
    exact, point = in_mpmath(name), [mpmath.mpf(x) for x in args]
    if not any(order):
        return mpmath.re(exact(*point))
    return mpmath.re(mpmath.diff(exact, point, order) if len(args) > 1 else mpmath.diff(exact, *point, *order))


def condition(name, args, order):
    """The relative change of a derivative for one of the arguments."""
    value, total = derivative(name, args, order), 0
    for i, x in enumerate(args):
        more = tuple(n + (k == i) for k, n in enumerate(order))
        total += abs(x * derivative(name, args, more) / value)
    return float(total)


def errors_at(name, args):
    """What is measured, the region it is in, its error in units in the last place, and the bound."""
    leaves = [Value(x) for x in args]
    out, error = outcome(op(name), *leaves)
    if error or outcome(out.backward)[1]:
        return
    orders = [tuple(int(i == k) for k in range(len(args))) for i in range(-1, len(args))]
    with mpmath.workdps(digits(name, args)):
        for what, order, ours in zip(["data", *"ab"], orders, [out.data, *(leaf.grad for leaf in leaves)]):
            true = derivative(name, args, order)
            size = abs(float(true))
            if not (math.isfinite(ours) and SMALLEST < size < LARGEST):  # NaN: the exponent of a negative base
                continue
            where, bound, least, why = EXCEPTIONS.get((name, what), ORDINARY)
            if not where(*args):
                where, bound, least, why = ORDINARY
            error = float(abs(ours - true) / mpmath.mpf(math.ulp(max(size, least))))
            if error > bound and not why:
                bound, why = BOUND + 4 * condition(name, args, order), ILL
            yield what, why, error, bound


def measure(name, count, seed=0):
    """For each that is measured and each region of it: how many points, the largest error, the arguments, and whether
    all errors were within the region's bound."""
    draw, found = random.Random(seed), {}
    for _ in range(count):
        args = [draw_number(draw, name in NARROW) for _ in range(1 if name in UNARY else 2)]
        for what, why, error, bound in errors_at(name, args):
            points, worst, at, good = found.get((what, why), (0, -1.0, None, True))
            worst, at = max((worst, at), (error, args), key=lambda pair: pair[0])
            found[what, why] = points + 1, worst, at, good and error <= bound
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="?", type=float, default=2000, help="for each op")
    count, wrong = int(parser.parse_args().points), 0
    print(f"{'':12}{'':6}{'points':>8}{'ulps':>9}  worst at")
    for name in [*UNARY, *BINARY]:
        for (what, why), (points, worst, at, good) in sorted(measure(name, count).items()):
            wrong += not good
            text = ", ".join(map(repr, at)) + (f" ({why})" if why else "") + ("" if good else "  TOO MUCH")
            print(f"{name.strip('_'):12}{what:6}{points:8}{worst:9.3g}  {text}", flush=True)
    print(f"{wrong} above their bounds; that of a row without a reason is {BOUND:.0f}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
