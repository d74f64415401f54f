"""Loads what the contestants need: this engine, the reference from PyPI, PyTorch, XAD, JAX, and C compiled.

A loader returns None if its library is not installed; the tables then say "absent".
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

import original  # noqa: E402 -- tests/original.py; tests/ is not a package

CACHE = ROOT / "build" / "benchmarks"


@functools.cache
def ours() -> SimpleNamespace:
    """This engine: Value, karpathy's nn (ReLU) and the tanh networks."""
    from micrograd import nn, nn_tanh
    from micrograd.engine import Value

    return SimpleNamespace(Value=Value, nn=nn, tanh=nn_tanh)


def ours_module(name: str) -> ModuleType | None:
    """A module of this engine, for instance "optim", or None if this version has none of this name."""
    try:
        return importlib.import_module(f"micrograd.{name}")
    except ImportError:
        return None


def ours_package() -> ModuleType:
    """The package `micrograd`, with the modules that the cases use as its attributes."""
    package = importlib.import_module("micrograd")
    for name in ("functional", "nn", "optim"):
        importlib.import_module(f"micrograd.{name}")
    return package


@functools.cache
def reference() -> SimpleNamespace | None:
    """micrograd 0.1.0, with tanh, exp and log added, and networks with tanh."""
    modules = original.load()
    if modules is None:
        return None
    engine, nn = modules
    _add_ops(engine.Value)
    return SimpleNamespace(Value=engine.Value, nn=nn, tanh=_tanh_networks(nn))


def _add_ops(Value: type) -> None:
    """tanh, exp and log, which 0.1.0 lacks, as its author writes them in the lecture."""

    def tanh(self):
        t = math.tanh(self.data)
        out = Value(t, (self,), "tanh")

        def _backward():
            self.grad += (1 - t**2) * out.grad

        out._backward = _backward
        return out

    def exp(self):
        out = Value(math.exp(self.data), (self,), "exp")

        def _backward():
            self.grad += out.data * out.grad

        out._backward = _backward
        return out

    def log(self):
        out = Value(math.log(self.data), (self,), "log")

        def _backward():
            self.grad += (1 / self.data) * out.grad

        out._backward = _backward
        return out

    Value.tanh, Value.exp, Value.log = tanh, exp, log


def _tanh_networks(nn: ModuleType) -> SimpleNamespace:
    """The reference's networks with tanh in every neuron, as in the lecture."""

    class Neuron(nn.Neuron):
        def __call__(self, x):
            return sum((wi * xi for wi, xi in zip(self.w, x)), self.b).tanh()

    class Layer(nn.Layer):
        def __init__(self, nin, nout):
            self.neurons = [Neuron(nin) for _ in range(nout)]

    class MLP(nn.MLP):
        def __init__(self, nin, nouts):
            sizes = [nin, *nouts]
            self.layers = [Layer(i, o) for i, o in zip(sizes, nouts)]

    return SimpleNamespace(Neuron=Neuron, Layer=Layer, MLP=MLP)


@functools.cache
def torch() -> ModuleType | None:
    """PyTorch on one thread: the tensors are too small to gain from two, and times on one vary less."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    return torch


@functools.cache
def xad() -> SimpleNamespace | None:
    """XAD: a tape of scalars in C++ with a Python binding, the library most similar to this engine."""
    try:
        import xad.adj_1st
        import xad.math
    except ImportError:
        return None
    return SimpleNamespace(Tape=xad.adj_1st.Tape, Real=xad.adj_1st.Real, math=xad.math)


@functools.cache
def jax() -> ModuleType | None:
    """JAX in double precision on the CPU."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    return jax


def torch_training(loss_of: Callable[[], Any], parameters: list[Any], rate: Callable[[], float]) -> Callable[[], Any]:
    """A step of gradient descent on PyTorch's tensors; `rate` gives the learning rate of the next step."""

    def step():
        loss = loss_of()
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = rate()
        with torch().no_grad():
            for p in parameters:
                p -= lr * p.grad
        return loss

    return step


def jax_training(
    loss_of: Callable[[list[Any]], Any], parameters: list[Any], rate: Callable[[], float]
) -> Callable[[], float]:
    """A step of gradient descent on JAX's arrays, compiled as a whole."""

    @jax().jit
    def update(parameters, lr):
        loss, grads = jax().value_and_grad(loss_of)(parameters)
        return loss, [p - lr * g for p, g in zip(parameters, grads)]

    def step():
        nonlocal parameters
        loss, parameters = update(parameters, rate())
        return float(loss)

    return step


@functools.cache
def c_library(name: str = "mlp") -> ctypes.CDLL | None:
    """mlp.c, gpt.c or rnn.c, compiled for this machine into build/; recompiled when its text or the command changes."""
    source = Path(__file__).with_name(f"{name}.c")
    command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-shared", "-fPIC"]
    key = hashlib.sha256(source.read_bytes() + " ".join(command).encode()).hexdigest()[:16]
    library = CACHE / f"{name}-{key}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([*command, str(source), "-o", str(library), "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    return ctypes.CDLL(str(library))
