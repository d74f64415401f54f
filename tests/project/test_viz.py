"""The pictures: what is in them, their errors, and that nothing they need is imported before they are drawn.
How they look is not tested."""

from __future__ import annotations

import html
import re
import shutil

import pytest

from micrograd import Value, nn, viz


@pytest.fixture
def expression():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = (a * b + a).tanh()
    c.backward()
    return a, b, c


# -- the graph


def test_trace_gives_nodes_and_edges(expression):
    a, b, c = expression
    nodes, edges = viz.trace(c)
    (total,) = c._prev
    (product,) = total._prev - {a}
    assert nodes == {a, b, c, total, product}
    assert edges == {(a, product), (b, product), (product, total), (a, total), (total, c)}


def test_trace_of_a_leaf():
    x = Value(1.0)
    assert viz.trace(x) == ({x}, set())


def test_trace_of_a_square_has_one_edge():
    x = Value(1.0)
    y = x * x
    assert viz.trace(y) == ({x, y}, {(x, y)})


def test_trace_does_not_recurse():
    x = y = Value(1.0)
    for _ in range(10_000):
        y = y.tanh()
    assert len(viz.trace(y)[0]) == 10_001
    assert x in viz.trace(y)[0]


def test_a_neuron_is_drawn_as_the_small_nodes_of_the_notebook():
    n = nn.Neuron(2)
    nodes, edges = viz.trace(n([1.0, -2.0]))
    assert sorted(node._op for node in nodes) == ["", "", "", "", "", "*", "*", "+", "+", "ReLU"]
    assert len(edges) == 9


@pytest.fixture
def graphviz():
    return pytest.importorskip("graphviz")


def boxes(dot):
    """The lines of text in each box, sorted."""
    tables = re.findall(r"<table.*?</table>", dot.source)
    return sorted(
        [html.unescape(re.sub(r"<[^>]+>", "", row)) for row in re.findall(r"<tr>.*?</tr>", t)] for t in tables
    )


def test_draw_dot_shows_label_data_grad_and_op(graphviz, expression):
    dot = viz.draw_dot(expression[2])
    assert isinstance(dot, graphviz.Digraph)
    assert dot.format == "svg"
    assert "rankdir=LR" in dot.source
    assert boxes(dot) == [
        ["a", "data 2.0000", "grad -0.0027"],
        ["b", "data -3.0000", "grad 0.0027"],
        ["data -0.9993", "grad 1.0000"],
        ["data -4.0000", "grad 0.0013"],
        ["data -6.0000", "grad 0.0013"],
    ]
    assert [f"[label={op} color" in dot.source for op in ('"+"', '"*"', "tanh")] == [True] * 3
    assert dot.source.count("->") == 8


def test_data_grad_and_op_have_colours_of_their_own(graphviz, expression):
    source = viz.draw_dot(expression[2]).source
    colours = [set(re.findall(f'bgcolor="([^"]+)">{what} ', source)) for what in ("data", "grad")]
    colours.append(set(re.findall(r'fillcolor="([^"]+)"', source)))
    assert [len(found) for found in colours] == [1, 1, 1]
    assert len(set.union(*colours)) == 3


def test_draw_dot_takes_format_and_direction(graphviz, expression):
    dot = viz.draw_dot(expression[2], "png", rankdir="TB")
    assert dot.format == "png"
    assert "rankdir=TB" in dot.source


def test_draw_dot_is_the_same_each_time(graphviz, expression):
    assert viz.draw_dot(expression[2]).source == viz.draw_dot(expression[2]).source


STRANGE = r"a|b {c} <d> &amp; \n \N" + "\x00\n\ud800"


def test_labels_and_ops_are_text_whatever_they_hold(graphviz):
    x = Value(1.0, label=STRANGE)
    y = Value(1.0, (x,), r"\N")
    dot = viz.draw_dot(y)
    assert boxes(dot)[0][0] == STRANGE[:-3].replace("\\", r"\\") + "   "
    assert r'label="\\N"' in dot.source


def test_labels_and_ops_of_any_type(graphviz):
    x = Value(1.0, label=0)
    y = Value(2.0, (x,))
    y._op, y.label = 3, None
    dot = viz.draw_dot(y)
    assert boxes(dot) == [["0", "data 1.0000", "grad 0.0000"], ["data 2.0000", "grad 0.0000"]]
    assert "[label=3 color" in dot.source


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not here")
def test_draw_dot_renders(graphviz, expression):
    expression[0].label = STRANGE
    svg = viz.draw_dot(expression[2]).pipe(encoding="utf-8")
    texts = [html.unescape(text).replace("\xa0", " ") for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]
    assert {"data 2.0000", "grad -0.0027", "tanh", STRANGE[:-3] + "   "} <= set(texts)


