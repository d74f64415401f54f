"""Draw the graph of one neuron, with data and grads, to graph.svg, and a network with its neurons folded to
network.svg. Needs the extra `viz` and the program `dot`."""

from __future__ import annotations

import random

from micrograd import MLP, Value
from micrograd.viz import draw_dot

x, w, b = Value(2.0, label="x"), Value(-3.0, label="w"), Value(6.8813735870195432, label="b")
xw = x * w
n = xw + b
o = n.tanh()
xw.label, n.label, o.label = "x*w", "n", "o"
o.backward()
print(draw_dot(o).render("graph", cleanup=True))

random.seed(1337)
model = MLP(3, [4, 4, 1])
prediction = model([2.0, 3.0, -1.0])
prediction.backward()
print(draw_dot(prediction, model=model).render("network", cleanup=True))
