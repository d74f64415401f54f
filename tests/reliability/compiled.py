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
DIFFERENCES = ["gelu", "gelu_tanh", "mish", "silu"]  # so are their derivatives as expressions
OUTPUTS = 3
KINDS = ["unary", "binary", "binary", "binary", "sums", "number", "constant", "where", "take", "cut"]
OPERANDS = {"constant": 0, "unary": 1, "number": 1, "cut": 1, "binary": 2, "sums": 3, "layer": 3, "take": 3, "where": 4}


class AbsentError(Exception):
    """An operand that could not be computed."""


def index_of(operand, inputs):
    """Among the program's inputs and the results of its steps."""
    number, step = operand
    return number % (inputs + step)


class Program:
    """A list of steps, each a kind, what is drawn for it, and operands: pairs of a number and a step. The operand's
    index is the number modulo how many values there are before that step. Choices may share a condition."""

    def __init__(self, draw):
        self.steps = []
        # Of few ops, many are in one group.
        few = draw.choice([1, 2, 3, 50])
        ops = {"unary": [draw.choice(UNARY) for _ in range(few)], "binary": [draw.choice(BINARY) for _ in range(few)]}
        kinds = KINDS + ["where"] * draw.choice([1, 1, 1, 15])
        for j in range(draw.randint(1, 25)):
            kind, what, numbers = self.step(draw, kinds, ops)
            operands = [(number, j) for number in numbers]
            choices = [step for step in self.steps if step[0] == "where"]
            if kind == "where" and choices and draw.random() < 0.5:
                _, what, others = draw.choice(choices)
                operands[:2] = others[:2]
            self.steps.append((kind, what, operands))
        self.leaves = [Value(draw.choice([0.5, -1.5, 2.0, 0.0])) for _ in range(3)]
        self.result = self.leaves[0] * self.leaves[1] + 1.0
        self.close = False  # may a condition be another where roundings are?
        self.unsure = False  # is what is not finite read by a condition, or detached? All samples compute it then
        self.smooth = not {"where", "cut"} & {kind for kind, *_ in self.steps}  # are roundings() bounds?

    @staticmethod
    def step(draw, kinds, ops):
        kind = draw.choice(kinds)
        what = {
            "unary": lambda: draw.choice(ops["unary"]),
            "binary": lambda: draw.choice([draw.choice(ops["binary"]), "__add__", "__mul__", "__sub__"]),
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
        inputs = len(found)
        for kind, _, operands in self.steps:
            used = [index_of(operand, inputs) for operand in operands]
            decided = kind == "where" and (used[0] == used[1] or used[2] == used[3])  # the trace has one side of it
            found.append(kind == "take" or (not decided and any(found[i] for i in used)))
        return found

    def __call__(self, x, y, index, errors=None):
        """The last results of a sample. Each is computed when it is first needed, as in eager code the side of a choice
        is. With a set of errors, all of the sample's go there, and whether they depend on the arguments."""
        known = dict(enumerate([*x, y, *self.leaves, self.result]))
        inputs, varying = len(known), self.vary(len(x) + 1)

        def node(operand):
            i = index_of(operand, inputs)
            if i not in known:
                try:
                    known[i] = self.compute(*self.steps[i - inputs], node, index, errors)
                except AbsentError:
                    known[i] = AbsentError()
                except ERRORS as error:
                    if errors is None:
                        raise
                    errors.add((type(error), varying[i]))
                    _, what, operands = self.steps[i - inputs]
                    if what == "__truediv__":  # by way of the inverse, which may vary less
                        errors.add((type(error), varying[index_of(operands[1], inputs)]))
                    known[i] = AbsentError()
            if isinstance(known[i], AbsentError):
                raise known[i]
            return known[i]

        last = len(self.steps)
        return self.operands(node, [(inputs + j, last) for j in range(max(last - OUTPUTS, 0), last)], errors)

    @staticmethod
    def operands(node, operands, errors):
        """All of them, so that each that raises is known."""
        found = []
        for operand in operands:
            try:
                found.append(node(operand))
            except AbsentError:
                if errors is None:
                    raise
        if len(found) < len(operands):
            raise AbsentError
        return found

    def compute(self, kind, what, operands, node, index, errors):
        if kind == "constant":
            return Value(what)
        if kind == "where":
            return self.choose(what, operands, node, errors)
        if kind == "cut":
            (a,) = self.operands(node, operands, errors)
            if errors is not None:
                self.unsure |= not math.isfinite(a.data)
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
        if errors is not None:
            self.close |= abs(a.data - b.data) <= 1e-6 * (abs(a.data) + abs(b.data))
            self.unsure |= not math.isfinite(a.data - b.data)
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


def check_error(error, expected, lengths):
    """It is that of the first sample that raises. What depends on captured leaves alone is raised without a number."""
    first = next(i for i, (out, _) in enumerate(expected) if out is None)
    kind, message = type(error), str(error)
    if message.startswith("sample"):
        kinds = {kind for kind, _ in expected[first][1]}
        assert message.startswith(f"sample {first}: "), f"{message!r} is of sample {first}"
        assert kind in kinds, f"{error!r} is none of {kinds}"
    else:
        captured = any((kind, False) in errors for _, errors in expected)
        others = {n for n, (_, errors) in zip(lengths, expected) if (kind, True) not in errors}
        everywhere = set(lengths) - others  # in all samples of a structure: both sides of a choice may be one
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
        check_error(error, expected, [*map(len, columns[0])])
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


def roundings(out):
    """How much roundings of a few units in each op may change results, to the first order."""
    error = {}
    for v in in_order(out, "_children"):
        terms = [abs(partial) * error[child] for child, partial in zip(v._children, v._local_grads)]
        size = max(map(abs, (v.data, *(child.data for child in v._children)))) if v._op == "logsumexp" else abs(v.data)
        error[v] = sum(terms) + (4 * EPS * max(size, TINY) if terms else 0.0)
    return error


def check_close(program, found, expected):
    if not program.smooth or found is None:
        return
    for ours, (theirs, _) in list(zip(found, expected))[:2]:
        for a, out in zip(ours, theirs or ()):
            try:
                bound = roundings(out)[out]
            except ERRORS:
                continue
            if math.isfinite(out.data) and bound <= 1e-9 * abs(out.data):
                assert abs(a - out.data) <= 4 * bound, f"{a!r} is not {out.data!r} within {4 * bound!r}"


def bounds_of_grads(leaves, value, differences):
    """For each leaf, the sum of the absolute values of the terms of its grad. The derivatives of some ops are
    differences of terms of about 1."""
    order = in_order(value, "_children")
    bound = dict.fromkeys(order, 0.0)
    bound[value] = 1.0
    for v in reversed(order):
        for child, local in zip(v._children, v._local_grads):
            bound[child] += (max(abs(local), 1.0) if v._op in differences else abs(local)) * bound[v]
    finite = max(bound.values()) < 1e300  # otherwise its sum over samples may overflow
    return [bound.get(leaf, 0.0) if finite else math.inf for leaf in leaves]


def well_conditioned(values):
    try:
        found = [roundings(value) for value in values]
    except ERRORS:
        return False
    return all(error <= 1e-9 * abs(v.data) + 1e-300 for errors in found for v, error in errors.items())


def check_gradients(program, columns, expected):
    """Of the sum over all samples, and those that the function itself computes for each."""

    def total(*sample):
        return F.sum(program(*sample))

    def gradients(*sample):
        found = micrograd.grad(total(*sample), program.leaves, create_graph=True, allow_unused=True)
        return [Value(0.0) if grad is None else grad for grad in found]

    sums = [F.sum(out) for out, _ in expected]
    modes = [True, False] if not program.close and well_conditioned(sums) else [True]
    for exact in modes:
        loss = micrograd.compile(total, exact=exact).sum(*columns)
        grads, error = result_or_error(grads_of, program.leaves, loss)
        check_grads(program, [grads], error, [F.sum(sums)], 64 * EPS * len(sums) if exact else 1e-6, ())
        rows, error = result_or_error(micrograd.compile(gradients, exact=exact).map, *columns)
        check_grads(program, rows, error, sums, 64 * EPS if exact else 1e-6, DIFFERENCES)


def check_grads(program, found, error, values, relative, differences):
    # The gradient of what is not taken is 0, and passed on; so is that of a side not taken to what a condition reads.
    takes = any(kind == "take" for kind, *_ in program.steps)
    try:
        theirs = [(grads_of(program.leaves, v), bounds_of_grads(program.leaves, v, differences)) for v in values]
    except ERRORS:
        return  # eager code takes the derivative by an argument that is a Value; a compiled function may not
    if error:
        assert takes, "a gradient raises, but not in eager code"
        return
    for ours, (grads, bounds) in zip(found, theirs):
        for a, b, bound in zip(ours, grads, bounds):
            if math.isfinite(b) and bound < 1e300 and not ((takes or program.unsure) and math.isnan(a)):
                assert abs(a - b) <= relative * bound + 1e-290, f"the gradient {a!r} is not {b!r}"


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
            said = f"{done:,} programs, {complete:,} without errors, {len(failed)} differences"
            print(f"{said}, {time.monotonic() - began:.0f} s", flush=True)
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
