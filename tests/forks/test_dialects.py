"""Programs with classes of their own, as repositories that started as a copy of micrograd have them: networks, losses,
optimizers, trainers. They run on this engine, and on micrograd 0.1.0 with ops added in Python as forks add them: losses
and parameters are the same."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest

from helpers import traced_graph

XS = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8], [-1.2, -0.4], [0.1, 0.9], [0.9, -0.2]]
LABELS = [0, 1, 2, 2, 0, 1]


def op(name, forward, slope):
    """A method as forks write them: a closure that adds to the grad."""

    def method(self, *args):
        out = type(self)(forward(self.data, *args), (self,), name)

        def _backward():
            self.grad += slope(self.data, out.data, *args) * out.grad

        out._backward = _backward
        return out

    return method


OPS = {
    "exp": (math.exp, lambda _x, y: y),
    "log": (math.log, lambda x, _y: 1 / x),
    "sqrt": (math.sqrt, lambda _x, y: 0.5 / y),
    "tanh": (math.tanh, lambda _x, y: 1 - y * y),
    "sin": (math.sin, lambda x, _y: math.cos(x)),
    "cos": (math.cos, lambda x, _y: -math.sin(x)),
    "abs": (abs, lambda x, _y: math.copysign(1.0, x)),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), lambda _x, y: y * (1 - y)),
    "softplus": (lambda x: math.log(1 + math.exp(x)), lambda x, _y: 1 / (1 + math.exp(-x))),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x, _y: 1 / (1 + abs(x)) ** 2),
    "leaky_relu": (lambda x, a=0.01: x if x > 0 else a * x, lambda x, _y, a=0.01: 1.0 if x > 0 else a),
    "elu": (lambda x, a=1.0: x if x > 0 else a * (math.exp(x) - 1), lambda x, y, a=1.0: 1.0 if x > 0 else y + a),
    "clamp": (lambda x, a, b: min(max(x, a), b), lambda x, _y, a, b: float(a <= x <= b)),
    "__abs__": (abs, lambda x, _y: math.copysign(1.0, x)),
}
COMPOSED = {
    "silu": lambda self: self * self.sigmoid(),
    "gelu_tanh": lambda self: 0.5 * self * (1 + (0.7978845608028654 * (self + 0.044715 * self**3)).tanh()),
    "item": lambda self: self.data,
    "__rpow__": lambda self, base: (self * math.log(base)).exp(),
    "__format__": lambda self, spec: format(self.data, spec),
    "__lt__": lambda self, other: self.data < getattr(other, "data", other),
    "__gt__": lambda self, other: self.data > getattr(other, "data", other),
}


@pytest.fixture
def fork(reference, monkeypatch):
    for name, (forward, slope) in OPS.items():
        monkeypatch.setattr(reference.Value, name, op(name, forward, slope), raising=False)
    for name, method in COMPOSED.items():
        monkeypatch.setattr(reference.Value, name, method, raising=False)
    return reference


class Neuron:
    """Its activation is the name of a method, with arguments."""

    def __init__(self, e, nin, activation, *args):
        self.w = [e.Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = e.Value(0.0)
        self.activation, self.args = activation, args

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return getattr(act, self.activation)(*self.args) if self.activation else act

    def parameters(self):
        return [*self.w, self.b]


class MLP:
    def __init__(self, e, sizes, activations, *args):
        random.seed(3)
        self.layers = [
            [Neuron(e, nin, name, *(args if name else ())) for _ in range(nout)]
            for nin, nout, name in zip(sizes, sizes[1:], activations)
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = [neuron(x) for neuron in layer]
        return x[0] if len(x) == 1 else x

    def parameters(self):
        return [p for layer in self.layers for neuron in layer for p in neuron.parameters()]

    def zero_grad(self):
        for p in self.parameters():
            p.grad = 0


def softmax(logits):
    top = max(z.data for z in logits)
    counts = [(z - top).exp() for z in logits]
    total = sum(counts)
    return [c / total for c in counts]


class Loss:
    @staticmethod
    def mse(predicted, targets):
        return sum([(p - t) ** 2 for p, t in zip(predicted, targets)]) / len(targets)

    @staticmethod
    def mae(predicted, targets):
        return sum([(p - t).abs() for p, t in zip(predicted, targets)]) / len(targets)

    @staticmethod
    def bce(predicted, targets, eps=1e-7):
        kept = [p.sigmoid().clamp(eps, 1 - eps) for p in predicted]
        return -sum(t * p.log() + (1 - t) * (1 - p).log() for p, t in zip(kept, targets)) / len(targets)

    @staticmethod
    def hinge(predicted, targets):
        return sum((1 + -(2 * t - 1) * p).relu() for p, t in zip(predicted, targets)) * (1.0 / len(targets))

    @staticmethod
    def huber(predicted, targets, delta=0.5):
        errors = [abs(p - t) for p, t in zip(predicted, targets)]
        return sum(0.5 * e**2 if e < delta else delta * (e - 0.5 * delta) for e in errors)


def sgd(model, loss, lr=0.1):
    model.zero_grad()
    loss.backward()
    for p in model.parameters():
        p.data -= lr * p.grad
    return loss.data


def every_loss(e):
    seen = []
    for name in ("mse", "mae", "bce", "hinge", "huber"):
        model = MLP(e, [2, 4, 1], ["tanh", None])
        loss, targets = getattr(Loss, name), [float(y == 1) for y in LABELS]
        seen += [sgd(model, loss([model(x) for x in XS], targets)) for _ in range(8)]
        seen += [p.data for p in model.parameters()]
    return seen


def every_activation(e):
    seen = []
    named = [("sigmoid",), ("softplus",), ("softsign",), ("leaky_relu", 0.2), ("elu", 0.5), ("silu",), ("sin",)]
    for name, *args in named:
        model = MLP(e, [2, 3, 1], [name, None], *args)
        seen += [sgd(model, Loss.mse([model(x) for x in XS], LABELS)) for _ in range(5)]
    return seen


class Adam:
    """Its averages are attributes of the parameters."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr, self.t = parameters, lr, 0
        for p in parameters:
            p.m = p.v = 0.0

    def step(self):
        self.t += 1
        for p in self.parameters:
            p.m = 0.9 * p.m + 0.1 * p.grad
            p.v = 0.95 * p.v + 0.05 * p.grad**2
            p.data -= self.lr * (p.m / (1 - 0.9**self.t)) / ((p.v / (1 - 0.95**self.t)) ** 0.5 + 1e-8)
            p.grad = 0.0


