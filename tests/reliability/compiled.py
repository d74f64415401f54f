"""Random programs, compiled in both modes and eager: the same data, gradients and exceptions: `make fuzzcompile`.

Samples may differ in structure, numbers may be special, and an op may raise for some samples, in the side of a choice
that they do not take or do. `python -m reliability.compiled --seed 7` in tests/ runs one program.
"""

from __future__ import annotations

import argparse
import math
import operator
import random
import sys
import time

import micrograd
from helpers import BINARY, OF_A_LIST, SPECIAL, UNARY, bits, grads_of, in_order, op, weights_for
from micrograd import Value
from micrograd import functional as F
from oracle import EPS, TINY

ERRORS = (ArithmeticError, ValueError, LookupError)
LISTS = ["sum", "logsumexp", "dot", "softmax", "log_softmax", "linear", "mean"]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, F.eq]
GRID = [-2.0, -0.5, 0.0, -0.0, 0.25, 1.0, 3.0]
OUTPUTS = 3
OPERANDS = {"constant": 0, "unary": 1, "number": 1, "cut": 1, "binary": 2, "sums": 3, "layer": 3, "take": 3, "where": 4}


class AbsentError(Exception):
    """An operand that could not be computed."""


class Program:
    """A list of steps, each a kind, what is drawn for it, and operands: their indices modulo the number of values."""

    def __init__(self, draw):
        self.steps = [self.step(draw) for _ in range(draw.randint(1, 25))]
        self.leaves = [Value(draw.choice([0.5, -1.5, 2.0, 0.0])) for _ in range(3)]
        self.result = self.leaves[0] * self.leaves[1] + 1.0
        self.unsure = False  # does a condition read what is not finite?
        self.smooth = not {"where", "cut"} & {kind for kind, *_ in self.steps}  # is rounding() a bound?

    @staticmethod
    def step(draw):
        kind = draw.choice(
            ["unary", "binary", "binary", "binary", "sums", "number", "constant", "where", "take", "cut"]
        )
        what = {
            "unary": lambda: draw.choice(UNARY),
            "binary": lambda: draw.choice([*BINARY, *["__add__", "__mul__", "__sub__"] * 4]),
            "sums": lambda: draw.choice(LISTS),
            "number": lambda: (draw.choice(["__add__", "__mul__"]), draw.choice([0.0, -0.0, 1.0, -1.0, 0.5, 3.0])),
            "constant": lambda: draw.choice([0.0, -0.0, 1.0, 2.0, -3.0]),
            "where": lambda: draw.choice(COMPARISONS),
            "layer": lambda: draw.choice([2, 5, 8, 13]),
            "take": lambda: None,
            "cut": lambda: draw.choice(["detach", "no_grad"]),
        }[kind]()
        return kind, what, [draw.randrange(99) for _ in range(OPERANDS[kind])]

    def vary(self, arguments):
        """Which values depend on the arguments, of which there are so many."""
        found = [True] * arguments + [False] * (len(self.leaves) + 1)
        for kind, _, operands in self.steps:
            used = [i % len(found) for i in operands]
            decided = kind == "where" and (used[0] == used[1] or used[2] == used[3])  # the trace has one side of it
            found.append(kind == "take" or (not decided and any(found[i] for i in used)))
        return found

    def __call__(self, x, y, index, errors=None):
        """The last results of a sample. Each is computed when it is first needed, as in eager code the side of a choice
        is. With a set of errors, all of the sample's go there, and whether they depend on the arguments."""
        known = dict(enumerate([*x, y, *self.leaves, self.result]))
        inputs, varying = len(known), self.vary(len(x) + 1)

        def node(i, here):
            i %= here
            if i not in known:
                try:
                    known[i] = self.compute(*self.steps[i - inputs], lambda k: node(k, i), index, errors)
                except AbsentError:
                    known[i] = AbsentError()
                except ERRORS as error:
                    if errors is None:
                        raise
                    errors.add((type(error), varying[i]))
                    _, what, operands = self.steps[i - inputs]
                    if what == "__truediv__":  # by way of the inverse, which may vary less
                        errors.add((type(error), varying[operands[1] % i]))
                    known[i] = AbsentError()
            if isinstance(known[i], AbsentError):
                raise known[i]
            return known[i]

        total = inputs + len(self.steps)
        return self.operands(lambda i: node(i, total), range(total - min(OUTPUTS, len(self.steps)), total), errors)

    @staticmethod
    def operands(node, indices, errors):
        """All of them, so that each that raises is known."""
        found = []
        for i in indices:
            try:
                found.append(node(i))
            except AbsentError:
                if errors is None:
                    raise
        if len(found) < len(indices):
            raise AbsentError
        return found

    def compute(self, kind, what, operands, node, index, errors):
        if kind == "constant":
            return Value(what)
        if kind == "where":
            return self.choose(what, operands, node, errors)
        if kind == "cut":
            (a,) = self.operands(node, operands, errors)
            if what == "detach":
                return a.detach()
            with micrograd.no_grad():
                return a * 2.0
        if kind in ("unary", "number"):
            (a,) = self.operands(node, operands, errors)
            return op(what)(a) if kind == "unary" else op(what[0])(a, what[1])
        picked = self.operands(node, operands, errors)
        if kind == "take":
            return F.take(picked, index)
        if kind == "layer":
            w, n = self.leaves, len(self.leaves)
            rows = [[w[(r + k) % n] * (1.0 + r) for k in range(n)] for r in range(what)]
            out = F.linear(picked, rows, (w * what)[:what])
            return F.dot([v.tanh() for v in out], weights_for(what))
        return op(what)(*picked) if kind == "binary" else OF_A_LIST[what](picked)

    def choose(self, compare, operands, node, errors):
        try:
            a, b = self.operands(node, operands[:2], errors)
        except AbsentError:
            self.operands(node, operands[2:], errors)  # which of all comes first is open
            raise
        if errors is not None and not math.isfinite(a.data - b.data):
            self.unsure = True
        return F.where(compare(a, b), lambda: node(operands[2]), lambda: node(operands[3]))