def test_more_nodes_than_can_be_seen_are_refused(graphviz):
    y = x = Value(1.0)
    for _ in range(500):
        y = y + x
    with pytest.raises(ValueError, match="more than 500 Values, too many to see: draw a part, fold it"):
        viz.draw_dot(y)
    assert viz.draw_dot(y, max_nodes=501).source.count("<table") == 501


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match="rankdir must be 'LR' or 'TB', not 'RL'"):
        viz.draw_dot(Value(1.0), rankdir="RL")


@pytest.mark.parametrize("root", [[Value(1.0)], 1.0, nn.MLP(1, [1])], ids=["list", "float", "MLP"])
def test_only_graphs_of_values_are_drawn(graphviz, root):
    for draw in (viz.trace, viz.draw_dot):
        with pytest.raises(TypeError, match=f"root must be a Value, not '{type(root).__name__}'"):
            draw(root)


# -- what is not installed


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("graphviz", "draw_dot(Value(1.0))"),
        ("matplotlib", "plot_loss([1.0])"),
        ("matplotlib", "plot_decision_boundary(sum, [[1.0, 2.0]], [1])"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(isolated, package, call):
    isolated(
        f"""
import sys
from micrograd import Value
from micrograd.viz import *
assert not {{"graphviz", "matplotlib", "numpy"}} & set(sys.modules), "imported before it is needed"
sys.modules[{package!r}] = None
try:
    {call}
except ImportError as error:
    assert str(error) == "micrograd.viz needs {package}: pip install 'micrograd-cython[viz]'", error
    assert error.name == {package!r}
else:
    raise AssertionError
"""
    )


# -- Matplotlib


@pytest.fixture
def pyplot():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")  # of examples in docstrings, which ran in this process before
    yield pyplot
    pyplot.close("all")


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


X, Y = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.25]], [1, -1, 1]


def difference(x):
    return Value(x[1]) - x[0]


def test_a_boundary_has_two_sides_a_line_and_the_samples(pyplot):
    axes = viz.plot_decision_boundary(difference, X, Y)
    fills, line, below, above = axes.collections
    assert [len(part) > 0 for part in (fills.get_paths(), line.get_paths())] == [True, True]
    assert [points.get_offsets().tolist() for points in (below, above)] == [[X[1]], [X[0], X[2]]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x[0]", "x[1]")
    assert legend(axes) == ["score 0", "y = -1", "y = 1"]
    marks = [points.get_paths()[0].vertices.shape for points in (below, above)]
    assert marks[0] != marks[1]


def test_a_boundary_goes_into_the_axes_it_is_given(pyplot):
    axes = pyplot.figure().add_subplot()
    assert viz.plot_decision_boundary(difference, X, Y, axes) is axes
    assert viz.plot_loss([1.0], ax=axes) is axes
    assert len(pyplot.get_fignums()) == 1


def test_a_model_of_one_mind_has_no_boundary(pyplot):
    for score in (lambda _: 1.0, lambda _: 0.0, lambda x: min(x[0], 0.0), lambda x: max(x[0], 0.0)):
        axes = viz.plot_decision_boundary(score, X, [0, 1, 0])
        assert len(axes.collections) == 3
        assert legend(axes) == ["y = 0", "y = 1"]


def test_the_legend_names_the_labels_that_there_are(pyplot):
    assert legend(viz.plot_decision_boundary(difference, X, [1, 2, -3])) == ["score 0", "y = -3", "y > 0"]
    assert legend(viz.plot_decision_boundary(difference, X, [1, 1, 1])) == ["score 0", "y = 1"]


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        ([1.0, 2.0], [1, 1], r"X must be of shape \(n, 2\), not \(2,\)"),
        ([[1.0, 2.0, 3.0]], [1], r"X must be of shape \(n, 2\), not \(1, 3\)"),
        (X, [1], r"y must be of shape \(3,\), as X has 3 samples, not \(1,\)"),
    ],
)
def test_samples_of_another_shape_are_refused(pyplot, samples, labels, message):
    with pytest.raises(ValueError, match=message):
        viz.plot_decision_boundary(difference, samples, labels)


def test_a_model_of_many_outputs_is_refused(pyplot):
    with pytest.raises(TypeError, match="the model's score must be a Value or a number, not 'list'"):
        viz.plot_decision_boundary(nn.MLP(2, [3]), X, Y)


def test_a_loss_curve_takes_numbers_and_values(pyplot):
    axes = viz.plot_loss(iter([Value(3.0), 2, 1.5]))
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[1.0, 3.0], [2.0, 2.0], [3.0, 1.5]]


def test_a_loss_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="a loss must be a Value or a number, not 'NoneType'"):
        viz.plot_loss([1.0, None])
