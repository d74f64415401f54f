"""The name that `micrograd.nn_tanh` had first: programs and pickles that use it go on."""

from micrograd.nn_tanh import MLP, Layer, Neuron

__all__ = ["MLP", "Layer", "Neuron"]
