"""What DIFFERENCES.md says of this engine beside the reference."""

from __future__ import annotations

import pytest

from micrograd import Value

A, B = Value(3.0), Value(-2.0)


def grads_of_passes(value, function, count):
    a, b = value(2.0), value(4.0)
    out = function(a, b)
    found = []
    for _ in range(count):
        out.backward()
        found.append((a.grad, b.grad))
    return found


def test_single_nodes_have_no_inner_node_whose_grad_stays(reference):
    def minus(a, b):
        return a - b

    def over(a, b):
        return a / b

    assert grads_of_passes(reference.Value, minus, 3) == [(1, -1), (2, -3), (3, -6)]
    assert grads_of_passes(Value, minus, 3) == [(1, -1), (2, -2), (3, -3)]
    assert grads_of_passes(reference.Value, over, 3) == [(0.25, -0.125), (0.5, -0.375), (0.75, -0.75)]
    assert grads_of_passes(Value, over, 3) == [(0.25, -0.125), (0.5, -0.25), (0.75, -0.375)]


def test_a_division_is_by_the_divisor_s_data_of_the_day(reference):
    grads = []
    for value in (reference.Value, Value):
        a, b = value(2.0), value(4.0)
        out = a / b
        a.data, b.data = 3.0, 5.0
        out.backward()
        grads.append((a.grad, b.grad))
    assert grads == [(0.25, pytest.approx(-0.12)), (0.2, pytest.approx(-0.12))]


def test_single_nodes_have_their_operands_for_children():
    for out, children, local in [
        (A - B, (A, B), (1.0, -1.0)),
        (-A, (A,), (-1.0,)),
        (A / B, (A, B), (B.data**-1, -1 * B.data**-2 * A.data)),
    ]:
        assert (out._children, out._local_grads) == (children, local)


def test_prev_of_a_tuple_is_a_set_and_children_keep_duplicates():
    a = Value(1.0)
    for out in (a + a, Value(2.0, (a, a), "+"), Value(2.0, _prev=(a, a), _op="+")):
        assert (out._prev, out._children) == ({a}, (a, a))
