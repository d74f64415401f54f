"""A second engine to check the first against: plain Python floats, parents in a tuple, one closure a gradient term.
It bounds what the order of summation may change: `scale` is the sum of |terms|, `sure` that inf and NaN are fixed."""

from __future__ import annotations

import math

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
        return self._unary(math.log(self.data), lambda a, _r: 1 / a)

    def sqrt(self):
        return self._unary(math.sqrt(self.data), lambda _a, r: 0.5 / r)

    def sin(self):
        return self._unary(math.sin(self.data), lambda a, _r: math.cos(a))

    def cos(self):
        return self._unary(math.cos(self.data), lambda a, _r: -math.sin(a))

    def sigmoid(self):
        return self._unary(sigmoid(self.data), lambda _a, r: r * (1 - r))

    def softplus(self):
        data = max(self.data, 0.0) + math.log1p(math.exp(-abs(self.data)))
        return self._unary(data, lambda a, _r: sigmoid(a))


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
