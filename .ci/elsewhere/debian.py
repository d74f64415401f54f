"""Debian's machines under qemu: modules from a cross compiler, tests in a chroot of that architecture."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import shared
from shared import HOME, build, check_out, need, proof, run, run_tests, version


class Machine(NamedTuple):
    qemu: str  # qemu's name of it
    triplet: str  # the compiler's name of it
    unproved: str


SPEED = "speed, and how threads that run at once see each other's writes"
MACHINES = {
    "arm64": Machine("aarch64", "aarch64-linux-gnu", f"{SPEED}; macOS and Windows on it"),
    "s390x": Machine("s390x", "s390x-linux-gnu", f"{SPEED}; other systems, PyTorch's numbers"),
}
SUITE = os.environ.get("SUITE", "bookworm")
PACKAGES = ["coreutils", "python3-minimal", "libpython3-dev", "libc6-dev", "python3-graphviz", "python3-hypothesis", "python3-mpmath"]
PACKAGES += ["python3-numpy", "python3-pytest", "python3-pytest-xdist"]
# These allow seconds for what takes qemu longer, or read the memory of the process, of which qemu uses some itself. Debian's
# dot needs a script of its package that is not run.
NOT_RUN = [
    "tests/compile/test_instructions.py::test_a_call_that_was_interrupted_can_be_made_again",
    "tests/compile/test_instructions.py::test_a_signal_interrupts_a_trace",
    "tests/compile/test_threads.py::test_a_signal_interrupts_a_batch",
    "tests/engine/test_memory.py::test_freed_graphs_return_their_memory",
    "tests/project/test_viz.py::test_draw_dot_renders",
]
REGISTERED = Path("/proc/sys/fs/binfmt_misc")


def register(qemu: str) -> None:
    """Let the kernel start programs of this architecture by qemu, as Debian's package does where systemd runs."""
    if not (REGISTERED / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", REGISTERED)
    if not (REGISTERED / f"qemu-{qemu}").exists():
        (REGISTERED / "register").write_text(Path(f"/usr/lib/binfmt.d/qemu-{qemu}.conf").read_text())


def check(name: str) -> str:
    machine = MACHINES[name]
    compiler = f"{machine.triplet}-gcc"
    need(name, {"mmdebstrap": "mmdebstrap", f"qemu-{machine.qemu}-static": "qemu-user-static",
                compiler: f"gcc-{machine.triplet}".replace("_", "-")})  # fmt: skip
    if os.geteuid() != 0:
        sys.exit(f"{name} needs root, for a chroot")
    register(machine.qemu)
    root = HOME / f"{name}-{SUITE}"
    if not (root / "made").exists():
        run("rm", "-rf", root)
        # "extract" runs none of the packages' scripts, each of which would run under qemu: 15 seconds instead of 6 minutes.
        run("mmdebstrap", f"--architectures={name}", "--variant=extract", f"--include={','.join(PACKAGES)}", SUITE, root)
        (root / "proc").mkdir(exist_ok=True)
        (root / "made").touch()
    package = check_out(root / "checkout")
    [include] = root.glob("usr/include/python3.*")
    build([compiler, f"--sysroot={root}", f"-I{include}", "-fPIC"], package, ".so", ["-lm"])
    # The scripts that were not run would choose among libraries for BLAS and LAPACK.
    libraries = ":".join(f"/usr/lib/{machine.triplet}/{library}" for library in ("blas", "lapack"))
    mount = f"mount --bind /proc {root}/proc && exec chroot {root} \"$@\""  # in a namespace that ends with the program
    python = ["unshare", "--mount", "sh", "-c", mount, "-", "env", "--chdir=/checkout", f"LD_LIBRARY_PATH={libraries}"]
    python += ["PYTHONPATH=/checkout/src", "python3"]
    passed = run_tests(python, *NOT_RUN)
    described = run(*python, "-c", "import numpy, platform as p; print(p.python_version(), 'NumPy', numpy.__version__)").strip()
    return proof(name, f"CPython {described}, {version(compiler, '--version')}, {version(f'qemu-{machine.qemu}-static', '--version')}: {passed}", machine.unproved)
