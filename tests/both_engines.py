"""The same program on Values, eager and compiled, and on PyTorch's tensors. A program is a function of an engine, and
returns numbers; tests/forks has programs as people write them for their copies of micrograd."""

from __future__ import annotations

import functools
import math
import random

import pytest

import micrograd
from micrograd import Value, functional, nn, optim, utils


def numbers(x):
    """Nested lists of Values, tensors and numbers as a flat list of floats."""
    return [float(item.item() if hasattr(item, "item") else item) for item in flat(x)]


def drawn(seed, *shape):
    """Nested lists of numbers from -1 to 1."""
    draw = random.Random(seed)

    def array(shape):
        return [array(shape[1:]) for _ in range(shape[0])] if shape else draw.uniform(-1.0, 1.0)

    return array(shape)


def nested(function, x):
    return [nested(function, item) for item in x] if isinstance(x, (list, tuple)) else function(x)


def flat(x):
    """The items of nested lists."""
    return [item for part in x for item in flat(part)] if isinstance(x, (list, tuple)) else [x]


def with_grads(e, function, params, *columns):
    """The sum of what a function is of each sample, and the gradients of nested lists of parameters."""
    total = e.batch(function)(*columns)
    return [total, e.grads(total, flat(params))]


class Eager:
    """Values, one op at a time."""

    F, optim = functional, optim
    compiles = False

    def value(self, x):
        return Value(x)

    def values(self, x):
        """Nested lists of parameters."""
        return nested(self.value, x)

    def network(self, sizes, activation, init="uniform_", seed=1):
        """A multilayer perceptron, and its weights by `nn.init`."""
        model = nn.MLP(sizes[0], sizes[1:], activation=activation)
        return getattr(nn.init, init)(model, generator=seed)

    def batch(self, function):
        """A function of columns of samples: the sum of what `function` is of each sample."""
        return lambda *columns: self.F.sum([function(*nested(self.constant, row)) for row in zip(*columns)])

    def constant(self, x):
        """An argument: an integer may be an index."""
        return x if isinstance(x, int) else self.value(x)

    def grad(self, output, inputs):
        return micrograd.grad(output, inputs, create_graph=True)

    def grads(self, loss, params):
        """backward(), and the grads of a flat list of parameters."""
        for p in params:
            p.grad = 0.0
        loss.backward()
        return [p.grad for p in params]

    def no_grad(self):
        return micrograd.no_grad()

    def clip_norm(self, params, most):
        """Of the grads: shortens them, returns the norm before."""
        return utils.clip_grad_norm_(params, most)

    def clip_value(self, params, most):
        utils.clip_grad_value_(params, most)

    def derivative(self, name, function, at, *others):
        """`functional.jacobian`, `hessian` or `hvp`, of a list of numbers."""
        return getattr(functional, name)(function, at, *others)


class Compiled(Eager):
    """Values; functions of samples are compiled."""

    compiles = True

    def __init__(self, exact):
        self.exact = exact

    def batch(self, function):
        return micrograd.compile(lambda *sample: function(*sample), exact=self.exact).sum


class Torch:
    """Tensors without dimensions, of float64."""

    compiles = False

    def __init__(self):
        self.torch = pytest.importorskip("torch")
        self.F, self.optim = TorchFunctional(self.torch), self.torch.optim

    def value(self, x):
        return self.torch.tensor(x, dtype=self.torch.float64, requires_grad=True)

    def network(self, *args, **keywords):
        return TorchNetwork(self, Eager().network(*args, **keywords))

    values = Eager.values
    batch, constant = Eager.batch, Eager.constant

    def grad(self, output, inputs):
        many = isinstance(inputs, list)
        found = self.torch.autograd.grad(output, inputs if many else [inputs], create_graph=True)
        return list(found) if many else found[0]

    def grads(self, loss, params):
        for p in params:
            p.grad = None
        loss.backward()
        return [0.0 if p.grad is None else p.grad.item() for p in params]

    def no_grad(self):
        return self.torch.no_grad()

    def clip_norm(self, params, most):
        return self.torch.nn.utils.clip_grad_norm_(params, most)

    def clip_value(self, params, most):
        self.torch.nn.utils.clip_grad_value_(params, most)

    def derivative(self, name, function, at, *others):
        def of_tensor(x):
            out = function(list(x))
            return self.F.stack(out) if isinstance(out, list) else out

        tensors = [self.torch.tensor(x, dtype=self.torch.float64) for x in (at, *others)]
        found = getattr(self.torch.autograd.functional, name)(of_tensor, *tensors)
        return [part.tolist() for part in found] if isinstance(found, tuple) else found.tolist()


