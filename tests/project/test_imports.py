"""What the package exports, and what importing it does not import."""

from __future__ import annotations

import importlib
from importlib import metadata

import pytest

import micrograd
from helpers import FREE_THREADED
from micrograd import Value, mlp, nn


@pytest.mark.parametrize("home", ["micrograd", "micrograd.engine"])
def test_value_is_one_class_wherever_it_is_imported_from(home):
    assert importlib.import_module(home).Value is Value


def test_submodules_are_reached_from_the_top():
    assert micrograd.engine.Value is Value
    assert micrograd.nn is nn
    assert micrograd.mlp is mlp


def test_the_top_level_networks_are_the_tanh_dialect():
    assert (micrograd.MLP, micrograd.Layer, micrograd.Neuron) == (mlp.MLP, mlp.Layer, mlp.Neuron)
    assert issubclass(micrograd.MLP, nn.MLP)
    assert micrograd.MLP is not nn.MLP


def test_dir_lists_what_the_top_level_gives():
    assert {"MLP", "Layer", "Neuron", "Value", "engine", "mlp", "nn"} <= set(dir(micrograd))


def test_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("micrograd-cython")
    except metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert micrograd.__version__ == installed


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    def no_version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", no_version)
    monkeypatch.delitem(vars(micrograd), "__version__", raising=False)
    with pytest.raises(AttributeError, match="__version__ is in the metadata of an installed package"):
        _ = micrograd.__version__


def test_unknown_names_of_the_top_level():
    with pytest.raises(AttributeError, match="no attribute 'Tensor'"):
        _ = micrograd.Tensor


def test_numpy_is_not_needed_to_import(isolated):
    out = isolated("import sys, micrograd; micrograd.compile(lambda x: x)(1.0); print('numpy' in sys.modules)")
    assert out.strip() == "False"


def test_importing_does_not_import_numpy(isolated):
    isolated("import sys, micrograd; micrograd.Value(1.0); assert 'numpy' not in sys.modules")


@pytest.mark.skipif(not FREE_THREADED, reason="this Python always has its GIL")
def test_importing_switches_the_gil_on(isolated):
    """The engine is not safe without it; Python's warning names the module."""
    said = isolated(
        """
import sys, warnings
assert not sys._is_gil_enabled()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import micrograd, micrograd.compiler, micrograd.nn, micrograd.optim
assert sys._is_gil_enabled()
print(*(f"{warning.category.__name__}: {warning.message}" for warning in caught))
""",
        PYTHON_GIL="",
    )
    assert said.startswith("RuntimeWarning: The global interpreter lock (GIL) has been enabled to load module ")
    assert said.count("RuntimeWarning") == 1
    assert "'micrograd._core'" in said
