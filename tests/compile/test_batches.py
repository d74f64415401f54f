"""Batches: what is accepted as one, its shape, and what is refused."""

from __future__ import annotations

import array
import contextlib
import sys
from fractions import Fraction

import numpy as np
import pytest

import micrograd
from micrograd import Value, functional, nn

DOUBLE = micrograd.compile(lambda x: x[0] + 2 * x[1])


X = np.arange(12.0).reshape(6, 2)


EXPECTED = (X[:, 0] + 2 * X[:, 1]).tolist()


@pytest.mark.parametrize(
    "batch",
    [
        X,
        X.tolist(),
        tuple(map(tuple, X.tolist())),
        X.astype(np.float32),
        X.astype(np.int64),
        X.astype(np.uint8),
        X.astype(">f8"),
        X.astype(">f4"),
        X.astype(">i2"),
        X.astype(object),
        np.asfortranarray(X.astype(object)),
        np.array([[Fraction(int(x)) for x in sample] for sample in X]),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        np.repeat(X, 2, axis=1)[:, ::2],
        np.hstack([X, X])[:, :2],
        np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
        memoryview(X),
    ],
    ids=lambda batch: f"{type(batch).__name__} {getattr(batch, 'dtype', '')}",
)
def test_arrays_and_lists_of_numbers_are_batches(batch):
    assert DOUBLE.map(batch).tolist() == EXPECTED
    assert DOUBLE.sum(batch).data == sum(EXPECTED)


@pytest.mark.parametrize("numbers", [[2**64 - 1, 3], [-(2**63), 7], [2.5, -0.0], [True, False]])
@pytest.mark.parametrize("kind", ["u8", ">u8", "i8", "f2", "?", "O"])
def test_numbers_of_every_kind_are_those_of_python(numbers, kind):
    f = micrograd.compile(lambda x: x[0] * 1.0 if isinstance(x, list) else x * 1.0)
    with np.errstate(all="ignore"):
        x = np.array([n % 2**64 if "u" in kind else n for n in map(int, numbers)]).astype(kind)
    expected = [float(n) for n in x.tolist()]
    assert f.map(x).tolist() == f.map(x[:, None]).tolist() == f.map([[n] for n in x.tolist()]).tolist() == expected


def test_arrays_without_numpy():
    assert micrograd.compile(lambda x: x * x).sum(array.array("d", [1.0, 2.0])).data == 5.0


@pytest.mark.parametrize(
    "batch", [["a"], np.array(["1"]), np.array([1j]), np.array([Value(1.0)]), np.array([None]), b"ab", [Value(1.0)]]
)
def test_batches_of_anything_else_are_type_errors(batch):
    with pytest.raises(TypeError, match="argument 0"):
        micrograd.compile(lambda x: x).map(batch)


MASKED = np.ma.masked_array([1.0, 2.0], [False, True])


@pytest.mark.parametrize(
    "batch",
    [
        MASKED,
        np.ma.masked_array([1.0, 2.0]),
        np.ma.masked_array([1, 2], [True, False]),
        np.ma.masked_array([[1.0, 2.0]], [[False, True]]),
        MASKED.view(type("Own", (np.ma.MaskedArray,), {})),
        [MASKED, MASKED],
        (1.0, [MASKED]),
        [np.ma.masked, 1.0],
        [1.0, (2.0, np.ma.masked)],
        np.array([1.0, np.ma.masked], dtype=object),
        np.ma.masked,
    ],
    ids=range(11),
)
def test_masked_arrays_are_type_errors(batch):
    """NumPy would read masked elements as numbers, or as NaN."""
    f = micrograd.compile(lambda x: Value(1.0))
    with pytest.raises(TypeError, match="masked"):
        f(batch)
    with pytest.raises(TypeError, match="masked"):
        f(x=batch)
    with pytest.raises(TypeError, match="masked"):
        micrograd.compile(lambda x: batch)(1.0)
    for call in (f.map, f.sum, f.value_and_grad):
        with pytest.raises(TypeError, match="masked"):
            call(batch)
        with pytest.raises(TypeError, match="masked"):
            call([1.0], x=[batch])


def test_objects_that_convert_to_a_masked_array_are_type_errors():
    class Column:
        def __array__(self, dtype=None, copy=None):
            return MASKED

    with pytest.raises(TypeError, match="masked"):
        micrograd.compile(lambda x: Value(1.0)).map(Column())


def test_long_doubles_are_numbers():
    f = micrograd.compile(lambda x: x * np.longdouble(2))
    assert f(np.longdouble(3)).data == 6.0
    assert f.map(np.array([1, 2], np.longdouble)).tolist() == [2.0, 4.0]
    g = micrograd.compile(lambda x: x[0] + x[1])
    assert g(np.array([1, 2], np.longdouble)).data == 3.0
    assert [v.data for v in micrograd.compile(lambda x: np.array([1, 2], np.longdouble))(1.0)] == [1.0, 2.0]


