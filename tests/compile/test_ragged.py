"""Ragged batches: samples of different structure, such as documents of different lengths."""

from __future__ import annotations

import array
import math
import pickle
import sys
import warnings

import numpy as np
import pytest

import micrograd
from both_engines import flat
from helpers import agrees, complaint
from micrograd import TraceError, Value, functional

DOCUMENTS = [[1.0, 2.0, 3.0], [4.0], [], [5.0, 6.0], [7.0], [8.0, 9.0, 1.0]]
TARGETS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def objects(samples):
    """An array of objects."""
    made = np.empty(len(samples), dtype=object)
    for i, sample in enumerate(samples):
        made[i] = sample
    return made


KINDS = {
    "lists": lambda samples: samples,
    "tuple": lambda samples: tuple(map(tuple, samples)),
    "ints": lambda samples: [[*map(int, sample)] for sample in samples],
    "objects": objects,
    "arrays": lambda samples: [np.array(sample) for sample in samples],
    "float32": lambda samples: objects([np.array(sample, dtype=np.float32) for sample in samples]),
    "strided": lambda samples: [np.repeat(sample, 2)[::2] for sample in samples],
    "array.array": lambda samples: [array.array("d", sample) for sample in samples],
    "mixed": lambda samples: [(list, tuple, np.array)[i % 3](sample) for i, sample in enumerate(samples)],
    "scalars": lambda samples: [[np.float64(x) if x > 2 else np.int64(x) for x in sample] for sample in samples],
}


@pytest.fixture(params=[1, 2])
def threads(request):
    return request.param


@pytest.fixture(params=KINDS)
def documents(request):
    """The documents, in lists, tuples and arrays."""
    return KINDS[request.param](DOCUMENTS)


def model(leaves):
    """A function of a document and a target, and the leaves that it uses for a document of any length."""
    w, b, single = leaves
    return lambda x, y: (functional.sum([w * a for a in x]) + b - y) ** 2 + (single * y if len(x) == 1 else 0.0)


def test_results_are_those_of_the_samples(documents, threads, exact):
    leaves = Value(0.5), Value(-1.0), Value(3.0)
    f = micrograd.compile(model(leaves), threads=threads, exact=exact)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of NumPy, which makes arrays of objects of ragged lists
        found = f.map(documents, TARGETS)
    assert found == [f(x, y).data for x, y in zip(DOCUMENTS, TARGETS)]
    assert [type(x) for x in found] == [float] * 6
    assert f.retraces == 3
    samples = [model(leaves)([*map(Value, x)], Value(y)) for x, y in zip(DOCUMENTS, TARGETS)]
    assert all(agrees(ours, theirs.data, exact) for ours, theirs in zip(found, samples))
    eager = functional.sum(samples)
    eager.backward()
    expected = [leaf.grad for leaf in f.captured]
    for call, scale in ((f.sum, 1.0), (f.mean, 1 / 6)):
        for leaf in leaves:
            leaf.grad = 0.0
        total = call(documents, TARGETS)
        assert total.data == pytest.approx(scale * eager.data, rel=1e-14)
        assert total._children == tuple(f.captured)
        (2.0 * total).backward()
        assert [leaf.grad for leaf in f.captured] == pytest.approx([2 * scale * g for g in expected], rel=1e-14)
    total, grads = f.value_and_grad(documents, y=TARGETS)
    assert (total, grads.tolist()) == (pytest.approx(eager.data), pytest.approx(expected))
    assert f.retraces == 7  # y by name: the same four structures again


def test_a_structure_is_traced_once():
    traced = []
    f = micrograd.compile(lambda x: traced.append(len(x)) or functional.sum(x))
    f([1.0, 2.0])
    f.sum([[1.0, 2.0], [3.0, 4.0]])
    for call in (f.map, f.sum, f.mean, f.value_and_grad):
        for _ in range(2):
            call(DOCUMENTS)
            call(KINDS["tuple"](DOCUMENTS))
    assert traced == [2, 3, 1, 0]
    assert f.retraces == 3


def test_sums_of_groups_are_added():
    """Added one by one to 3.0, the small numbers would be lost."""
    x = [[1e-16, 0.0]] + [[1.0]] * 3 + [[1e-16, 0.0]] * 1000
    totals = {micrograd.compile(lambda x: x[0] * 1.0, threads=k).sum(x).data for k in (1, 2, 5)}
    assert totals == {math.fsum([1e-16] * 1001) + 3.0}


