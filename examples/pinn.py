"""A physics-informed network: y'' = -y with y(0) = 0 and y'(0) = 1, learned from the equation alone: no value of the
solution, sin(x), is shown to the network.

The loss of a point is (y'' + y)², where y' and y'' are gradients of the network by its input. `micrograd.grad` computes
them while the function is traced, so that they are part of its program, which a call runs for all points.

Run it with `python examples/pinn.py`. Prints the loss as it trains, and the error against sin(x); with --plot it draws
both, for which it needs the extra `viz`.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time

import numpy as np
from numpy.typing import NDArray

import micrograd
from micrograd import MLP, Value
from micrograd.nn import Module, Neuron
from micrograd.optim import Adam

END = 2 * math.pi
RATE = 0.01  # of Adam; it falls to 0 in a line


class Solution(Module):
    """y(x): two layers of tanh, and a linear output."""

    def __init__(self, width: int = 16) -> None:
        self.hidden = MLP(1, [width, width])
        self.output = Neuron(width, nonlin=False)

    def __call__(self, x: Value) -> Value:
        y: Value = self.output(self.hidden([x]))
        return y

    @micrograd.compile
    def residual(self, x: Value) -> Value:
        """(y'' + y)² at a point."""
        y = self(x)
        slope = micrograd.grad(y, x, create_graph=True)
        return (micrograd.grad(slope, x, create_graph=True) + y) ** 2

    @micrograd.compile
    def start(self, x: Value) -> Value:
        """How far y(x) is from 0 and y'(x) from 1: squared, at x = 0."""
        y = self(x)
        return y**2 + (micrograd.grad(y, x, create_graph=True) - 1.0) ** 2

    @micrograd.compile
    def value(self, x: Value) -> Value:
        return self(x)


def show_progress(step: int, steps: int, loss: float) -> None:
    """Draw a bar, if stderr is a terminal, at every hundredth of the steps, and erase it after the last."""
    if sys.stderr.isatty() and 100 * step // steps != 100 * (step - 1) // steps:
        line = f"\r[{'#' * (40 * step // steps):.<40}] step {step} of {steps}, loss {loss:.2e} "
        print(line if step < steps else "\r\033[K", end="", file=sys.stderr, flush=True)


def train(solution: Solution, points: NDArray[np.float64], steps: int) -> list[float]:
    """The loss of each step."""
    optimizer = Adam(solution.parameters(), lr=RATE)
    losses = []
    for step in range(steps):
        loss = solution.residual.mean(points) + solution.start(0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.step()
        losses.append(loss.data)
        show_progress(step + 1, steps, loss.data)
        if step == 0 or (step + 1) % max(1, steps // 10) == 0:
            print(f"step {step + 1:5d}  loss {loss.data:.3e}")
    return losses


def plot(x: NDArray[np.float64], y: NDArray[np.float64], file: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True)
    above.plot(x, np.sin(x), label="sin(x)", color="#888888", linewidth=4)
    above.plot(x, y, label="network", color="#d94801")
    above.legend()
    below.plot(x, y - np.sin(x), color="#2171b5")
    below.set(xlabel="x", ylabel="error")
    figure.savefig(file)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    option = parser.add_argument
    option("--steps", type=int, default=10000, help="of training (default: %(default)s)")
    option("--points", type=int, default=200, help="between 0 and 2 pi (default: %(default)s)")
    option("--seed", type=int, default=1, help="of the weights (default: %(default)s)")
    option("--plot", metavar="FILE", help="draw the network, sin(x) and the error into a file, such as pinn.png")
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.points < 1:
        parser.error("--steps and --points must be at least 1")
    random.seed(options.seed)
    solution = Solution()
    started = time.perf_counter()
    train(solution, np.linspace(0.0, END, options.points), options.steps)
    print(f"{1e6 * (time.perf_counter() - started) / options.steps:.0f} µs a step, tracing included")
    x = np.linspace(0.0, END, 1001)
    y = solution.value.map(x)
    print(f"greatest error against sin(x): {np.abs(y - np.sin(x)).max():.2e}")
    if options.plot:
        plot(x, y, options.plot)


if __name__ == "__main__":
    main()
