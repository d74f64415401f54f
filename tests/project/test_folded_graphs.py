"""`draw_dot` with a model: which boxes, frames and edges stand for calls of its modules, at each depth. Expected
figures come from `trace` and from the network itself. How the drawings look is not tested."""

from __future__ import annotations

import html
import random
import re
import shutil

import pytest

from micrograd import MLP, Layer, Neuron, Value, nn, viz

pytest.importorskip("graphviz")

SAMPLES = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]


class Picture:
    """What a drawing's source says: boxes by name as lists of their cells, ops, frames, and edges between them."""

    def __init__(self, root, *args, **kwargs):
        self.dot = viz.draw_dot(root, *args, **kwargs)
        self.source = self.dot.source
        self.boxes, self.ops, self.frames, self.edges, frame = {}, {}, {}, {}, None
        for line in self.source.splitlines():
            if opened := re.match(r'\s*subgraph "cluster \d+"', line):
                frame = self.frames.setdefault(f"{opened[0].strip()}", {"label": "", "boxes": []})
            elif line.strip() == "}":
                frame = None
            elif frame is not None and not frame["label"]:
                frame["label"] = re.search(r'label="([^"]*)"', line)[1]
            elif edge := re.match(r'\s*("[^"]*"|\w+) -> ("[^"]*"|\w+)(?: \[(.*)\])?', line):
                assert edge.group(1, 2) not in self.edges
                self.edges[edge.group(1, 2)] = edge[3] or ""
            elif box := re.match(r"\s*(\d+) \[label=<(.*)> shape=plain\]", line):
                cells = re.findall(r"<td.*?</td>", box[2])
                self.boxes[box[1]] = [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in cells]
                if frame is not None:
                    frame["boxes"].append(self.boxes[box[1]])
            elif op := re.match(r'\s*("\d+ op") \[label="?([^" ]+)', line):
                self.ops[op[1]] = op[2]

    def titles(self):
        return sorted(cells[0] for cells in self.boxes.values())


def numbers(*values):
    return [cell for v in values for cell in (f"data {v.data:.4f}", f"grad {v.grad:.4f}")]


@pytest.fixture
def model():
    random.seed(1337)
    return MLP(3, [4, 4, 1])


@pytest.fixture
def output(model):
    y = model(SAMPLES[0])
    y.backward()
    return y


def test_each_neuron_is_a_box_in_the_frame_of_its_layer(model, output):
    picture = Picture(output, model=model)
    assert [frame["label"] for frame in picture.frames.values()] == [
        "layers.2: Layer, 5 parameters",
        "layers.1: Layer, 20 parameters",
        "layers.0: Layer, 16 parameters",
    ]
    names = [[box[0] for box in frame["boxes"]] for frame in picture.frames.values()]
    assert names == [["neurons.0 tanh"], *[[f"neurons.{i} tanh" for i in range(4)]] * 2]
    assert len(picture.boxes) == 3 + 9
    assert picture.ops == {}
    hidden = model.layers[0](SAMPLES[0])
    found = [box[1] for box in picture.frames['subgraph "cluster 2"']["boxes"]]
    assert found == [f"data {v.data:.4f}" for v in hidden]
    assert ["neurons.0 tanh", *numbers(output)] in picture.boxes.values()


def test_edges_stand_for_weights(model, output):
    picture = Picture(output, model=model)
    assert len(picture.edges) == 3 * 4 + 4 * 4 + 4
    weights = {name: p for name, p in model.named_parameters() if ".w." in name}
    said = [re.search(r'tooltip="(\S+): (data \S+), (grad [^"]+)"', text).groups() for text in picture.edges.values()]
    assert sorted(said) == sorted((name, *numbers(w)) for name, w in weights.items())
    for text, (name, _, _) in zip(picture.edges.values(), said):
        assert ("style=dashed" in text) == (weights[name].data < 0)
        assert f"penwidth={0.5 + 1.5 * abs(weights[name].data):.2f}" in text
    # From the box of x[1], which holds 3.0, to that of layers.0.neurons.2.
    [(start, end)] = [ends for ends, text in picture.edges.items() if "layers.0.neurons.2.w.1:" in text]
    assert (picture.boxes[start], picture.boxes[end][0]) == (["x[1]", "data 3.0000"], "neurons.2 tanh")


def test_depth_1_has_a_box_for_each_layer(model, output):
    picture = Picture(output, model=model, depth=1)
    assert picture.titles() == [
        *(f"layers.{i}: Layer, {n} parameters" for i, n in enumerate((16, 20, 5))),
        *(f"x[{i}]" for i in range(3)),
    ]
    assert ["layers.2: Layer, 5 parameters", *numbers(output)] in picture.boxes.values()
    assert sorted(map(len, picture.boxes.values())) == [2, 2, 2, 3, 9, 9]
    assert len(picture.edges) == 3 + 2
    assert [frame["label"] for frame in picture.frames.values()] == ["MLP, 41 parameters"]


