"""Networks of Values in karpathy/micrograd's dialect: ReLU, a linear last layer, biases that start at 0.

The tanh networks of `micrograd.nn_tanh` are these classes with another activation. What is marked `implemented_in_c`
computes what its definition says, for a whole layer or network at once.
"""

from __future__ import annotations

import operator
import random
import sys

from micrograd._core import OPS, Value
from micrograd._nn import (
    LayerBase,
    NetworkBase,
    NeuronBase,
    affine,
    clear_grads,
    implemented_in_c,
    is_parameter,
    sample,
    slot_names,
)

__all__ = ["MLP", "Layer", "Module", "Neuron"]


def __dir__() -> list[str]:
    return [*__all__, "init"]


TYPE_CHECKING = False  # not typing's, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, ClassVar, SupportsIndex, Union

    from micrograd._state import IncompatibleKeys
    from micrograd.nn import init as init

    _Activation = Union[str, Callable[[Value], Value]]


class Module:
    """Base of all that has parameters: the leaves among the Values in its attributes, and in the Modules, lists, tuples
    and dicts among these.

    A Value that was computed from others is no parameter. A parameter that is there several times is listed once, where
    it comes first, and so are those of a Module or a list that is there several times. Modules may refer to each other
    in cycles.

    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope, self.offset = Value(2.0), Value(1.0)
    ...     def __call__(self, x):
    ...         return self.slope * x + self.offset
    >>> line = Line()
    >>> line(3.0).data, line.parameters() == [line.slope, line.offset]
    (7.0, True)
    """

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0.0.

        >>> n = Neuron(1, nonlin=False)
        >>> n(3.0).backward()
        >>> n.b.grad
        1.0
        >>> n.zero_grad()
        >>> n.b.grad
        0.0
        """
        clear_grads(self.parameters())

    def parameters(self) -> list[Value]:
        """The parameters, in the order of `named_parameters()`.

        >>> len(Neuron(2).parameters())
        3
        """
        if type(self).named_parameters is not Module.named_parameters:
            return [p for _, p in self.named_parameters()]
        return [p for _, _, p in _Walk(self)]

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Pairs of name and parameter, by attribute and index: ('layers.0.neurons.1.w.2', Value(…)).

        >>> [name for name, _ in Neuron(2).named_parameters()]
        ['w.0', 'w.1', 'b']
        """
        for path, name, p in _Walk(self):
            yield ".".join([*path, name]), p

    def _members(self) -> Iterable[tuple[Any, Any]]:
        """Pairs of name and member: of the slots, of the dict and, where a subclass is a list, tuple or dict too, of
        that. In a list, since attributes may be set while its items are walked."""
        members = list(vars(self).items())
        names = slot_names(type(self))
        if names:
            members[:0] = [(name, getattr(self, name)) for name in names if hasattr(self, name)]
        members.extend(_contents(self) or ())
        return members

    def _state(self) -> dict[str, Value]:
        """The parameters by name; one that is there several times under each of its names. Raises ValueError where two
        have the same name, as under the keys 1 and '1'."""
        named: Iterable[tuple[str, Value]]
        if type(self).named_parameters is Module.named_parameters:
            named = ((".".join([*path, name]), p) for path, name, p in _Walk(self, every_name=True))
        else:
            named = self.named_parameters()
        found: dict[str, Value] = {}
        for name, p in named:
            if found.setdefault(name, p) is not p:
                raise ValueError(f"two parameters of {self!r} are named {name!r}")
        return found

    def state_dict(self) -> dict[str, float]:
        """The parameters' data by name, for `load_state_dict()` of a module of the same shape.

        A parameter that is there several times is listed under each of its names.

        >>> random.seed(0)
        >>> Neuron(1).state_dict()
        {'w.0': 0.6888437030500962, 'b': 0.0}
        """
        return {name: p.data for name, p in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, float], strict: bool = True) -> IncompatibleKeys:
        """Set the parameters' data to what `state_dict()` returned. Nothing is changed unless all of it can be loaded.

        Returns the missing and the unexpected names. If a parameter has several names with different numbers, the last
        counts. Raises RuntimeError that names every key without a number and, if `strict`, every missing or unexpected
        key. All of this is as in PyTorch.

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
        data, not_numbers = _numbers((name, state_dict[name]) for name in parameters if name in state_dict)
        faults = {
            "missing keys": [repr(name) for name in missing if strict],
            "unexpected keys": [repr(name) for name in unexpected if strict],
            "keys that hold no number": not_numbers,
        }
        problems = [f"{what}: {', '.join(names)}" for what, names in faults.items() if names]
        if problems:
            raise RuntimeError(f"cannot load the state of {self!r}: {'; '.join(problems)}")
        for name, x in data.items():
            parameters[name].data = x
        return IncompatibleKeys(missing, unexpected)


@implemented_in_c
class Neuron(NeuronBase, Module):
    """activation(b + w[0] x[0] + … + w[nin-1] x[nin-1]), or the sum alone where `nonlin` is false.

    Weights are drawn with `random.uniform(-1, 1)`, in order.

    >>> random.seed(1337)
    >>> n = Neuron(2)
    >>> n, n([1.0, -2.0]).data
    (ReLUNeuron(2), 0.102443...)

    `activation` is the name of a method of Value that needs no arguments, such as "tanh", or a callable that gets the
    sum, a Value. If it is a Module, its parameters are the neuron's too. It is kept as `nonlin`, where otherwise True
    stands for the class's own `activation`; a subclass may have another.

    >>> Neuron(2, activation="tanh"), Neuron(2, activation=lambda x: x.relu() + 0.01 * x)
    (TanhNeuron(2), Neuron(2, activation=<lambda>))

    Raises ValueError where `nin` is less than 1 or there is no activation of the name, TypeError where the activation
    is neither a name nor callable; ValueError where it is called with another number of inputs.
    """

    activation: ClassVar[str] = "relu"
    _title: ClassVar[str] = "ReLU"

    def __init__(self, nin: int, nonlin: bool = True, activation: _Activation | None = None) -> None:
        own = None if activation is None else _activation(activation)
        self.w = [Value(random.uniform(-1, 1)) for _ in range(_width(nin, "a neuron's number of inputs"))]
        self.b = Value(self._first_bias())
        self.nonlin = own if own is not None and nonlin and own != type(self).activation else nonlin

    @staticmethod
    def _first_bias() -> float:
        return 0.0

    def __call__(self, x: Iterable[Value | float] | Value | float) -> Value:
        """The neuron's output for one sample: numbers and Values in a list, an array or any iterable.

        >>> n = Neuron(2, nonlin=False)
        >>> n.w[0].data, n.w[1].data, n.b.data = 3.0, 4.0, 0.5
        >>> n([1.0, 2.0]).data
        11.5
        """
        inputs = sample(x)
        if len(inputs) != len(self.w):
            raise ValueError(f"{self!r} takes {len(self.w)} inputs, not {len(inputs)}")
        preactivation: Value = affine([self.w], inputs, None if self.b is None else [self.b])[0]
        if callable(self.nonlin):
            return self.nonlin(preactivation)
        if not self.nonlin:
            return preactivation
        name = self.nonlin if isinstance(self.nonlin, str) else type(self).activation
        activated: Value = getattr(preactivation, name)()
        return activated

    def parameters(self) -> list[Value]:
        """The weights, then the bias, then those of its activation if that is a Module.

        >>> n = Neuron(2)
        >>> n.parameters() == [*n.w, n.b]
        True
        """
        inner = self.nonlin.parameters() if isinstance(self.nonlin, Module) else ()
        return _once_each(p for p in (*self.w, self.b, *inner) if is_parameter(p))

    def _members(self) -> Iterable[tuple[Any, Any]]:
        members: list[tuple[Any, Any]] = [("w", self.w), ("b", self.b)]
        if isinstance(self.nonlin, Module):
            members.append(("activation", self.nonlin))
        return [*members, *super()._members()]

    def __repr__(self) -> str:
        own = self.nonlin
        if callable(own):
            return f"Neuron({len(self.w)}, activation={getattr(own, '__name__', None) or repr(own)})"
        title = _TITLES.get(own, own.capitalize()) if isinstance(own, str) else self._title if own else "Linear"
        return f"{title}Neuron({len(self.w)})"


@implemented_in_c
class Layer(LayerBase, Module):
    """`nout` neurons over the same `nin` inputs; keyword arguments go to each.

    Called with one sample it gives a list of `nout` Values, or the Value itself where `nout` is 1.

    >>> Layer(3, 2, nonlin=False), Layer(3, 1, activation="tanh")
    (Layer of [LinearNeuron(3), LinearNeuron(3)], Layer of [TanhNeuron(3)])

    Raises ValueError where `nin` or `nout` is less than 1, and where it is called with another number of inputs.
    """

    _neuron: ClassVar[type[Neuron]] = Neuron

    neurons: list[Neuron]

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        nin = _width(nin, "a layer's number of inputs")
        self.neurons = [self._neuron(nin, **kwargs) for _ in range(_width(nout, "a layer's number of outputs"))]

    def __call__(self, x: Iterable[Value | float] | Value | float) -> Any:
        """The neurons' outputs for one sample, a list of `nout` Values; the Value itself where `nout` is 1.

        >>> len(Layer(3, 2)([1.0, 2.0, 3.0]))
        2
        """
        inputs = sample(x)
        outputs = [neuron(inputs) for neuron in self.neurons]
        return outputs[0] if len(outputs) == 1 else outputs

    def parameters(self) -> list[Value]:
        """The parameters of one neuron after the other.

        >>> len(Layer(3, 2).parameters())
        8
        """
        return _once_each(p for neuron in self.neurons for p in neuron.parameters())

    def _members(self) -> Iterable[tuple[Any, Any]]:
        return [("neurons", self.neurons), *super()._members()]

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(repr, self.neurons))}]"


@implemented_in_c
class MLP(NetworkBase, Module):
    """A multilayer perceptron: `nin` inputs, then layers of `nouts[0]`, `nouts[1]` … neurons.

    Called with one sample, `nin` numbers or Values, it gives a list of `nouts[-1]` Values, or the Value itself where
    that is 1.

    >>> model = MLP(2, [2, 1])
    >>> model
    MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(2)]]
    >>> len(model.parameters())
    9

    `activation` is that of the hidden layers, as for a `Neuron`; the last layer stays linear.

    >>> MLP(2, [2, 1], activation="tanh")
    MLP of [Layer of [TanhNeuron(2), TanhNeuron(2)], Layer of [LinearNeuron(2)]]
    >>> MLP(2, [1, 1], activation=lambda x: x * x.sigmoid())
    MLP of [Layer of [Neuron(2, activation=<lambda>)], Layer of [LinearNeuron(1)]]

    Raises ValueError where there is no layer or a width is less than 1, where there is no activation of the name, and
    where it is called with another number of inputs; TypeError where the activation is neither a name nor callable.
    """

    _layer: ClassVar[type[Layer]] = Layer
    _linear_output: ClassVar[bool] = True

    layers: list[Layer]

    def __init__(self, nin: int, nouts: Iterable[int], activation: _Activation | None = None) -> None:
        sizes = [_width(nin, "an MLP's number of inputs")]
        for i, nout in enumerate(nouts):
            sizes.append(_width(nout, f"the width of an MLP's layer {i}"))
        last = len(sizes) - 2
        if last < 0:
            raise ValueError(f"an MLP needs at least one layer, but nouts is {nouts!r}")
        kwargs = {} if activation is None else {"activation": activation}  # subclasses of Layer may not know it
        self.layers = [
            self._layer(sizes[i], sizes[i + 1], nonlin=not (self._linear_output and i == last), **kwargs)
            for i in range(last + 1)
        ]

    def __call__(self, x: Iterable[Value | float] | Value | float) -> Any:
        """The last layer's outputs for one sample of `nin` inputs: a list of `nouts[-1]` Values, or the Value itself
        where that is 1.

        >>> random.seed(1337)
        >>> MLP(2, [16, 1])([1.0, -2.0]).data
        0.11312...
        """
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[Value]:
        """The parameters of one layer after the other.

        >>> len(MLP(2, [16, 16, 1]).parameters())
        337
        """
        return _once_each(p for layer in self.layers for p in layer.parameters())

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


# As PyTorch's modules are named; of other activations, the name with a capital letter.
_TITLES = {"elu": "ELU", "gelu": "GELU", "leaky_relu": "LeakyReLU", "relu": "ReLU", "selu": "SELU", "silu": "SiLU"}
# The ops of one argument, and methods that need no other.
_ACTIVATIONS = {name for name, (_, arity) in OPS.items() if arity == 1 and not name.startswith("_")}
_ACTIVATIONS |= {"elu", "leaky_relu", "reciprocal", "selu"}


def _activation(activation: _Activation) -> _Activation:
    """The activation, if it is one."""
    if isinstance(activation, str):
        if activation not in _ACTIVATIONS:
            known = ", ".join(sorted(_ACTIVATIONS))
            raise ValueError(f"activation must be a callable or one of {known}, not {activation!r}")
    elif not callable(activation):
        raise TypeError(f"activation must be a name or callable, not {type(activation).__name__!r}")
    return activation


def _numbers(items: Iterable[tuple[str, Any]]) -> tuple[dict[str, float], list[str]]:
    """The numbers by name as floats, and the names, with an error each, of what is no number."""
    data, errors = {}, []
    for name, x in items:
        try:
            data[name] = Value(x).data
        except (TypeError, OverflowError) as error:
            errors.append(f"{name!r} ({error})")
    return data, errors


def _contents(container: Any) -> Iterable[tuple[Any, Any]] | None:
    """Pairs of name and item of a list, a tuple or a dict; None for anything else."""
    if isinstance(container, (list, tuple)):
        return enumerate(container)
    return list(container.items()) if isinstance(container, dict) else None


def _items(container: Any) -> Iterable[tuple[Any, Any]] | None:
    """Pairs of name and item of a container, which may be a Module; None for anything else."""
    if not isinstance(container, Module):
        return _contents(container)
    if type(container).named_parameters is Module.named_parameters:
        return container._members()
    return container.named_parameters()


class _Level:
    """A container whose items are being walked."""

    def __init__(self, container: Any, items: Iterable[tuple[Any, Any]]) -> None:
        self.container = container
        self.items = iter(items)
        self.found = False  # a parameter
        self.low = sys.maxsize  # depth of the outermost container being walked that is in this one again


class _Walk:
    """The parameters below a module, each with the names on the way to it and its own. Parameters and containers come
    once; with `every_name` they come as often as they are there, except that a container in a cycle comes once.

    Depth first, without recursion, since modules may be nested more deeply than Python can call. Cycles are found as
    Tarjan finds strongly connected components, by the least depth that a container leads back to (`low`).
    """

    def __init__(self, root: Module, every_name: bool = False) -> None:
        self.every_name = every_name
        self.levels: list[_Level] = []
        self.path: list[str] = []  # names of the containers being walked, without the root's
        self.depth_of: dict[int, int] = {}  # of these containers, by id
        self.done: dict[int, Any] = {}  # by id, what is not to come again: held, so that no other object gets the id
        self.outermost: dict[int, int] = {}  # of a container in a cycle: the id of one further out, or its own
        self._enter(root, root._members())

    def __iter__(self) -> Iterator[tuple[list[str], str, Value]]:
        while self.levels:
            level = self.levels[-1]
            for name, item in level.items:
                key = id(item)
                home = self._outermost(key) if key in self.outermost else key
                level.low = min(level.low, self.depth_of.get(home, sys.maxsize))
                if key in self.done or key in self.depth_of:
                    continue
                if isinstance(item, Value):
                    if is_parameter(item):
                        level.found = True
                        if not self.every_name:
                            self.done[key] = item
                        yield self.path, str(name), item
                    continue
                items = _items(item)
                if items is not None:
                    self.path.append(str(name))
                    self._enter(item, items)
                    break
            else:
                self._leave()

    def _outermost(self, key: int) -> int:
        """The id of the outermost container that a container is in a cycle with. What was noted when it was left may be
        in a larger cycle itself, as was found later: the chain is followed, and shortened for the next time."""
        last = key
        while self.outermost.get(last, last) != last:
            last = self.outermost[last]
        while key != last:
            self.outermost[key], key = last, self.outermost[key]
        return last

    def _enter(self, container: Any, items: Iterable[tuple[Any, Any]]) -> None:
        self.depth_of[id(container)] = len(self.levels)
        self.levels.append(_Level(container, items))

    def _leave(self) -> None:
        level = self.levels.pop()
        del self.path[-1:]
        key, low = id(level.container), level.low
        depth = self.depth_of.pop(key)
        if low <= depth:
            self.outermost[key] = id(self.levels[low].container) if low < depth else key
        if not self.every_name or not level.found or key in self.outermost:
            self.done[key] = level.container
        if self.levels:
            outer = self.levels[-1]
            outer.found |= level.found
            if low < depth:
                outer.low = min(outer.low, low)


def _once_each(values: Iterable[Value]) -> list[Value]:
    """The values without those that came before, by identity."""
    return list({id(value): value for value in values}.values())


def _width(width: SupportsIndex, what: str) -> int:
    number = operator.index(width)
    if number < 1:
        raise ValueError(f"{what} must be at least 1, not {number}")
    if number > sys.maxsize:  # no list is so long, and a loop would fill the memory first
        raise OverflowError(f"{what} must be at most {sys.maxsize}, not {number}")
    return number


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name):
        if name == "init":  # imported when it is first asked for: networks do not need it
            from importlib import import_module

            return import_module("micrograd.nn.init")
        raise AttributeError(f"module 'micrograd.nn' has no attribute {name!r}")
