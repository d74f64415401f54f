"""What `load_state_dict()` returns. Not in nn/, since `typing` takes longer to import than nn/."""

from __future__ import annotations

from typing import NamedTuple


class IncompatibleKeys(NamedTuple):
    """Keys that `load_state_dict(strict=False)` did not find or did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]