def batch(draw, ragged, special):
    """Columns of samples. Some make several blocks and chunks: most of their numbers raise nothing."""
    count = draw.choice([1, 1, 2, 2, 3, 3, 4, 5, 8, 9, 17, 37])
    large = draw.random() < 0.01
    if large:
        count = draw.randint(200, 700)

    def number():
        if large and draw.random() < 0.999:
            return draw.uniform(0.25, 2)
        return draw.choice(SPECIAL) if special and draw.random() < 0.3 else draw.choice([*GRID, draw.uniform(-2, 2)])

    X = [[number() for _ in range(draw.randint(1, 3) if ragged else 2)] for _ in range(count)]
    last = 3 if draw.random() < 0.1 else 2
    return X, [number() for _ in range(count)], [draw.randint(0, last) for _ in range(count)]


def eager(program, columns):
    """For each sample its results, or None, and the types of what it raises."""
    found = []
    for x, y, index in zip(*columns):
        errors = set()
        try:
            out = program([Value(item) for item in x], Value(y), index, errors)
        except AbsentError:
            out = None
        found.append((out, errors))
    return found


def flat(results):
    return [[*map(bits, sample)] for sample in results]


def check_error(error, expected):
    """It is that of the first sample that raises. What depends on captured leaves alone is raised without a number."""
    first = next(i for i, (out, _) in enumerate(expected) if out is None)
    kind, message = type(error), str(error)
    if message.startswith("sample"):
        kinds = {kind for kind, _ in expected[first][1]}
        assert message.startswith(f"sample {first}: "), f"{message!r} is of sample {first}"
        assert kind in kinds, f"{error!r} is none of {kinds}"
    else:
        captured = any((kind, False) in errors for _, errors in expected)
        everywhere = all((kind, True) in errors for _, errors in expected)  # both sides of a choice may be one
        assert captured or everywhere, f"{error!r} has no sample's number"


def result_or_error(function, *args):
    try:
        return function(*args), None
    except ERRORS as error:
        return None, error


def check_map(program, columns, expected, exact, threads):
    """Gives the compiled function, and its results. The default mode may find errors where its roundings lead."""
    f = micrograd.compile(program, exact=exact, threads=threads)
    found, error = result_or_error(f.map, *columns)
    if exact and any(out is None for out, _ in expected):
        assert error, f"no error, but eager code raises {[errors for out, errors in expected if out is None]}"
        check_error(error, expected)
    elif exact:
        assert error is None, f"{error!r}, which eager code does not raise"
        assert flat(found) == [[bits(v.data) for v in out] for out, _ in expected]
    return f, found


