"""A machine that does on this engine and on the oracle what programs do with Values, and compares after each step.
An instruction is a name and its arguments; indices are taken modulo the size of the pool, so that any part of a program
is a program. networks.py adds modules, optimizers and compiled functions; fuzz.py draws programs."""

from __future__ import annotations

import copy
import gc
import pickle

import micrograd
import oracle
from helpers import bits, op, outcome
from micrograd import Value
from micrograd import functional as F


class Weight(Value):
    """What a user adds to Value: attributes, and a method."""

    def twice(self):
        return self + self


class Opaque(oracle.Value):
    """The twin of a node with numbers or Python code for derivatives, which has no second ones."""


class PlannedError(ArithmeticError):
    """Raised by a `_backward` of the program's own."""


class SignalError(ArithmeticError):
    """Raised by a signal handler."""


def evaluate(program, leaves):
    """The last result of a list of instructions, of any engine. Computes nothing else, as compiled functions do."""
    known = list(leaves)
    needed, results = {len(leaves) + len(program) - 1}, {}
    for k in range(len(program) - 1, -1, -1):
        if len(leaves) + k in needed:
            needed |= {i % (len(leaves) + k) for i in program[k][1]}
    for k, (name, operands, number) in enumerate(program):
        here = len(leaves) + k
        if here in needed:
            args = [results[i % here] if i % here in results else known[i % here] for i in operands]
            results[here] = op(name)(*args, *number)
    return results[len(leaves) + len(program) - 1]


