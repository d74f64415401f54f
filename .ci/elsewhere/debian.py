"""Debian's machines under qemu: modules from a cross compiler, tests in a chroot of that architecture."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from shared import HOME, build, check_out, interpreter, need, proof, run, run_tests, version


class Machine(NamedTuple):
    qemu: str  # qemu's name of it
    triplet: str  # the compiler's name of it


MACHINES = {
    "arm64": Machine("aarch64", "aarch64-linux-gnu"),
    "s390x": Machine("s390x", "s390x-linux-gnu"),
}
UNPROVED = "speed, and how threads that run at once see each other's writes"
SUITE = os.environ.get("SUITE", "bookworm")
PACKAGES = ["coreutils", "libc6-dev", "libpython3-dev", "python3-graphviz", "python3-hypothesis", "python3-minimal"]
PACKAGES += ["python3-mpmath", "python3-numpy", "python3-pytest", "python3-pytest-xdist"]
# These allow seconds for what takes qemu longer, or read the memory of the process, of which qemu uses some itself. The
# program dot needs a script of its package that is not run.
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


def make(root: Path, name: str) -> None:
    """A folder with Python and what the tests import. Only safetensors is from PyPI: Debian lacks it."""
    shutil.rmtree(root, ignore_errors=True)
    # "extract" runs no scripts of the packages. They would run under qemu, and take six minutes instead of half a one.
    packages = f"--include={','.join(PACKAGES)}"
    run("mmdebstrap", f"--architectures={name}", "--variant=extract", packages, SUITE, root)
    (root / "proc").mkdir(exist_ok=True)
    [library] = root.glob("usr/lib/python3.*")
    site = root / "usr" / "local" / "lib" / library.name / "dist-packages"
    wheels = ["--platform", f"manylinux_2_17_{MACHINES[name].qemu}", "--python-version", library.name[len("python") :]]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run(*pip, *wheels, "--target", site, "safetensors")
    (root / "made").touch()


def check(name: str) -> str:
    machine = MACHINES[name]
    if os.geteuid() != 0:
        sys.exit(f"{name} needs root, for a chroot")
    emulator, compiler = f"qemu-{machine.qemu}-static", f"{machine.triplet}-gcc"
    package = f"gcc-{machine.triplet}".replace("_", "-")
    need(name, {"mmdebstrap": "mmdebstrap", emulator: "qemu-user-static", compiler: package})
    register(machine.qemu)
    root = HOME / f"{name}-{SUITE}"
    if not (root / "made").exists():
        make(root, name)
    modules = check_out(root / "checkout")
    [include] = root.glob("usr/include/python3.*")
    build([compiler, f"--sysroot={root}", f"-I{include}", "-fPIC"], modules, ".so", ["-lm"])
    # The scripts that were not run would choose among libraries for BLAS and LAPACK.
    libraries = ":".join(f"/usr/lib/{machine.triplet}/{library}" for library in ("blas", "lapack"))
    mount = f'mount --bind /proc {root}/proc && exec chroot {root} "$@"'  # in a namespace that ends with the program
    python = ["unshare", "--mount", "sh", "-c", mount, "-", "env", "--chdir=/checkout", f"LD_LIBRARY_PATH={libraries}"]
    python += ["PYTHONPATH=/checkout/src", "python3"]
    passed = run_tests(python, NOT_RUN)
    return proof(name, [interpreter(python), version(compiler), version(emulator)], passed, UNPROVED)
