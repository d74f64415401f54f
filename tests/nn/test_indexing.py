"""`embedding` and `take`: what they return, where gradients go, which indexes are refused."""

from __future__ import annotations

import numpy as np
import pytest

import micrograd
from helpers import Label, agrees
from micrograd import Value, functional

INDEXES = [1, True, np.int64(1), np.uint8(1), np.array(1), np.array(1, np.int8), Label()]
NO_INDEXES = [1.0, np.float64(1.0), np.array(1.0), None, 1j, "1", [1], (1, 0), np.array([1]), Value(1.0)]


@pytest.fixture
def table():
    return [[Value(10.0 * i + j) for j in range(2)] for i in range(3)]


@pytest.mark.parametrize("i", INDEXES, ids=repr)
def test_an_embedding_is_the_row_itself(table, i):
    row = functional.embedding(i, table)
    assert row == table[1]
    assert row is not table[1]


@pytest.mark.parametrize("i", INDEXES, ids=repr)
def test_take_returns_the_value_itself(table, i):
    assert functional.take(table[0], i) is table[0][1]


def test_tensors_without_dimensions_are_indexes(table):
    torch = pytest.importorskip("torch")
    assert functional.embedding(torch.tensor(2), table) == table[2]
    assert functional.take(table[0], torch.tensor([1, 0])[1]) is table[0][0]
    for i in (torch.tensor([1]), torch.tensor(1.0)):
        with pytest.raises(TypeError, match="an index must be"):
            functional.embedding(i, table)


def test_embeddings_agree_with_pytorch(table):
    """Grads of a row that is used twice add up, and other rows have none."""
    torch = pytest.importorskip("torch")
    rows, used = [functional.embedding(i, table) for i in (2, 0, 2)], torch.tensor([2, 0, 2])
    functional.sum(x * x for row in rows for x in row).backward()
    weight = torch.tensor([[x.data for x in row] for row in table], dtype=torch.float64, requires_grad=True)
    torch.nn.functional.embedding(used, weight).square().sum().backward()
    assert [[x.grad for x in row] for row in table] == weight.grad.tolist()


def test_gradients_go_to_what_was_taken_alone(table):
    loss = functional.take(table[1], 1) * 3.0 + functional.sum(functional.embedding(1, table))
    loss.backward()
    assert [[x.grad for x in row] for row in table] == [[0.0, 0.0], [1.0, 4.0], [0.0, 0.0]]
    loss.backward()  # the sum's grad, 1, has become 2
    assert table[1][0].grad == 3.0


@pytest.mark.parametrize(
    "rows",
    [[[1, 2], [3, 4]], ((1.0, 2.0), (3.0, 4.0)), np.array([[1, 2], [3, 4]]), [np.array([1.0, 2.0]), [Value(3.0), 4]]],
    ids=["ints", "tuples", "array", "mixed"],
)
def test_numbers_become_values(rows):
    row = functional.embedding(1, rows)
    assert all(isinstance(x, Value) for x in row)
    assert [x.data for x in row] == [3.0, 4.0]
    taken = functional.take(rows[0], 1)
    assert isinstance(taken, Value)
    assert taken.data == 2.0


@pytest.mark.parametrize("i", [-1, 3, np.int64(3), np.array(-1), 10**30, -(10**30)], ids=repr)
def test_what_is_not_there_is_refused(table, i):
    with pytest.raises(IndexError, match=rf"^index {i} of 3 items$"):
        functional.embedding(i, table)
    with pytest.raises(IndexError, match=rf"^index {i} of 3 items$"):
        functional.take([1.0, 2.0, 3.0], i)
    with pytest.raises(IndexError, match=r"^index 0 of 0 items$"):
        functional.embedding(0, [])
    with pytest.raises(IndexError, match=r"^index 0 of 0 items$"):
        functional.take([], 0)


@pytest.mark.parametrize("i", NO_INDEXES, ids=repr)
def test_what_is_no_integer_is_refused(table, i):
    for refused in (lambda: functional.embedding(i, table), lambda: functional.take(table[0], i)):
        with pytest.raises(TypeError, match=r"an index must be (an|one) integer, not ") as caught:
            refused()
        assert repr(i) in str(caught.value)


def test_compiled_functions_take_python_s_ints(table, exact):
    def function(x):
        return functional.dot(functional.embedding(1, table), x) * functional.take(x, 0)

    compiled = micrograd.compile(function, exact=exact)
    X = np.arange(6.0).reshape(3, 2)
    assert all(agrees(ours, function(x).data, exact) for ours, x in zip(compiled.map(X), X.tolist()))
    compiled([1.0, 2.0]).backward()
    assert [[x.grad for x in row] for row in table] == [[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]


def test_what_is_no_number_is_named():
    with pytest.raises(TypeError, match="a weight must be a real number, not 'str'"):
        functional.embedding(0, [["a"]])
    with pytest.raises(TypeError, match="a value must be a real number, not 'str'"):
        functional.take(["a"], 0)
