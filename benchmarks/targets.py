"""The targets: bounds on rows of the cases' results.

Ratios are times over ours: `at_least=100` for the reference means that this engine is at least 100 times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.harness import Result


@dataclass(frozen=True)
class Target:
    """One of `at_least` and `at_most` is given."""

    case: str
    row: str  # name of a row of the case's result
    at_least: float | None = None
    at_most: float | None = None

    def text(self, unit: str) -> str:
        mark, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{mark} {bound:g}{'x' if unit == 'x ours' else ' ' + unit}"

    def met(self, result: Result) -> bool | None:
        """None if there is no figure: the contestant is absent, or this engine lacks what the case uses."""
        value = result.value(self.row)
        if value is None or result.base != "ours":
            return None
        return value >= self.at_least if self.at_least is not None else value <= self.at_most


TARGETS = (
    Target("readme_loop", "reference", at_least=100),
    Target("readme_loop", "PyTorch eager", at_least=20),
    Target("readme_sgd", "reference", at_least=150),
    Target("moons", "reference", at_least=1500),
    Target("moons", "reference, collector off", at_least=250),
    Target("moons", "PyTorch eager", at_least=1),
    Target("gpt", "reference", at_least=100),
    Target("gpt", "reference, collector off", at_least=35),
    # This engine may take 1.6 times as long as the floats, which then take 1/1.6 of its time.
    Target("gpt", "plain floats, forward only", at_least=0.625),
    Target("gpt_functional", "reference", at_least=300),
    *(Target("backward", f"XAD, 10^{k} nodes", at_least=1) for k in range(3, 8)),
    Target("backward", "worst over best, 10^4 and up", at_most=2),
    Target("adam", "Python loop over our Values", at_least=100),
    # This engine may take 1.2 times as long as C, which then takes 1/1.2 of its time.
    Target("moons_compiled", "C by hand, sizes known", at_least=0.833),
    Target("moons_compiled", "NumPy by hand", at_least=2.5),
    Target("moons_compiled", "JAX jit", at_least=2.5),
    Target("moons_compiled", "PyTorch eager", at_least=20),
    Target("readme_compiled", "C by hand, steps in a loop of C", at_least=0.25),
    Target("readme_compiled", "JAX jit", at_least=15),
    Target("wide_compiled", "NumPy by hand", at_least=0.85),
    Target("wide_compiled", "PyTorch eager", at_least=1),
    Target("wide_compiled", "PyTorch eager, a sample", at_least=1),
    Target("tanh_compiled", "PyTorch eager, MLP(3, [4, 4, 1])", at_least=2),
    Target("tanh_compiled", "NumPy by hand, MLP(3, [4, 4, 1])", at_least=2),
    Target("tanh_compiled", "PyTorch eager, MLP(16, [64, 64, 1])", at_least=1.5),
    Target("tanh_compiled", "NumPy by hand, MLP(16, [64, 64, 1])", at_least=1.5),
    # At most 1.5 times as long as C for one document, and 0.35 times for each of 32.
    Target("gpt_compiled", "C by hand, 1 document", at_least=0.667),
    Target("gpt_compiled", "C by hand, 32 documents", at_least=2.86),
    Target("gpt_compiled", "reference, training step, 1 document", at_least=2000),
    Target("gpt_compiled", "reference, training step, a document of 32", at_least=8000),
    # At most 2.5 times as long as C.
    Target("rnn_compiled", "C by hand, 1 sequence", at_least=0.4),
    Target("choices", "three additions for each", at_least=1),
    Target("gradients", "ours, grad(create_graph=True)", at_most=15),
    Target("pinn", "PyTorch eager, double backward, MLP(1, [8, 1])", at_least=10),
    Target("pinn", "PyTorch eager, double backward, MLP(1, [16, 16, 1])", at_least=4),
    Target("threads", "one thread", at_least=1.8),
    Target("threads", "one thread, over 16 threads", at_least=12),
    Target("tracing", "moons: trace and build", at_most=5),
    Target("tracing", "scalar GPT: trace and build", at_most=70),
    Target("importing", "ours - reference: micrograd", at_most=1.5),
    Target("importing", "ours - reference: Value", at_most=1.5),
    Target("importing", "ours - reference: Value and nn", at_most=1.5),
    Target("importing", "NumPy loaded by ours (1 = yes)", at_most=0),
    # Half a byte more than the design's 64 and 16, for the slabs' headers and the last page.
    Target("memory", "ours, an eager node", at_most=64.5),
    Target("memory", "ours, an input of an affine node", at_most=16.5),
)