def check_alone(f, columns, found):
    """In the default mode a sample has the same bits in any batch, and raises what it raises alone."""
    alone, raised = [], []
    for i, (x, y, index) in enumerate(zip(*columns)):
        one, error = result_or_error(f.map, [x], [y], [index])
        if error:
            raised.append((i, type(error), str(error).startswith("sample 0: ")))
        else:
            alone.append([bits(v) for v in one[0]])
    if not raised:
        assert found is not None, "a batch raises, but no sample alone"
        assert flat(found) == alone
        return
    _, error = result_or_error(f.map, *columns)
    kind, message = type(error), str(error)
    if message.startswith("sample"):
        assert message.startswith(f"sample {raised[0][0]}: "), f"{error!r}, but alone {raised}"
        assert kind is raised[0][1], f"{error!r}, but alone {raised}"
    else:
        assert any(alone[1:] == (kind, False) for alone in raised), f"{error!r}, but alone {raised}"


def rounding(out):
    """How much roundings of a few units in each op may change a result, to the first order."""
    error = {}
    for v in in_order(out, "_children"):
        terms = [abs(partial) * error[child] for child, partial in zip(v._children, v._local_grads)]
        size = max(map(abs, (v.data, *(child.data for child in v._children)))) if v._op == "logsumexp" else abs(v.data)
        error[v] = sum(terms) + (4 * EPS * max(size, TINY) if terms else 0.0)
    return error[out]


def check_close(program, found, expected):
    if not program.smooth or found is None:
        return
    for ours, (theirs, _) in list(zip(found, expected))[:2]:
        for a, out in zip(ours, theirs or ()):
            try:
                bound = rounding(out)
            except ERRORS:
                continue
            if math.isfinite(out.data) and bound <= 1e-9 * abs(out.data):
                assert abs(a - out.data) <= 4 * bound, f"{a!r} is not {out.data!r} within {4 * bound!r}"


def grads_with_bounds(leaves, value):
    """For each leaf, the sum of the absolute values of the terms of its grad."""
    order = in_order(value, "_children")
    bound = dict.fromkeys(order, 0.0)
    bound[value] = 1.0
    for v in reversed(order):
        for child, local in zip(v._children, v._local_grads):
            bound[child] += abs(local) * bound[v]
    return [bound.get(leaf, 0.0) for leaf in leaves]


def check_gradients(program, columns, expected):
    leaves = program.leaves
    # The gradient of what is not taken is 0, and passed on; so is that of a side not taken to what a condition reads.
    takes = any(kind == "take" for kind, *_ in program.steps)
    total = micrograd.compile(lambda *sample: F.sum(program(*sample)), exact=True).sum(*columns)
    sums = [F.sum(out) for out, _ in expected]
    try:
        theirs = grads_of(leaves, F.sum(sums))
        bounds = [sum(column) for column in zip(*[grads_with_bounds(leaves, value) for value in sums])]
    except ERRORS:
        return  # eager code takes the derivative by an argument that is a Value; a compiled function may not
    try:
        ours = grads_of(leaves, total)
    except ERRORS:
        assert takes, "a gradient raises, but not in eager code"
        return
    for a, b, bound in zip(ours, theirs, bounds):
        if math.isfinite(b) and bound < 1e300 and not ((takes or program.unsure) and math.isnan(a)):
            assert abs(a - b) <= 64 * EPS * len(sums) * bound + 1e-290, f"the gradient {a!r} is not {b!r}"


def run(seed):
    return check(random.Random(seed), alone=seed % 4 == 0)


def check(draw, alone):
    """Whether all samples of a program had results."""
    program = Program(draw)
    columns = batch(draw, ragged=draw.random() < 0.3, special=draw.random() < 0.5)
    expected = eager(program, columns)
    check_map(program, columns, expected, True, draw.choice([1, 2]))
    f, found = check_map(program, columns, expected, False, draw.choice([1, 2]))
    if alone:
        check_alone(f, columns, found)
    check_close(program, found, expected)
    if all(out is not None for out, _ in expected):
        check_gradients(program, columns, expected)
        return True
    return False


def campaign(start, count):
    """How many programs had results for all samples, and the seeds that failed."""
    began, complete, failed = time.monotonic(), 0, []
    for seed in range(start, start + count):
        try:
            complete += run(seed)
        except Exception as error:
            failed.append(seed)
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        done = seed + 1 - start
        if done % 5000 == 0 or done == count:
            spent = time.monotonic() - began
            print(
                f"{done:,} programs, {complete:,} without errors, {len(failed)} differences, {spent:.0f} s", flush=True
            )
    return complete, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="of the first program; without --programs, of the only one")
    parser.add_argument("--programs", type=float)
    given = parser.parse_args()
    if given.seed is not None and given.programs is None:
        program = Program(random.Random(given.seed))
        print(*program.steps, sep="\n")
        run(given.seed)
        return
    _, failed = campaign(given.seed or 0, int(given.programs or 1e5))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
