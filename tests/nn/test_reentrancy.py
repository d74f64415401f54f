"""Python code that runs in the middle of a call of a network and changes it."""

from __future__ import annotations

import pytest

from helpers import complaint
from micrograd import Value, functional, nn


def test_python_code_that_changes_a_layer_while_it_is_computed():
    class Answer:
        def __init__(self, answer, meanwhile):
            self.answer, self.meanwhile = answer, meanwhile

        def __bool__(self):
            self.meanwhile()
            return self.answer

        __float__ = __bool__

    layer = nn.Layer(2, 2)
    layer.neurons[0].nonlin = Answer(True, lambda: layer.neurons.__setitem__(0, None))
    assert len(layer([1.0, 2.0])) == 2
    x = [Answer("no", lambda: x.clear()), 1.0]
    with pytest.raises(TypeError, match=complaint(float, Answer("no", lambda: None))):
        nn.Layer(2, 2)(x)
    biases = [Value(1.0), Value(2.0)]
    assert functional.linear([Answer(1.0, biases.clear)], [[Value(1.0)], [Value(2.0)]], biases) == []


def test_a_metaclass_that_computes_meanwhile():
    plain = nn.Layer(2, 2)

    class Nosy(type):
        def __getattribute__(cls, name):
            if name == "activation":
                plain([1.0, 2.0])
            return super().__getattribute__(name)

    class Mine(nn.Neuron, metaclass=Nosy):
        def __call__(self, x):
            return "mine"

    layer = nn.Layer(2, 2)
    layer.neurons = [Mine(2), Mine(2)]
    assert layer([1.0, 2.0]) == ["mine", "mine"]


def test_a_class_that_answers_for_its_fields():
    class Single(nn.Layer):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            return found[:1] if name == "neurons" else found

    model = nn.MLP(2, [2])
    model.layers = [Single(2, 2)]
    assert isinstance(model([1.0, 2.0]), Value)
    assert len(model.parameters()) == 3


def test_the_collector_may_take_neurons_away_that_are_being_called(check):
    check(
        """
        from micrograd import nn

        def callback(phase, info):
            global spare
            if phase == "start" and spare:
                gc.disable()
                neurons[:], spare = spare, None
                junk.extend([bytearray(56) for _ in range(200)])

        spare = None
        gc.callbacks.append(callback)
        model = nn.MLP(60, [3, 2])
        neurons = model.layers[0].neurons
        for k in range(500):
            gc.disable()
            for n in neurons:
                n.w = [Value(0.1) for _ in range(60)]
            n = None
            spare, junk, tracked = [nn.Neuron(60) for _ in range(3)], [], []
            gc.set_threshold(k % 40 + 1, 100000, 100000)
            gc.enable()
            for _ in range(k % 7):
                tracked.append([])
            model([0.5] * 60)
        still_works()
        """
    )


CHANGES = {
    "a layer's weights": ("del weights[1:]", "functional.linear([1.0, 2.0], weights)"),
    "rows of weights": ("del weights[1:]", "_nn.affine(weights, [1.0, 2.0])"),
    "a row of weights": ("weights[0].clear()", "functional.linear([1.0, 2.0], weights)"),
    "the weights of a module": ("neurons[0].w.clear()", "model([1.0, 2.0])"),
    "the neurons of a layer": ("del neurons[1:]", "model([1.0, 2.0])"),
    "neurons whose parameters are listed": ("del neurons[1:]", "model.layers[0].parameters()"),
    "the layers of a network": ("del model.layers[1:]", "model([1.0, 2.0])"),
}


@pytest.mark.parametrize(("change", "work"), CHANGES.values(), ids=CHANGES)
def test_a_collection_in_the_middle_may_change(check, change, work):
    """Python code runs in a collection, here at the first, second, ... container that the work allocates. (From CPython
    3.12 on, collections wait until C code has returned.)"""
    check(
        f"""
        import weakref
        from micrograd import _nn, functional, nn

        todo = []

        def callback(phase, info):
            if phase == "start" and todo:
                exec(todo.pop())

        gc.callbacks.append(callback)
        for k in range(1, 12):
            gc.disable()
            weights = [[Value(1.0), Value(2.0)] for _ in range(3)]
            model = nn.MLP(2, [3, 3])
            neurons = model.layers[0].neurons
            for n in neurons:
                n.w = [Value(1.0), Value(2.0)]
            held = []
            for p in [*model.parameters(), *weights[0], *weights[1], *weights[2]]:
                p.mark = Sentinel()
                held.append(weakref.ref(p.mark))
            gc.collect()
            todo.clear()  # a new list would free the one before, which CPython keeps: the next list runs no collection
            todo.append({change!r})
            gc.set_threshold(k)
            gc.enable()
            try:
                {work}
            except ValueError as error:  # where what is left does not fit
                print(k, error)
            n = p = neurons = model = weights = None
            gc.collect()
            assert not any(r() for r in held)
        gc.callbacks.clear()
        still_works()
        """
    )


def test_a_metaclass_that_takes_layers_away_meanwhile():
    class Taking(type):
        def __getattribute__(cls, name):
            if name == "__call__" and taking:
                del model.layers[1:]
            return super().__getattribute__(name)

    class Mine(nn.Layer, metaclass=Taking):
        pass

    taking = False
    model = nn.MLP(2, [3, 2])
    model.layers = [Mine(2, 3), Mine(3, 2)]
    taking = True
    assert len(model([1.0, 2.0])) == 3


def test_an_input_that_empties_the_inputs():
    class Empties:
        def __float__(self):
            x.clear()
            return 1.0

    x = [Empties(), 1.0]
    with pytest.raises(ValueError, match="takes 2 inputs, not 0"):
        nn.Layer(2, 2)(x)
