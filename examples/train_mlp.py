"""Train a small multilayer perceptron on four samples: the README's program.

Run it with `make train`, or `python examples/train_mlp.py`.
"""

import random

from micrograd import MLP, Value

random.seed(1337)

model = MLP(3, [4, 4, 1])  # 3 inputs, two layers of 4 tanh neurons, 1 output: 41 parameters
samples = [[-2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
targets = [1.0, -1.0, -1.0, 1.0]

for step in range(1, 1001):
    predictions = [model(x) for x in samples]
    loss = sum(((p - t) ** 2 for p, t in zip(predictions, targets)), Value(0.0))

    model.zero_grad()
    loss.backward()
    for p in model.parameters():
        p.data -= 0.1 * p.grad

    if step == 1 or step % 100 == 0:
        print(f"step {step:4d}  loss {loss.data:.6f}")

for x, t in zip(samples, targets):
    print(f"{x}  target {t:+.1f}  prediction {model(x).data:+.4f}")