def classes_by_negative_log_likelihood(e):
    """With a penalty, accuracy by the greatest of a list of Values, and lines as programs print them."""
    model, lines = MLP(e, [2, 5, 3], ["tanh", None]), []
    optimizer = Adam(model.parameters(), 0.05)
    for step in range(12):
        logits = [model([e.Value(x) for x in xs]) for xs in XS]
        loss = sum(-softmax(row)[y].log() for row, y in zip(logits, LABELS)) / len(XS)
        loss = loss + 1e-3 * sum(p * p for p in model.parameters())
        right = sum(row.index(max(row)) == y for row, y in zip(logits, LABELS))
        loss.backward()
        optimizer.step()
        lines.append(f"{step} {loss:.6f} {100 * right / len(XS):.0f}")
    return [float(word) for line in lines for word in line.split()]


def checkpoint_in_json(e):
    """Training goes on from a file's numbers as if it had not stopped."""
    model = MLP(e, [2, 3, 1], ["gelu_tanh", None])

    def epoch(model):
        return sgd(model, Loss.mse([model(x) for x in XS], LABELS))

    seen = [epoch(model) for _ in range(4)]
    saved = json.dumps([p.data for p in model.parameters()])
    other = MLP(e, [2, 3, 1], ["gelu_tanh", None])
    for p, data in zip(other.parameters(), json.loads(saved)):
        p.data = data
    # Not to the bit: the reference adds gradients in an order of addresses.
    assert [epoch(model) for _ in range(3)] == pytest.approx([epoch(other) for _ in range(3)], rel=1e-12)
    return [*seen, *(p.data for p in other.parameters())]


class Trainer:
    """Shuffled batches, a falling rate, patience, a history."""

    def __init__(self, model, patience=3):
        self.model, self.patience, self.history = model, patience, {"loss": [], "val": []}

    def fit(self, epochs, batch_size=2):
        best, waited, order = math.inf, 0, list(range(4))
        for epoch in range(epochs):
            random.shuffle(order)
            for i in range(0, 4, batch_size):
                batch = order[i : i + batch_size]
                loss = Loss.mae([self.model(XS[j]) for j in batch], [LABELS[j] for j in batch])
                self.history["loss"].append(sgd(self.model, loss, lr=0.3 * (1 - 0.9 * epoch / epochs)))
            self.history["val"].append(Loss.mse([self.model(x) for x in XS[4:]], LABELS[4:]).item())
            waited = 0 if self.history["val"][-1] < best else waited + 1
            best = min(best, self.history["val"][-1])
            if waited == self.patience:
                break
        return self.history


def trainer_with_early_stopping(e):
    history = Trainer(MLP(e, [2, 4, 1], ["sigmoid", None])).fit(25)
    return [len(history["val"]), *history["loss"], *history["val"]]


def rebound_parameters(e):
    """`a -= a.grad * 0.1` makes a new node, so the graph of all steps grows and the first leaf's grad too."""
    first = a = e.Value(2)
    b, seen = e.Value(-1), []
    for _ in range(6):
        f = a**2 + (a * b).sin() + 2**b + math.e**a
        f.backward()
        a -= a.grad * 0.1
        b -= b.grad * 0.1
        seen += [f.data, a.data, b.data]
    return [*seen, first.grad]


