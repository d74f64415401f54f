"""The public entries of the package as small pieces of work. Drivers repeat them, or let their allocations fail.

An entry is a function without arguments that gives numbers, the same in each call; all it makes is freed when it
returns. It sets what it reads, such as grads, so that a call that failed half way does not change the next one."""

from __future__ import annotations

import copy
import io
import math
import pickle
import random
import tempfile
from pathlib import Path

import numpy as np

import micrograd
from helpers import OF_A_LIST, doubled, op
from micrograd import Value, functional, interop, nn, nn_tanh, utils, viz
from micrograd._core import OPS
from micrograd.nn import init
from reliability.compiled_entries import of_compile
from reliability.error_entries import of_errors
from reliability.optim_entries import of_optim

F = functional
XS = [Value(v) for v in (0.6, 0.3, -0.2)]


def _grads(function, values=XS):
    """What `function` gives of the values, and their gradients."""
    for v in values:
        v.grad = 0.0
    out = function(*values)
    out.backward()
    return [out.data, *[v.grad for v in values]]


def _op_entries():
    for name, (_, arity) in OPS.items():
        f = op(name)
        yield f"op {name}", lambda f=f, arity=arity: _grads(f, XS[:arity])
        if arity == 2 and name.startswith("__"):
            yield f"op {name} number", lambda f=f: _grads(lambda x: f(x, 2.5), XS[:1])
            yield f"op number {name}", lambda f=f: _grads(lambda x: f(2.5, x), XS[:1])
            yield f"op {name} of an int", lambda f=f: _grads(lambda x: f(x, 3), XS[:1])
            yield f"op {name} of a NumPy scalar", lambda f=f: _grads(lambda x: f(np.float64(2.5), x), XS[:1])
    x, y = XS[:2]
    yield "op <", lambda: [x < y, x <= 1.0, y > x, y >= x, max(x, y) is x]
    yield (
        "op NumPy's names",
        lambda: _grads(lambda a: a.arctan() + a.arcsin() * a.arccos() + a.arctan2(y.conjugate()), [x]),
    )
    yield "op abs, +, clamp", lambda: _grads(lambda a: abs(+a).clamp(0.1, 0.5) + a.reciprocal() + a.selu(), [x])


def _of_numpy(a, b):
    return a.arctan() + a.arcsin() * a.arccos() + a.arctan2(b.conjugate())


class Sub(Value):
    """A subclass has attributes of its own and is walked in depth-first order."""


def _cycle():
    x = Sub(1.0)  # cycles through attributes of plain Values are not collected, see DIFFERENCES.md
    y = doubled(x) * x
    x.result = y
    y.backward()
    return [x.grad]


class _Again:
    """A number that makes a Value anew, while its constructor reads it."""

    def __init__(self, value, x):
        self.value, self.x = value, x

    def __float__(self):
        self.value.__init__(1.0, (self.x, self.x), (2.0, 3.0))
        return 4.0


def _made_in_its_constructor(x):
    value = Value(0.0)
    value.__init__(1.0, (x,), (_Again(value, x),))
    value.backward()
    return [value.data]


def _attributes():
    v = Value(1.0, label="v")
    v.note = [v.label]
    v.data = 2
    v.grad = np.float64(3.0)
    del v.note
    return [v.data, v.grad, len(vars(v))]


def _looking():
    x, y = XS[:2]
    z = (x * y + 2.0 * x).tanh() - y / x
    seen = [z]
    for v in seen:
        seen.extend(v._children)
    return [len(seen), len(z._prev), sum(len(v._op) for v in seen), z._local_grads[0], len(repr(z))]


def _no_grad():
    with micrograd.no_grad():
        z = XS[0] * XS[1] + 1.0
    return [z.data, len(z._prev), micrograd.is_grad_enabled()]


def _anomaly():
    with utils.detect_anomaly():
        return _grads(lambda x, y, z: (x * y).exp() + z)