def test_depth_0_has_one_box(model, output):
    picture = Picture(output, model=model, depth=0)
    assert ["MLP, 41 parameters", *numbers(output)] in picture.boxes.values()
    assert (len(picture.boxes), len(picture.edges), picture.frames) == (4, 3, {})


def test_depth_3_has_every_node_and_the_names_of_the_parameters(model, output):
    picture = Picture(output, model=model, depth=3)
    nodes, edges = viz.trace(output)
    ops = [node for node in nodes if node._op]
    assert (len(picture.boxes), len(picture.ops), len(picture.edges)) == (len(nodes), len(ops), len(edges) + len(ops))
    assert {name for name, _ in model.named_parameters()} < set(picture.titles())


def test_a_layer_that_is_there_twice_has_one_frame():
    class Twice(nn.Module):
        def __init__(self):
            self.first = self.second = Layer(2, 2)
            self.last = Neuron(2)

    model = Twice()
    y = model.last(model.second(model.first([1.0, 2.0])))
    picture = Picture(y, model=model)
    assert {frame["label"] for frame in picture.frames.values()} == {
        "Twice, 9 parameters",
        "first: Layer, 6 parameters",
    }


def test_a_part_of_a_neurons_sum_is_no_call_of_it():
    n = Neuron(2)
    y = (n.b + n.w[0] * 2.0) * n.w[1]
    picture = Picture(y, model=n)
    assert sorted(picture.ops.values()) == ["*", "*", "+"]
    assert "w.0" in picture.titles()


def test_the_inputs_of_a_layer_may_be_values(model):
    x = [Value(1.0, label="a"), Value(1.0), 1.0]
    y = model(x)
    y.backward()
    picture = Picture(y, model=model)
    inputs = [cells for cells in picture.boxes.values() if not cells[0].startswith("neurons")]
    assert sorted(inputs) == [["a", *numbers(x[0])], ["x[1]", *numbers(x[1])], ["x[2]", "data 1.0000"]]


def test_inputs_are_the_same_if_they_are_shown_so():
    neuron = Neuron(1)
    for other, inputs in ((0.0, ["data 0.0000"]), (-0.0, ["data -0.0000", "data 0.0000"])):
        picture = Picture(neuron([0.0]) + neuron([other]), model=neuron)
        assert sorted(cells[1] for cells in picture.boxes.values() if cells[0] == "x[0]") == inputs


@pytest.mark.parametrize(("depth", "boxes"), [(0, 4), (1, 4 * 3), (2, 4 * 9)])
def test_each_sample_of_a_loss_has_boxes_of_its_own(model, depth, boxes):
    loss = sum((model(x) - t) ** 2 for x, t in zip(SAMPLES, (1, -1, -1, 1)))
    picture = Picture(loss, model=model, depth=depth)
    assert len(picture.boxes) - boxes == 4 * 3 + 4 * 3 + 4 + 1  # inputs; targets, differences, squares; sums; a 0
    assert list(picture.ops.values()).count("+") == 4
    assert len(picture.frames) == (0, 4, 12)[depth]


def test_a_recurrent_network_has_a_box_for_each_step():
    cell = MLP(2, [3, 2])
    state = [Value(0.5), Value(0.25)]
    for _ in range(4):
        state = cell(state)
    for depth, boxes in ((0, 4), (1, 8), (2, 4 * 5 - 1)):
        assert len(Picture(state[0], model=cell, depth=depth).boxes) == boxes + 2


def test_ops_between_layers_belong_to_the_network():
    model = nn.MLP(2, [2, 2, 1], activation=lambda v: v * v.sigmoid() + 0.5)
    y = model([Value(1.0, label="a"), Value(2.0, label="b")])
    assert Picture(y, model=model, depth=0).titles() == ["MLP, 15 parameters", "a", "b"]
    picture = Picture(y, model=model, depth=1)
    assert sorted(picture.ops.values()) == sorted(["*", "sigmoid", "+"] * 4)
    assert Picture(y, model=model).titles()[-5:] == ["neurons.0"] * 3 + ["neurons.1"] * 2  # sums, without an activation


def test_parameters_that_a_loss_uses_are_drawn(model):
    y = model(SAMPLES[0]) + 0.1 * sum(p * p for p in model.layers[2].parameters())
    picture = Picture(y, model=model)
    assert len(picture.frames) == 3
    drawn = [name for name, _ in model.named_parameters() if name in picture.titles()]
    assert drawn == [
        "layers.2.neurons.0.w.0",
        *(f"layers.2.neurons.0.w.{i}" for i in range(1, 4)),
        "layers.2.neurons.0.b",
    ]
    [neuron] = [
        name
        for name, cells in picture.boxes.items()
        if cells[:2] == ["neurons.0 tanh", f"data {model(SAMPLES[0]).data:.4f}"]
    ]
    assert len([end for _, end in picture.edges if end == neuron]) == 4