def test_wrong_ranks_and_lengths_are_value_errors_with_the_shapes():
    f = micrograd.compile(lambda x, y: x * y)
    with pytest.raises(ValueError, match=r"argument 0 of shape \(2,\), argument 1 of shape \(3,\)"):
        f.sum([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"argument 0 of shape \(2,\), argument 'y' of shape \(\)"):
        f.map([1.0, 2.0], y=3.0)
    with pytest.raises(ValueError, match=r"argument 0 of shape \(2, ...\), argument 1 of shape \(3,\)"):
        f.map([[1.0], [1.0, 2.0]], [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        f.mean()
    with pytest.raises(ValueError, match="takes 2 inputs, not 3"):
        micrograd.compile(nn.MLP(2, [1])).map(np.zeros((4, 3)))


def test_no_samples():
    w = Value(2.0)
    f = micrograd.compile(lambda x: w * x)
    total = f.sum([])
    total.backward()
    assert (total.data, w.grad) == (0.0, 0.0)
    assert f.map([]).shape == (0,)
    assert f.value_and_grad([])[0] == 0.0
    g = micrograd.compile(lambda x, y=1.0: x * y)
    for call in (lambda: f.mean([]), lambda: f.mean(x=[]), lambda: g.mean([], y=[]), lambda: g.mean([], [])):
        with pytest.raises(ValueError, match="the mean of no samples"):
            call()


@pytest.mark.parametrize("samples", [1, 2, 255, 257, 512, 513, 769, 1025, 16_384, 16_385, 16_641])
def test_each_sample_is_computed_once(samples, exact):
    """Whatever is left for the last block, and for the last part that a thread takes."""
    f = micrograd.compile(lambda x: x + 1.0, exact=exact)
    x = np.arange(samples) % 7.0
    assert f.map(x).tolist() == (x + 1.0).tolist()
    assert f.sum(x).data == f.value_and_grad(x)[0] == (x + 1.0).sum()


def test_shapes_of_the_results_of_map():
    x = np.arange(3.0)
    assert micrograd.compile(lambda x: x).map(x).shape == (3,)
    assert micrograd.compile(lambda x: [x, x]).map(x).shape == (3, 2)
    assert micrograd.compile(lambda x: [[x, x, 1.0], [x, x, x]]).map(x).shape == (3, 2, 3)
    uneven = micrograd.compile(lambda x: [x, [x * 2, x * 3]]).map(x)
    assert [uneven[0].tolist(), uneven[1][1].tolist()] == [[0.0, 1.0, 2.0], [0.0, 3.0, 6.0]]
    for count in (1, 3):  # in the last row
        rows = micrograd.compile(lambda x, count=count: [[x, x], [x, x], [x] * count]).map(x)
        assert [len(row) for row in rows] == [2, 2, count]
        assert rows[2][-1].tolist() == x.tolist()


def test_the_sum_of_a_function_that_returns_a_list_is_a_type_error():
    with pytest.raises(TypeError, match="returns a list"):
        micrograd.compile(lambda x: [x, x]).sum([1.0])


@pytest.mark.parametrize("kind", "dfilbB")
@pytest.mark.parametrize(
    "use",
    [
        lambda f, x: f.map(x),
        lambda f, x: f.sum(x),
        lambda f, x: f.sum(x, [1.0]),  # of another length
        lambda f, x: micrograd.compile(lambda v: v / 0.0).map(x),
        lambda f, x: f.map([[1.0], [1.0, 2.0], [3.0]], x),  # ragged
    ],
    ids=["map", "sum", "lengths", "an error", "ragged"],
)
def test_arrays_are_not_held_after_a_call(kind, use):
    """An array that a call holds cannot be resized."""
    x = array.array(kind, [1, 2, 3])
    f = micrograd.compile(lambda v, w=2.0: (v[0] if isinstance(v, list) else v) * w)
    with contextlib.suppress(ValueError, ZeroDivisionError):
        use(f, x)
    x.append(4)
    many = np.arange(3.0).astype(kind)
    before = sys.getrefcount(many)
    with contextlib.suppress(ValueError, ZeroDivisionError):
        use(f, many)
    assert sys.getrefcount(many) == before


def test_shapes_of_the_same_lengths_are_told_apart():
    """A list of one and a number, or both the other way round; a list of lists, or a number and a list."""
    f = micrograd.compile(lambda x, y=None: functional.sum(x) * 2.0 + y if isinstance(x, list) else x + y[0] * 3.0)
    for call in (f.sum, lambda *arrays: functional.sum(f.map(*arrays))):
        for _ in range(2):
            assert call([[1.0], [2.0]], [5.0, 6.0]).data == 17.0
            assert call([1.0, 2.0], [[5.0], [6.0]]).data == 36.0
    g = micrograd.compile(lambda x, y=None: x[0][0] if y is None else x + y[1])
    for _ in range(2):
        assert g.sum([1.0, 2.0], [[5.0, 7.0], [6.0, 8.0]]).data == 18.0
        assert g.sum([[[5.0, 7.0]], [[6.0, 8.0]]]).data == 11.0
