"""The networks of `from micrograd import MLP`: tanh, or another `activation`, in every layer, the last included, and
biases drawn like weights.

They are the classes of `micrograd.nn` with another activation and first bias, and without a linear last layer.
"""

from __future__ import annotations

import random

from micrograd import nn

__all__ = ["MLP", "Layer", "Neuron"]


def __dir__() -> list[str]:
    return __all__


class Neuron(nn.Neuron):
    """tanh(b + w[0] x[0] + … + w[nin-1] x[nin-1]); weights, then the bias, from `random.uniform(-1, 1)`.

    >>> random.seed(0)
    >>> n = Neuron(2)
    >>> n, n([1.0, -2.0]).data
    (TanhNeuron(2), -0.46355...)
    """

    activation = "tanh"
    _title = "Tanh"

    @staticmethod
    def _first_bias() -> float:
        return random.uniform(-1, 1)


class Layer(nn.Layer):
    """`nout` tanh neurons over the same `nin` inputs.

    >>> Layer(3, 2)
    Layer of [TanhNeuron(3), TanhNeuron(3)]
    """

    _neuron = Neuron


class MLP(nn.MLP):
    """A multilayer perceptron of tanh neurons: `nin` inputs, then layers of `nouts[0]`, `nouts[1]` … outputs.

    >>> random.seed(0)
    >>> model = MLP(3, [4, 4, 1])
    >>> model([2.0, 3.0, -1.0]).data
    -0.91198...
    >>> len(model.parameters())
    41
    """

    _layer = Layer
    _linear_output = False
