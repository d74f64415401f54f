"""The playground's part in Python, docs/play/play.py: programs written from settings, what is refused, what the page
gets of a network. `make play-test` tests the page in a browser."""

from __future__ import annotations

import json
import re
import runpy

import pytest

from helpers import ROOT, load
from micrograd import Value, nn

FILE = ROOT / "docs" / "play" / "play.py"
SETTINGS = {"data": "moons", "layers": "6, 4", "activation": "tanh", "optimizer": "Adam", "rate": "0.03", "seed": "7"}

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="there is no checkout around the tests")


@pytest.fixture
def play():
    return load(FILE, "play")


@pytest.fixture
def ask(play):
    """What the page gets for a request, without the arrays."""
    return lambda do, **rest: json.loads(play.answer(json.dumps({"do": do, **rest}))[0], parse_constant=pytest.fail)


def written(ask, **changes):
    return ask("write", settings={**SETTINGS, **changes})["source"]


def chosen(ask, kind):
    return ask("choices")[kind]


@pytest.mark.parametrize("kind", ["data", "activation", "optimizer"])
def test_every_choice_trains(kind, ask):
    for choice in chosen(ask, kind):
        source = written(ask, **{kind: choice, "rate": "0.3" if choice == "SGD" else "0.03"})
        assert "error" not in ask("run", source=source)
        losses = []
        while len(losses) < 200:
            losses += ask("train", steps=200 - len(losses))["losses"]
        assert losses[-1] < 0.5 * losses[0], (choice, losses[0], losses[-1])
        assert ask("neuron", layer=1, index=0, sample=0)["graph"], choice


def test_the_program_of_the_settings_trains_in_a_file_of_its_own(ask, tmp_path, capsys):
    file = tmp_path / "program.py"
    file.write_text(written(ask, data="circles", layers="5"), encoding="utf-8")
    names = runpy.run_path(str(file), run_name="__main__")
    printed = re.findall(r"^step (\d+)  loss ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    assert [step for step, _ in printed] == ["100", "200", "300", "400", "500"]
    assert float(printed[-1][1]) < 0.1
    assert repr(names["model"]) == f"MLP of [Layer of [{', '.join(['TanhNeuron(2)'] * 5)}], Layer of [LinearNeuron(5)]]"
    assert set(names["y"]) == {-1, 1}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("layers", "8, x", "'x'"),
        ("layers", "0", "'0'"),
        ("layers", "13", "'13'"),
        ("layers", "٣", "'٣'"),
        ("layers", "9" * 5000, "'99999999999999999999…'"),
        ("layers", "1 1 1 1 1", "At most 4"),
        ("rate", "", "''"),
        ("rate", "0", "'0'"),
        ("rate", "nan", "'nan'"),
        ("rate", "1e9", "'1e9'"),
        ("seed", "1.5", "'1.5'"),
        ("seed", "-1", "'-1'"),
        ("data", "other", "moons, circles, spiral or xor"),
        ("optimizer", "__import__('os')", "RMSprop"),
        ("activation", '"', "tanh"),
    ],
)
def test_bad_settings_are_refused(name, text, said, ask):
    reply = ask("write", settings={**SETTINGS, name: text})
    assert list(reply) == ["wrong"]
    assert list(reply["wrong"]) == [name]
    assert re.search(said, reply["wrong"][name])


@pytest.mark.parametrize(("text", "layers"), [("", []), ("8", [8]), (" 12;1, 3\t4", [12, 1, 3, 4])])
def test_layers_are_read(text, layers, ask):
    assert f"nn.MLP(2, {[*layers, 1]}, activation" in written(ask, layers=text)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", 'Traceback (most recent call last):\n  File "program.py", line 1, in <module>\n    1 / 0\n'),
        ("def f(:", "SyntaxError"),
        ("model = X = 1", "It lacks y, step."),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("X, y, model, step = [[1]], [1], 1, 1", "a list of points"),
        ("X, y, model, step = [[1, 2]], [], 1, 1", "a list of points"),
        ("X, y, model, step = [[1, 2]], ['a'], 1, 1", "a label must be a number or a Value, not 'str'"),
        ("X, y, model, step = [[1, 1e999]], [1], 1, 1", "must be finite"),
        ("X, y, model, step = 3, [1], 1, 1", "TypeError"),
        ("X, y, step = [[1, 2]], [1], 1\nmodel = lambda x: 'a'", "the model's score must be"),
        ("X, y, step = [[1, 2]], [1], 1\nmodel = lambda x: x[7]", "line 2, in <lambda>"),
    ],
)
def test_programs_with_errors_are_refused(source, said, ask):
    reply = ask("run", source=source)
    assert said in reply["error"]
    assert "play.py" not in reply["error"]


