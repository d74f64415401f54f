"""Arguments of a compiled function that index: embedding, take and targets of cross_entropy."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

import micrograd
from helpers import agrees, bits, grads_of
from micrograd import TraceError, Value, functional
from micrograd._compile import check_program


def table(rows, columns, seed=0):
    draw = random.Random(seed)
    return [[Value(draw.uniform(-1, 1)) for _ in range(columns)] for _ in range(rows)]


def bigram(weight, head):
    """The loss of the next token after each of a list."""

    def loss(tokens):
        losses = []
        for token, target in zip(tokens, tokens[1:]):
            logits = functional.linear(functional.tanh(functional.embedding(token, weight)), head)
            losses.append(functional.cross_entropy(logits, target))
        return functional.mean(losses)

    return loss


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 9, 40, 300])
def test_a_bigram_model_is_that_of_eager_code(samples, exact):
    weight, head = table(5, 3), table(5, 3, seed=1)
    leaves = [v for row in weight + head for v in row]
    function = bigram(weight, head)
    tokens = np.random.default_rng(samples).integers(0, 5, (samples, 4))
    compiled = micrograd.compile(function, exact=exact)
    expected = [function(sample) for sample in tokens.tolist()]
    found = compiled.map(tokens)
    assert all(agrees(ours, theirs.data, exact) for ours, theirs in zip(found, expected))
    theirs = grads_of(leaves, functional.sum(expected))
    assert grads_of(leaves, compiled.sum(tokens)) == pytest.approx(theirs, rel=1e-11, abs=1e-13)
    order = {id(leaf): grad for leaf, grad in zip(leaves, theirs)}
    total, grads = compiled.value_and_grad(tokens)
    assert total == pytest.approx(sum(v.data for v in expected), rel=1e-12)
    assert grads.tolist() == pytest.approx([order[id(leaf)] for leaf in compiled.captured], rel=1e-11, abs=1e-13)
    one = compiled(tokens[0].tolist())
    assert bits(one.data) == bits(found[0])
    assert grads_of(leaves, one) == pytest.approx(grads_of(leaves, expected[0]), rel=1e-11, abs=1e-13)
    for traced in compiled._programs.values():
        check_program(traced.program)


def test_indices_may_have_any_type_that_is_integral():
    values = table(1, 4)[0]
    f = micrograd.compile(lambda i: functional.take(values, i))
    for i in (2, 2.0, np.int64(2), np.float32(2.0), Value(2.0), True + 1):
        assert f(i).data == values[2].data
    assert f(-0.0).data == values[0].data
    for dtype in (int, np.uint8, float, bool):
        assert f.map(np.array([1, 0], dtype)).tolist() == [values[1].data, values[0].data]


def test_an_argument_may_be_an_index_and_a_number():
    weight = table(3, 1)
    f = micrograd.compile(lambda i: functional.embedding(i, weight)[0] * i + i)
    assert f.map([0, 1, 2]).tolist() == [weight[i][0].data * i + i for i in range(3)]
    i = Value(2.0)
    result = f(i)
    result.backward()
    assert (i.grad, weight[2][0].grad, weight[1][0].grad) == (weight[2][0].data + 1.0, 2.0, 0.0)


def test_an_index_may_be_computed():
    values = table(1, 5)[0]
    f = micrograd.compile(lambda i: functional.take(values, 2 * i + 1))
    assert f.map([0, 1]).tolist() == [values[1].data, values[3].data]
    with pytest.raises(IndexError, match=r"^sample 1: index 5 of 5 items$"):
        f.map([0, 2])


def test_items_may_depend_on_arguments_and_be_arguments():
    w = Value(0.5)

    def function(x, i):
        return functional.take([x[0] * w, x[1], w, 3.0, x[0]], i) * 2.0

    compiled = micrograd.compile(function)
    X = np.random.default_rng(0).normal(size=(10, 2))
    chosen = np.arange(10) % 5
    expected = [function([*map(Value, x)], i) for x, i in zip(X.tolist(), chosen.tolist())]
    assert compiled.map(X, chosen).tolist() == [v.data for v in expected]
    compiled.sum(X, chosen).backward()
    grad = w.grad
    assert grad == pytest.approx(grads_of([w], functional.sum(expected))[0], rel=1e-12)
    for i in range(5):
        x = [Value(0.25), Value(-2.0)]
        assert grads_of([*x, w], compiled(x, i)) == grads_of([*x, w], function(x, i)), i


def test_what_is_not_taken_gets_no_gradient_though_its_own_is_infinite():
    w, x = Value(2.0), Value(0.0)
    f = micrograd.compile(lambda x, i: functional.take([x * 1e300 * 1e300, w * x], i))
    f(x, 1).backward()
    assert (w.grad, x.grad) == (0.0, 2.0)


@pytest.mark.parametrize("target", range(3))
@pytest.mark.parametrize("logits", [[0.5, -1.0, 2.0], [1000.0, 0.0, -1000.0], [5.0, 5.0, 5.0], [0.0, 40.0, 0.0]])
def test_cross_entropy_is_that_of_eager_code_to_the_bit(logits, target):
    """Data and gradients, though losses near 0 cancel."""
    f = micrograd.compile(lambda x, i: functional.cross_entropy(x, i), exact=True)
    ours, theirs = [*map(Value, logits)], [*map(Value, logits)]
    found, expected = f(ours, target), functional.cross_entropy(theirs, target)
    found.backward()
    expected.backward()
    assert bits(found.data) == bits(expected.data)
    assert [x.grad for x in ours] == pytest.approx([x.grad for x in theirs], rel=1e-15, abs=0)


def test_equal_logits_share_a_gradient():
    f = micrograd.compile(lambda x, i: functional.cross_entropy([x[0], x[1], x[0]], i))
    for target in range(3):
        ours, theirs = [Value(0.5), Value(-1.0)], [Value(0.5), Value(-1.0)]
        f(ours, target).backward()
        functional.cross_entropy([theirs[0], theirs[1], theirs[0]], target).backward()
        assert [x.grad for x in ours] == pytest.approx([x.grad for x in theirs], rel=1e-14)


def test_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    weight, head = table(7, 4), table(7, 4, seed=1)
    tokens = np.random.default_rng(0).integers(0, 7, (30, 5))
    f = micrograd.compile(bigram(weight, head))
    loss = f.mean(tokens)
    loss.backward()
    W, H = (
        torch.tensor([[v.data for v in row] for row in t], dtype=torch.float64, requires_grad=True)
        for t in (weight, head)
    )
    x = torch.tensor(tokens)
    logits = torch.tanh(torch.nn.functional.embedding(x[:, :-1], W)) @ H.T
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, 7), x[:, 1:].reshape(-1))
    expected.backward()
    assert loss.data == pytest.approx(expected.item(), rel=1e-13)
    for ours, theirs in ((weight, W), (head, H)):
        assert [v.grad for row in ours for v in row] == pytest.approx(
            theirs.grad.ravel().tolist(), rel=1e-11, abs=1e-15
        )


# ---- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        (3, IndexError, "index 3 of 3 items"),
        (-1, IndexError, "index -1 of 3 items"),
        (1e300, IndexError, f"index {int(1e300)} of 3 items"),
        (0.5, TypeError, "an index must be an integer, not 0.5"),
        (float("nan"), TypeError, "an index must be an integer, not nan"),
        (float("-inf"), TypeError, "an index must be an integer, not -inf"),
    ],
)
def test_what_is_no_index_raises_with_its_sample(index, kind, message, exact):
    weight = table(3, 2)
    functions = [
        lambda i: functional.embedding(i, weight)[1],
        lambda i: functional.take([i * row[0] for row in weight], i),
        lambda i: functional.take(weight[0] + [i], i),
    ]
    for function in functions:
        f = micrograd.compile(function, exact=exact)
        with pytest.raises(kind) as raised:
            f(index)
        assert str(raised.value) == message
        for call in (f.map, f.sum, f.value_and_grad):
            with pytest.raises(kind) as raised:
                call([0.0] * 20 + [index, 7.0])
            assert str(raised.value) == f"sample 20: {message}"
        assert f.map([0, 1]).shape == (2,)


def test_targets_that_are_none():
    f = micrograd.compile(lambda x, i: functional.cross_entropy(x, i))
    assert f.map([[0.0, 0.0]], [1]).tolist() == [pytest.approx(np.log(2.0))]
    for target, kind, message in [
        (2, IndexError, "target 2 of 2 logits"),
        (-1, IndexError, "target -1 of 2 logits"),
        (0.5, TypeError, "an index must be an integer, not 0.5"),
    ]:
        with pytest.raises(kind) as raised:
            f.map([[0.0, 1.0]] * 3, [0, 1, target])
        assert str(raised.value) == f"sample 2: {message}"
        if kind is IndexError:
            with pytest.raises(kind) as raised:
                functional.cross_entropy([0.0, 1.0], target)
            assert str(raised.value) == message


def test_of_several_errors_the_first_in_the_code_is_raised():
    def function(x, i):
        y = (x - 1.0).log()
        return y + functional.take([x, y], i)

    f = micrograd.compile(function)
    for sample, kind in [((0.5, 7), ValueError), ((2.0, 7), IndexError), ((2.0, 0.5), TypeError)]:
        with pytest.raises(kind, match=r"^sample 1: "):
            f.map([2.0, sample[0], 0.0], [0, sample[1], 9])


def test_rows_of_an_embedding_are_of_one_length():
    with pytest.raises(ValueError, match=r"1 numbers in weight\[1\] for 2 numbers in weight\[0\]"):
        micrograd.compile(lambda i: functional.embedding(i, [[1.0, 2.0], [3.0]])[0])(0)
    with pytest.raises(ValueError, match=r"3 numbers in weight\[2\] for 2 numbers in weight\[0\]"):
        micrograd.compile(lambda i: functional.embedding(i, [[1.0, 2.0]] * 2 + [[1.0] * 3])[0])(0)
    with pytest.raises(ValueError, match="embedding of no rows"):
        micrograd.compile(lambda i: functional.sum(functional.embedding(i, [])))(0)
    with pytest.raises(IndexError, match="index 0 of 0 items"):
        micrograd.compile(lambda i: functional.take([], i))(0)


def test_a_value_from_outside_is_no_index():
    i = Value(1.0)
    with pytest.raises(TypeError, match="an index must be an integer"):
        functional.take([1.0, 2.0], i)
    with pytest.raises((TypeError, TraceError)):
        micrograd.compile(lambda x: functional.take([x, 2.0], i))(1.0)


def test_an_index_kept_from_a_trace_is_none_elsewhere():
    kept = []
    micrograd.compile(lambda i: kept.append(i) or i * 1.0)(1.0)
    for function in (
        lambda: functional.take([1.0, 2.0], kept[0]),
        lambda: functional.embedding(kept[0], [[1.0], [2.0]]),
        lambda: functional.cross_entropy([1.0, 2.0], kept[0]),
    ):
        with pytest.raises(TypeError, match="integer"):
            function()
    with pytest.raises(TraceError, match="of another call"):
        micrograd.compile(lambda x: functional.take([x, 2.0], kept[0]))(1.0)


def test_an_index_of_python_names_what_to_use():
    with pytest.raises(TraceError, match=r"functional\.embedding.*functional\.take.*static_argnames"):
        micrograd.compile(lambda i: [1.0, 2.0][i])(1)


# ---- What else a compiled function does ------------------------------------------------------------------------------


def test_pickles_threads_methods_and_inlined_calls():
    weight, head = table(5, 3), table(5, 3, seed=1)
    tokens = np.random.default_rng(1).integers(0, 5, (2000, 4))
    f = micrograd.compile(bigram(weight, head))
    expected = f.value_and_grad(tokens)
    copied = pickle.loads(pickle.dumps(f))
    assert copied.map(tokens).tolist() == f.map(tokens).tolist()
    for threads in (2, 5):
        total, grads = micrograd.compile(bigram(weight, head), threads=threads).value_and_grad(tokens)
        assert (total, grads.tolist()) == (expected[0], expected[1].tolist())

    class Model:
        weight = table(5, 1)

        @micrograd.compile
        def score(self, i):
            return functional.embedding(i, self.weight)[0]

    model = Model()
    assert model.score.map([3, 4]).tolist() == [model.weight[3][0].data, model.weight[4][0].data]
    outer = micrograd.compile(lambda i, j: model.score(i) + model.score(j))
    assert outer(1, 2).data == model.weight[1][0].data + model.weight[2][0].data


def test_inlined_calls_with_constant_indices():
    """The number is a Value in the inlined function, which selects while the outer one is traced."""
    values = table(1, 4)[0]
    take = micrograd.compile(lambda i: functional.take(values, i))
    row = micrograd.compile(lambda i: functional.embedding(2 * i + 1, [[v] for v in values])[0])
    loss = micrograd.compile(lambda x, i: functional.cross_entropy(x, i))
    outer = micrograd.compile(lambda x: [take(2) * x, take(2.0), row(1), loss([x, x * 2.0], 1)])
    expected = functional.cross_entropy([1.0, 2.0], 1).data
    assert outer.map([1.0]).tolist() == [[values[2].data, values[2].data, values[3].data, pytest.approx(expected)]]
    assert "take" not in outer.program
    assert outer.captured == [values[2], values[3]]
    for index, kind, message in [
        (4, IndexError, "index 4 of 4 items"),
        (-1, IndexError, "index -1 of 4 items"),
        (0.5, TypeError, "an index must be an integer, not 0.5"),
        (-0.5, TypeError, "an index must be an integer, not -0.5"),
        (float("nan"), TypeError, "an index must be an integer, not nan"),
    ]:
        with pytest.raises(kind) as raised:
            micrograd.compile(lambda x, index=index: take(index) * x)(1.0)
        assert str(raised.value) == message
    with pytest.raises(IndexError, match=r"^target 2 of 2 logits$"):
        micrograd.compile(lambda x: loss([x, x], 2))(1.0)


def test_tables_are_captured_row_by_row():
    """As parameters() lists them, one table after the other, whatever is read first; what is not read is left out."""
    tables = [table(3, 2), table(3, 4, seed=1)]

    def function(i, j):
        first, second = (functional.embedding(i, weight) for weight in tables)
        return second[3] * first[1] + functional.embedding(j, tables[1])[0] * second[1] * first[0]

    f = micrograd.compile(function)
    f(0, 1)
    leaves = [v for row in tables[1] for v in (row[1], row[3])] + [v for row in tables[0] for v in row]
    assert [*map(id, f.captured)] == [*map(id, leaves + [row[0] for row in tables[1]])]
    x = [Value(1.0), 2.0, Value(3.0)]
    f = micrograd.compile(lambda i, y: functional.sum(functional.embedding(i, [x, [y, y * x[2], tables[0][0][0]]])))
    assert f.map([0, 1], [5.0, 7.0]).tolist() == [6.0, 28.0 + tables[0][0][0].data]
    assert [*map(id, f.captured)] == [id(x[0]), id(x[2]), id(tables[0][0][0])]


def test_the_listing_names_what_is_taken():
    weight = table(3, 2)
    f = micrograd.compile(lambda i, x: functional.sum([a * b for a, b in zip(functional.embedding(i, weight), x)]))
    f(0, [1.0, 2.0])
    assert "    r0, r1 = take(x0: w0 … w4), take(x0: w1 … w5)\n" in f.program
    f = micrograd.compile(lambda i, x: functional.cross_entropy(x, i))
    f(0, [1.0, 2.0])
    assert " = entropy_normalizer(x0: r1, r2)\n" in f.program
