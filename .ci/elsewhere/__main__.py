"""`make elsewhere`: builds the modules for other machines, and runs the tests there where that machine can be emulated.

`make elsewhere ON=arm64` does it for one of them. Each ends with a line that says what was run and what it leaves open.
Downloads and what is built stay in build/elsewhere, and later runs use them again.
"""

from __future__ import annotations

import sys

import debian
import windows
import zig

MACHINES = {
    **dict.fromkeys(debian.MACHINES, debian.check),
    **dict.fromkeys(zig.MACHINES, zig.check),
    "windows": windows.check,
}


def main() -> None:
    chosen = sys.argv[1:] or list(MACHINES)
    if unknown := [name for name in chosen if name not in MACHINES]:
        sys.exit(f"no machine {', '.join(unknown)}: there are {', '.join(MACHINES)}")
    proofs = [MACHINES[name](name) for name in chosen]
    print(*proofs, sep="\n")


if __name__ == "__main__":
    main()
