"""Networks of Values in karpathy/micrograd's dialect: ReLU, a linear last layer, biases that start at 0.

The tanh networks of `micrograd.mlp` are these classes with other parameters.
"""

from __future__ import annotations

import operator
import random

from micrograd._core import Value
from micrograd._layers import (
    LayerState,
    NetworkState,
    NeuronState,
    clear_grads,
    layer_parameters,
    network_parameters,
    sample,
    set_plain_classes,
    weighted_sums,
)

__all__ = ["MLP", "Layer", "Module", "Neuron"]

TYPE_CHECKING = False  # not typing's, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, ClassVar, SupportsIndex

    from micrograd._state import IncompatibleKeys


class Module:
    """Base of whatever has parameters: Values in its attributes, or in Modules, lists, tuples and dicts among them."""

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0.0."""
        clear_grads(self.parameters())

    def parameters(self) -> list[Value]:
        """The parameters, in the order of `named_parameters()`."""
        return [p for _, p in self.named_parameters()]

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Pairs of name and parameter, by attribute and index: ('layers.0.neurons.1.w.2', Value(…)).

        >>> [name for name, _ in Neuron(2).named_parameters()]
        ['w.0', 'w.1', 'b']
        """
        return _named_values(vars(self).items())

    def state_dict(self) -> dict[str, float]:
        """The parameters' data by name, to be kept and given to `load_state_dict()` of a module of the same shape.

        >>> random.seed(0)
        >>> Neuron(1).state_dict()
        {'w.0': 0.6888437030500962, 'b': 0.0}
        """
        return {name: p.data for name, p in self.named_parameters()}

    def load_state_dict(self, state_dict: Mapping[str, float], strict: bool = True) -> IncompatibleKeys:
        """Set the parameters' data from what `state_dict()` gave. Nothing is changed unless all can be.

        Returns the names that were missing and those that were unexpected; with `strict` there may be none of either.
        Raises RuntimeError naming every key that is missing, unexpected or not a number, as PyTorch does.

        >>> Neuron(1).load_state_dict({"w.0": 0.5})
        Traceback (most recent call last):
            ...
        RuntimeError: cannot load the state of ReLUNeuron(1): missing keys: 'b'
        """
        from collections.abc import Mapping

        from micrograd._state import IncompatibleKeys

        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping of names to numbers, not {type(state_dict).__name__!r}")
        parameters = dict(self.named_parameters())
        missing = [name for name in parameters if name not in state_dict]
        unexpected = [name for name in state_dict if name not in parameters]
        data, misshapen = {}, []
        for name in parameters:
            if name in state_dict:
                try:
                    data[name] = Value(state_dict[name]).data
                except (TypeError, OverflowError) as error:
                    misshapen.append(f"{name!r} ({error})")
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("missing keys", [repr(name) for name in missing] if strict else []),
                ("unexpected keys", [repr(name) for name in unexpected] if strict else []),
                ("keys that hold no number", misshapen),
            )
            if names
        ]
        if problems:
            raise RuntimeError(f"cannot load the state of {self!r}: {'; '.join(problems)}")
        for name, x in data.items():
            parameters[name].data = x
        return IncompatibleKeys(missing, unexpected)


def _named_values(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Value]]:
    for name, item in items:
        if isinstance(item, Value):
            yield str(name), item
            continue
        inner: Iterable[tuple[Any, Any]]
        if isinstance(item, Module):
            inner = item.named_parameters()
        elif isinstance(item, (list, tuple)):
            inner = _named_values(enumerate(item))
        elif isinstance(item, dict):
            inner = _named_values(item.items())
        else:
            continue
        for path, value in inner:
            yield f"{name}.{path}", value


def _width(width: SupportsIndex, what: str) -> int:
    number = operator.index(width)
    if number < 1:
        raise ValueError(f"{what} must be at least 1, not {number}")
    return number


class Neuron(NeuronState, Module):
    """activation(b + w[0] x[0] + … + w[nin-1] x[nin-1]), or the sum alone where `nonlin` is false.

    Weights are drawn with `random.uniform(-1, 1)`, in order.

    >>> random.seed(1337)
    >>> n = Neuron(2)
    >>> n, n([1.0, -2.0]).data
    (ReLUNeuron(2), 0.102443...)

    A subclass may have another `activation`, the name of a method of Value without arguments.

    Raises ValueError where `nin` is less than 1, and where it is called with another number of inputs.
    """

    activation: ClassVar[str] = "relu"
    _title: ClassVar[str] = "ReLU"

    def __init__(self, nin: int, nonlin: bool = True) -> None:
        self.w = [Value(random.uniform(-1, 1)) for _ in range(_width(nin, "a neuron's number of inputs"))]
        self.b = Value(self._first_bias())
        self.nonlin = nonlin

    @staticmethod
    def _first_bias() -> float:
        return 0.0

    def __call__(self, x: Iterable[Value | float] | Value | float) -> Value:
        row = sample(x)
        if len(row) != len(self.w):
            raise ValueError(f"{self!r} takes {len(self.w)} inputs, not {len(row)}")
        total: Value = weighted_sums([self.w], row, [self.b])[0]
        if not self.nonlin:
            return total
        activated: Value = getattr(total, type(self).activation)()
        return activated

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        return _named_values([("w", self.w), ("b", self.b), *vars(self).items()])

    def __repr__(self) -> str:
        return f"{self._title if self.nonlin else 'Linear'}Neuron({len(self.w)})"


class Layer(LayerState, Module):
    """`nout` neurons over the same `nin` inputs; keyword arguments go to each.

    Called with one sample it gives a list of `nout` Values, or the Value itself where `nout` is 1.

    >>> Layer(3, 2, nonlin=False)
    Layer of [LinearNeuron(3), LinearNeuron(3)]

    Raises ValueError where `nin` or `nout` is less than 1, and where it is called with another number of inputs.
    """

    _neuron: ClassVar[type[Neuron]] = Neuron

    neurons: list[Neuron]

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        nin = _width(nin, "a layer's number of inputs")
        self.neurons = [self._neuron(nin, **kwargs) for _ in range(_width(nout, "a layer's number of outputs"))]

    def parameters(self) -> list[Value]:
        return layer_parameters(self.neurons)

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        return _named_values([("neurons", self.neurons), *vars(self).items()])

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(repr, self.neurons))}]"


class MLP(NetworkState, Module):
    """A multilayer perceptron: `nin` inputs, then layers of `nouts[0]`, `nouts[1]` … neurons.

    Called with one sample, `nin` numbers or Values, it gives a list of `nouts[-1]` Values, or the Value itself where
    that is 1.

    >>> model = MLP(2, [2, 1])
    >>> model
    MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(2)]]
    >>> len(model.parameters())
    9

    Raises ValueError where there is no layer or a width is less than 1, and where it is called with another number of
    inputs.
    """

    _layer: ClassVar[type[Layer]] = Layer
    _linear_output: ClassVar[bool] = True

    layers: list[Layer]

    def __init__(self, nin: int, nouts: Iterable[int]) -> None:
        sizes = [_width(nin, "an MLP's number of inputs")]
        for i, nout in enumerate(nouts):
            sizes.append(_width(nout, f"the width of an MLP's layer {i}"))
        last = len(sizes) - 2
        if last < 0:
            raise ValueError(f"an MLP needs at least one layer, but nouts is {nouts!r}")
        self.layers = [
            self._layer(sizes[i], sizes[i + 1], nonlin=not (self._linear_output and i == last)) for i in range(last + 1)
        ]

    def parameters(self) -> list[Value]:
        return network_parameters(self.layers)

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


set_plain_classes(Neuron, Layer)
