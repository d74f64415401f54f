"""Measures the functions of lanes_math.h, for each variant of this machine: the second part of `make ulps`.

Prints the largest error found in units in the last place, where it is, and the time for a lane next to libm's. The
reference has 64 bits; the worst points are computed again in 40 digits. Needs an x86-64 machine and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import mpmath
import numpy as np

DRIVER = r"""
#include "_compile/lanes.h"
typedef void (*Loop)(double *r, const double *a, ptrdiff_t width);
#define OF_LIBM(name, value) \
    static void libm_##name(double *r, const double *a, ptrdiff_t width) { \
        for (ptrdiff_t i = 0; i < width; i++) { double x = a[i]; r[i] = (value); } \
    }
OF_LIBM(exp, exp(x))
OF_LIBM(log, log(x))
OF_LIBM(tanh, tanh(x))
OF_LIBM(sigmoid, (x >= 0.0 ? 1.0 : exp(-fabs(x))) / (1.0 + exp(-fabs(x))))
OF_LIBM(softplus, fmax(x, 0.0) + log1p(exp(-fabs(x))))
const char *variant_name(int v) { return lanes_variants()[v] ? lanes_variants()[v]->name : NULL; }
void run(int v, int f, double *r, const double *a, ptrdiff_t width, int times) {
    const Lanes *lanes = v < 0 ? NULL : lanes_variants()[v]->fast;
    Loop libm[] = {libm_exp, libm_log, libm_tanh, libm_sigmoid, libm_softplus}, fast[5] = {0};
    if (lanes) {
        fast[0] = lanes->exp, fast[1] = lanes->log, fast[2] = lanes->tanh;
        fast[3] = lanes->sigmoid, fast[4] = lanes->softplus;
    }
    while (times--)
        (lanes ? fast : libm)[f](r, a, width);
}
"""
NAMES = ["exp", "log", "tanh", "sigmoid", "softplus"]
EXACT = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}
# Where the results are finite and not constant.
RANGES = {
    "exp": (-745.2, 709.78),
    "log": (5e-324, 1.7e308),
    "tanh": (-22.0, 22.0),
    "sigmoid": (-745.2, 40.0),
    "softplus": (-745.2, 45.0),
}


def library(folder: str) -> ctypes.CDLL:
    """The loops in a library of their own."""
    source, built = Path(folder, "driver.c"), Path(folder, "driver.so")
    source.write_text(DRIVER, encoding="ascii")
    flags = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC"]
    include = Path(__file__).parents[1] / "src/micrograd"
    command = [*shlex.split(os.environ.get("CC", "cc")), *flags, f"-I{include}", "-o", built, source, "-lm"]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(built))
    loaded.variant_name.restype = ctypes.c_char_p
    pointer = np.ctypeslib.ndpointer(dtype=np.float64, flags="C")
    loaded.run.argtypes = [ctypes.c_int, ctypes.c_int, pointer, pointer, ctypes.c_ssize_t, ctypes.c_int]
    return loaded


def points(name: str, count: int, draw: np.random.Generator) -> np.ndarray:
    """Over the whole range, of all magnitudes, and around 0 or 1."""
    low, high = RANGES[name]
    part = count // 4
    magnitudes = draw.uniform(1.0, 2.0, part) * 2.0 ** draw.integers(-1074, 1023, part)
    if name == "log":
        near = 1.0 + draw.choice([-1.0, 1.0], part) * 2.0 ** draw.uniform(-53, -1, part)
        return np.concatenate([magnitudes, draw.uniform(0.5, 2.5, part), draw.uniform(0.0, 100.0, part), near])
    signs = draw.choice([-1.0, 1.0], part)
    near = signs * 2.0 ** draw.uniform(-60, 3, part)
    bottom = draw.uniform(low, low + 45.0, part) if name != "tanh" else signs * magnitudes
    x = np.concatenate([draw.uniform(low, high, part), draw.uniform(-2.0, 2.0, part), near, bottom])
    return x[(x > low) & (x < high)]


def reference(name: str, a: np.ndarray) -> np.ndarray:
    x = a.astype(np.longdouble)
    if name == "exp":
        return np.exp(x)
    if name == "log":
        return np.log(x)
    if name == "tanh":
        m = np.expm1(-2 * np.abs(x))
        return np.copysign(-m / (2 + m), x)
    e = np.exp(-np.abs(x))
    if name == "sigmoid":
        return np.where(a >= 0, 1 / (1 + e), e / (1 + e))
    return np.maximum(x, 0) + np.log1p(e)


def exact_error(name: str, x: float, r: float) -> float:
    with mpmath.workdps(40):
        true = EXACT[name](mpmath.mpf(x))
        return float(abs(r - true) / mpmath.mpf(float(np.spacing(abs(float(true))))))


def worst(run, name: str, count: int) -> tuple[float, float]:
    """The largest error among `count` random points, and the point."""
    draw = np.random.default_rng(0)
    found = (0.0, 0.0)
    for _ in range(max(count // 1_000_000, 1)):
        a = points(name, min(count, 1_000_000), draw)
        r, true = np.empty_like(a), reference(name, a)
        run(r, a, len(a), 1)
        errors = np.abs(r - true) / np.spacing(np.abs(true.astype(np.float64)))
        for i in np.argsort(errors)[-5:]:
            found = max(found, (exact_error(name, a[i], r[i]), a[i]))
    return found


def nanoseconds(run, name: str) -> float:
    """For a lane, in an array that stays in the first cache."""
    a = np.random.default_rng(0).uniform(0.1 if name == "log" else -5.0, 5.0, 1024)
    r = np.empty_like(a)
    best = 1e9
    for _ in range(300):
        start = time.perf_counter()
        run(r, a, len(a), 50)
        best = min(best, time.perf_counter() - start)
    return best / (50 * len(a)) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="?", type=float, default=1e7, help="for each function")
    count = int(parser.parse_args().points)
    if np.finfo(np.longdouble).nmant < 63:
        raise SystemExit("NumPy's long double has too few bits here for a reference")
    with tempfile.TemporaryDirectory() as folder:
        loaded = library(folder)
        numbers = [-1]
        while loaded.variant_name(len(numbers) - 1):
            numbers.append(len(numbers) - 1)
        print(f"{'':10}{'':10}{'ulps':>8}{'ns a lane':>11}  worst at")
        for f, name in enumerate(NAMES):
            for v in numbers:
                label = "libm" if v < 0 else loaded.variant_name(v).decode()

                def run(r, a, width, times, v=v, f=f):
                    loaded.run(v, f, r, a, width, times)

                error, x = worst(run, name, count)
                print(f"{name:10}{label:10}{error:8.3f}{nanoseconds(run, name):11.2f}  {float(x).hex()}", flush=True)


if __name__ == "__main__":
    main()
