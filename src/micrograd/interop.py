"""Networks from and to PyTorch, and parameters from and to safetensors files.

`to_torch` and `from_torch` convert multilayer perceptrons. `save_safetensors` and `load_safetensors` use PyTorch's
names and shapes: layer i of an MLP is the Linear 2i of a torch.nn.Sequential, with the activation after it, and has the
tensors '2i.weight', of shape (outputs, inputs), and '2i.bias'. A file so written loads into `to_torch(model)`, and one
of such a Sequential's `state_dict()` into an MLP.

PyTorch and safetensors are imported when a function needs them; the extras `torch` and `export` install them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from micrograd import nn, nn_tanh
from micrograd._core import Value
from micrograd._optim import number

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["from_torch", "load_safetensors", "save_safetensors", "to_torch"]


def __dir__() -> list[str]:
    return __all__


Model = TypeVar("Model", bound=nn.Module)

# Activations with the same results there, and the options that give them; torch.nn.Softplus is linear above 20.
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
    "elu": ("ELU", {"alpha": 1.0}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "softsign": ("Softsign", {}),
}
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"micrograd.interop needs {name}: pip install 'micrograd-cython[{extra}]'", name=name
        ) from error


# ---- Networks --------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A layer of either package: its weights, a row for each output, its biases, and an activation after it."""

    weights: list[list[float]]
    biases: list[float] | None
    activation: str | None


def to_torch(model: nn.MLP | nn.Layer) -> Any:
    """A torch.nn.Sequential of float64 with the parameters of an MLP or a layer: Linear, ReLU, Linear …

    It has the same outputs and gradients, and parameters of its own. Layer i is its Linear 2i; a hidden layer without
    activation is followed by an Identity.

    >>> to_torch(nn.MLP(2, [3, 1]))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )

    Raises TypeError that names the layer where it is of another class, has a `__call__` of its own or a callable as its
    activation; ValueError where PyTorch has no module of its activation, its neurons differ in that, or the numbers of
    inputs do not fit; ImportError where PyTorch is missing.
    """
    torch = _library("torch", "torch")
    blocks = list(_blocks(model))
    modules = []
    for i, (weights, biases, activation) in enumerate(blocks):
        # On the device meta it draws no random weights.
        linear = torch.nn.Linear(len(weights[0]), len(weights), bias=biases is not None, device="meta")
        linear.weight = torch.nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        if biases is not None:
            linear.bias = torch.nn.Parameter(torch.tensor(biases, dtype=torch.float64))
        modules.append(linear)
        if activation is not None:
            kind, options = MODULES[activation]
            modules.append(getattr(torch.nn, kind)(**options))
        elif i < len(blocks) - 1:
            modules.append(torch.nn.Identity())
    return torch.nn.Sequential(*modules)


def from_torch(module: Any) -> nn.MLP:
    """An MLP with the parameters of a torch.nn.Linear or a torch.nn.Sequential of Linear, Identity, activations, which
    are ReLU, Sigmoid, Tanh, LeakyReLU, ELU, SELU, GELU, SiLU, Mish, Softsign, and other Sequentials of these.

    It has the same outputs and gradients as the module in float64, and parameters of its own. It is a `micrograd.MLP`
    if every Linear is followed by Tanh, else a `micrograd.nn.MLP`.

    >>> import torch
    >>> from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1)))
    MLP of [Layer of [TanhNeuron(2), TanhNeuron(2)], Layer of [LinearNeuron(2)]]

    Raises TypeError that names the module where it is of another class, is an activation with another slope or alpha
    than by default, or its parameters are not real; ValueError where an activation does not follow a Linear, a Linear
    is there twice, has no inputs or outputs or does not fit the one before it, or where there is none; ImportError
    where PyTorch is missing.
    """
    torch = _library("torch", "torch")
    linears: dict[str, Any] = {}
    after: dict[str, str] = {}  # the activation after the Linear of a name
    for name, part in _parts(module, torch):
        last = next(reversed(linears), None)
        activation = _activation_of(part, torch)
        if activation is not None:
            if last is None or last in after:
                raise ValueError(f"{_named(name, part)} does not follow a Linear")
            after[last] = activation
        elif type(part) is torch.nn.Linear:
            if any(part is other for other in linears.values()):
                raise ValueError(f"{_named(name, part)} is there twice, and an MLP has layers of their own")
            if last is not None and part.in_features != linears[last].out_features:
                inputs, outputs = part.in_features, linears[last].out_features
                raise ValueError(f"{_named(name, part)} has {inputs} inputs, and {last!r} has {outputs} outputs")
            linears[name] = part
        elif type(part) is not torch.nn.Identity:
            known = ", ".join(["Linear", "Identity", *(_shown(*module) for module in MODULES.values())])
            raise TypeError(f"{_named(name, part)} cannot be converted: only {known}")
    if not linears:
        raise ValueError(f"there is no Linear in the {type(module).__name__}")
    blocks = [Block(*_parameters(name, linear), after.get(name)) for name, linear in linears.items()]
    return _network(nn_tanh if all(block.activation == "tanh" for block in blocks) else nn, blocks)


