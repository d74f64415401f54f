"""The former name of `micrograd.nn_tanh`, for programs and pickles that use it."""

from micrograd.nn_tanh import MLP, Layer, Neuron

__all__ = ["MLP", "Layer", "Neuron"]