class Machine:
    """The pool, each entry one Value of this engine and its twin of the oracle, and the instructions on it."""

    def __init__(self):
        self.pool = []
        self.padding = []
        self.customized = []
        self.armed = []  # for each op that may raise: whether it does
        self.leaf(1.5)

    def run(self, program):
        try:
            for name, *args in program:
                getattr(self, name)(*args)
            self.backward(0, 1, True)
        finally:
            self.close()

    def close(self):
        """Break the cycles through plain Values, which the collector does not see."""
        for mine in self.customized:
            del mine._backward

    def at(self, i):
        return self.pool[-1 - i % len(self.pool)]

    def leaves(self, indices):
        """Leaves among the pool, of a plain `_backward`, each once."""
        found = {}
        for i in indices:
            mine, twin = self.at(i)
            if not twin.parents and not any(mine is other for other in self.customized):
                found[id(mine)] = (mine, twin)
        return list(found.values())

    def add(self, make, make_twin, *args):
        """An op on both: `args` holds pool entries and numbers."""
        mine, error = outcome(make, *(a[0] if isinstance(a, tuple) else a for a in args))
        twin, expected = outcome(make_twin, *(a[1] if isinstance(a, tuple) else a for a in args))
        assert error == expected, f"{error} is not {expected}"
        if error is None:
            assert bits(mine.data) == bits(twin.data), f"{mine.data!r} is not {twin.data!r}"
            self.pool.append((mine, twin))

    def check(self):
        for mine, twin in self.pool:
            assert bits(mine.data) == bits(twin.data), f"{mine.data!r} is not {twin.data!r}"
            assert twin.agrees(mine.grad), f"{mine.grad!r} is not {twin.grad!r} within {twin.tolerance!r}"

    # -- making Values

    def leaf(self, x):
        self.add(Value, oracle.Value, x)

    def subclass(self, x):
        self.add(Weight, oracle.Value, x)

    def unary(self, name, i):
        self.add(op(name), op(name), self.at(i))

    def binary(self, name, i, j):
        self.add(op(name), op(name), self.at(i), self.at(j))

    def number_right(self, name, i, x):
        self.add(op(name), op(name), self.at(i), x)

    def number_left(self, name, i, x):
        self.add(op(name), op(name), x, self.at(i))

    def where(self, i, j, x):
        def chosen(a, b):
            return a.tanh() if a.data > x else b * x

        self.add(lambda a, b: F.where(a > x, lambda: a.tanh(), lambda: b * x), chosen, self.at(i), self.at(j))

    def sums(self, name, indices):
        """Sums of products, which are single nodes here and several in the reference."""
        picked = [self.at(i) for i in indices]

        def dot(xs, ys, bias):
            total = bias
            for x, y in zip(xs, ys):
                total = total + x * y
            return total

        a, b = ([pair[k] for pair in picked] for k in (0, 1))
        if name == "dot":
            self.add(lambda: F.dot(a, a[::-1], bias=a[0]), lambda: dot(b, b[::-1], b[0]))
        else:
            # The products are those of a weight and an input, in this order, as in a neuron.
            self.add(lambda: F.linear(a, [a, a[::-1]], [a[0], 2.0])[1], lambda: dot(b[::-1], b, oracle.value(2.0)))

    def block(self, parents):
        nodes = [self.at(i) for i, _ in parents]
        local = tuple(x for _, x in parents)
        terms = tuple((lambda g, x=x: x * g) for x in local)
        mine = Value(1.0, tuple(a for a, _ in nodes), local)
        self.pool.append((mine, Opaque(1.0, (b for _, b in nodes), terms)))

    def cut(self, how, i):
        """A leaf with the data of a Value, by way of what makes no graph."""
        mine, twin = self.at(i)
        if how == "detach":
            self.pool.append((mine.detach(), oracle.Value(twin.data)))
            return
        with micrograd.no_grad():
            self.add(lambda v: v * 2.0, lambda v: oracle.Value(v.data * 2.0), (mine, twin))

    def copied(self, how, i):
        mine, twin = self.at(i)
        mine.label = "x"
        other = {"copy": copy.copy, "deepcopy": copy.deepcopy}.get(how, lambda v: pickle.loads(pickle.dumps(v)))(mine)
        assert (isinstance(other, Weight), other.label, other._children) == (isinstance(mine, Weight), "x", ())
        alone = oracle.Value(twin.data)
        alone.grad, alone.scale, alone.sure = twin.grad, twin.scale, twin.sure
        self.pool.append((other, alone))

    # -- ops of the program's own

    def user_op(self, i, what):
        """Its `_backward` may look at nodes, build graphs, run passes, collect, or raise, in the middle of a pass."""
        armed = []
        if what == "raise":
            self.armed.append(armed)

        def twin_term(g):
            if armed:
                raise PlannedError
            return 3.0 * g

        def make(x):
            out = Value(3.0 * x.data, (x,), "triple")

            def step():
                if armed:
                    raise PlannedError
                self.meanwhile(what)
                x.grad += 3.0 * out.grad

            out._backward = step
            self.customized.append(out)  # which `step` holds
            return out

        self.add(make, lambda x: Opaque(3.0 * x.data, (x,), (twin_term,)), self.at(i))

    def meanwhile(self, what):
        """What changes no result, wherever it happens."""
        if what == "look":
            for mine, _ in self.pool[-4:]:
                repr(mine), mine._prev, mine._op, mine._backward, hash(mine), f"{mine:.3f}", mine < 2.0
        elif what == "build":
            x = Value(2.0)
            y = F.sum([x * x for _ in range(20)]).tanh() + self.pool[-1][0]
            assert y._op == "+"
        elif what == "pass":
            x = Weight(2.0)
            y = x.twice() * x + x
            y.backward()
            assert x.grad == 9.0
        elif what == "collect":
            gc.collect()
        elif what == "free":
            self.padding.clear()

    def custom_backward(self, i):
        mine = self.at(i)[0]
        mine._backward = mine._backward
        self.customized.append(mine)

    def arm(self, k):
        if self.armed:
            armed = self.armed[k % len(self.armed)]
            armed.clear() if armed else armed.append(True)

    def cycle(self, i, j):
        """A reference cycle through an attribute, which the collector finds in subclasses."""
        mine = self.at(i)[0]
        if isinstance(mine, Weight):
            mine.out = self.at(j)[0] * mine
            mine.me = mine

    # -- looking, and changing

    def look(self, what, i):
        mine, twin = self.at(i)
        if what == "children":
            assert len(mine._children) in (len(twin.parents), 1 if mine._op.startswith("**") else 0)
        elif what == "local_grads":
            outcome(lambda: mine._local_grads)
        else:
            self.meanwhile(what)

    def adopt(self, i, k):
        """A parent, which may be made as it is read, becomes an entry of the pool."""
        mine, twin = self.at(i)
        children = mine._children
        if twin.parents and len(children) == len(twin.parents) and not any(parent.constant for parent in twin.parents):
            child, parent = children[k % len(children)], twin.parents[k % len(children)]
            if bits(child.data) == bits(parent.data):  # not so if the weights of its neuron have other data now
                self.pool.append((child, parent))

    def set_data(self, i, x):
        """Of a result only so far as its square is a number: tanh's rule is 1 - t**2, which raises in Python."""
        mine, twin = self.at(i)
        if not twin.parents or abs(x) < 1e150:
            mine.data = twin.data = x

    def set_grad(self, i, x):
        mine, twin = self.at(i)
        mine.grad = twin.grad = x
        twin.scale, twin.sure = abs(x), True

    def fill_slab(self, count):
        """Nodes that separate the ones before from the ones after."""
        x = Value(1.0)
        self.padding.append([x + x for _ in range(count)])

    def drop(self, i):
        if len(self.pool) > 1:
            self.pool.remove(self.at(i))

    # -- passes

    def backward(self, i, times, retain_grads):
        mine, _ = self.at(i)
        for _ in range(times):
            _, error = outcome(lambda: mine.backward(retain_grads=retain_grads))
            if not self.passed(i, retain_grads, error):
                break
        self.check()

    def passed(self, i, retain_grads, error):
        """The oracle's pass, after this engine's. False where one raised, and the graph is cleared."""
        _, twin = self.at(i)
        errors = twin.backward() if retain_grads else twin.backward_to_leaves()
        if error is not SignalError:
            assert error in errors if errors else error is None, f"{error} is not in {errors}"
        if error is not None:  # which grads were added before it depends on the order
            self.zero_grad(i)
        return error is None

    def zero_grad(self, i):
        mine, twin = self.at(i)
        mine.zero_grad()
        twin.zero_grad()
        self.check()
