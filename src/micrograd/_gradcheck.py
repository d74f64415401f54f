"""`micrograd.utils.gradcheck`: gradients of `backward()` against central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

from micrograd._core import Value
from micrograd._modes import grad_enabled
from micrograd._optim import number

Inputs = Sequence[tuple[str, Value]]  # where each stands, and it
Outputs = list[tuple[str, Union[Value, float]]]


class MismatchError(Exception):
    """A gradient that is wrong."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients that `backward()` gives of a function with central differences, as torch.autograd.gradcheck
    does: to test an op of your own.

    `inputs` are the function's arguments, a list or tuple of them, or a single Value. An argument is a Value, a list of
    Values, nested or not, or anything else, by which nothing is derived. The function returns a Value, or Values in
    lists and tuples. Each derivative a of an output by an input has to be within atol + rtol |n| of
    n = (f(x + eps) - f(x - eps)) / (2 eps), has to be added to the input's grad, multiplied by the grad of the output.
    Returns True if all are so.

    >>> def cube(x):
    ...     return Value(x.data**3, (x,), local_grads=(3 * x.data**2,))
    >>> gradcheck(cube, [Value(2.0)])
    True
    >>> def wrong(x, y):
    ...     out = Value(x.data * y.data, (x, y), "*")
    ...     def _backward():
    ...         x.grad += y.data * out.grad
    ...         y.grad += y.data * out.grad
    ...     out._backward = _backward
    ...     return out
    >>> gradcheck(wrong, [Value(2.0), Value(5.0)])
    Traceback (most recent call last):
        ...
    RuntimeError: the derivative of the output by inputs[1] is 5 by backward() and 2 by differences

    The data and grads of all Values are afterwards as they were. In `no_grad` all this is the same. The function is
    called once, twice for each Value among the inputs, and twice for each output.

    Raises RuntimeError where a derivative is wrong, unless `raise_exception` is false: then it returns False. Raises
    ValueError where there is no Value among the inputs, `eps` is not positive, or calls give different numbers of
    outputs; TypeError where an output is neither a Value nor a number. What the function raises is not caught.
    """
    arguments = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    variables = [(name, x) for name, x in _items(arguments, "inputs") if isinstance(x, Value)]
    if not variables:
        raise ValueError("gradcheck needs at least one Value among the inputs")
    step, atol, rtol = number(eps, "eps"), number(atol, "atol"), number(rtol, "rtol")
    if not step > 0.0:
        raise ValueError(f"eps must be positive, not {eps}")

    def near(x: float, y: float) -> bool:
        return x == y or abs(x - y) <= atol + rtol * abs(y)

    try:
        with grad_enabled():
            _check(lambda: _outputs(function(*arguments)), variables, step, near)
    except MismatchError as error:
        if raise_exception:
            raise RuntimeError(str(error)) from None
        return False
    return True


def _check(call: Callable[[], Outputs], inputs: Inputs, eps: float, near: Callable[[float, float], bool]) -> None:
    """Raise MismatchError where a derivative of an output by an input is not near that by differences."""
    count = len(call())
    columns = [_differences(call, x, eps, count) for _, x in inputs]
    for i in range(count):
        outputs = call()
        if len(outputs) != count:
            raise ValueError(f"the function gave {count} outputs, then {len(outputs)}")
        name, root = outputs[i]
        zeros = [0.0] * len(inputs)
        grads = _grads(root, inputs, zeros)
        for (x, _), grad, column in zip(inputs, grads, columns):
            if not near(grad, column[i]):
                raise MismatchError(
                    f"the derivative of {name} by {x} is {grad:.8g} by backward() and {column[i]:.8g} by differences"
                )
        before = [2.0 * max(1.0, abs(grad)) if math.isfinite(grad) else 0.0 for grad in grads]
        for (x, _), grad, first, after in zip(inputs, grads, before, _grads(call()[i][1], inputs, before)):
            if math.isfinite(grad) and not near(after - first, grad):
                raise MismatchError(
                    f"backward() of {name} must add {grad:.8g} to the grad of {x}, and made {after:.8g} of {first:.8g}"
                )
        if not isinstance(root, Value):
            continue
        for (x, _), grad, twice in zip(inputs, grads, _grads(_doubled(root), inputs, zeros)):
            if math.isfinite(2.0 * grad) and not near(twice, 2.0 * grad):
                raise MismatchError(
                    f"backward() of {name} must multiply by its grad: with a grad of 2, the derivative by {x} is "
                    f"{twice:.8g}, not {2.0 * grad:.8g}"
                )


def _differences(call: Callable[[], Outputs], x: Value, eps: float, count: int) -> list[float]:
    """The derivative of each output by x, by central differences."""
    data = x.data
    found = []
    try:
        for moved in (data + eps, data - eps):
            x.data = moved
            outputs = call()
            if len(outputs) != count:
                raise ValueError(f"the function gave {count} outputs, then {len(outputs)}")
            found.append([y.data if isinstance(y, Value) else y for _, y in outputs])
    finally:
        x.data = data
    return [(above - below) / (2.0 * eps) for above, below in zip(*found)]


def _grads(root: Value | float, inputs: Inputs, before: Sequence[float]) -> list[float]:
    """The grads of the inputs after backward() of an output, if they had the grads `before` and all other Values 0.0.
    Leaves all grads as they were."""
    if not isinstance(root, Value):
        return list(before)
    saved = {id(node): (node, node.grad) for node in (*_graph(root), *(x for _, x in inputs))}
    try:
        root.zero_grad()
        for (_, x), grad in zip(inputs, before):
            x.grad = grad
        root.backward()
        # The root's grad is set to 1, even if it is an input.
        return [x.grad + grad if x is root else x.grad for (_, x), grad in zip(inputs, before)]
    finally:
        for node, grad in saved.values():
            node.grad = grad


def _doubled(root: Value) -> Value:
    """2 * root, even if its class has another `*`."""
    return Value(2.0 * root.data, (root,), local_grads=(2.0,))


def _graph(root: Value) -> Iterator[Value]:
    """All Values that one was computed from, itself included."""
    seen, stack = {id(root)}, [root]
    while stack:
        node = stack.pop()
        yield node
        for parent in node._children:
            if id(parent) not in seen:
                seen.add(id(parent))
                stack.append(parent)


def _items(x: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is in nested lists and tuples, with a name each."""
    if isinstance(x, (list, tuple)):
        for i, item in enumerate(x):
            yield from _items(item, f"{name}[{i}]")
    else:
        yield name, x


def _outputs(result: Any) -> Outputs:
    name = "outputs" if isinstance(result, (list, tuple)) else "the output"
    return [(name, x if isinstance(x, Value) else number(x, name)) for name, x in _items(result, name)]