def _value_entries():
    x, y, _ = XS
    yield "Value()", lambda: [v.data for v in (Value(1), Value(True), Value(np.float32(0.5)), Value(data=2.0))]
    yield "Value(children, op)", lambda: _grads(lambda a, b: Value(1.0, (a, b), "op"), XS[:2])[:1]
    yield "Value(local_grads)", lambda: _grads(lambda a, b: Value(1.0, (a, b), (2.0, 3.0)), XS[:2])
    yield "Value made in its constructor", lambda: _made_in_its_constructor(x)
    yield "Value attributes", _attributes
    yield "Value._backward", lambda: _grads(doubled, XS[:1])
    yield "Value subclass", lambda: _grads(lambda a: doubled(a, Sub) * Sub(2.0), XS[:1])
    yield "Value cycle", _cycle
    yield "Value subclass made anew", lambda: [type("Local", (Value,), {})(1.0).data]
    yield "Value looking", _looking
    yield "a power of infinity", lambda: [(Value(math.inf) ** 3.0).data]
    yield "Value format", lambda: [len(f"{x:.3f} {x!r} {x}"), x.item(), (x * y).detach().data]
    yield "Value copy", lambda: [copy.copy(x).data, copy.deepcopy((x * y).tanh()).data]
    yield "Value pickle", lambda: [pickle.loads(pickle.dumps((x * y + 1.0).exp())).data]
    yield (
        "Value NumPy",
        lambda: [v.data for v in (np.exp(np.array([x, y])), np.array([1.0, 2.0]) * x, x * np.ones(2))[0]],
    )
    yield "backward(retain_grads=False)", lambda: _retained()
    yield "zero_grad", lambda: _zeroed()
    yield "no_grad", _no_grad
    yield "detect_anomaly", _anomaly
    yield "grad", lambda: micrograd.grad((x * y).tanh() * x, [x, y])
    yield "grad allow_unused", lambda: micrograd.grad(x * x, [x, y], allow_unused=True)[:1]
    yield "grad create_graph", lambda: _grads(lambda a: micrograd.grad((a * a).exp(), a, create_graph=True), [x])


def _retained():
    x, y, _ = XS
    x.grad = y.grad = 0.0
    ((x * y).exp() + x).backward(retain_grads=False)
    return [x.grad, y.grad]


def _zeroed():
    x, y, _ = XS
    z = (x * y).sin()
    z.backward()
    z.zero_grad()
    return [x.grad, y.grad, z.grad]


def _functional_entries():
    for name, f in OF_A_LIST.items():
        yield f"functional.{name}", lambda f=f: _grads(lambda *xs: f(list(xs)))
    done = {*OF_A_LIST, "jacobian", "hessian", "hvp"}
    choices = {"where", "maximum", "minimum", "clamp", "eq", "logical_and", "logical_or", "logical_not"}
    for name in sorted({*F.__all__} - done - choices):
        f = getattr(F, name)
        yield f"functional.{name}", lambda f=f: _grads(lambda a, b: f(a) + f([b])[0], XS[:2])
    yield "functional.where", lambda: _grads(lambda a, b, c: F.where(a > b, lambda: a * b, c) + F.where(a < b, a, c))
    yield "functional.maximum", lambda: _grads(lambda a, b, c: F.maximum(a, b) + F.minimum(b, c))
    yield "functional.clamp", lambda: _grads(lambda a, b, c: F.clamp(a, b, 2.0) + F.clamp(c, min=-0.1))
    logic = "functional.logical"
    yield logic, lambda: [F.logical_and(True, F.eq(XS[0], XS[0])), F.logical_or(False, F.logical_not(False))]
    yield "functional.jacobian", lambda: F.jacobian(lambda xs: [xs[0] * xs[1], xs[0].exp()], XS[:2])
    yield "functional.hessian", lambda: F.hessian(lambda xs: cubes(xs) * xs[0], XS[:2])
    yield "functional.hvp", lambda: F.hvp(lambda xs: cubes(xs) * xs[0], XS[:2], [1.0, 0.5])[1]


def cubes(xs):
    return F.sum([x * x * x for x in xs])


def _trained(model, x, y):
    for p in model.parameters():
        p.grad = 0.0
    out = model(x)
    loss = F.mse_loss(out if isinstance(out, list) else [out], [y])
    loss.backward()
    return [loss.data, *[p.grad for p in model.parameters()]]


def _passes(model, x):
    """Passes that add to each other, and after zero_grad()."""
    out = functional.sum(out if isinstance(out := model(x), list) else [out])
    for _ in range(2):
        out.backward()
        out.backward()
        out.zero_grad()
    return [out.data, out.grad]


class Own(nn.Module):
    """A module as users write them: lists, tuples and dicts of parts."""

    def __init__(self):
        self.parts = [nn.Layer(2, 2), {"out": nn.Neuron(2, nonlin=False)}]
        self.scale = Value(0.5)

    def __call__(self, x):
        return self.parts[1]["out"](self.parts[0](x)) * self.scale

    def parameters(self):
        return [*self.parts[0].parameters(), *self.parts[1]["out"].parameters(), self.scale]


