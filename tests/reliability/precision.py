"""How far data and gradients of single ops are from the true ones, in units in the last place: part of `make ulps`.

The true values have 40 digits, by mpmath. Nearly all are within 2 units. EXCEPTIONS has what is not, with bounds of its
own and the reason: derivatives that cancel, as those of tanh and sigmoid do where they are saturated, and functions of
the C library.
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
    where: object  # the arguments it has
    bound: object  # the largest error, of the arguments
    size: float  # units are those of this number, where the true value is smaller
    why: str


def anywhere(*_args):
    return True


def around(root, why):
    """A derivative that is a sum of two terms, which cancel at its root."""
    return Region(lambda x: abs(x - root) < 0.75, lambda _x: 4.0, 1.0, why)


def exponent(x):
    """What gelu_tanh takes exp of: its rounding counts."""
    return abs(1.6 * x + 0.0714 * x**3)


ROOT = "absolute: the derivative has a root, where its two terms cancel"
OPPOSITE = "two terms of opposite signs"
EXCEPTIONS = {
    ("tanh", "a"): [Region(lambda x: abs(x) > 0.5, lambda _x: 4.0, 1.0, "absolute: 1 - t**2 cancels; saturation")],
    ("sigmoid", "a"): [Region(lambda x: x > 0.5, lambda _x: 2.0, 1.0, "absolute: s * (1 - s) cancels; saturation")],
    ("gelu", "data"): [Region(anywhere, lambda _x: 3.0, 0.0, "erfc, and a correction")],
    ("gelu", "a"): [around(-0.7518, ROOT), Region(lambda x: x < 0, lambda _x: 8.0, 0.0, OPPOSITE)],
    ("silu", "a"): [around(-1.2785, ROOT), Region(lambda x: x < 0, lambda _x: 8.0, 0.0, OPPOSITE)],
    ("mish", "data"): [Region(anywhere, lambda _x: 3.0, 0.0, "a quotient of three roundings each")],
    ("mish", "a"): [around(-1.1925, ROOT), Region(lambda x: x < 0, lambda _x: 8.0, 0.0, OPPOSITE)],
    ("atan2", "a"): [Region(anywhere, lambda _x, _y: 3.0, 0.0, "five roundings")],
    ("atan2", "b"): [Region(anywhere, lambda _x, _y: 3.0, 0.0, "five roundings")],
    ("gelu_tanh", "a"): [
        around(-0.7525, ROOT),
        Region(anywhere, lambda x: 4 + 2 * exponent(x), 0.0, "exp of a large rounded number"),
    ],
    ("gelu_tanh", "data"): [Region(anywhere, lambda x: 4 + exponent(x), 0.0, "exp of a large rounded number")],
    ("cbrt", "data"): [Region(anywhere, lambda _x: 4.0, 0.0, "the C library's")],
    ("cbrt", "a"): [Region(anywhere, lambda _x: 12.0, 0.0, "from the square of the C library's")],
    ("softsign", "a"): [Region(anywhere, lambda _x: 5.0, 0.0, "1 + |x| is rounded, and squared")],
    ("__pow__", "a"): [
        Region(anywhere, lambda a, b: 2 + abs(math.log(abs(a)) * (b - 1)), 0.0, "b - 1 is rounded, and an exponent")
    ],
}
ORDINARY = Region(anywhere, lambda *_args: BOUND, 0.0, "")


def draw_number(draw, narrow):
    if narrow:
        return draw.uniform(-1, 1)
    size = draw.choice([draw.uniform(0, 3), math.exp(draw.uniform(-7, 4)), math.exp(draw.uniform(-30, 6))])
    return draw.choice([1, -1]) * size


def true_values(name, args):
    """The result and the partials. Where a function differs little from a constant, digits are needed for the rest."""
    exact, point = in_mpmath(name), [mpmath.mpf(x) for x in args]
    flat = min(max(x * x for x in args), 700) if name in (*UNARY, "elu") else 0
    with mpmath.workdps(40 + int(flat)):
        yield "data", exact(*point)
        for i in range(len(args)):
            order = tuple(int(i == k) for k in range(len(args)))
            yield "ab"[i], mpmath.diff(exact, point, order) if len(args) > 1 else mpmath.diff(exact, *point)


def errors_at(name, args):
    """What is measured, the region it is in, and its error in units in the last place."""
    leaves = [Value(x) for x in args]
    out, error = outcome(op(name), *leaves)
    if error or outcome(out.backward)[1]:
        return
    ours = [out.data, *(leaf.grad for leaf in leaves)]
    for (what, true), found in zip(true_values(name, args), ours):
        size = abs(float(mpmath.re(true)))
        if math.isfinite(found) and (SMALLEST < size < LARGEST):  # not the exponent of a negative base
            regions = [*EXCEPTIONS.get((name, what), ()), ORDINARY]
            region = next(region for region in regions if region.where(*args))
            yield what, region, float(abs(found - mpmath.re(true)) / mpmath.mpf(math.ulp(max(size, region.size))))


def measure(name, count, seed=0):
    """For each that is measured and each region of it: how many points, the largest error, the arguments, and whether
    all errors were within the region's bound."""
    draw, found = random.Random(seed), {}
    for _ in range(count):
        args = [draw_number(draw, name in NARROW) for _ in range(1 if name in UNARY else 2)]
        for what, region, error in errors_at(name, args):
            points, worst, at, good = found.get((what, region.why), (0, -1.0, None, True))
            worst, at = max((worst, at), (error, args), key=lambda pair: pair[0])
            found[what, region.why] = points + 1, worst, at, good and error <= region.bound(*args)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="?", type=float, default=2000, help="for each op")
    count, wrong = int(parser.parse_args().points), 0
    print(f"{'':12}{'':6}{'points':>8}{'ulps':>9}  worst at")
    for name in [*UNARY, *BINARY]:
        for (what, why), (points, worst, at, good) in sorted(measure(name, count).items()):
            wrong += not good
            where = ", ".join(map(repr, at)) + (f" ({why})" if why else "") + ("" if good else "  TOO MUCH")
            print(f"{name.strip('_'):12}{what:6}{points:8}{worst:9.3g}  {where}", flush=True)
    print(f"{wrong} above their bound, which is {BOUND:.0f} where nothing is said")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
