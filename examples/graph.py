"""Draw the graph of one neuron, with data and grads, to graph.svg. Needs the extra `viz` and the program `dot`."""

from __future__ import annotations

from micrograd import Value
from micrograd.viz import draw_dot

x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
b = Value(6.8813735870195432, label="b")
n = x1 * w1 + x2 * w2 + b
o = n.tanh()
n.label, o.label = "n", "o"
o.backward()

print(draw_dot(o).render("graph", cleanup=True))