def _module_entries():
    random.seed(1)
    models = {
        "nn.MLP": nn.MLP(2, [3, 3, 1]),
        "MLP": micrograd.MLP(2, [3, 1]),
        "nn.Layer": nn.Layer(2, 1),
        "Layer": micrograd.Layer(2, 1),
        "nn.Neuron": nn.Neuron(2, nonlin=False),
        "Neuron": micrograd.Neuron(2),
        "Module": Own(),
    }
    for name, model in models.items():
        yield f"{name} trained", lambda model=model: _trained(model, [0.5, XS[0]], 1.0)
        yield f"{name} passes", lambda model=model: _passes(model, XS[:2]) + _passes(model, [0.5, -1.0])
        yield f"{name} state_dict", lambda model=model: _stated(model)
        yield f"{name} pickle", lambda model=model: [len(pickle.loads(pickle.dumps(model)).parameters())]
        yield f"{name} copy", lambda model=model: [len(copy.deepcopy(copy.copy(model)).parameters()), len(repr(model))]
        yield f"{name} zero_grad", lambda model=model: [model.zero_grad(), len(list(model.named_parameters()))][1:]
    yield (
        "neurons of Values and numbers",
        lambda: (
            [functional.dot(XS[:2], [0.5, XS[0]], 1.0).data]
            + [functional.dot([XS[0], 0.5], XS[:2], bias).data for bias in (XS[1], 2.0)]
        ),
    )
    yield "hidden layers", lambda: _grads(lambda x, y: models["nn.MLP"]([x, y]), XS[:2])
    yield "inputs of Values and numbers", lambda: [F.dot(XS[:2], [Value(0.6), 0.5]).data]
    yield "a second neuron of Values and numbers", lambda: [F.linear(XS[:2], [XS[:2], [XS[0], 0.5]])[1].data]
    wide = nn.MLP(2, [300, 1])  # layers of more than 4 KB have memory of their own each time
    yield "wide network, two passes", lambda: _passed_twice(wide([0.5, XS[0]]))
    yield "wide functional.linear", lambda: _passed_twice(F.linear(XS * 200, [XS * 200])[0])
    yield "nn.MLP()", lambda: [len(nn.MLP(2, [3, 1]).parameters()), len(nn.Layer(2, 2).parameters())]
    yield "nn_tanh.MLP()", lambda: [len(nn_tanh.MLP(2, [3, 1]).parameters()), len(nn_tanh.Neuron(2).parameters())]
    for name in init.__all__:
        if name != "calculate_gain":
            more = (0.5,) if name == "constant_" else ()
            f = getattr(init, name)
            yield f"init.{name}", lambda f=f, more=more: [f(models["nn.Layer"], *more) is not None]
    yield (
        "nn.Layer.neurons",
        lambda: [n.nonlin + len(n.activation) + n.b.data + n.w[0].data for n in nn.Layer(2, 2).neurons][:0],
    )
    yield "init.calculate_gain", lambda: [init.calculate_gain("tanh"), init.calculate_gain("leaky_relu", 0.2)]
    yield "utils.summary", lambda: [len(str(utils.summary(models["nn.MLP"])))]
    yield "utils.gradcheck", lambda: [utils.gradcheck(lambda a, b: (a * b).tanh(), XS[:2])]


def _passed_twice(out):
    XS[0].grad = 0.0
    out.backward()
    out.backward()
    return [out.data, XS[0].grad]


def _stated(model):
    state = model.state_dict()
    loaded = model.load_state_dict(state)
    return [len(state), len(loaded.missing_keys), len(repr(loaded))]


# ---- Files and pictures ----------------------------------------------------------------------------------------------


def _interop_entries():
    model = nn.MLP(2, [3, 1])
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "model.safetensors")

    def saved(folder=folder):  # holds the folder
        interop.save_safetensors(model, path)
        interop.load_safetensors(path, model)
        return [len(interop.load_safetensors(path))]

    try:
        import safetensors  # noqa: F401
    except ImportError:
        return
    yield "interop.save_safetensors", saved


def _torch_entries():
    try:
        import torch  # noqa: F401
    except ImportError:
        return
    model = nn.MLP(2, [3, 1])
    yield "interop.to_torch", lambda: [len(interop.from_torch(interop.to_torch(model)).parameters())]


def _viz_entries():
    x, y, _ = XS
    yield "viz.trace", lambda: [len(part) for part in viz.trace((x * y).tanh())]
    try:
        import graphviz  # noqa: F401
    except ImportError:
        return
    model = nn.MLP(2, [3, 1])
    yield "viz.draw_dot", lambda: [len(viz.draw_dot((x * y).tanh() + model([1.0, x])).source) > 100]


def _file_entries():
    yield "pickle to a file", lambda: [len(_pickled(nn.Layer(2, 2)))]


def _pickled(thing):
    file = io.BytesIO()
    pickle.dump(thing, file)
    return file.getvalue()[:1]


GROUPS = {
    "ops": _op_entries,
    "values": _value_entries,
    "functional": _functional_entries,
    "modules": _module_entries,
    "optimizers": of_optim,
    "errors": of_errors,
    "compile": of_compile,
    "files": _file_entries,
    "interop": _interop_entries,
    "viz": _viz_entries,
    "torch": _torch_entries,
}


def flat(result):
    """The numbers of nested lists; of a Value its data; every NaN is equal to itself."""
    if isinstance(result, (list, tuple, np.ndarray)):
        return [number for item in result for number in flat(item)]
    number = float(result.data if isinstance(result, Value) else result)
    return ["nan" if math.isnan(number) else number]
