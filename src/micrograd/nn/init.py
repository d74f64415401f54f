"""Random and constant weights, with torch.nn.init's names, arguments and distributions.

A *weight* is a neuron, a layer, an MLP, or a list of rows of Values: a row for each output, with a Value for each
input, PyTorch's shape (out, in). Of a neuron, layer or MLP the weights are set, layer by layer, and not the biases;
these are set as a list, `zeros_([n.b for n in layer.neurons])`. The functions set `data` in order, return what they
were given, and change nothing where they raise.

`generator` is a `random.Random`, or a seed for a new one; without it, numbers are drawn from the module `random`. Those
that PyTorch would draw are others.
"""

from __future__ import annotations

import math
import operator
import random
from typing import Any, Callable, SupportsIndex, TypeVar, Union

from micrograd._core import Value
from micrograd._optim import number
from micrograd.nn import MLP, Layer, Neuron

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def __dir__() -> list[str]:
    return __all__


Weight = TypeVar("Weight")
Generator = Union[random.Random, SupportsIndex, None]

GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **dict.fromkeys((f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain that PyTorch recommends for an activation: 5/3 for 'tanh', √2 for 'relu', √(2 / (1 + param²)) for
    'leaky_relu' of slope `param` (0.01 without it), 3/4 for 'selu', 1 for 'linear' and 'sigmoid'.

    >>> calculate_gain("tanh"), calculate_gain("leaky_relu", 0.5)
    (1.666..., 1.264...)

    Raises ValueError for any other name, TypeError where `param` of 'leaky_relu' is no number.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number(param, "the slope of leaky_relu")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise ValueError(
            f"nonlinearity must be one of {', '.join(sorted([*GAINS, 'leaky_relu']))}, not {nonlinearity!r}"
        )
    return GAINS[nonlinearity]


def uniform_(tensor: Weight, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> Weight:
    """Draw from the uniform distribution between `a` and `b`. Takes lists of Values of any depth, and single ones, too.

    >>> from micrograd.nn import Layer
    >>> layer = uniform_(Layer(2, 3), -0.5, 0.5, generator=1)
    >>> layer.neurons[0].w[0].data
    -0.365...

    Raises ValueError where a > b, TypeError for what is no weight or no generator.
    """
    low, high = number(a, "a"), number(b, "b")
    if not low <= high:
        raise ValueError(f"a must be at most b, not {a} with b = {b}")
    return _set(tensor, _values(tensor), _generator(generator).uniform, low, high)


def normal_(tensor: Weight, mean: float = 0.0, std: float = 1.0, generator: Generator = None) -> Weight:
    """Draw from the normal distribution. Takes lists of Values of any depth, and single ones, too.

    >>> from micrograd.nn import Neuron
    >>> normal_(Neuron(2), std=0.1, generator=1).w[0].data
    0.128...

    Raises ValueError where `std` is negative, TypeError for what is no weight or no generator.
    """
    center, width = number(mean, "mean"), number(std, "std")
    if not width >= 0.0:
        raise ValueError(f"std must be at least 0, not {std}")
    return _set(tensor, _values(tensor), _generator(generator).gauss, center, width)


def constant_(tensor: Weight, val: float) -> Weight:
    """Set every weight to `val`. Takes lists of Values of any depth, and single ones, too.

    >>> from micrograd.nn import Neuron
    >>> [w.data for w in constant_(Neuron(2), 0.5).w]
    [0.5, 0.5]

    Raises TypeError for what is no weight, or where `val` is no number.
    """
    return _set(tensor, _values(tensor), float, number(val, "val"))


def zeros_(tensor: Weight) -> Weight:
    """Set every weight to 0.0: `constant_(tensor, 0.0)`.

    >>> from micrograd.nn import Neuron
    >>> [w.data for w in zeros_(Neuron(2)).w]
    [0.0, 0.0]
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Weight) -> Weight:
    """Set every weight to 1.0: `constant_(tensor, 1.0)`.

    >>> from micrograd.nn import Neuron
    >>> [w.data for w in ones_(Neuron(2)).w]
    [1.0, 1.0]
    """
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Weight, gain: float = 1.0, generator: Generator = None) -> Weight:
    """Draw from the uniform distribution between ± gain √(6 / (inputs + outputs)).

    >>> from micrograd.nn import MLP
    >>> model = xavier_uniform_(MLP(2, [4, 1]), generator=1)
    >>> model.layers[0].neurons[0].w[0].data
    -0.731...

    Raises TypeError for what is no weight or no generator, ValueError for a list of Values that are in no rows.

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
    https://proceedings.mlr.press/v9/glorot10a.html
    """
    factor, draw = number(gain, "gain"), _generator(generator)
    for fan_in, fan_out, values in _matrices(tensor):
        bound = factor * math.sqrt(6.0 / (fan_in + fan_out))
        _set(tensor, values, draw.uniform, -bound, bound)
    return tensor


def xavier_normal_(tensor: Weight, gain: float = 1.0, generator: Generator = None) -> Weight:
    """Draw from the normal distribution with a standard deviation of gain √(2 / (inputs + outputs)).

    >>> from micrograd.nn import Layer
    >>> xavier_normal_(Layer(3, 3), generator=1).neurons[0].w[0].data
    0.743...

    Raises as `xavier_uniform_()`.
    """
    factor, draw = number(gain, "gain"), _generator(generator)
    for fan_in, fan_out, values in _matrices(tensor):
        _set(tensor, values, draw.gauss, 0.0, factor * math.sqrt(2.0 / (fan_in + fan_out)))
    return tensor


def kaiming_uniform_(
    tensor: Weight,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Weight:
    """Draw from the uniform distribution between ± gain √(3 / inputs), or outputs with `mode` 'fan_out', where gain is
    `calculate_gain(nonlinearity, a)`.

    >>> from micrograd.nn import Layer
    >>> kaiming_uniform_(Layer(6, 3), nonlinearity="relu", generator=1).neurons[0].w[0].data
    -0.731...

    Raises as `xavier_uniform_()`, and ValueError for an unknown mode or nonlinearity.

    He, Zhang, Ren and Sun, Delving Deep into Rectifiers, https://arxiv.org/abs/1502.01852
    """
    gain, draw = calculate_gain(nonlinearity, a), _generator(generator)
    for fan, values in _fans(tensor, mode):
        bound = gain * math.sqrt(3.0 / fan)
        _set(tensor, values, draw.uniform, -bound, bound)
    return tensor


def kaiming_normal_(
    tensor: Weight,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Weight:
    """Draw from the normal distribution with a standard deviation of gain / √inputs, or outputs with `mode` 'fan_out',
    where gain is `calculate_gain(nonlinearity, a)`.

    >>> from micrograd.nn import Layer
    >>> kaiming_normal_(Layer(2, 3), generator=1).neurons[0].w[0].data
    1.288...

    Raises as `kaiming_uniform_()`.
    """
    gain, draw = calculate_gain(nonlinearity, a), _generator(generator)
    for fan, values in _fans(tensor, mode):
        _set(tensor, values, draw.gauss, 0.0, gain / math.sqrt(fan))
    return tensor


def _generator(generator: Generator) -> Any:
    """What has `uniform` and `gauss`."""
    if generator is None:
        return random
    if isinstance(generator, random.Random):
        return generator
    try:
        return random.Random(operator.index(generator))
    except TypeError:
        kind = type(generator).__name__
        raise TypeError(f"generator must be a random.Random or a seed, an int, not {kind!r}") from None


def _set(tensor: Weight, values: list[Value], draw: Callable[..., float], *args: float) -> Weight:
    for value in values:
        value.data = draw(*args)
    return tensor


def _fans(tensor: Any, mode: str) -> list[tuple[int, list[Value]]]:
    """The number of inputs or of outputs of each matrix, and its Values."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', not {mode!r}")
    return [(fan_in if mode == "fan_in" else fan_out, values) for fan_in, fan_out, values in _matrices(tensor)]


def _matrices(tensor: Any) -> list[tuple[int, int, list[Value]]]:
    """The numbers of inputs and of outputs of each matrix of weights, and its Values, row by row."""
    if isinstance(tensor, MLP):
        return [matrix for layer in tensor.layers for matrix in _matrices(layer)]
    values, rows = _values(tensor), _rows(tensor)
    if isinstance(rows, Value) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ValueError("fan-in and fan-out are those of a list of rows of Values, such as [[a, b], [c, d]]")
    if not all(isinstance(x, Value) for row in rows for x in row):
        raise ValueError("fan-in and fan-out are those of two dimensions, rows of Values, and there are more")
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or widths[0] == 0:
        raise ValueError(f"the rows of a weight must be of one length of at least 1, not of {widths}")
    return [(widths[0], len(rows), values)]


def _rows(tensor: Any) -> Any:
    """The weights of a layer or of a list of neurons as rows, those of a neuron as one; anything else as it is."""
    if isinstance(tensor, Neuron):
        return [tensor.w]
    items = tensor.neurons if isinstance(tensor, Layer) else tensor
    return [item.w if isinstance(item, Neuron) else item for item in items] if isinstance(items, list) else items


def _values(tensor: Any) -> list[Value]:
    """All Values of a weight, of nested lists or a single one."""
    if isinstance(tensor, MLP):
        return [value for layer in tensor.layers for value in _values(layer)]
    found = _rows(tensor)
    if isinstance(found, Value):
        return [found]
    if not isinstance(found, (list, tuple)):
        kind = type(found).__name__
        raise TypeError(f"a weight must be a neuron, a layer, an MLP or a list of rows of Values, not {kind!r}")
    return [value for item in found for value in _values(item)]
