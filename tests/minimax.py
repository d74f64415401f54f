"""Prints the constants of lanes_math.h: `python tests/minimax.py`.

Coefficients are those of minimax polynomials, by Remez's exchange in 60 digits, and then rounded to doubles.
"""

from __future__ import annotations

from typing import Callable

import mpmath
from mpmath import mp, mpf

mp.dps = 60


def minimax(f: Callable[[mpf], mpf], weight: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int) -> tuple:
    """The polynomial p for which the largest weight(x) |p(x) - f(x)| is least, and that error."""
    count = degree + 2
    points = [(low + high) / 2 - (high - low) / 2 * mpmath.cos(mpmath.pi * k / (count - 1)) for k in range(count)]
    grid = [low + (high - low) * (1 - mpmath.cos(mpmath.pi * k / 2000)) / 2 for k in range(2001)]
    for _ in range(20):
        rows = [[x**k for k in range(degree + 1)] + [(-1) ** i / weight(x)] for i, x in enumerate(points)]
        solution = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([f(x) for x in points]))
        p = list(solution[: degree + 1])
        errors = [weight(x) * (mpmath.polyval(p[::-1], x) - f(x)) for x in grid]
        points, found = [], []  # of the largest error between each two changes of sign
        for x, error in zip(grid, errors):
            if found and (error > 0) == (found[-1] > 0):
                if abs(error) > abs(found[-1]):
                    points[-1], found[-1] = x, error
            else:
                points.append(x)
                found.append(error)
        while len(points) > count:
            k = 0 if abs(found[0]) < abs(found[-1]) else -1
            del points[k], found[k]
        worst = max(map(abs, found))
        if worst < 1.0001 * min(map(abs, found)):
            break
    return p, worst


def show(name: str, p: list, worst: mpf) -> None:
    print(f"{name}: error {mpmath.nstr(worst, 3)}, in bits {mpmath.nstr(mpmath.log(worst, 2), 4)}")
    for c in p:
        print(f"    {float(c).hex()}")


def main() -> None:
    ln2 = mpmath.log(2)
    high = mpf(int(ln2 * 2**40)) / 2**40  # 40 bits, so that its product with an exponent is exact
    print(f"log2(e) {float(1 / ln2).hex()}  ln2 {float(high).hex()} + {float(ln2 - high).hex()}")
    print(f"sqrt(2) {float(mpmath.sqrt(2)).hex()}  sqrt(1/2) {float(mpmath.sqrt(mpf(0.5))).hex()}")

    # (exp(r) - 1 - r) / r^2; the error counts times r, so that exp(r) - 1 has a small relative error
    def exp_rest(r: mpf) -> mpf:
        return mpmath.fsum(r**k / mpmath.factorial(k + 2) for k in range(40))

    edge = ln2 / 2 * mpf("1.0001")  # where x log2(e) is rounded the other way
    show("exp", *minimax(exp_rest, lambda r: abs(r) + mpf(10) ** -6, -edge, edge, 10))

    # (log(1 + f) / s - 2) / z, where s = f / (2 + f) and z = s^2; the error counts times z
    def log_rest(z: mpf) -> mpf:
        return mpmath.fsum(2 * z**k / (2 * k + 3) for k in range(60))

    edge = ((mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1)) ** 2 * mpf("1.0001")
    show("log", *minimax(log_rest, lambda z: z + mpf(10) ** -6, mpf(0), edge, 6))


if __name__ == "__main__":
    main()