def test_rectangular_lists_are_arrays():
    f = micrograd.compile(lambda x: x[0] if isinstance(x, list) else x)
    for batch, expected in (
        ([[1.0, 2.0], [3.0, 4.0]], [1.0, 3.0]),
        ([np.array([1.0, 2.0]), [3, 4]], [1.0, 3.0]),
        (objects([[1.0, 2.0], (3.0, 4.0)]), [1.0, 3.0]),
        (objects([np.array([1.0, 2.0]), np.array([3, 4])]), [1.0, 3.0]),
        ([range(1, 3), range(3, 5)], [1.0, 3.0]),
        (objects([1.0, 2.0]), [1.0, 2.0]),
    ):
        found = f.map(batch)
        assert isinstance(found, np.ndarray)
        assert found.tolist() == expected
    assert f.retraces == 1


def test_one_structure_gives_arrays_even_if_it_is_nested_unevenly():
    w = Value(2.0)
    f = micrograd.compile(lambda x: x[0] * functional.sum(x[1]) * w)
    batch = [[1.0, [2.0, 3.0]], (4.0, np.array([5.0, 6.0]))]
    assert f.map(batch).tolist() == [10.0, 88.0]
    assert f.map(batch[:1]).tolist() == [10.0]
    total = f.mean(batch)
    total.backward()
    assert (total.data, w.grad, f.retraces) == (49.0, 24.5, 0)


def test_what_map_gives():
    one = micrograd.compile(lambda x: x[0] + 1.0)
    assert one.map([[1.0], [2.0, 3.0]]) == [2.0, 3.0]
    found = micrograd.compile(lambda x: [[a, a] for a in x]).map([[1.0], [2.0, 3.0], [4.0], []])
    assert [item.tolist() for item in found] == [[[1.0, 1.0]], [[2.0, 2.0], [3.0, 3.0]], [[4.0, 4.0]], []]
    uneven = micrograd.compile(lambda x: [x[0], (x[-1], [])])
    assert uneven.map([[1.0], [2.0, 3.0]]) == [[1.0, (1.0, [])], [2.0, (3.0, [])]]
    mixed = micrograd.compile(lambda x: x[0] if isinstance(x, list) else [x])
    assert [*map(np.shape, mixed.map([[1.0, 2.0], 3.0]))] == [(), (1,)]


def test_samples_of_any_rank_and_depth():
    total = micrograd.compile(lambda x: functional.sum(flat(x)))
    batch = [1.0, [2.0, 3.0], np.ones((2, 3)), [[1.0], [[2.0]]], np.float32(4.0), np.ones((0, 3)), [[], []], range(3)]
    assert total.map(batch) == [1.0, 5.0, 6.0, 3.0, 4.0, 0.0, 0.0, 3.0]


def test_tuples_count_as_lists_as_in_arrays():
    f = micrograd.compile(lambda x: x[0] + float(isinstance(x, list)))
    assert f.map([(1.0, 2.0), (3.0,)]) == [2.0, 4.0]
    assert f.map([(1.0, 2.0), (3.0, 4.0)]).tolist() == [2.0, 4.0]
    assert f.retraces == 1


def test_arrays_of_some_arguments_and_lists_of_others(threads):
    f = micrograd.compile(lambda x, y, z, u: functional.sum([*x, *u]) + y[0] * y[1] + z[0], threads=threads)
    y = np.arange(12.0).reshape(6, 2)
    found = f.map(DOCUMENTS, y[::-1], z=y * 100.0, u=DOCUMENTS[::-1])
    assert found == [f(*sample).data for sample in zip(DOCUMENTS, y[::-1], y * 100.0, DOCUMENTS[::-1])]


def test_lengths_differ():
    f = micrograd.compile(lambda x, y: functional.sum(x) + y)
    for y, shape in (([1.0], r"\(1,\)"), (1.0, r"\(\)"), (np.ones((3, 2)), r"\(3, 2\)"), ([[1.0], []], r"\(2, ...\)")):
        text = rf"need a leading axis of one length: argument 0 of shape \(6, ...\), argument 'y' of shape {shape}$"
        for call in (f.map, f.sum, f.mean, f.value_and_grad):
            with pytest.raises(ValueError, match=text):
                call(DOCUMENTS, y=y)
    with pytest.raises(ValueError, match=r"argument 0 of shape \(1,\), argument 1 of shape \(6, ...\)"):
        f.map([1.0], DOCUMENTS)