class TorchFunctional:
    """`micrograd.functional` by PyTorch's functions, over lists of tensors without dimensions."""

    def __init__(self, torch):
        self.torch, self.nn = torch, torch.nn.functional
        self.maximum, self.minimum = self.of_pair("maximum"), self.of_pair("minimum")
        self.atan2 = self.of_pair("atan2")

    def tensor(self, x):
        return x if isinstance(x, self.torch.Tensor) else self.torch.tensor(float(x), dtype=self.torch.float64)

    def stack(self, xs):
        return self.torch.stack([self.tensor(x) for x in xs])

    def of_pair(self, name):
        return lambda a, b: getattr(self.torch, name)(self.tensor(a), self.tensor(b))

    def __getattr__(self, name):
        """A function of one number, or of each of a list."""
        home = self.nn if hasattr(self.nn, name) else self.torch
        function = getattr(home, name)

        def of_each(xs, *args, **keywords):
            if isinstance(xs, (list, tuple)):
                return [function(self.tensor(x), *args, **keywords) for x in xs]
            return function(self.tensor(xs), *args, **keywords)

        return of_each

    def where(self, condition, a, b):
        side = a if condition else b
        return self.tensor(side() if callable(side) else side)

    def logical_and(self, a, b):
        return bool(a) and bool(b)

    def logical_or(self, a, b):
        return bool(a) or bool(b)

    def logical_not(self, a):
        return not a

    def eq(self, a, b):
        return bool(self.tensor(a) == self.tensor(b))

    def clamp(self, x, min=None, max=None):
        bounds = [bound if bound is None else self.tensor(bound) for bound in (min, max)]
        return self.torch.clamp(self.tensor(x), *bounds)

    def sum(self, xs):
        return self.stack(xs).sum()

    def mean(self, xs):
        return self.stack(xs).mean()

    def logsumexp(self, xs):
        return self.stack(xs).logsumexp(0)

    def softmax(self, xs):
        return list(self.stack(xs).softmax(0))

    def log_softmax(self, xs):
        return list(self.stack(xs).log_softmax(0))

    def dot(self, ws, xs, bias=0.0):
        return self.torch.dot(self.stack(ws), self.stack(xs)) + bias

    def linear(self, xs, weight, bias=None):
        rows = self.torch.stack([self.stack(row) for row in weight])
        return list(self.nn.linear(self.stack(xs), rows, None if bias is None else self.stack(bias)))

    def cross_entropy(self, xs, target):
        target = self.stack(target) if isinstance(target, list) else self.torch.tensor(int(target))
        return self.nn.cross_entropy(self.stack(xs), target)

    def mse_loss(self, xs, ys):
        return self.nn.mse_loss(self.stack(xs), self.stack(ys))

    def layer_norm(self, xs, weight=None, bias=None, eps=1e-5):
        weight, bias = (part if part is None else self.stack(part) for part in (weight, bias))
        return list(self.nn.layer_norm(self.stack(xs), (len(xs),), weight, bias, eps))

    def embedding(self, i, weight):
        return weight[int(i)]

    def take(self, xs, i):
        return xs[int(i)]

    def scaled_dot_product_attention(self, query, key, value):
        q, k, v = (self.torch.stack([self.stack(row) for row in rows]) for rows in ([query], key, value))
        return list(self.nn.scaled_dot_product_attention(q[None], k[None], v[None])[0, 0])


class TorchNetwork:
    """The network of a model, of tensors without dimensions."""

    def __init__(self, engine, model):
        self.layers = [
            [(engine.values([w.data for w in neuron.w]), engine.value(neuron.b.data)) for neuron in layer.neurons]
            for layer in model.layers
        ]
        neuron = model.layers[0].neurons[0]
        name = neuron.nonlin if isinstance(neuron.nonlin, str) else getattr(neuron.nonlin, "__name__", "relu")
        self.activation = getattr(engine.F, name)

    def __call__(self, xs):
        for layer in self.layers:
            xs = [sum((w * x for w, x in zip(row, xs)), b) for row, b in layer]
            xs = xs if layer is self.layers[-1] else [self.activation(x) for x in xs]
        return xs[0] if len(xs) == 1 else xs

    def parameters(self):
        return [p for layer in self.layers for row, b in layer for p in (*row, b)]


# ---- The test of a list of programs ----------------------------------------------------------------------------------


@functools.cache
def expected(program):
    """What PyTorch computes."""
    return numbers(program(Torch()))


ENGINES = {"eager": Eager, "compiled": lambda: Compiled(False), "compiled exactly": lambda: Compiled(True)}


def each_program(*programs, eager_only=()):
    """Parametrize by (program, engine): each program on Values, and compiled too unless it decides by data."""
    cases = [(program, name) for program in programs for name in ENGINES]
    cases += [(program, "eager") for program in eager_only]
    return pytest.mark.parametrize(
        ("program", "engine"), cases, ids=[f"{program.__name__}, {name}" for program, name in cases]
    )


def assert_as_in_torch(program, engine):
    theirs = expected(program)
    ours = numbers(program(ENGINES[engine]()))
    assert len(ours) == len(theirs) > 1
    assert all(map(math.isfinite, theirs))
    assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-12)
