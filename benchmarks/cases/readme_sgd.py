"""The README's loop with an optimizer object instead of its last two lines: `SGD(model.parameters(), lr=0.1)`."""

from __future__ import annotations

from benchmarks import contestants
from benchmarks.cases.readme_loop import SAMPLES, TARGETS, loop, model_of
from benchmarks.harness import Result, compare, entry, training

NAME = "readme_sgd"


def ours_step(optim):
    model = model_of(contestants.ours())

    def loss():
        predictions = [model(sample) for sample in SAMPLES]
        return sum((p - t) ** 2 for p, t in zip(predictions, TARGETS))

    return training(optim.SGD(model.parameters(), lr=0.1), loss)


def torch_step():
    """The same program in PyTorch: nn layers, one batch, torch.optim.SGD."""
    torch = contestants.torch()
    weights = iter(p.data for p in model_of(contestants.ours()).parameters())
    layers = []
    for nin, nout in ((3, 4), (4, 4), (4, 1)):
        linear = torch.nn.Linear(nin, nout)
        with torch.no_grad():
            for j in range(nout):
                linear.weight[j] = torch.tensor([next(weights) for _ in range(nin)])
                linear.bias[j] = next(weights)
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    X, y = torch.tensor(SAMPLES), torch.tensor(TARGETS)

    return training(optimizer, lambda: ((model(X)[:, 0] - y) ** 2).sum())


def measure(rounds: int, quick: bool) -> Result:
    ours, reference, optim = contestants.ours(), contestants.reference(), contestants.ours_module("optim")
    entries = [
        entry("ours", optim, lambda: ours_step(optim)),
        entry("ours, plain loop", ours, lambda: loop(model_of(ours))),
        entry("reference", reference, lambda: loop(model_of(reference))),
        entry("reference, collector off", reference, lambda: loop(model_of(reference)), collector=False),
        entry("PyTorch nn + optim", contestants.torch(), torch_step),
    ]
    return compare(NAME, "README loop with optim.SGD", entries, rounds)
