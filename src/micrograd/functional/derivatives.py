"""Derivatives of functions of a list: Jacobians, Hessians, and the product of a Hessian and a vector, with the names
and the order of arguments of `torch.autograd.functional`.

The inputs are (n,) numbers or Values. The function is called with n new leaves of their data, and the results are
floats. With `create_graph`, and in a function that micrograd.compile traces, it is called with the Values themselves,
and the results are Values, which can be differentiated again. What does not depend on an input has the derivative 0.
In `no_grad` all this is the same, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from micrograd._core import Value, grad, in_trace
from micrograd._modes import grad_enabled
from micrograd._nn import as_values
from micrograd.functional._inputs import Scalar, as_value, has_items, same_length
from micrograd.functional.layers import dot


def jacobian(
    func: Callable[[list[Value]], Value | Sequence[Value]], inputs: Iterable[Scalar], create_graph: bool = False
) -> list[Any]:
    """The derivatives of each output by each input: (m, n) where func returns (m,) Values, (n,) where it returns one.

    >>> jacobian(lambda x: [x[0] * x[1], x[0] ** 2], [2.0, 3.0])
    [[3.0, 2.0], [4.0, 0.0]]

    Raises TypeError where func returns neither Values nor numbers, and what `micrograd.grad` raises.
    """
    values = _values(inputs, create_graph)
    with grad_enabled():
        outputs = func(values)
    if isinstance(outputs, Value) or not has_items(outputs):
        return _gradient(as_value(outputs), values, create_graph)
    return [_gradient(output, values, create_graph) for output in as_values(outputs, "an output")]


def hessian(
    func: Callable[[list[Value]], Value], inputs: Iterable[Scalar], create_graph: bool = False
) -> list[list[Any]]:
    """The second derivatives of the Value that func returns by each pair of inputs: (n, n).

    >>> hessian(lambda x: x[0] ** 3 * x[1], [2.0, 5.0])
    [[60.0, 12.0], [12.0, 0.0]]

    Raises TypeError where func does not return one Value, and what `micrograd.grad` raises.
    """
    values = _values(inputs, create_graph)
    with grad_enabled():
        first = _gradient(_one(func(values)), values, True)
    return [_gradient(slope, values, create_graph) for slope in first]


def hvp(
    func: Callable[[list[Value]], Value], inputs: Iterable[Scalar], v: Iterable[Scalar], create_graph: bool = False
) -> tuple[Any, list[Any]]:
    """What func returns, and the product of its Hessian, which is not computed, and the (n,) numbers or Values v: (n,).

    >>> hvp(lambda x: x[0] ** 3 * x[1], [2.0, 5.0], [1.0, 0.0])
    (40.0, [60.0, 12.0])

    Raises TypeError where func does not return one Value, ValueError naming both lengths where v is not as long as the
    inputs, and what `micrograd.grad` raises.
    """
    values = _values(inputs, create_graph)
    vector = as_values(v, "a number of v")
    same_length(vector, values, "numbers in v", "inputs")
    with grad_enabled():
        output = _one(func(values))
        along = dot(_gradient(output, values, True), vector)
    return (output if create_graph or in_trace() else output.data), _gradient(along, values, create_graph)


def _values(inputs: Iterable[Scalar], create_graph: bool) -> list[Value]:
    """What func is called with."""
    values = as_values(inputs, "an input")
    return values if create_graph or in_trace() else [Value(x.data) for x in values]


def _gradient(output: Value, values: list[Value], create_graph: bool) -> list[Any]:
    """The gradient of one output, with zeros for what it does not depend on."""
    found = grad(output, values, create_graph=create_graph, allow_unused=True)
    as_graph = create_graph or in_trace()
    return [(Value(0.0) if as_graph else 0.0) if x is None else x for x in found]


def _one(output: Any) -> Value:
    if not isinstance(output, Value):
        raise TypeError(f"the function must return one Value, not {type(output).__name__!r}")
    return output
