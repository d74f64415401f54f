"""A second engine to check the first against: plain Python floats, parents in a tuple, one closure a gradient term.
It bounds what the order of summation may change: `scale` is the sum of |terms|, `sure` that inf and NaN are fixed."""

from __future__ import annotations

import ctypes.util
import math
import sys

EPS = 2.0**-52
TINY = 2.0**-1022  # below it an error is absolute: EPS * TINY is the smallest double


def kind(x: float) -> str:
    return "finite" if math.isfinite(x) else str(x)


class Value:
    def __init__(self, data, parents=(), terms=()):
        self.data = float(data)
        self.parents = tuple(parents)
        self.terms = tuple(terms)  # of each parent: out.grad -> what the parent's grad gains
        self.constant = False  # a number in an op: no part of the graph
        self.clear()

    def clear(self):
        self.grad = self.scale = 0.0
        self.sure = True

    # -- backward

    def order(self):
        """The graph, parents first, parents in the order of the op's arguments."""
        done, order, todo = set(), [], [(self, False)]
        while todo:
            node, expanded = todo.pop()
            if expanded:
                order.append(node)
            elif node not in done:
                done.add(node)
                todo.append((node, True))
                todo.extend((parent, False) for parent in reversed(node.parents))
        return order

    def backward(self):
        """Returns the types of all exceptions that rules raised: which of them comes first depends on the order."""
        self.grad = self.scale = 1.0
        self.sure = True
        errors = set()
        for node in reversed(self.order()):
            for parent, term in zip(node.parents, node.terms):
                try:
                    parent.receive(term, node)
                except (ArithmeticError, ValueError) as error:
                    errors.add(type(error))
        return errors

    def backward_to_leaves(self):
        """The same after which leaves alone have grads."""
        nodes = [node for node in self.order() if node.parents]
        leaf = () if self.parents else (self.grad, self.scale, self.sure)
        for node in nodes:
            node.clear()
        errors = self.backward()
        for node in nodes:
            node.clear()
        if leaf:
            self.grad, self.scale, self.sure = leaf[0] + 1.0, leaf[1] + 1.0, leaf[2]
        return errors

    def receive(self, term, out):
        if self.constant:
            return
        error = out.tolerance
        gain, low, high = term(out.grad), term(out.grad - error), term(out.grad + error)
        self.sure &= out.sure and kind(low) == kind(gain) == kind(high)
        self.grad += gain
        if math.isfinite(gain) and not low == high == 0.0:
            self.scale += max(abs(term(out.scale)), TINY)

    def zero_grad(self):
        for node in self.order():
            node.clear()

    @property
    def tolerance(self):
        return 8 * EPS * self.scale

    def agrees(self, grad):
        """Whether `grad` is this node's, by some order of summation."""
        if not self.sure or not math.isfinite(self.scale):
            return True
        if not math.isfinite(self.grad):
            return kind(grad) == kind(self.grad)
        return abs(grad - self.grad) <= self.tolerance

    # -- two arguments

    def __add__(self, other):
        other = value(other)
        return Value(self.data + other.data, (self, other), (lambda g: g, lambda g: g))

    def __sub__(self, other):
        other = value(other)
        return Value(self.data - other.data, (self, other), (lambda g: g, lambda g: -g))

    def __mul__(self, other):
        other = value(other)
        return Value(self.data * other.data, (self, other), (lambda g: other.data * g, lambda g: self.data * g))

    def __truediv__(self, other):
        other = value(other)

        def left(g):
            return other.data**-1 * g

        def right(g):
            return (-1 * other.data**-2) * (self.data * g)

        return Value(self.data * other.data**-1, (self, other), (left, right))

    def __pow__(self, other):
        other = value(other)

        def left(g):
            return (other.data * power(self.data, other.data - 1)) * g if other.data else 0.0

        def right(g):
            x = self.data
            return 0.0 * g if x == 0 else (out.data * math.log(x)) * g if x > 0 else math.nan

        out = Value(power(self.data, other.data), (self, other), (left, right))
        return out

    def __radd__(self, other):
        return value(other) + self

    def __rsub__(self, other):
        return value(other) - self

    def __rmul__(self, other):
        return value(other) * self

    def __rtruediv__(self, other):
        return value(other) / self

    def __rpow__(self, other):
        return value(other) ** self

    # -- one argument: `_unary` takes the result and the local gradient, of the argument's and the result's data

    def _unary(self, data, local):
        out = Value(data, (self,), (lambda g: local(self.data, out.data) * g,))
        return out

    def _logarithm(self, data, scale):
        """Its gradient is divided by the argument: times the reciprocal, it would be infinite for the smallest."""
        return Value(data, (self,), (lambda g: scale * g / self.data,))

    def __neg__(self):
        return self._unary(-self.data, lambda _a, _r: -1.0)

    def __abs__(self):
        return self._unary(abs(self.data), lambda a, _r: a if a == 0 or a != a else math.copysign(1.0, a))

    def abs(self):
        return abs(self)

    def relu(self):
        return self._unary(0.0 if self.data < 0 else self.data, lambda _a, r: float(r > 0))

    def tanh(self):
        return self._unary(math.tanh(self.data), lambda _a, r: 1 - r**2)

    def exp(self):
        return self._unary(math.exp(self.data), lambda _a, r: r)

    def log(self):
        return self._logarithm(math.log(self.data), 1.0)

    def log2(self):
        return self._logarithm(math.log2(self.data), 1.4426950408889634)

    def log10(self):
        return self._logarithm(math.log10(self.data), 0.4342944819032518)

    def log1p(self):
        return self._unary(math.log1p(self.data), lambda a, _r: 1 / (1 + a))

    def expm1(self):
        return self._unary(math.expm1(self.data), lambda a, _r: math.exp(a))

    def sqrt(self):
        return self._unary(math.sqrt(self.data), lambda _a, r: 0.5 / r)

    def cbrt(self):
        return self._unary(cbrt(self.data), lambda _a, r: 1 / (3 * (r * r)))

    def sin(self):
        return self._unary(math.sin(self.data), lambda a, _r: math.cos(a))

    def cos(self):
        return self._unary(math.cos(self.data), lambda a, _r: -math.sin(a))

    def tan(self):
        return self._unary(math.tan(self.data), lambda _a, r: 1 + r * r)

    def asin(self):
        return self._unary(math.asin(self.data), lambda a, _r: 1 / math.sqrt((1 - a) * (1 + a)))

    def acos(self):
        return self._unary(math.acos(self.data), lambda a, _r: -1 / math.sqrt((1 - a) * (1 + a)))

    def atan(self):
        return self._unary(math.atan(self.data), lambda a, _r: 1 / (1 + a * a))

    def atan2(self, other):
        other = value(other)

        def left(g):
            return share_of_square(other.data, self.data) * g

        def right(g):
            return -share_of_square(self.data, other.data) * g

        return Value(math.atan2(self.data, other.data), (self, other), (left, right))

    def sinh(self):
        return self._unary(math.sinh(self.data), lambda a, _r: math.cosh(a))

    def cosh(self):
        return self._unary(math.cosh(self.data), lambda a, _r: math.sinh(a))

    def erf(self):
        return self._unary(math.erf(self.data), lambda a, _r: 1.1283791670955126 * exp_square(a, -1.0))

    def leaky_relu(self, slope):
        slope = value(slope)
        data = self.data if self.data > 0 else self.data * slope.data
        left = lambda g: (1.0 if self.data > 0 else slope.data) * g  # noqa: E731
        return Value(data, (self, slope), (left, lambda g: 0.0 if self.data > 0 else self.data * g))

    def elu(self, alpha):
        alpha = value(alpha)
        data = self.data if self.data > 0 else alpha.data * math.expm1(self.data)
        left = lambda g: (1.0 if self.data > 0 else alpha.data * math.exp(self.data)) * g  # noqa: E731
        return Value(data, (self, alpha), (left, lambda g: 0.0 if self.data > 0 else math.expm1(self.data) * g))

    def sigmoid(self):
        return self._unary(sigmoid(self.data), lambda _a, r: r * (1 - r))

    def softplus(self):
        data = max(self.data, 0.0) + math.log1p(math.exp(-abs(self.data)))
        return self._unary(data, lambda a, _r: sigmoid(a))

    def softsign(self):
        data = self.data / (1 + abs(self.data)) if abs(self.data) != math.inf else math.copysign(1.0, self.data)
        return self._unary(data, lambda a, _r: (1 / (1 + abs(a))) * (1 / (1 + abs(a))))

    def gelu(self):
        def slope(a, _r):
            return normal_cdf(a) + damped(a, 0.3989422804014327 * exp_square(a, -0.5))

        return self._unary(damped(self.data, normal_cdf(self.data)), slope)

    def gelu_tanh(self):
        def argument(a):
            return a * (1.5957691216057308 + 0.07135481627260025 * (a * a))

        def slope(a, _r):
            s, other = sigmoid(argument(a)), sigmoid(-argument(a))
            return s + damped(a * (1.5957691216057308 + 0.21406444881780073 * (a * a)), s * other)

        return self._unary(damped(self.data, sigmoid(argument(self.data))), slope)

    def silu(self):
        def slope(a, _r):
            e = math.exp(-abs(a))
            return (1.0 if a >= 0 else e) / (1 + e) + damped(a, e / ((1 + e) * (1 + e)))

        return self._unary(damped(self.data, sigmoid(self.data)), slope)

    def mish(self):
        def slope(a, _r):
            e = math.exp(-abs(a))
            n, d = mish_parts(a)
            return n / d + damped(a, 4 * (e * e if a >= 0 else e) * (1 + e) / (d * d))

        n, d = mish_parts(self.data)
        return self._unary(damped(self.data, n / d), slope)