def test_static_arguments_and_methods():
    class Model:
        def __init__(self, w):
            self.w = Value(w)

        @micrograd.compile(static_argnames="power")
        def loss(self, x, power, kind="sum"):
            return getattr(functional, kind)([self.w * a**power for a in x])

    a, b = Model(2.0), Model(3.0)
    assert a.loss.map([[1.0, 2.0], [3.0]], 2) == [10.0, 18.0]
    assert a.loss.map(x=[[1.0, 2.0], [], [3.0]], power=2) == [10.0, 0.0, 18.0]
    assert Model.loss.sum(b, [[1.0, 2.0], [3.0]], power=1).data == 18.0
    assert b.loss.mean([[1.0, 3.0], [4.0]], 1, kind="mean").data == 9.0
    total, grads = b.loss.value_and_grad([[1.0, 3.0], [4.0]], 1)
    assert (total, grads.tolist()) == (24.0, [8.0])
    assert (a.loss.captured, b.loss.captured, Model.loss.captured) == ([a.w], [b.w], [])


def test_the_first_sample_that_raises_is_named(threads, exact):
    f = micrograd.compile(lambda x: functional.sum([a.log() for a in x]), threads=threads, exact=exact)
    rest = [[1.0]] * 300 + [[1.0, 1.0]] * 300
    domain = complaint(math.log, -1.0)
    for call in (f.map, f.sum, f.mean, f.value_and_grad):
        for batch, sample in (
            ([[1.0], [1.0, 2.0], [1.0, -1.0], [-1.0], [1.0]], 2),
            ([[1.0], [1.0, 2.0], [-1.0], [1.0, -1.0], [1.0]], 2),
            ([*rest, [-1.0], [1.0, -1.0]], 600),
            ([*rest, [1.0, -1.0], [-1.0]], 600),
            ([[1.0, 2.0], [1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0]], 1),
        ):
            with pytest.raises(ValueError, match=f"^sample {sample}: {domain}"):
                call(batch)


def test_errors_of_the_trace_are_those_of_its_first_sample():
    """Samples before it may raise something else."""

    def function(x):
        if len(x) == 2:
            raise KeyError("two")
        return x[0].log()

    f = micrograd.compile(function)
    for call in (f.map, f.sum, f.value_and_grad):
        with pytest.raises(ValueError, match=r"^sample 1: "):
            call([[1.0], [-1.0], [1.0, 2.0]])
        with pytest.raises(KeyError, match="two"):
            call([[1.0], [1.0, 2.0], [-1.0]])
        with pytest.raises(IndexError):
            call([[1.0], [], [1.0, 2.0], [-1.0]])
    lists = micrograd.compile(lambda x: x[0].log() if len(x) == 1 else x)
    with pytest.raises(TypeError, match="returns a list"):
        lists.sum([[1.0], [1.0, 2.0], [-1.0]])
    with pytest.raises(ValueError, match=r"^sample 1: "):
        lists.mean([[1.0], [-1.0], [1.0, 2.0]])


