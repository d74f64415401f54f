"""What the machines share: missing programs, the compiler's calls, a checkout and its tests, the last line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / "build" / "elsewhere"
sys.path.insert(0, str(ROOT))
os.chdir(ROOT)  # setup.py looks for its sources there
import setup  # noqa: E402

REFERENCE = Path(os.environ.get("MICROGRAD_REFERENCE", ROOT / "build" / "reference"))
# These are about the repository, about checkers of types, and about an installed package.
NOT_RUN = ["demonstration", "docstrings", "guide", "packaging", "types"]
TESTS = [*(f"--ignore=tests/project/test_{name}.py" for name in NOT_RUN), "-m", "not slow", "-n", "2", "-q", "tests"]


def run(*command: object, **options) -> str:
    """The command's output. If it fails, print the output and exit."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(words)}: exit {done.returncode}")
    return done.stdout


def need(name: str, programs: dict[str, str]) -> None:
    """Exit with a sentence unless the programs, keys with Debian's package, are there. Root gets them installed."""
    missing = [program for program in programs if not shutil.which(program)]
    packages = sorted({programs[program] for program in missing})
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    if not missing:
        return
    sentence = f"{name} needs {', '.join(missing)} (Debian: {' '.join(install[:2])} {' '.join(packages)})"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(sentence)
    print(f"{sentence}; installing ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=environment)
    run(*install, env=environment)


def build(compiler: list[object], folder: Path, suffix: str, libraries: list[object]) -> None:
    """Compile and link the modules into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"*{suffix}"):
        old.unlink()

    def build_module(module) -> None:
        macros = [f"-D{name}={value or 1}" for name, value in module.define_macros]
        target = folder / f"{module.name.partition('.')[2]}{suffix}"
        run(*compiler, "-shared", *setup.flags, *macros, "-Isrc/micrograd", *module.sources, "-o", target, *libraries)

    modules = cythonize(setup.extensions, include_path=["src"], compiler_directives=setup.directives, quiet=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build_module, modules))


def check_out(folder: Path) -> Path:
    """Copy the reference and what the tests read, without this machine's modules. Gives the folder of the package."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("docs", "examples", "src", "tests"):
        shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    for name in ("README.md", "DIFFERENCES.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(name, folder)
    shutil.copytree(REFERENCE, folder / "build" / "reference")
    return folder / "src" / "micrograd"


def run_tests(command: list[object], left_out: list[str], **options) -> str:
    """Print what pytest prints, and give its last line. Exit if a test fails. `left_out`: files, and tests."""
    words = ["nice", *map(str, command), "-m", "pytest", *TESTS]
    words += [f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in left_out]
    lines = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}  # wine needs pipes
    with subprocess.Popen(words, text=True, **pipes, **options) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.strip())
    if process.returncode:
        sys.exit(f"{' '.join(words)}: exit {process.returncode}")
    return next(line for line in reversed(lines) if " passed" in line)


def interpreter(python: list[object], **options) -> str:
    source = "import numpy, platform as p; print('CPython', p.python_version() + ', NumPy', numpy.__version__)"
    return run(*python, "-c", source, stdin=subprocess.DEVNULL, **options).splitlines()[-1].strip()


def version(program: str) -> str:
    """Its first line. What wine writes to stderr is a hint to install wine32."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def proof(name: str, versions: list[str], proved: str, unproved: str) -> str:
    """The last line of a machine."""
    return f"{name}, {time.strftime('%Y-%m-%d')}, {', '.join(versions)}: {proved}. Not proved: {unproved}."
