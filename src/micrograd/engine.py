"""Value, under the name karpathy/micrograd has it: `from micrograd.engine import Value`."""

from micrograd._core import Value

__all__ = ["Value"]
