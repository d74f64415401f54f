"""What loading a state reports. Not in nn.py, which does without `typing`: that takes longer to import than the rest."""

from __future__ import annotations

from typing import NamedTuple


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]
