"""micrograd: reverse-mode autodiff over scalars, compiled.

>>> from micrograd import MLP, Value
>>> x = Value(3.0)
>>> y = x * x + 2 * x
>>> y.backward()
>>> y.data, x.grad
(15.0, 8.0)

`MLP`, `Layer` and `Neuron` here are tanh throughout; `micrograd.nn` has karpathy/micrograd's ReLU networks.
"""

import os as _os
import sys as _sys

from micrograd._core import Value, grad

# The reference has files of the same names. Where it was installed before this package, its metadata lie beside it;
# where it came later, it has replaced this file, which `python -m micrograd --doctor` finds. Two tests of a path take
# microseconds; importlib.metadata would take longer than this import.
for _end in (".dist-info", f"-py{_sys.version_info[0]}.{_sys.version_info[1]}.egg-info"):
    if _os.path.exists(f"{__path__[0]}-0.1.0{_end}"):  # noqa: PTH110  # pathlib takes longer to import
        from micrograd import _doctor

        _doctor.warn()

# False. Not typing's, which takes longer to import than all of this; and not written so, since jedi, which completes
# names in IPython and in editors, would skip these imports.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from micrograd import compiler as compiler
    from micrograd import engine as engine
    from micrograd import functional as functional
    from micrograd import interop as interop
    from micrograd import mlp as mlp
    from micrograd import nn as nn
    from micrograd import nn_tanh as nn_tanh
    from micrograd import optim as optim
    from micrograd import utils as utils
    from micrograd import viz as viz
    from micrograd._modes import is_grad_enabled, no_grad
    from micrograd.compiler import TraceError, compile
    from micrograd.nn_tanh import MLP, Layer, Neuron

    __version__: str

__all__ = ["MLP", "Layer", "Neuron", "TraceError", "Value", "compile", "grad", "is_grad_enabled", "no_grad"]

# Everything but Value is imported when first asked for, so that `import micrograd` costs the engine alone.
_HOMES = {
    **dict.fromkeys(("MLP", "Layer", "Neuron"), "micrograd.nn_tanh"),
    **dict.fromkeys(("TraceError", "compile"), "micrograd.compiler"),
    **dict.fromkeys(("is_grad_enabled", "no_grad"), "micrograd._modes"),
}
_MODULES = ("compiler", "engine", "functional", "interop", "mlp", "nn", "nn_tanh", "optim", "utils", "viz")

if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name):
        from importlib import import_module

        if name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        elif name in _MODULES:
            return import_module(f"micrograd.{name}")
        elif name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                value = version("micrograd-cython")
            except PackageNotFoundError as error:  # built in place; help() asks for every name of dir()
                raise AttributeError("micrograd.__version__ is in the metadata of an installed package") from error
        else:
            raise AttributeError(f"module 'micrograd' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]