def test_a_step_that_fails_ends_the_training(ask):
    source = (
        "X, y, n = [[1, 2]], [1], []\nmodel = lambda x: 1.0\ndef step():\n    n.append(1)\n    return 1 / (4 - len(n))"
    )
    ask("run", source=source)
    reply = ask("train", steps=10)
    assert reply["steps"] == len(reply["losses"]) == 3
    assert 'File "program.py", line 5, in step' in reply["problem"]


def test_a_loss_that_is_not_finite_ends_the_training(ask):
    ask("run", source=f"{written(ask)}\ndef step(n=[0]):\n    n[0] += 1\n    return math.nan if n[0] > 2 else 1.0")
    model = ask("train", steps=5)
    assert model["losses"] == [1.0, 1.0, "nan"]
    assert model["problem"] == "The loss is nan at step 3. Try a lower learning rate."


def test_what_a_program_prints_is_shown(ask):
    assert ask("run", source=f"{written(ask)}\nprint('hello')")["printed"] == "hello\n"


def test_programs_have_no_future_of_the_module_that_runs_them(ask):
    reply = ask("run", source=f"{written(ask)}\ndef f(x: int):\n    pass\nprint(f.__annotations__)")
    assert reply["printed"] == "{'x': <class 'int'>}\n"


def test_a_neuron_that_has_a_nan_can_be_shown(ask, play):
    ask("run", source=f"{written(ask)}\nmodel.parameters()[0].data = math.nan")
    assert ask("neuron", layer=0, index=0, sample=0)["graph"]["rows"][0][0] == ["nan", "nan"]


def test_scores_are_the_model_s_on_the_grid(ask, play):
    reply, scores, thumbs = play.answer(json.dumps({"do": "run", "source": written(ask, layers="3")}))
    extent, side = json.loads(reply)["extent"], play.GRID
    model = play.playground.p.model
    for column, row in ((0, 0), (side - 1, 0), (5, 20)):
        x = [extent * ((2 * column + 1) / side - 1), -extent * ((2 * row + 1) / side - 1)]
        assert scores[row * side + column] == pytest.approx(model(x).data, rel=1e-6)
    cells = play.THUMB**2
    assert len(thumbs) == cells * (2 + 3 + 1)
    corner = [-extent * (1 - 1 / play.THUMB), extent * (1 - 1 / play.THUMB)]
    wanted = [*corner, *(v.data for v in model.layers[0](corner)), model(corner).data]
    assert thumbs[::cells].tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("layer", "index"), [(0, 2), (1, 0), (2, 0)])
def test_grads_of_a_neuron_s_graph_are_differences_of_the_loss(layer, index, ask, play):
    ask("run", source=written(ask))
    ask("train", steps=3)
    p, sample = play.playground.p, 5
    before = [v.grad for v in p.model.parameters()]
    reply = ask("neuron", layer=layer, index=index, sample=sample)
    assert [v.grad for v in p.model.parameters()] == before  # as the program left them

    def loss():
        return p.loss_of(p.model(p.X[sample]), p.y[sample]).data

    assert reply["result"] == pytest.approx(loss(), rel=1e-12)
    neuron = p.model.layers[layer].neurons[index]
    shown = [*(row[0] for row in reply["graph"]["rows"]), reply["graph"]["bias"]]
    assert len(shown) == len(neuron.w) + 1
    for v, (data, grad) in zip([*neuron.w, neuron.b], shown):
        assert data == v.data
        v.data = data + 1e-6
        above = loss()
        v.data = data - 1e-6
        below = loss()
        v.data = data
        assert grad == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-9)
    for (w, _), (x, _), (product, grad), (_, along) in reply["graph"]["rows"]:
        assert product == w * x
        assert grad == along  # a sum hands its grad on


def test_other_models_have_no_network_to_show(ask, play):
    source = "X, y = [[1, 2], [3, -4]], [1, -1]\ndef model(x):\n    return x[0] * x[1]\ndef step():\n    return 1"
    reply = ask("run", source=source)
    assert reply["weights"] == []
    assert reply["right"] == 2
    assert "take apart" in ask("neuron", layer=0, index=0, sample=0)["error"]
    for model in (nn.MLP(2, [13, 1]), nn.MLP(3, [2, 1]), nn.MLP(2, [2, 2]), nn.MLP(2, [1] * 6)):
        play.playground.p.model = model
        assert play.playground._layers() == []


def test_a_neuron_of_another_kind_has_no_graph(play):
    x = Value(2.0)
    assert play._parts(x.tanh()) is None
    assert play._parts(x + 1.0) is None
    assert play._parts(x * 3.0 + x * 2.0) is None
    assert play._parts((Value(1.0) + x * 3.0).tanh())["bias"].data == 1.0