class Net(nn.Module):
    def __init__(self):
        self.body = MLP(2, [3, 2])
        self.head = Layer(2, 1, nonlin=False)
        self.scale = Value(2.0)

    def __call__(self, x):
        return self.scale * self.head(self.body(x))


def test_a_module_of_modules_opens_level_by_level():
    net = Net()
    y = net([0.5, -0.5])
    assert Picture(y, model=net, depth=1).titles()[:2] == ["body: MLP, 17 parameters", "data " + f"{y.data:.4f}"]
    assert "head: Layer, 3 parameters" in Picture(y, model=net, depth=1).titles()
    at_2 = Picture(y, model=net, depth=2).titles()
    assert [t for t in at_2 if t.startswith(("body", "head", "neurons"))] == [
        "body.layers.0: Layer, 9 parameters",
        "body.layers.1: Layer, 8 parameters",
        "neurons.0",
    ]
    assert "scale" in at_2
    assert len(Picture(y, model=net).frames) == 3


def test_a_neuron_a_layer_and_a_model_without_neurons():
    n = Neuron(2)
    assert Picture(n([1.0, 2.0]), model=n).titles() == [" tanh", "x[0]", "x[1]"]
    for outputs, last in ((7, "grad"), (8, "grad"), (9, "and 1 more outputs"), (20, "and 12 more outputs")):
        layer = Layer(2, outputs)
        y = sum(layer([1.0, 2.0]))
        [box] = [cells for cells in Picture(y, model=layer, depth=0).boxes.values() if "Layer" in cells[0]]
        assert len(box) == 1 + 2 * min(outputs, 8) + (outputs > 8)
        assert box[-1].startswith(last)

    class Line(nn.Module):
        def __init__(self):
            self.slope = Value(2.0)

    line = Line()
    assert Picture(line.slope * 3.0, model=line).titles() == ["data 3.0000", "data 6.0000", "slope"]


def test_a_neuron_that_computes_in_another_way_is_drawn_op_by_op():
    class Own(Neuron):
        def __call__(self, x):
            return (self.w[0] * x[0] - self.b).tanh()

    n = Own(1)
    assert list(Picture(n([1.0]), model=n).ops.values()) == ["tanh", "-", "*"]


@pytest.mark.parametrize("bias", [None, 0.5])
def test_a_neuron_whose_bias_is_no_parameter(model, bias):
    for neuron in model.layers[0].neurons:
        neuron.b = bias
    assert len(Picture(model(SAMPLES[0]), model=model).boxes) == 12
    assert Picture(Neuron(1)([1.0]), model=model).frames == {}


def test_the_limit_counts_what_is_drawn(model):
    loss = sum((model(x) - t) ** 2 for x, t in zip(SAMPLES * 10, [1, -1] * 20))
    assert len(viz.trace(loss)[0]) > 3000
    with pytest.raises(ValueError, match="more than 500 boxes, too many to see"):
        viz.draw_dot(loss, model=model)
    assert len(Picture(loss, model=model, depth=0).boxes) < 500


def test_names_are_text_whatever_they_hold():
    module = nn.Module()
    module.parts = {r'a"b\N <c>': Layer(1, 2)}
    picture = Picture(sum(module.parts[r'a"b\N <c>']([1.0])), model=module)
    assert r"parts.a\"b\\N <c>: Layer, 4 parameters" in picture.source


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"depth": 1}, ValueError, "depth needs a model"),
        ({"depth": -1, "model": Neuron(1)}, ValueError, "depth must be at least 0, not -1"),
        ({"depth": 1.5, "model": Neuron(1)}, TypeError, "'float' object cannot be interpreted as an integer"),
        ({"model": [Neuron(1)]}, TypeError, "model must be a Module, not 'list'"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        viz.draw_dot(Value(1.0), **options)


def test_a_deep_network_and_a_deep_graph():
    model = MLP(1, [1] * 2000)
    assert len(Picture(model([0.5]), model=model, depth=0).boxes) == 2
    assert len(Picture(model([0.5]), model=model, max_nodes=3000).boxes) == 2001


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not here")
@pytest.mark.parametrize("rankdir", ["LR", "TB"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_it_renders(model, output, depth, rankdir):
    svg = viz.draw_dot(output, rankdir=rankdir, model=model, depth=depth).pipe(encoding="utf-8")
    assert svg.count('class="node"') == (4, 6, 12, 126 + 73)[depth]
    assert svg.count('class="edge"') == (3, 5, 32, (28 + 45) * 2 - 9 + 73)[depth]  # nine ops have one operand
    assert svg.count('class="cluster"') == (0, 1, 3, 0)[depth]