def recurrent_letters(e):
    """One cell for all letters, its state through time, and dropout that ends with the training."""
    random.seed(5)
    vocabulary = {letter: i for i, letter in enumerate("abn")}
    wx, wh, wy = ([[e.Value(random.gauss(0, 0.5)) for _ in range(3)] for _ in range(3)] for _ in range(3))
    parameters, seen = [p for rows in (wx, wh, wy) for row in rows for p in row], []

    def read(text, training):
        h, loss = [e.Value(0.0)] * 3, e.Value(0.0)
        for letter, following in zip(text, text[1:]):
            x = vocabulary[letter]
            h = [(wx[i][x] + sum((w * hj for w, hj in zip(wh[i], h)), e.Value(0.0))).tanh() for i in range(3)]
            if training:
                h = [v / 0.75 if random.random() < 0.75 else v * 0.0 for v in h]
            logits = [sum(w * hj for w, hj in zip(row, h)) for row in wy]
            loss += -softmax(logits)[vocabulary[following]].log()
        return loss / (len(text) - 1)

    for _ in range(10):
        loss = read("banana", training=True)
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= 0.5 * max(min(p.grad, 1.0), -1.0)
        seen.append(loss.data)
    return [*seen, read("banana", training=False).data]


def attention_block(e):
    """Two heads, residuals, a norm by sqrt(), masks by position: a GPT's block of pure Python."""
    random.seed(6)

    def matrix(rows, columns):
        return [[e.Value(random.gauss(0, 0.4)) for _ in range(columns)] for _ in range(rows)]

    def linear(x, w):
        return [sum((wi * xi for wi, xi in zip(row, x)), e.Value(0.0)) for row in w]

    def norm(x):
        mean = sum(x) / len(x)
        spread = sum((xi - mean) ** 2 for xi in x) / len(x)
        return [(xi - mean) / (spread + 1e-5).sqrt() for xi in x]

    wq, wk, wv, wo = (matrix(4, 4) for _ in range(4))
    tokens, keys, values, out = matrix(3, 4), [], [], []
    for x in tokens:
        q, k, v = (linear(norm(x), w) for w in (wq, wk, wv))
        keys, values, mixed = [*keys, k], [*values, v], []
        for head in (0, 2):
            scores = [sum(q[head + j] * k[head + j] for j in (0, 1)) / 2**0.5 for k in keys]
            weights = softmax(scores)
            mixed += [sum(w * v[head + j] for w, v in zip(weights, values)) for j in (0, 1)]
        out.append([a + b for a, b in zip(x, linear(mixed, wo))])
    loss = sum(y**2 for row in out for y in row)
    loss.backward()
    return [loss.data, *(p.grad for w in (wq, wk, wv, wo, tokens) for row in w for p in row)]


def gradients_by_differences(e):
    """Data are changed in place and put back, as in the lecture."""
    a, b, c = (e.Value(x) for x in (2.0, -3.0, 10.0))

    def f():
        return ((a * b + c).tanh() + (b - a).exp() * c.sqrt()).log() * abs(b) + a.cos() / c

    out, found = f(), []
    out.backward()
    for v in (a, b, c):
        kept, v.data = v.data, v.data + 1e-6
        found.append((f().data - out.data) / 1e-6)
        v.data = kept
    assert [a.grad, b.grad, c.grad] == pytest.approx(found, rel=1e-4)
    return [out.data, a.grad, b.grad, c.grad]


def graph_as_drawn(e):
    """Nodes and edges, as draw_dot() collects them: what kinds there are, and labels of one's own."""
    x, w = e.Value(0.5), e.Value(-2.0)
    x.label, w.label = "x", "w"
    out = ((x * w + x).tanh() + w.exp()).relu()
    out.backward()
    nodes, edges = traced_graph(out)
    assert sorted(getattr(n, "label", "?") for n in nodes if not n._prev) == ["w", "x"]
    kinds = Counter(n._op for n in nodes)
    return [
        len(nodes),
        len(edges),
        kinds["+"],
        kinds["*"],
        *sorted(n.data for n in nodes),
        *sorted(n.grad for n in nodes),
    ]


def modules_of_the_package(e):
    """A network of one's own of the package's layers: its parameters() and zero_grad() are inherited or overridden."""

    class Siamese(e.nn.Module):
        def __init__(self):
            random.seed(8)
            self.body, self.scale = e.nn.MLP(2, [4, 2]), e.Value(0.5)

        def __call__(self, a, b):
            square = sum((p - q) ** 2 for p, q in zip(self.body(a), self.body(b)))
            return (-square * self.scale).exp()

        def parameters(self):
            return [*self.body.parameters(), self.scale]

    model = Siamese()
    seen = []
    for _ in range(6):
        close = [model(a, b) for a, b in zip(XS, XS[1:])]
        seen.append(sgd(model, Loss.mse(close, [1.0, 0.0, 1.0, 0.0, 1.0])))
    return [*seen, *(p.data for p in model.parameters())]


PROGRAMS = [
    attention_block,
    checkpoint_in_json,
    classes_by_negative_log_likelihood,
    every_activation,
    every_loss,
    gradients_by_differences,
    graph_as_drawn,
    modules_of_the_package,
    rebound_parameters,
    recurrent_letters,
    trainer_with_early_stopping,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_dialects(program, ours, fork):
    found, wanted = program(ours), program(fork)
    assert len(wanted) > 3
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
