"""`from micrograd.engine import Value`, as in karpathy/micrograd."""

from micrograd._core import Value

__all__ = ["Value"]
