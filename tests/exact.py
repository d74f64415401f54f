"""The ops of the table in mpmath, to as many digits as it is told.

An op that mpmath has by the table's name needs no line. One that it lacks is computed by the oracle's text on mpmath's
numbers."""

from __future__ import annotations

import operator

import mpmath

import oracle
from helpers import load, op

# Ops that mpmath has under another name, or with other arguments.
IN_MPMATH = {
    "abs": mpmath.fabs,
    "log2": lambda x: mpmath.log(x, 2),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "gelu_tanh": lambda x: x / (1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "elu": lambda x, alpha: x if x > 0 else alpha * mpmath.expm1(x),
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
}


def load_exact_oracle():
    """oracle.py with mpmath's numbers and functions in place of float and math."""
    module = load(oracle.__file__, "exact_oracle")
    module.float, module.math = mpmath.mpf, mpmath
    return module


EXACT = load_exact_oracle()


def by_oracle(engine, name):
    """The op on numbers, by way of the oracle."""
    return lambda *args: op(name)(*map(engine.Value, args)).data


def in_mpmath(name):
    by_name = getattr(operator if name.startswith("__") else mpmath, name, None)
    return IN_MPMATH.get(name) or by_name or by_oracle(EXACT, name)