def test_errors_of_the_prologue_are_those_of_its_first_sample():
    w = Value(-1.0)
    f = micrograd.compile(lambda x: x[0].log() * w.sqrt() if len(x) == 2 else x[0].log())
    w.data = 1.0
    f.sum([[1.0], [1.0, 2.0]])
    w.data = -1.0
    with pytest.raises(ValueError, match=r"^sample 1: "):
        f.sum([[1.0], [-1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match=f"^{complaint(math.sqrt, -1.0)}"):
        f.sum([[1.0], [1.0, 2.0], [-1.0]])


def test_a_missing_derivative_raises_in_backward(threads):
    w = Value(1.0)
    f = micrograd.compile(lambda x: functional.sum([(w * a) ** 0.5 for a in x]), threads=threads)
    batch = [[1.0], [4.0, 4.0], [4.0, 0.0], [0.0], [4.0]]
    total = f.sum(batch)
    assert total.data == 9.0
    with pytest.raises(ZeroDivisionError, match=r"^sample 2: "):
        total.backward()
    with pytest.raises(ZeroDivisionError, match=r"^sample 2: "):
        f.value_and_grad(batch)
    with pytest.raises(ZeroDivisionError, match=r"^sample 1: "):
        f.mean([[1.0], [0.0], [4.0, 0.0]]).backward()
    with pytest.raises(ValueError, match=r"^sample 5: "):  # the forward pass of all samples comes first
        f.sum([*batch, [-1.0]])
    g = micrograd.compile(lambda x: (w - 1.0).sqrt() * x[0] if len(x) == 1 else (w * x[0]).sqrt())
    with pytest.raises(ZeroDivisionError, match=r"^sample 1: "):  # a number before none
        g.sum([[1.0], [0.0, 1.0]]).backward()
    with pytest.raises(ZeroDivisionError, match=r"^(?!sample)"):
        g.sum([[1.0], [1.0, 1.0]]).backward()


NO_NUMBER = "TypeError: sample 1: an element of argument 0 must be a real number, not "
MASK = "TypeError: argument 0 must not be a masked array or contain one"


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        ([[1.0], [2.0, "a"]], f"{NO_NUMBER}'str'"),
        ([[1.0], [Value(1.0), 2.0]], f"{NO_NUMBER}'Value'"),
        ([[1.0], "ab"], f"{NO_NUMBER}'str'"),
        ([[1.0], None, [1.0, 2.0]], f"{NO_NUMBER}'NoneType'"),
        ([[1.0], [1j, 2.0]], f"{NO_NUMBER}'complex'"),
        ([[1.0], [10**400, 2.0]], "OverflowError: int too large to convert to float"),
        ([[1.0], [2.0, np.ma.masked]], MASK),
        ([np.ma.ones(2), np.ma.ones(3)], MASK),
        (objects([[1.0], np.ma.ones(3)]), MASK),
        (
            [[1.0], np.broadcast_to(0.0, sys.maxsize // 64)],
            "ValueError: argument 0 has more than 16,777,216 numbers a sample",
        ),
    ],
    ids=range(10),
)
def test_what_is_no_number(batch, error):
    f = micrograd.compile(lambda x: Value(1.0))
    for call in (f.map, f.sum):
        with pytest.raises((TypeError, ValueError, OverflowError)) as raised:
            call(batch)
        assert f"{raised.type.__name__}: {raised.value}" == error


def test_nesting_is_bounded():
    loop = []
    loop.append(loop)
    deep = 1.0
    for _ in range(100):
        deep = [deep]
    f = micrograd.compile(lambda x: Value(1.0))
    assert f.map([1.0, deep]) == [1.0, 1.0]
    axes = np.ones((1,) * 6)
    for _ in range(97):
        axes = [axes]
    for batch in ([1.0, loop], loop, [1.0, [deep]], [[1.0], [deep, 1.0]], [1.0, axes], axes):
        with pytest.raises(ValueError, match="argument 0 is nested more than 100 deep"):
            f.map(batch)


def test_in_a_trace_they_are_refused():
    f = micrograd.compile(lambda x: functional.sum(x))
    for call in (f.map, f.sum, f.mean, f.value_and_grad):
        with pytest.raises(TraceError, match="a batch is computed while a compiled function is traced"):
            micrograd.compile(lambda x, call=call: call([[1.0], [1.0, 2.0]]))(1.0)


def test_results_without_leaves_and_pickles():
    f = micrograd.compile(lambda x: functional.sum(x))
    total = f.sum(DOCUMENTS)
    assert (total.data, total._children) == (46.0, ())
    w = Value(2.0)
    f = micrograd.compile(lambda x: functional.sum(x) * w, threads=2)
    expected = f.map(DOCUMENTS)
    again = pickle.loads(pickle.dumps(f))
    assert again.map(DOCUMENTS) == expected
    assert again.value_and_grad(DOCUMENTS)[1].tolist() == [46.0]
    with pytest.raises(TraceError, match="came without its function"):
        again.map([*DOCUMENTS, [1.0] * 9])


def test_many_documents():
    """Ten thousand, of a few lengths, of which each sample has its own result."""
    draw = np.random.default_rng(0)
    documents = [draw.normal(size=n).tolist() for n in draw.integers(1, 9, size=10_000)]
    f = micrograd.compile(lambda x: functional.dot(x, x))
    assert f.map(documents) == pytest.approx([sum(a * a for a in x) for x in documents], rel=1e-14)
    assert f.retraces == 7
    assert f.sum(documents).data == pytest.approx(sum(f.map(documents)), rel=1e-12)


def test_an_empty_list_by_name_is_an_argument_without_numbers():
    f = micrograd.compile(lambda x, y=1.0: functional.sum(x) + y)
    assert f(x=[]).data == f([]).data == 1.0
    assert f.map(x=[[], [1.0]]) == [1.0, 2.0]
    assert f.map(x=[[], []]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_leaves_without_a_gradient(reduce, exact):
    """They are captured, and no parents: the gradients of the others stand one after the other."""
    a, b, c, d = leaves = [Value(2.0), Value(3.0), Value(5.0), Value(7.0)]

    def function(x):
        y = a.detach() * b * functional.sum(x)
        return y if len(x) == 1 else y + c.detach() * d * d * x[0]

    f = micrograd.compile(function, exact=exact)
    total = getattr(f, reduce)([[1.0], [2.0, 4.0], [8.0]])
    total.backward()
    scale = 1.0 if reduce == "sum" else 1 / 3
    assert f.captured == leaves
    assert total._prev == {b, d}
    assert [leaf.grad for leaf in leaves] == pytest.approx([0.0, 30.0 * scale, 0.0, 140.0 * scale])
