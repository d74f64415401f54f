"""Methods in C of the classes in nn/ look like their definitions in Python, and do what these say."""

import copy
import doctest
import inspect
import pickle
import pydoc
import sys
import types

import pytest

from micrograd import Value, nn, nn_tanh

METHODS = [nn.MLP.__call__, nn.Layer.__call__, nn.MLP.parameters, nn.Layer.parameters, nn.Neuron.parameters]


def frames(call):
    """Names of the Python functions that run in a call, itself left out."""
    names = []

    def profile(frame, event, _):
        if event == "call":
            names.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names[1:]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.__objclass__.__name__}.{method.__name__}")
def test_signature_and_docstring_of_the_definition(method):
    wanted = ["self", "x"] if method.__name__ == "__call__" else ["self"]
    assert [*inspect.signature(method).parameters] == wanted
    assert inspect.getdoc(method).splitlines()[0] in pydoc.render_doc(method.__objclass__, renderer=pydoc.plaintext)
    assert method.__objclass__.__module__ == "micrograd.nn"  # where doctest looks
    assert doctest.DocTestParser().get_examples(method.__doc__)
    assert isinstance(method, (types.WrapperDescriptorType, types.MethodDescriptorType))


@pytest.mark.parametrize("module", [nn, nn_tanh])
def test_no_python_frame(module):
    model = module.MLP(2, [3, 1])
    for thing in model, model.layers[0]:
        assert frames(lambda: thing([1.0, 2.0])) == []  # noqa: B023
        assert frames(lambda: thing.parameters()) == []  # noqa: B023
    assert frames(lambda: model.layers[0].neurons[0].parameters()) == []
    assert frames(lambda: model.layers[0].neurons[0]([1.0, 2.0])) == ["__call__"]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_no_python_frame_with_an_activation_by_name(activation):
    model = nn.MLP(2, [3, 2, 1], activation=activation)
    for thing in model, pickle.loads(pickle.dumps(model)), nn_tanh.Layer(2, 2, activation=activation):
        assert frames(lambda: thing([1.0, 2.0])) == []  # noqa: B023
        assert frames(lambda: thing.parameters()) == []  # noqa: B023


def test_a_callable_activation_has_a_frame_for_each_neuron():
    def swish(x):
        return x * x.sigmoid()

    model = nn.MLP(2, [3, 1], activation=swish)
    assert frames(lambda: model.layers[0]([1.0, 2.0])) == ["swish"] * 3
    assert frames(lambda: model([1.0, 2.0])) == ["__call__", *["swish"] * 3]


def test_no_python_frame_in_a_subclass_that_leaves_them_alone():
    class Named(nn.MLP):
        name = "model"

    model = Named(2, [3, 1])
    assert frames(lambda: model([1.0, 2.0])) == []


class Doubled(nn.Layer):
    def __call__(self, x):
        return [2 * y for y in super().__call__(x)]

    def parameters(self):
        return super().parameters()[:1]


class Odd(nn.Neuron):
    def __call__(self, x):
        return super().__call__(x) + 1

    def parameters(self):
        return [self.b, self.b]


def test_the_definitions_run_where_a_part_has_methods_of_its_own():
    model = nn.MLP(2, [2, 2, 1])
    plain = copy.deepcopy(model)
    model.layers[1].__class__ = Doubled
    hidden = plain.layers[1](plain.layers[0]([1.0, -2.0]))
    assert model([1.0, -2.0]).data == plain.layers[2]([2 * y for y in hidden]).data
    assert frames(lambda: model([1.0, -2.0]))[0] == "__call__"
    kept = [*model.layers[0].parameters(), model.layers[1].neurons[0].w[0], *model.layers[2].parameters()]
    assert model.parameters() == kept

    layer = nn.Layer(2, 2)
    plain = copy.deepcopy(layer)
    layer.neurons[1].__class__ = Odd
    first, second = plain([1.0, -2.0])
    assert [y.data for y in layer([1.0, -2.0])] == [first.data, second.data + 1]
    assert layer.parameters() == [*layer.neurons[0].w, layer.neurons[0].b, layer.neurons[1].b]


def test_the_definitions_take_what_the_methods_take():
    model = nn.MLP(2, [2, 1])
    wanted = model([1.0, -2.0]).data
    assert model(x=[1.0, -2.0]).data == nn.MLP.__call__(model, (1.0, -2.0)).data == wanted
    model.layers[0].neurons[0].__class__ = Odd
    wanted = model([1.0, -2.0]).data
    assert model(iter([1.0, -2.0])).data == model((Value(1.0), -2.0)).data == wanted


def test_methods_refuse_other_classes():
    for method in METHODS:
        with pytest.raises(TypeError, match=r"requires a|doesn't apply"):
            method(*[3.0] * len(inspect.signature(method).parameters))


def test_members_can_be_set_and_taken_back(monkeypatch):
    model = nn.MLP(2, [2, 1])
    wanted = model([1.0, -2.0]).data
    with monkeypatch.context() as patch:
        patch.setattr(nn.MLP, "__call__", lambda self, x: (self, x))
        assert model(5) == (model, 5)
    assert model([1.0, -2.0]).data == wanted
    assert frames(lambda: model([1.0, -2.0])) == []