def _blocks(model: Any) -> Iterator[Block]:
    """The layers of an MLP, or the one layer."""
    if not isinstance(model, (nn.MLP, nn.Layer)):
        raise TypeError(f"a model must be an MLP or a Layer, not {type(model).__name__!r}")
    if isinstance(model, nn.MLP) and type(model).__call__ is not nn.MLP.__call__:
        raise TypeError(f"the model's class {type(model).__name__!r} has a __call__ of its own")
    layers = model.layers if isinstance(model, nn.MLP) else [model]
    inputs = None
    for i, layer in enumerate(layers):
        block = _block(f"layers[{i}]", layer)
        if inputs is not None and len(block.weights[0]) != inputs:
            raise ValueError(
                f"layers[{i}] has {len(block.weights[0])} inputs, and layers[{i - 1}] has {inputs} outputs"
            )
        inputs = len(block.weights)
        yield block


def _block(name: str, layer: Any) -> Block:
    """A layer. Raises TypeError or ValueError that has the name where it is none that can be converted."""
    if not isinstance(layer, nn.Layer) or type(layer).__call__ is not nn.Layer.__call__:
        raise TypeError(f"{name} is a {type(layer).__name__!r}, which is no Layer or has a __call__ of its own")
    neurons = layer.neurons
    for neuron in neurons:
        if not isinstance(neuron, nn.Neuron) or type(neuron).__call__ is not nn.Neuron.__call__:
            raise TypeError(f"{name} has a {type(neuron).__name__!r}, which is no Neuron or has a __call__ of its own")
    widths = {len(neuron.w) for neuron in neurons}
    if len(widths) != 1:
        raise ValueError(f"{name} has neurons of {sorted(widths) or 'no'} inputs")
    activations = {_activation(name, neuron) for neuron in neurons}
    if len(activations) != 1:
        names = ", ".join(sorted(activation or "linear" for activation in activations))
        raise ValueError(f"{name} has neurons of different activations: {names}")
    weights = [[_data(w, f"a weight of {name}") for w in neuron.w] for neuron in neurons]
    biases = [neuron.b for neuron in neurons if neuron.b is not None]
    if biases and len(biases) < len(neurons):
        raise ValueError(f"{name} has neurons with and without a bias")
    return Block(weights, [_data(b, f"a bias of {name}") for b in biases] or None, activations.pop())


def _activation(name: str, neuron: nn.Neuron) -> str | None:
    own = neuron.nonlin
    if callable(own):
        raise TypeError(f"{name} has the activation {own!r}, a callable: only {', '.join(MODULES)} can be converted")
    activation = own if isinstance(own, str) else type(neuron).activation if own else None
    if activation not in (None, *MODULES):
        raise ValueError(f"{name} has the activation {activation!r}: only {', '.join(MODULES)} can be converted")
    return activation


def _activation_of(part: Any, torch: Any) -> str | None:
    """The name of the activation that a module is; None for other modules."""
    for name, (kind, options) in MODULES.items():
        if type(part) is getattr(torch.nn, kind) and all(getattr(part, key) == x for key, x in options.items()):
            return name
    return None


def _shown(kind: str, options: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}={x!r}" for key, x in options.items())
    return f"{kind}({shown})" if shown else kind


def _data(x: Any, what: str) -> float:
    return x.data if isinstance(x, Value) else number(x, what)


