"""Functions of PyTorch's top level: of a Value or a number, or of each in a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

from micrograd._core import Value
from micrograd._nn import as_values
from micrograd.functional._inputs import Scalar, elementwise, has_items, same_length


@elementwise
def exp(xs: Value) -> Value:
    """e**x for each x.

    >>> exp(1.0).data
    2.718281828459045

    Raises OverflowError above 709.78.
    """
    return xs.exp()


@elementwise
def log(xs: Value) -> Value:
    """The natural logarithm of each x.

    >>> log(1.0).data
    0.0

    Raises ValueError where x <= 0.
    """
    return xs.log()


@elementwise
def sqrt(xs: Value) -> Value:
    """The square root of each x.

    >>> [y.data for y in sqrt([Value(4.0), Value(0.25)])]
    [2.0, 0.5]

    Raises ValueError where x < 0; backward() raises ZeroDivisionError at 0.
    """
    return xs.sqrt()


@elementwise
def abs(xs: Value) -> Value:
    """|x| for each x, with derivative 0 at 0.

    >>> [y.data for y in abs([Value(-2.0), Value(3.0)])]
    [2.0, 3.0]
    """
    return xs.abs()


@elementwise
def sin(xs: Value) -> Value:
    """The sine of each x, in radians.

    >>> sin(0.0).data
    0.0

    Raises ValueError for infinities.
    """
    return xs.sin()


@elementwise
def cos(xs: Value) -> Value:
    """The cosine of each x, in radians.

    >>> cos(0.0).data
    1.0

    Raises ValueError for infinities.
    """
    return xs.cos()


@elementwise
def expm1(xs: Value) -> Value:
    """e**x - 1 for each x, without the rounding of e**x near 0.

    >>> expm1(1e-10).data
    1.00000000005e-10

    Raises OverflowError above 709.78.
    """
    return xs.expm1()


@elementwise
def log1p(xs: Value) -> Value:
    """log(1 + x) for each x, without the rounding of 1 + x near 0.

    >>> log1p(1e-10).data
    9.999999999500001e-11

    Raises ValueError where x <= -1.
    """
    return xs.log1p()


@elementwise
def log2(xs: Value) -> Value:
    """The logarithm to base 2 of each x.

    >>> [y.data for y in log2([Value(8.0), Value(0.5)])]
    [3.0, -1.0]

    Raises ValueError where x <= 0.
    """
    return xs.log2()


@elementwise
def log10(xs: Value) -> Value:
    """The logarithm to base 10 of each x.

    >>> [y.data for y in log10([Value(100.0), Value(0.001)])]
    [2.0, -3.0]

    Raises ValueError where x <= 0.
    """
    return xs.log10()


@elementwise
def cbrt(xs: Value) -> Value:
    """The cube root of each x, of negative ones too, as NumPy's.

    >>> [y.data for y in cbrt([Value(8.0), Value(-1.0)])]
    [2.0, -1.0]

    backward() raises ZeroDivisionError at 0.
    """
    return xs.cbrt()


@elementwise
def reciprocal(xs: Value) -> Value:
    """x**-1 for each x.

    >>> [y.data for y in reciprocal([Value(2.0), Value(-0.5)])]
    [0.5, -2.0]

    Raises ZeroDivisionError at 0.
    """
    return xs.reciprocal()


@elementwise
def tan(xs: Value) -> Value:
    """The tangent of each x, in radians.

    >>> tan(0.0).data
    0.0

    Raises ValueError for infinities.
    """
    return xs.tan()


@elementwise
def asin(xs: Value) -> Value:
    """The arc sine of each x, in radians.

    >>> asin(1.0).data
    1.5707963267948966

    Raises ValueError where |x| > 1; backward() raises ZeroDivisionError at 1 and -1.
    """
    return xs.asin()


@elementwise
def acos(xs: Value) -> Value:
    """The arc cosine of each x, in radians.

    >>> acos(0.0).data
    1.5707963267948966

    Raises ValueError where |x| > 1; backward() raises ZeroDivisionError at 1 and -1.
    """
    return xs.acos()


@elementwise
def atan(xs: Value) -> Value:
    """The arc tangent of each x, in radians.

    >>> atan(1.0).data
    0.7853981633974483
    """
    return xs.atan()


@overload
def atan2(ys: Scalar, xs: Scalar) -> Value: ...
@overload
def atan2(ys: Iterable[Scalar], xs: Iterable[Scalar]) -> list[Value]: ...
def atan2(ys: Scalar | Iterable[Scalar], xs: Scalar | Iterable[Scalar]) -> Value | list[Value]:
    """The angle of the point (x, y), in radians, from -π to π: of one, or of each in two lists of one length.

    >>> atan2(1.0, Value(-1.0)).data
    2.356194490192345

    Raises ValueError naming both lengths where they differ; backward() raises ZeroDivisionError at (0, 0).
    """
    y_values, x_values = as_values(ys, "an input"), as_values(xs, "an input")
    same_length(y_values, x_values, "ys", "xs")
    angles = [y.atan2(x) for y, x in zip(y_values, x_values)]
    return angles if has_items(ys) or has_items(xs) else angles[0]


@elementwise
def sinh(xs: Value) -> Value:
    """The hyperbolic sine of each x.

    >>> sinh(0.0).data
    0.0

    Raises OverflowError where |x| > 710.47.
    """
    return xs.sinh()


@elementwise
def cosh(xs: Value) -> Value:
    """The hyperbolic cosine of each x.

    >>> cosh(0.0).data
    1.0

    Raises OverflowError where |x| > 710.47.
    """
    return xs.cosh()


@elementwise
def erf(xs: Value) -> Value:
    """The error function of each x: 2 / √π times the integral of e**(-t²) from 0 to x.

    >>> erf(0.5).data
    0.5204998778130465
    """
    return xs.erf()