def value(x):
    if isinstance(x, Value):
        return x
    number = Value(x)
    number.constant = True
    return number


def power(a, b):
    """a**b, with a ValueError where Python turns complex."""
    result = a**b
    if isinstance(result, complex):
        raise ValueError("no real power")
    return result


def sigmoid(x):
    e = math.exp(-abs(x))
    return (1.0 if x >= 0 else e) / (1.0 + e)


def _library_cbrt():
    """The C library's cbrt, which math has since Python 3.11. (NumPy's may be another.)"""
    function = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else ctypes.util.find_library("m")).cbrt
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function


cbrt = math.cbrt if hasattr(math, "cbrt") else _library_cbrt()


def share_of_square(x, y):
    """x / (x * x + y * y), where neither square overflows."""
    if abs(x) >= abs(y):
        t = y / x
        return 1 / (x * (1 + t * t))
    t = x / y if x == x else x
    return t / (y * (1 + t * t))


def damped(a, s):
    """a * s, where s vanishes faster than a grows."""
    return a * s if s != 0 else math.copysign(s, a)


def rounded(a):
    """The first 22 bits or so of a number that is not large."""
    return math.floor(a * 65536) / 65536 if a == a else a


def exp_square(a, k):
    """exp(k a^2)"""
    if abs(a) > 40:
        return 0.0
    high = rounded(a)
    return math.exp(k * (high * high)) * math.exp(k * ((a - high) * (a + high)))


def normal_cdf(a):
    """erfc(-a / sqrt(2)) / 2, corrected for the rounding of the quotient."""
    z = a * 0.7071067811865476
    cdf = 0.5 * math.erfc(-z)
    if a <= -40 or not a < -1:
        return cdf
    high = rounded(a)
    lost = (high * 0.7071067802608013 - z) + (a - high) * 0.7071067802608013 + a * 9.257462090932271e-10
    return cdf + 0.5641895835477563 * math.exp(-z * z) * lost


def mish_parts(a):
    """Two numbers whose quotient is tanh(softplus(a))."""
    e = math.exp(-abs(a))
    n = 1 + 2 * e if a >= 0 else e * (2 + e)
    return n, n + 2 * (e * e) if a >= 0 else n + 2
