"""`make wheels`: builds what users install into dist/, an sdist and from it a wheel for each interpreter found here.

Each wheel is built in isolation, repaired, checked, and tested with the sdist's tests without a compiler in PATH. One
more wheel is built without the fast paths, by clang if it is installed; it is tested and not kept. The test summaries
are printed last, the newest interpreter's at the end.

Each wheel has a folder, build/wheels/NAME, with a virtual environment. NAME is the Python version, or "plain".
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
WORK = ROOT / "build" / "wheels"
TOOLS = WORK / "tools" / "venv" / "bin"
VERSIONS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
NEWEST_TAG = f"manylinux_2_28_{platform.machine()}"
LARGEST = 1_000_000  # bytes that a wheel may have
PLAIN = "plain"  # the name of the build without the fast paths


def run(*command: object, cwd: Path = ROOT, status: int = 0, **environment: str) -> str:
    """The command's output. If its exit status is not `status`, print the output and exit."""
    words = [str(word) for word in command]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", **environment}
    done = subprocess.run(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != status:
        sys.exit(f"{done.stdout}\n{' '.join(words)}: exit {done.returncode}")
    return done.stdout


def interpreters() -> dict[str, str]:
    """The supported Python versions found in PATH or pyenv, with the path of each interpreter."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        for candidate in [f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]:
            probe = (
                "import sys, sysconfig; free = sysconfig.get_config_var('Py_GIL_DISABLED');"
                "print('%d.%d' % sys.version_info[:2] + ('t' if free else ''), sys.executable)"
            )
            try:
                done = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            reported, path = done.stdout.split()
            if reported == version:
                found[version] = path
                break
    return found


def python(name: str) -> Path:
    return WORK / name / "venv" / "bin" / "python"


def make_environments(found: dict[str, str]) -> None:
    """A virtual environment for each wheel and one for the tools, on the newest interpreter."""
    newest = list(found.values())[-1]
    for name, interpreter in [("tools", newest), (PLAIN, newest), *found.items()]:
        run(interpreter, "-m", "venv", WORK / name / "venv")
    run(TOOLS / "python", "-m", "pip", "install", "--requirement", "requirements-wheels.txt")
    run(TOOLS / "python", "-m", "pip", "install", "--no-deps", "--requirement", "requirements-cibuildwheel.txt")


def build_sdist() -> Path:
    run(TOOLS / "python", "-m", "build", "--sdist", "--outdir", DIST)
    [sdist] = DIST.glob("*.tar.gz")
    return sdist


def build_wheel(name: str, sdist: Path) -> Path:
    """Build a wheel from the sdist, in an empty folder. Any but the plain one is repaired, checked, put into dist/."""
    work = WORK / name / "build"
    work.mkdir()
    # pip's cache would return the wheel of the previous sdist of the same name.
    command = [python(name), "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", work, sdist]
    if name == PLAIN:
        compiler = shutil.which("clang") or shutil.which("cc") or "cc"
        print(f"the plain build is compiled by {compiler}")
        run(*command, cwd=work, MICROGRAD_PLAIN="1", CC=compiler)
        return next(work.glob("*.whl"))
    run(*command, cwd=work, CFLAGS=f"{os.environ.get('CFLAGS', '')} -include {ROOT / '.ci' / 'glibc_2_28.h'}")
    [wheel] = work.glob("*.whl")
    path = f"{TOOLS}:{os.environ['PATH']}"
    options = "--plat", NEWEST_TAG, "--zip-compression-level", "9", "--wheel-dir", work / "repaired"
    run(TOOLS / "auditwheel", "repair", *options, wheel, PATH=path)
    [repaired] = (work / "repaired").glob("*.whl")
    with zipfile.ZipFile(repaired) as archive:
        sources = [file for file in archive.namelist() if file.endswith((".pyx", ".pxi", ".pxd", ".c", ".h"))]
    if sources:
        sys.exit(f"{repaired.name} contains sources: {', '.join(sources)}")
    if repaired.stat().st_size > LARGEST:
        sys.exit(f"{repaired.name} has {repaired.stat().st_size:,} bytes, more than {LARGEST:,}")
    return Path(shutil.copy(repaired, DIST))


def check_packages() -> None:
    """Print sizes and the checks of the packages in dist/, and the wheels that cibuildwheel would build."""
    packages = sorted(DIST.iterdir())
    print(*(f"{package.name}: {package.stat().st_size:,} bytes" for package in packages), sep="\n")
    print(run(TOOLS / "twine", "--no-color", "check", "--strict", *packages, COLUMNS="200"))
    print(run(TOOLS / "check-wheel-contents", *DIST.glob("*.whl")))
    machines = {"linux": "x86_64,aarch64", "macos": "x86_64,arm64", "windows": "AMD64,ARM64", "pyodide": "wasm32"}
    for system, archs in machines.items():
        options = "--platform", system, "--archs", archs, "--print-build-identifiers"
        print(f"cibuildwheel on {system}:", *run(TOOLS / "cibuildwheel", *options).split())


def test_wheel(name: str, wheel: Path, sdist: Path) -> str:
    """Install the wheel with only its environment in PATH, and run the sdist's tests on it. Returns their output."""
    path = str(python(name).parent)
    for compiler in ("cc", "gcc", "clang"):
        assert shutil.which(compiler, path=path) is None
    with tarfile.open(sdist) as archive:
        archive.extractall(WORK / name, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    [checkout] = WORK.glob(f"{name}/micrograd*")
    shutil.rmtree(checkout / "src")  # only the installed package can be imported
    environment = {"PATH": path, "PYTHONPATH": "", "MICROGRAD_PLAIN": str(int(name == PLAIN))}
    run(python(name), "-m", "pip", "install", "--only-binary", ":all:", f"{wheel}[test]", cwd=checkout, **environment)
    reference = os.environ.get("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    output = run(python(name), "-m", "pytest", "--quiet", cwd=checkout, MICROGRAD_REFERENCE=reference, **environment)
    return f"== {wheel.name} ({name}), installed\n{output}"


def test_conflict(name: str, wheel: Path) -> None:
    """Install the reference's package, which has files of the same names, over the wheel, then the wheel over it.

    `--doctor` has to report each.
    """
    file_replaced, warning = "not as installed: micrograd/__init__.py", "RuntimeWarning"
    for package, expected in (("micrograd==0.1.0", file_replaced), (wheel, warning)):
        run(python(name), "-m", "pip", "install", "--no-deps", "--force-reinstall", package)
        output = run(python(name), "-m", "micrograd", "--doctor", cwd=WORK / name, status=1)
        if expected not in output:
            sys.exit(f"with the reference's package installed, {expected!r} is not in\n{output}")


def main() -> None:
    for folder in (WORK, DIST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    found = interpreters()
    if not found:
        sys.exit(f"none of Python {', '.join(VERSIONS)} is installed")
    print("Python", ", ".join(found))
    make_environments(found)
    sdist = build_sdist()
    names = [PLAIN, *found]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wheels = list(pool.map(lambda name: build_wheel(name, sdist), names))
    check_packages()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(lambda name, wheel: test_wheel(name, wheel, sdist), names, wheels):
            print(output, end="", flush=True)
    test_conflict(names[-1], wheels[-1])


if __name__ == "__main__":
    main()