def _parts(module: Any, torch: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The modules in nested Sequentials, with the names that PyTorch gives them."""
    if type(module) is not torch.nn.Sequential:
        yield name, module
        return
    for key, part in module._modules.items():
        yield from _parts(part, torch, f"{name}.{key}" if name else key)


def _named(name: str, module: Any) -> str:
    return f"module {name!r}, a {type(module).__name__}," if name else f"a {type(module).__name__}"


def _parameters(name: str, linear: Any) -> tuple[list[list[float]], list[float] | None]:
    """Weights and biases of a torch.nn.Linear."""
    if 0 in linear.weight.shape:
        raise ValueError(f"{_named(name, linear)} has {linear.in_features} inputs and {linear.out_features} outputs")
    for tensor in (linear.weight, linear.bias):
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{_named(name, linear)} has parameters of {tensor.dtype}, which are not real")
    return linear.weight.tolist(), None if linear.bias is None else linear.bias.tolist()


def _network(dialect: Any, blocks: Iterable[Block]) -> nn.MLP:
    """An MLP of the classes of nn or nn_tanh. Made without their constructors, which draw random numbers."""
    model: nn.MLP = dialect.MLP.__new__(dialect.MLP)
    model.layers = []
    for weights, biases, activation in blocks:
        layer = dialect.Layer.__new__(dialect.Layer)
        layer.neurons = []
        for i, row in enumerate(weights):
            neuron = dialect.Neuron.__new__(dialect.Neuron)
            neuron.w = [Value(w) for w in row]
            neuron.b = None if biases is None else Value(biases[i])
            neuron.nonlin = activation is not None and (activation == dialect.Neuron.activation or activation)
            layer.neurons.append(neuron)
        model.layers.append(layer)
    return model


# ---- Files -----------------------------------------------------------------------------------------------------------


def save_safetensors(
    model_or_state_dict: nn.Module | Mapping[str, Any], path: str | PathLike[str], dtype: str = "float64"
) -> None:
    """Write the parameters of a module, or a state dict, to a safetensors file.

    A layer of an MLP is the tensors '2i.weight' and '2i.bias' (see above), after the MLP's own name if it is an
    attribute of another module, 'body.0.weight'; a layer elsewhere is 'name.weight' and 'name.bias'. Lists of lists of
    parameters are one tensor, named by the attribute. A state dict may also have tensors and arrays, which keep their
    names and shapes: what `load_safetensors` or PyTorch's `state_dict()` gives. `dtype` is 'float64', 'float32' or
    'float16'.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_safetensors(nn.MLP(2, [3, 1]), path)
    >>> {name: tensor.shape for name, tensor in load_safetensors(path).items()}
    {'0.bias': (3,), '0.weight': (3, 2), '2.bias': (1,), '2.weight': (1, 3)}

    Raises TypeError where it is given anything else or an item is no number and no array of numbers, ValueError for
    another dtype or where two tensors have one name, OverflowError where a number is too large for the dtype, OSError
    where the file cannot be written, ImportError where safetensors or NumPy is missing.
    """
    safetensors, np = _library("safetensors", "export"), _library("numpy", "export")
    if dtype not in ("float64", "float32", "float16"):
        raise ValueError(f"dtype must be 'float64', 'float32' or 'float16', not {dtype!r}")
    state = model_or_state_dict
    if isinstance(state, nn.Module):
        state = state.state_dict()
    if not isinstance(state, Mapping):
        raise TypeError(f"a Module or a mapping of names to numbers is needed, not {type(state).__name__!r}")
    tensors = {}
    for name, tensor in _tensors(state).items():
        with np.errstate(over="ignore"):
            tensors[name] = np.array(tensor, dtype=dtype, order="C")
        if not np.array_equal(np.isinf(tensors[name]), np.isinf(tensor)):
            raise OverflowError(f"{name!r} has numbers too large for {dtype}")
    try:
        import_module("safetensors.numpy").save_file(tensors, path)
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


@overload
def load_safetensors(path: str | PathLike[str], model: None = None) -> dict[str, NDArray[Any]]: ...
@overload
def load_safetensors(path: str | PathLike[str], model: Model) -> Model: ...
def load_safetensors(path: str | PathLike[str], model: nn.Module | None = None) -> Any:
    """Read a safetensors file: into a model, which is returned, or else as a dict of NumPy arrays of float64 by name.

    The file has to have every tensor that `save_safetensors` writes of the model, and no other. Tensors of F64, F32,
    F16 and BF16 are read. Nothing is changed unless all of it can be loaded.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> model = nn.MLP(2, [3, 1])
    >>> save_safetensors(model, path)
    >>> load_safetensors(path, nn.MLP(2, [3, 1]))([1.0, 2.0]).data == model([1.0, 2.0]).data
    True
    >>> load_safetensors(path, nn.MLP(2, [4, 1]))
    Traceback (most recent call last):
        ...
    ValueError: ...model.safetensors cannot be loaded into MLP: '0.weight' has shape (3, 2), not (4, 2); '0.bias' has
    shape (3,), not (4,); '2.weight' has shape (1, 3), not (1, 4)

    Raises ValueError where it is no safetensors file, or tensors are missing, unexpected, of another shape or dtype;
    TypeError where the model is no Module; FileNotFoundError where there is no such file; ImportError where safetensors
    or NumPy is missing.
    """
    safetensors, _ = _library("safetensors", "export"), _library("numpy", "export")
    if not (model is None or isinstance(model, nn.Module)):
        raise TypeError(f"a model must be a Module, not {type(model).__name__!r}")
    try:
        entries = safetensors.deserialize(Path(path).read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    others = [
        f"{name!r} is {x['dtype']} of shape {tuple(x['shape'])}" for name, x in entries if x["dtype"] not in DTYPES
    ]
    if others:
        raise ValueError(f"{path} cannot be read, only {', '.join(DTYPES)}: {'; '.join(sorted(others))}")
    tensors = {name: _array(entry) for name, entry in sorted(entries, key=lambda item: str(item[0]))}
    if model is None:
        return tensors
    layout = _layout(model.state_dict())
    problems = [f"{name!r} of shape {shape} is missing" for name, (shape, _) in layout.items() if name not in tensors]
    problems += [f"{name!r} of shape {tensors[name].shape} is unexpected" for name in tensors if name not in layout]
    for name, (shape, _) in layout.items():
        if name in tensors and tensors[name].shape != shape:
            problems.append(f"{name!r} has shape {tensors[name].shape}, not {shape}")
    if problems:
        raise ValueError(f"{path} cannot be loaded into {type(model).__name__}: {'; '.join(problems)}")
    pairs = (zip(names, tensors[name].ravel().tolist()) for name, (_, names) in layout.items())
    model.load_state_dict({name: data for pair in pairs for name, data in pair})
    return model


def _array(entry: Mapping[str, Any]) -> NDArray[Any]:
    """A tensor of a file as an array of float64."""
    import numpy as np

    array = np.frombuffer(entry["data"], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _tensors(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict: those in it, and those that its numbers are items of."""
    import numpy as np

    numbers: dict[str, float] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for name, x in state.items():
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, not {type(name).__name__!r}")
        if not getattr(x, "ndim", 0) and not isinstance(x, (list, tuple)):
            numbers[name] = _data(x, repr(name))
            continue
        try:
            tensors[name] = np.array(x.tolist() if hasattr(x, "tolist") else x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name!r} must be a number or an array of numbers: {error}") from error
    for name, (shape, names) in _layout(numbers).items():
        if name in tensors:
            raise ValueError(f"two tensors are named {name!r}")
        tensors[name] = np.array([numbers[item] for item in names], dtype=np.float64).reshape(shape)
    return tensors


def _layout(names: Iterable[str]) -> dict[str, tuple[tuple[int, ...], list[str]]]:
    """The tensors of which parameters of these names are the items: of each, the shape, and the parameters in order."""
    groups: dict[str, dict[tuple[int, ...], str]] = {}
    for name in names:
        tensor, index = _place(name)
        if index in groups.setdefault(tensor, {}):
            raise ValueError(f"two tensors are named {tensor!r}")
        groups[tensor][index] = name
    found: dict[str, tuple[tuple[int, ...], list[str]]] = {}
    work = list(groups.items())
    for tensor, items in work:
        shape = tuple(max(axis) + 1 for axis in zip(*items))
        if len({len(index) for index in items}) > 1 or math.prod(shape) != len(items):
            rows: dict[str, dict[tuple[int, ...], str]] = {}  # lists of different lengths: each by itself
            for index, name in items.items():
                rows.setdefault(f"{tensor}.{index[0]}" if index else tensor, {})[index[1:]] = name
            work.extend(rows.items())
        else:
            found[tensor] = (shape, [items[index] for index in sorted(items)])
    return found


# Group 1: what stands before; 2: the layer; 3: the neuron; 4: the weight, none for a bias.
NEURON = re.compile(r"((?:.*?\.)??)(?:layers\.(\d+)\.)?neurons\.(\d+)\.(?:w\.(\d+)|b)")


def _place(name: str) -> tuple[str, tuple[int, ...]]:
    """The tensor of which a parameter is an item, and its index there."""
    match = NEURON.fullmatch(name)
    if match:
        before, layer, neuron, weight = match.groups()
        before += "" if layer is None else f"{2 * int(layer)}."
        return (f"{before}bias", (int(neuron),)) if weight is None else (f"{before}weight", (int(neuron), int(weight)))
    parts = name.split(".")
    count = len(parts)
    while count > 1 and parts[count - 1].isdecimal():
        count -= 1
    return ".".join(parts[:count]), tuple(map(int, parts[count:]))
