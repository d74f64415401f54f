"""Types of the compiled engine. Editors show the docstrings here: those of public names, as in the module."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn, SupportsFloat, SupportsIndex, final, overload

from typing_extensions import disjoint_base

# Numbers: int, float, bool, NumPy scalars, Fraction, Decimal.
_Number = SupportsFloat | SupportsIndex

OPS: dict[str, tuple[str, int]]

def op_names() -> list[str]: ...
def op_columns(name: str) -> dict[str, Any]: ...
def op_partial(name: str, side: int, a: float, b: float, r: float, g: float) -> float: ...

ASSERTS: bool
SANITIZED: bool
BUILD: dict[str, str | bool]

class TraceError(RuntimeError):
    """A compiled function does what a trace cannot record. The message names the line, and what to do instead.

    >>> import micrograd
    >>> @micrograd.compile
    ... def f(x):
    ...     return x if x.data > 0 else -x
    >>> f(1.0)
    Traceback (most recent call last):
        ...
    micrograd.TraceError: <doctest ...>, line 3: reading .data of a Value that depends on the arguments of a compiled
    function: ...
    """

def in_trace() -> bool: ...
def mode_enter(name: str) -> None: ...
def mode_exit(name: str) -> None: ...
def no_grad_suspend() -> int: ...
def no_grad_resume(depth: int) -> int: ...
def is_grad_enabled() -> bool:
    """Are the results of ops in this thread differentiable: is it in no `no_grad()`?

    >>> import micrograd
    >>> with micrograd.no_grad():
    ...     micrograd.is_grad_enabled()
    False
    """

@disjoint_base
class Attributes(dict[str, Any]): ...

def is_bool(x: Any) -> bool: ...

@final
class Condition:
    def __and__(self, other: Condition | bool, /) -> Condition | bool: ...
    def __rand__(self, other: Condition | bool, /) -> Condition | bool: ...
    def __or__(self, other: Condition | bool, /) -> Condition | bool: ...
    def __ror__(self, other: Condition | bool, /) -> Condition | bool: ...
    def __invert__(self) -> Condition: ...
    def __bool__(self) -> NoReturn: ...

@disjoint_base
class Value:
    """A number that remembers how it was computed.

    `Value(data)` is a leaf; arithmetic and the methods below make new Values from others; `backward()` adds to the
    `grad` of every Value that a result was computed from.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> c = (a * b + 10).tanh()
    >>> c.backward()
    >>> c.data, a.grad
    (0.999329299739067, -0.0040228520490775965)

    `data` is anything `float()` takes, except strings and arrays. The other arguments are for ops that you define: the
    Values it was computed from (`_children`, `children` or `_prev`), its `_op` and `label`, and either `local_grads`,
    d(this)/d(child) for each child, or a function assigned to `_backward` afterwards.
    The third positional argument is `_op` if it is a string, `local_grads` if it is a tuple or list.

    Raises TypeError where `data` is not a real number, OverflowError where it is an int too large for a float,
    ValueError where the lengths of children and local_grads differ.
    """

    __array_priority__: float
    label: str
    """A name for pictures, '' by default. Other attributes can be set too."""
    _op: str
    _backward: Callable[[], object]
    def __init__(
        self,
        data: _Number,
        _children: Iterable[Value] = (),
        _op: str | Sequence[_Number] = "",
        label: str | None = None,
        *,
        children: Iterable[Value] = (),
        _prev: Iterable[Value] = (),
        local_grads: Sequence[_Number] | None = None,
    ) -> None: ...
    # Assigning takes any number, reading gives a float.
    @property
    def data(self) -> float:
        """The value, a float. Assigning takes whatever the constructor takes; backward() reads it when it runs."""
    @data.setter
    def data(self, value: _Number) -> None: ...
    @property
    def grad(self) -> float:
        """d(root)/d(self), a float, summed over the backward passes since it was last set."""
    @grad.setter
    def grad(self, value: _Number) -> None: ...
    def item(self) -> float:
        """The value, a float, as `data`.

        >>> Value(2).item()
        2.0
        """
    def detach(self) -> Value:
        """A new leaf with the same data, through which no gradient flows back.

        >>> x = Value(3.0)
        >>> y = x * x.detach()
        >>> y.backward()
        >>> y.data, x.grad
        (9.0, 3.0)

        In a compiled function it has the data of each call.
        """
    def backward(self, *, retain_grads: bool = True, create_graph: bool = False) -> None:
        """Set `grad` to 1 and add to the grad of every Value this one was computed from.

        Grads accumulate: a second pass adds to the first, at intermediate nodes too.

        >>> x = Value(3.0)
        >>> (x * x).backward()
        >>> x.grad
        6.0

        With `retain_grads=False` only leaves have grads afterwards, and accumulate them as in PyTorch; all other grads
        of the graph are 0.0, and what they were before does not count.

        >>> x = Value(3.0)
        >>> h = 2 * x
        >>> y = h * h + h
        >>> y.backward(retain_grads=False)
        >>> y.backward(retain_grads=False)
        >>> x.grad, h.grad, y.grad
        (52.0, 0.0, 0.0)

        Raises what Python raises where a derivative does not exist (ZeroDivisionError for `Value(0.0)**0.5`); the
        grads so far stay, with `retain_grads=False` those of leaves. Raises TypeError for `create_graph`: a grad is a
        float, and micrograd.grad() gives Values.
        """
    def zero_grad(self) -> None:
        """Set the grad of this Value, and of every Value it was computed from, to 0.0.

        >>> x = Value(3.0)
        >>> y = x * x
        >>> y.backward()
        >>> y.zero_grad()
        >>> x.grad
        0.0
        """
    def __format__(self, spec: str, /) -> str: ...
    # In a compiled function these are a Condition.
    def __lt__(self, other: _Operand, /) -> bool: ...
    def __le__(self, other: _Operand, /) -> bool: ...
    def __gt__(self, other: _Operand, /) -> bool: ...
    def __ge__(self, other: _Operand, /) -> bool: ...
    def __add__(self, other: _Operand, /) -> Value: ...
    def __radd__(self, other: _Operand, /) -> Value: ...
    def __sub__(self, other: _Operand, /) -> Value: ...
    def __rsub__(self, other: _Operand, /) -> Value: ...
    def __mul__(self, other: _Operand, /) -> Value: ...
    def __rmul__(self, other: _Operand, /) -> Value: ...
    def __truediv__(self, other: _Operand, /) -> Value: ...
    def __rtruediv__(self, other: _Operand, /) -> Value: ...
    def __pow__(self, other: _Operand, modulus: None = None, /) -> Value: ...
    def __rpow__(self, other: _Operand, modulus: None = None, /) -> Value: ...
    def __neg__(self) -> Value: ...
    def __pos__(self) -> Value: ...
    def __abs__(self) -> Value: ...
    def clamp(self, min: Value | _Number | None = None, max: Value | _Number | None = None) -> Value:
        """x, but no less than `min` and no greater than `max`: Values, numbers, or None for no bound.

        >>> Value(3.0).clamp(max=2.0).data
        2.0

        The gradient goes to x where it is within the bounds or equal to one, else to the bound. If min is greater than
        max, the result is max. Raises TypeError where both are None.
        """
    def exp(self) -> Value:
        """e**x. Raises OverflowError above 709.78."""
    def expm1(self) -> Value:
        """e**x - 1, exact near 0. Raises OverflowError above 709.78."""
    def log(self) -> Value:
        """Natural logarithm. Raises ValueError for x <= 0."""
    def log2(self) -> Value:
        """Logarithm to base 2. Raises ValueError for x <= 0."""
    def log10(self) -> Value:
        """Logarithm to base 10. Raises ValueError for x <= 0."""
    def log1p(self) -> Value:
        """log(1 + x), exact near 0. Raises ValueError for x <= -1."""
    def sqrt(self) -> Value:
        """Square root. Raises ValueError for x < 0; backward() raises ZeroDivisionError at 0."""
    def cbrt(self) -> Value:
        """Cube root, of negative x too; backward() raises ZeroDivisionError at 0."""
    def reciprocal(self) -> Value:
        """x**-1. Raises ZeroDivisionError at 0."""
    def sin(self) -> Value:
        """Sine of x radians. Raises ValueError for infinities."""
    def cos(self) -> Value:
        """Cosine of x radians. Raises ValueError for infinities."""
    def tan(self) -> Value:
        """Tangent of x radians. Raises ValueError for infinities."""
    def asin(self) -> Value:
        """Arc sine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
    def acos(self) -> Value:
        """Arc cosine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
    def atan(self) -> Value:
        """Arc tangent, in radians."""
    def atan2(self, other: _Operand) -> Value:
        """Angle of the point (other, x), in radians, from -pi to pi. backward() raises ZeroDivisionError at (0, 0)."""
    def sinh(self) -> Value:
        """Hyperbolic sine. Raises OverflowError for |x| > 710.47."""
    def cosh(self) -> Value:
        """Hyperbolic cosine. Raises OverflowError for |x| > 710.47."""
    def tanh(self) -> Value:
        """Hyperbolic tangent."""
    def erf(self) -> Value:
        """Error function, 2 / sqrt(pi) times the integral of e**(-t**2) from 0 to x."""
    def abs(self) -> Value:
        """|x|, with derivative 0 at 0."""
    def relu(self) -> Value:
        """max(0, x)."""
    def leaky_relu(self, negative_slope: _Operand = 0.01) -> Value:
        """x if x > 0, else negative_slope * x. A slope that is a Value has a gradient too, as in PyTorch's prelu."""
    def elu(self, alpha: _Operand = 1.0) -> Value:
        """x if x > 0, else alpha * (e**x - 1). An alpha that is a Value has a gradient too."""
    def selu(self) -> Value:
        """1.0507009873554805 * x.elu(1.6732632423543772), the self-normalizing one of Klambauer et al. (2017)."""
    def sigmoid(self) -> Value:
        """1 / (1 + e**-x), without overflow."""
    def softplus(self) -> Value:
        """log(1 + e**x), without overflow."""
    def softsign(self) -> Value:
        """x / (1 + |x|)."""
    def silu(self) -> Value:
        """x * sigmoid(x)."""
    def mish(self) -> Value:
        """x * tanh(softplus(x))."""
    def gelu(self, approximate: str = "none") -> Value:
        """x times the probability that a standard normal variable is below x; with approximate="tanh", gelu_tanh().

        Raises ValueError for other strings.
        """
    def gelu_tanh(self) -> Value:
        """The approximation of gelu() by tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))."""
    def arcsin(self) -> Value:
        """Arc sine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
    def arccos(self) -> Value:
        """Arc cosine, in radians. Raises ValueError for |x| > 1; backward() raises ZeroDivisionError at 1 and -1."""
    def arctan(self) -> Value:
        """Arc tangent, in radians."""
    def arctan2(self, other: _Operand) -> Value:
        """Angle of the point (other, x), in radians, from -pi to pi. backward() raises ZeroDivisionError at (0, 0)."""
    def conjugate(self) -> Value:
        """The Value itself."""
    @property
    def _children(self) -> tuple[Value, ...]:
        """The Values it was computed from, a tuple: `(a, a)` for a + a."""
    @property
    def _prev(self) -> set[Value]:
        """The Values it was computed from, a set."""
    @property
    def _local_grads(self) -> tuple[float, ...]:
        """d(self)/d(child) for each of `_children`, a tuple; empty where a Python `_backward` computes them."""

_Operand = Value | _Number

def op_value(name: str, *values: _Operand) -> Value: ...

# A Value gives one result, a list a list, a tuple a tuple. Results are floats or, with create_graph and in traces,
# Values; None for an input that is not used. The overloads have the common ones.
_Outputs = Value | Sequence[Value]

@overload
def grad(
    output: _Outputs, inputs: Value, create_graph: Literal[False] = False, allow_unused: Literal[False] = False
) -> float:
    """The gradients of an output by the inputs, as `torch.autograd.grad`: it changes no `.grad`.

    >>> from micrograd import Value, grad
    >>> x, y = Value(2.0), Value(3.0)
    >>> z = x * x * y
    >>> grad(z, x), grad(z, [x, y]), x.grad
    (12.0, [12.0, 4.0], 0.0)

    `output` is a Value, or a list of Values, whose sum it stands for. `inputs` is a Value, for one result, or a list or
    tuple of them, for a list or tuple of results. They may be leaves or results of ops. The gradients are floats; with
    `create_graph` they are Values, computed from those of the graph, which can be differentiated again:

    >>> dx = grad(z, x, create_graph=True)
    >>> dx.data, grad(dx, [x, y]), grad(grad(dx, y, create_graph=True), x)
    (12.0, [6.0, 4.0], 2.0)

    In a function that micrograd.compile traces they always are Values: a gradient is part of the program.

    Raises TypeError where the output or an input is no Value; RuntimeError where the output was not computed from an
    input, unless `allow_unused` is true, which gives None for it, and, where Values are asked for, at ops whose
    gradients are numbers or Python code; NotImplementedError at ops that have no derivative in Values; and what
    backward() raises where a derivative does not exist.
    """

@overload
def grad(
    output: _Outputs, inputs: Value, create_graph: Literal[True], allow_unused: Literal[False] = False
) -> Value: ...
@overload
def grad(
    output: _Outputs, inputs: list[Value], create_graph: Literal[False] = False, allow_unused: Literal[False] = False
) -> list[float]: ...
@overload
def grad(
    output: _Outputs, inputs: list[Value], create_graph: Literal[True], allow_unused: Literal[False] = False
) -> list[Value]: ...
@overload
def grad(
    output: _Outputs, inputs: Value | Iterable[Value], create_graph: bool = False, allow_unused: bool = False
) -> Any: ...
