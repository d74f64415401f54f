"""`make wheels`: what users install, into dist/: an sdist and, from it, a wheel for each interpreter at hand.

Each wheel is built in isolation, repaired, checked, and tested with the sdist's tests where no compiler is in PATH.
One more, built by clang where there is one, has the fast paths switched off; it is tested and not kept.
Ends with the tests' summaries, the newest interpreter's last.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
ROOMS = ROOT / "build" / "wheels"
TOOLS = ROOMS / "tools" / "venv" / "bin"
VERSIONS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
NEWEST_TAG = f"manylinux_2_28_{platform.machine()}"
LARGEST = 1_000_000  # bytes of a wheel
PLAIN = "plain"  # the room of the build without fast paths


def run(*command: object, cwd: Path = ROOT, status: int = 0, **environment: str) -> str:
    """What the command printed; where it ends with another status, that is shown and this ends."""
    words = [str(word) for word in command]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", **environment}
    done = subprocess.run(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != status:
        sys.exit(f"{done.stdout}\n{' '.join(words)}: exit {done.returncode}")
    return done.stdout


def interpreters() -> dict[str, str]:
    """The supported versions of Python there are, from PATH or pyenv."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        for python in [f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]:
            probe = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
            try:
                words = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
            except (OSError, subprocess.CalledProcessError):
                continue
            if words[0] == version:
                found[version] = words[1]
                break
    return found


def python(room: str) -> Path:
    return ROOMS / room / "venv" / "bin" / "python"


def build(room: str, sdist: Path) -> Path:
    """The wheel of a room, built in an empty folder."""
    work = ROOMS / room / "build"
    work.mkdir()
    # Without its cache, or pip would give the wheel of the last sdist of that name.
    make = [python(room), "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", work, sdist]
    if room == PLAIN:
        compiler = shutil.which("clang") or shutil.which("cc") or "cc"
        print(f"the plain build is by {compiler}")
        run(*make, cwd=work, MICROGRAD_PLAIN="1", CC=compiler)
        return next(work.glob("*.whl"))
    run(*make, cwd=work, CFLAGS=f"{os.environ.get('CFLAGS', '')} -include {ROOT / '.ci' / 'glibc_2_28.h'}")
    [wheel] = work.glob("*.whl")
    path = f"{TOOLS}:{os.environ['PATH']}"
    run(TOOLS / "auditwheel", "repair", "--plat", NEWEST_TAG, "--wheel-dir", work / "repaired", wheel, PATH=path)
    [repaired] = (work / "repaired").glob("*.whl")
    with zipfile.ZipFile(repaired) as archive:
        sources = [name for name in archive.namelist() if name.endswith((".pyx", ".pxi", ".pxd", ".c", ".h"))]
    if sources:
        sys.exit(f"{repaired.name} carries sources: {', '.join(sources)}")
    if repaired.stat().st_size > LARGEST:
        sys.exit(f"{repaired.name} has {repaired.stat().st_size:,} bytes, more than {LARGEST:,}")
    return Path(shutil.copy(repaired, DIST))


def test(room: str, wheel: Path, sdist: Path) -> str:
    """Install the wheel with nothing but the room in PATH, run the tests of the sdist beside it, give their output."""
    path = str(python(room).parent)
    for compiler in ("cc", "gcc", "clang"):
        assert shutil.which(compiler, path=path) is None
    with tarfile.open(sdist) as archive:
        archive.extractall(ROOMS / room, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    [checkout] = ROOMS.glob(f"{room}/micrograd*")
    shutil.rmtree(checkout / "src")  # only the installed package can be imported
    environment = {"PATH": path, "PYTHONPATH": "", "MICROGRAD_PLAIN": str(int(room == PLAIN))}
    run(python(room), "-m", "pip", "install", "--only-binary", ":all:", f"{wheel}[test]", cwd=checkout, **environment)
    reference = os.environ.get("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    output = run(python(room), "-m", "pytest", "--quiet", cwd=checkout, MICROGRAD_REFERENCE=reference, **environment)
    return f"== {wheel.name} ({room}), installed\n{output}"


def clash(room: str, wheel: Path) -> None:
    """What is said beside the reference's package, which has files of the same names, installed before and after."""
    for package, said in (("micrograd==0.1.0", "not as installed: micrograd/__init__.py"), (wheel, "RuntimeWarning")):
        run(python(room), "-m", "pip", "install", "--no-deps", "--force-reinstall", package)
        output = run(python(room), "-m", "micrograd", "--doctor", cwd=ROOMS / room, status=1)
        if said not in output:
            sys.exit(f"beside the reference, {said!r} is not in\n{output}")


def main() -> None:
    for folder in (ROOMS, DIST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    found = interpreters()
    if not found:
        sys.exit(f"none of Python {', '.join(VERSIONS)} is here")
    print("Python", ", ".join(found))
    newest = list(found.values())[-1]
    rooms = [PLAIN, *found]
    for room, interpreter in [("tools", newest), (PLAIN, newest), *found.items()]:
        run(interpreter, "-m", "venv", ROOMS / room / "venv")
    run(TOOLS / "python", "-m", "pip", "install", "--requirement", "requirements-wheels.txt")
    run(TOOLS / "python", "-m", "pip", "install", "--no-deps", "--requirement", "requirements-cibuildwheel.txt")

    run(TOOLS / "python", "-m", "build", "--sdist", "--outdir", DIST)
    [sdist] = DIST.glob("*.tar.gz")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wheels = list(pool.map(lambda room: build(room, sdist), rooms))
    packages = sorted(DIST.iterdir())
    print(*(f"{package.name}: {package.stat().st_size:,} bytes" for package in packages), sep="\n")
    print(run(TOOLS / "twine", "--no-color", "check", "--strict", *packages, COLUMNS="200"))
    print(run(TOOLS / "check-wheel-contents", *DIST.glob("*.whl")))
    print(run(TOOLS / "validate-pyproject", "pyproject.toml"))
    for system, machines in (("linux", "x86_64,aarch64"), ("macos", "x86_64,arm64"), ("windows", "AMD64,ARM64")):
        options = "--platform", system, "--archs", machines, "--print-build-identifiers"
        print(f"cibuildwheel on {system}:", *run(TOOLS / "cibuildwheel", *options).split())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(lambda room, wheel: test(room, wheel, sdist), rooms, wheels):
            print(output, end="", flush=True)
    clash(rooms[-1], wheels[-1])


if __name__ == "__main__":
    main()
