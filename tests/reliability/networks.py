"""The machine's instructions on modules, optimizers, compiled functions and `grad`; passes with signals; threads."""

from __future__ import annotations

import copy
import math
import pickle
import random
import signal
import threading

import micrograd
import oracle
from helpers import bits, outcome
from micrograd import Value, nn, nn_tanh, optim
from reliability.machine import Machine, Opaque, SignalError, Weight, evaluate

MOST = 6  # networks, optimizers and compiled functions at a time


def alone(twin):
    """A leaf of the oracle with the same data, for passes that leave no trace."""
    return oracle.Value(twin.data)


def flat(layers):
    """The parameters, in the order of parameters()."""
    return [p for layer in layers for row in layer for p in row]


def network_of_oracle(layers, activations, x):
    """karpathy's formulas: bias + w[0] x[0] + w[1] x[1] + …, then the activation."""
    for weights, activation in zip(layers, activations):
        out = []
        for row in weights:
            total = row[-1]
            for w, xi in zip(row, x):
                total = total + w * xi
            out.append(getattr(total, activation)() if activation else total)
        x = out
    return x


class Everything(Machine):
    def __init__(self):
        super().__init__()
        self.networks = []
        self.optimizers = []
        self.functions = []
        self.may_raise = False

    def check(self):
        super().check()
        for model, layers, _ in self.networks:
            for mine, twin in zip(model.parameters(), flat(layers)):
                assert bits(mine.data) == bits(twin.data)
                assert twin.agrees(mine.grad), f"{mine.grad!r} is not {twin.grad!r} within {twin.tolerance!r}"

    # -- networks and optimizers

    def network(self, tanh, widths, seed):
        state = random.getstate()
        random.seed(seed)
        model = (nn_tanh if tanh else nn).MLP(widths[0], widths[1:])
        random.setstate(state)
        parameters = iter(model.parameters())
        layers = []
        for n, width in zip(widths, widths[1:]):
            layers.append([[oracle.Value(next(parameters).data) for _ in range(n + 1)] for _ in range(width)])
        inner = ["tanh" if tanh else "relu"] * (len(layers) - 1)
        self.networks = [*self.networks[-MOST:], (model, layers, [*inner, "tanh" if tanh else ""])]

    def call(self, k, indices, look):
        if self.networks:
            model, layers, activations = self.networks[k % len(self.networks)]
            picked = [self.at(indices[n % len(indices)]) for n in range(len(layers[0][0]) - 1)]
            out, error = outcome(model, [mine for mine, _ in picked])
            twins, expected = outcome(network_of_oracle, layers, activations, [twin for _, twin in picked])
            assert error == expected, f"{error} is not {expected}"
            out = out if isinstance(out, list) else [out]
            for mine, twin in zip(out, twins):
                assert bits(mine.data) == bits(twin.data), f"{mine.data!r} is not {twin.data!r}"
                if look:
                    assert len(mine._children) == len(twin.parents)
                self.pool.append((mine, twin))

    def change(self, k, how, x):
        """What a program does to a network between passes: its weights, their grads, copies of it."""
        if not self.networks:
            return
        model, layers, activations = self.networks[k % len(self.networks)]
        twins = flat(layers)
        if how == "data":
            model.parameters()[k % len(twins)].data = twins[k % len(twins)].data = x
        elif how == "zero_grad":
            model.zero_grad()
            for twin in twins:
                twin.clear()
        elif how == "state_dict":
            state = {name: -v for name, v in model.state_dict().items()}
            model.load_state_dict(state)
            for twin in twins:
                twin.data = -twin.data
        else:
            other = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
            assert [bits(p.data) for p in other.parameters()] == [bits(twin.data) for twin in twins]
            others = [[[alone(twin) for twin in row] for row in layer] for layer in layers]
            for twin, old in zip(flat(others), twins):
                twin.grad, twin.scale, twin.sure = old.grad, old.scale, old.sure
            self.networks = [*self.networks[-MOST:], (other, others, activations)]

    def optimizer(self, kind, k, indices, lr):
        pairs = self.leaves(indices)
        if self.networks and k % 2:
            model, layers, _ = self.networks[k % len(self.networks)]
            pairs = list(zip(model.parameters(), flat(layers)))
        if pairs:
            made = getattr(optim, kind)([mine for mine, _ in pairs], lr=lr)
            self.optimizers = [*self.optimizers[-MOST:], (made, pairs, lr, {})]

    def step(self, k, what):
        """Steps by the papers' formulas. The grads' last bits may differ, so the oracle goes on with this engine's."""
        if not self.optimizers:
            return
        made, pairs, lr, state = self.optimizers[k % len(self.optimizers)]
        if what == "zero_grad":
            made.zero_grad()
            for _, twin in pairs:
                twin.clear()
            return
        if what == "pickle":
            made.load_state_dict(pickle.loads(pickle.dumps(made.state_dict())))
        expected = []
        state["t"] = t = state.get("t", 0) + 1
        for mine, twin in pairs:
            g, x = mine.grad, mine.data
            if isinstance(made, optim.Adam):
                m, v = state.get(id(twin), (0.0, 0.0))
                m, v = m * 0.9 + 0.1 * g, v * 0.999 + 0.001 * (g * g)
                state[id(twin)] = m, v
                root = math.sqrt(v) / math.sqrt(1 - 0.999**t) + 1e-8
                decayed = x * (1 - lr * 0.01) if isinstance(made, optim.AdamW) else x
                expected.append(decayed - lr / (1 - 0.9**t) * (m / root))
            else:
                expected.append(x - lr * g)
        made.step()
        for (mine, twin), x in zip(pairs, expected):
            same = bits(mine.data) == bits(x) or math.isclose(mine.data, x, rel_tol=1e-9, abs_tol=1e-12)
            assert same, f"{made}: {mine.data!r} is not {x!r}"
            twin.data = mine.data

    # -- compiled functions

    def compile(self, program, indices, exact):
        captured = self.leaves(indices)
        if captured:
            mine, twins = ([pair[k] for pair in captured] for k in (0, 1))
            f = micrograd.compile(lambda x: evaluate(program, [x, *mine]), exact=exact)
            self.functions = [*self.functions[-MOST:], (f, program, mine, twins, exact)]

    def call_compiled(self, k, i, x, how):
        """One sample, of a number or a Value: the data, then the partials, which become the twin's."""
        if not self.functions:
            return
        f, program, mine, twins, exact = self.functions[k % len(self.functions)]
        given, twin = self.at(i) if how == "value" else (x, None)
        data = twin.data if twin else x
        if how == "pickle" and f._programs:
            f = pickle.loads(pickle.dumps(f))
            mine = None
        copies = [oracle.Value(data), *map(alone, twins)]
        expected, error = outcome(evaluate, program, copies)
        out, raised = outcome(f, given)
        assert (raised is None) == (error is None), f"{raised} is not {error}"
        if error is not None or not exact:
            return
        assert bits(out.data) == bits(expected.data), f"{out.data!r} is not {expected.data!r}"
        if mine is None:
            return
        errors = expected.backward()
        local, raised = outcome(lambda: out._local_grads)
        if errors or raised:
            return
        found = dict.fromkeys(map(id, [given, *mine]), 0.0)
        for child, partial in zip(out._children, local):
            found[id(child)] += partial
        if twin and any(given is other for other in mine):
            return  # both an argument and captured
        for leaf, copied in zip([given, *mine][twin is None :], copies[twin is None :]):
            assert copied.agrees(found[id(leaf)]), f"{found[id(leaf)]!r} is not {copied.grad!r}"
        by_id = dict(zip(map(id, mine), twins))
        parents = [by_id.get(id(child), twin) for child in out._children]
        self.pool.append((out, Opaque(out.data, parents, [lambda g, p=p: p * g for p in local])))

    # -- gradients apart from the grads

    def grad(self, i, indices, create_graph):
        """grad() of an entry by others changes no grad, and gives those of a pass on grads of 0."""
        mine, twin = self.at(i)
        inputs = list({id(pair[0]): pair for pair in map(self.at, indices)}.values())
        order = twin.order()
        create_graph &= not self.customized and not any(isinstance(node, Opaque) for node in order)
        kept = [(node, node.grad, node.scale, node.sure) for node in order]
        for node in order:
            node.clear()
        errors = twin.backward()
        found, error = outcome(
            lambda: micrograd.grad(mine, [a for a, _ in inputs], create_graph=create_graph, allow_unused=True)
        )
        if not errors:
            assert error is None, f"grad raised {error}"
            for g, (_, leaf) in zip(found, inputs):
                if leaf not in order:
                    assert g is None
                elif g is not None:
                    g = g.data if create_graph and isinstance(g, Value) else g
                    assert create_graph or leaf.agrees(g), f"grad: {g!r} is not {leaf.grad!r}"
        for node, *before in kept:
            node.grad, node.scale, node.sure = before
        self.check()

    # -- passes with signals, and in threads

    def signalled(self, i, seconds, what, retain_grads):
        """A pass in which a signal's handler looks, builds, runs a pass or raises."""
        mine, _ = self.at(i)

        def handle(_number, _frame):
            if what == "raise" and self.may_raise:
                raise SignalError
            self.meanwhile(what)

        def run():
            try:
                self.may_raise = True
                signal.setitimer(signal.ITIMER_REAL, seconds)
                mine.backward(retain_grads=retain_grads)
            finally:
                self.may_raise = False
                signal.setitimer(signal.ITIMER_REAL, 0)

        before = signal.signal(signal.SIGALRM, handle)
        try:
            _, error = outcome(run)
        finally:
            signal.signal(signal.SIGALRM, before)
        self.passed(i, retain_grads, error)

    def long_pass(self, i, length, seconds, raises):
        """A pass over many slabs, which is asked for signals in between: the leaf's grad is there, or is not."""
        pairs = self.leaves([i])
        if not pairs:
            return
        x, twin = pairs[0]
        scale = Value(1.0) if raises else 1.0
        self.pool.append((x * 1.0, twin * 1.0))
        y = x * scale
        for _ in range(length):
            y = y + 1.0
        before = x.grad
        handler = signal.signal(signal.SIGALRM, self._raise if raises else lambda *_: self.meanwhile("pass"))
        try:
            self.may_raise = True
            signal.setitimer(signal.ITIMER_REAL, seconds)
            y.backward()
        except SignalError:
            pass
        finally:
            self.may_raise = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        after = x.grad
        assert bits(after) in ((bits(before), bits(before + 1.0)) if raises else (bits(before + 1.0),))
        x.grad = before
        self.check()

    def _raise(self, _number, _frame):
        if self.may_raise:
            raise SignalError

    def threads(self, programs, indices):
        """Threads that compute on leaves they share, each with a graph and a pass of its own."""
        shared = self.leaves(indices)
        if not shared:
            return
        mine, twins = ([pair[k] for pair in shared] for k in (0, 1))
        results = [None] * len(programs)

        def work(k):
            def both():
                y = evaluate(programs[k], mine)
                out = Weight(2.0 * y.data, (y,), "op")
                out._backward = lambda: (self.meanwhile("look"), setattr(y, "grad", y.grad + 2.0 * out.grad))
                out.backward()
                return out

            results[k] = outcome(both)

        workers = [threading.Thread(target=work, args=(k,)) for k in range(len(programs))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        failed = False
        for program, (out, error) in zip(programs, results):
            twin, expected = outcome(evaluate, program, twins)
            if expected is None:
                expected = oracle.Value(2.0 * twin.data, (twin,), (lambda g: 2.0 * g,))
                errors = expected.backward()
                assert error in errors if errors else error is None
                failed |= bool(errors)
                assert errors or bits(out.data) == bits(expected.data)
            else:
                assert error == expected
        if failed:
            for a, b in shared:
                a.grad = 0.0
                b.clear()
        self.check()
