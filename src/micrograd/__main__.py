"""`python -m micrograd`: train the README's multilayer perceptron on its four samples and print its predictions.

`python -m micrograd --doctor` must work where another package has replaced `micrograd/__init__.py`, so nothing is
imported from there at the top."""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterable

SAMPLES = [[-2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return number


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return number


def _progress(steps: Iterable[int]) -> Iterable[int]:
    """The steps, with a progress bar if stderr is a terminal and tqdm is installed."""
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            return steps
        bar: Iterable[int] = tqdm(steps, unit="step", leave=False)
        return bar
    return steps


def main(arguments: list[str] | None = None) -> None:
    """Run the demonstration on command-line arguments. Raises SystemExit with status 2 where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m micrograd", description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=_at_least_one, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1337, help="seed of the weights (default: %(default)s)")
    parser.add_argument("--lr", type=_positive, default=0.1, help="learning rate (default: %(default)s)")
    parser.add_argument(
        "--doctor",
        action="store_true",
        help="print what a bug report needs, and whether another package overwrote this one",
    )
    options = parser.parse_args(arguments)
    if options.doctor:
        from micrograd import _doctor

        raise SystemExit(_doctor.report())
    try:
        from micrograd import MLP, Value
    except ImportError as error:
        raise SystemExit(
            f"{error}\n`python -m micrograd --doctor` tells if another package overwrote this one."
        ) from error

    random.seed(options.seed)
    model = MLP(3, [4, 4, 1])
    parameters = model.parameters()
    report = max(1, options.steps // 10)
    for step in _progress(range(1, options.steps + 1)):
        predictions = [model(x) for x in SAMPLES]
        loss = sum(((p - t) ** 2 for p, t in zip(predictions, TARGETS)), Value(0.0))
        model.zero_grad()
        loss.backward()
        for p in parameters:
            p.data -= options.lr * p.grad
        if step == 1 or step % report == 0:
            print(f"step {step:4d}  loss {loss.data:.6f}")
    for x, t in zip(SAMPLES, TARGETS):
        print(f"{x}  target {t:+.1f}  prediction {model(x).data:+.4f}")


if __name__ == "__main__":
    main()
