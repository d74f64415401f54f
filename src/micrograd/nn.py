"""Networks of Values in karpathy/micrograd's dialect: ReLU, a linear last layer, biases that start at 0.

The tanh networks of `micrograd.nn_tanh` are these classes with other parameters.
"""

from __future__ import annotations

import operator
import random
import sys

from micrograd._core import Value
from micrograd._nn import (
    LayerState,
    NetworkState,
    NeuronState,
    clear_grads,
    is_parameter,
    layer_parameters,
    network_parameters,
    neuron_parameters,
    sample,
    set_plain_classes,
    slot_names,
    weighted_sums,
)

__all__ = ["MLP", "Layer", "Module", "Neuron"]

TYPE_CHECKING = False  # not typing's, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, ClassVar, SupportsIndex

    from micrograd._state import IncompatibleKeys


class Module:
    """Base of whatever has parameters: Values in its attributes, or in Modules, lists, tuples and dicts among them.

    A Value that was computed from others is none. One that has several places is listed once, at the first, and so is
    what is in a Module or a list that has several; Modules may refer to each other in circles.
    """

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0.0."""
        clear_grads(self.parameters())

    def parameters(self) -> list[Value]:
        """The parameters, in the order of `named_parameters()`."""
        if type(self).named_parameters is not Module.named_parameters:
            return [p for _, p in self.named_parameters()]
        return [p for _, _, p in _walk(self)]

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Pairs of name and parameter, by attribute and index: ('layers.0.neurons.1.w.2', Value(…)).

        >>> [name for name, _ in Neuron(2).named_parameters()]
        ['w.0', 'w.1', 'b']
        """
        for path, name, p in _walk(self):
            yield ".".join([*path, name]), p

    def _members(self) -> Iterable[tuple[Any, Any]]:
        """What is in the slots, in the dict and, where a subclass is a list, tuple or dict too, in that. A list: other
        threads, and whoever goes through the parameters, may set attributes meanwhile."""
        members = list(vars(self).items())
        names = slot_names(type(self))
        if names:
            members[:0] = [(name, getattr(self, name)) for name in names if hasattr(self, name)]
        members.extend(_contents(self) or ())
        return members

    def _state(self) -> dict[str, Value]:
        """The parameters by name, under all their names. Raises ValueError where two have one, as keys 1 and '1' do."""
        named: Iterable[tuple[str, Value]]
        if type(self).named_parameters is Module.named_parameters:
            named = ((".".join([*path, name]), p) for path, name, p in _walk(self, every_name=True))
        else:
            named = self.named_parameters()
        found: dict[str, Value] = {}
        for name, p in named:
            if found.setdefault(name, p) is not p:
                raise ValueError(f"two parameters of {self!r} are named {name!r}")
        return found

    def state_dict(self) -> dict[str, float]:
        """The parameters' data by name, to be kept and given to `load_state_dict()` of a module of the same shape.

        A parameter that has several places is there under the name of each.

        >>> random.seed(0)
        >>> Neuron(1).state_dict()
        {'w.0': 0.6888437030500962, 'b': 0.0}
        """
        return {name: p.data for name, p in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, float], strict: bool = True) -> IncompatibleKeys:
        """Set the parameters' data from what `state_dict()` gave. Nothing is changed unless all can be.

        Returns the names that were missing and those that were unexpected; with `strict` there may be none of either.
        Where the names of one parameter disagree, the last counts. Raises RuntimeError naming every key that is
        missing, unexpected or not a number. All of this is as in PyTorch.

        >>> Neuron(1).load_state_dict({"w.0": 0.5})
        Traceback (most recent call last):
            ...
        RuntimeError: cannot load the state of ReLUNeuron(1): missing keys: 'b'
        """
        from collections.abc import Mapping

        from micrograd._state import IncompatibleKeys

        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping of names to numbers, not {type(state_dict).__name__!r}")
        parameters = self._state()
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


def _contents(container: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a list, a tuple or a dict has in it, by name; None for anything else."""
    if isinstance(container, (list, tuple)):
        return enumerate(container)
    return list(container.items()) if isinstance(container, dict) else None


def _items(container: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a container has in it, by name; None for what is no container."""
    if not isinstance(container, Module):
        return _contents(container)
    if type(container).named_parameters is Module.named_parameters:
        return container._members()
    return container.named_parameters()


class _Level:
    """A container that is being looked into."""

    def __init__(self, container: Any, items: Iterable[tuple[Any, Any]]) -> None:
        self.container = container
        self.items = iter(items)
        self.found = False  # a parameter
        self.meets = sys.maxsize  # depth of the outermost of those being looked into that it has in it again


def _walk(root: Module, every_name: bool = False) -> Iterator[tuple[list[str], str, Value]]:
    """The parameters below a module, each with the names on the way to it and its own. Parameters and containers come
    once; with `every_name` as often as they have places, but for containers that are a part of themselves.

    A loop, since modules may be nested more deeply than Python calls."""
    levels = [_Level(root, root._members())]
    path: list[str] = []
    depth_of = {id(root): 0}  # of the containers that are being looked into
    done: dict[int, Any] = {}  # parameters and containers that are not to come again: held, or others may get their ids
    outermost: dict[int, int] = {}  # of a container that is a part of itself: the id of the outermost that is one of it
    while levels:
        level = levels[-1]
        for name, item in level.items:
            key = id(item)
            level.meets = min(level.meets, depth_of.get(outermost.get(key, key), sys.maxsize))
            if key in done or key in depth_of:
                continue
            if isinstance(item, Value):
                if is_parameter(item):
                    level.found = True
                    if not every_name:
                        done[key] = item
                    yield path, str(name), item
                continue
            items = _items(item)
            if items is not None:
                depth_of[key] = len(levels)
                levels.append(_Level(item, items))
                path.append(str(name))
                break
        else:
            levels.pop()
            del path[-1:]
            key = id(level.container)
            depth = depth_of.pop(key)
            if level.meets <= depth:
                outermost[key] = id(levels[level.meets].container) if level.meets < depth else key
            if not every_name or not level.found or key in outermost:
                done[key] = level.container
            if levels:
                levels[-1].found |= level.found
                if level.meets < depth:
                    levels[-1].meets = min(levels[-1].meets, level.meets)


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
        total: Value = weighted_sums([self.w], row, None if self.b is None else [self.b])[0]
        if not self.nonlin:
            return total
        activated: Value = getattr(total, type(self).activation)()
        return activated

    def parameters(self) -> list[Value]:
        return neuron_parameters(self)

    def _members(self) -> Iterable[tuple[Any, Any]]:
        return [("w", self.w), ("b", self.b), *super()._members()]

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

    def _members(self) -> Iterable[tuple[Any, Any]]:
        return [("neurons", self.neurons), *super()._members()]

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
