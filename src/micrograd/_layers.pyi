"""Types of the layers' loops. What each name does is said in its docstring."""

from collections.abc import Iterable
from typing import Any

from typing_extensions import disjoint_base

from micrograd._core import Value

@disjoint_base
class NeuronState:
    w: list[Value]
    b: Value
    nonlin: bool

@disjoint_base
class LayerState:
    neurons: list[Any]
    def __call__(self, x: Iterable[Value | float] | Value | float) -> Any: ...

class NetworkState:
    layers: list[Any]
    def __call__(self, x: Iterable[Value | float] | Value | float) -> Any: ...

def set_plain_classes(neuron: type[Any], layer: type[Any]) -> None: ...
def sample(x: Any) -> list[Any]: ...
def weighted_sums(rows: list[Any], x: list[Any], biases: list[Any]) -> list[Any]: ...
def layer_parameters(neurons: Iterable[Any]) -> list[Value]: ...
def network_parameters(layers: Iterable[Any]) -> list[Value]: ...
def clear_grads(parameters: Iterable[Value]) -> None: ...
