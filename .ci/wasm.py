"""`make wasm-wheel`, `make wasm` and `make wasm-browser`: the wheel for Pyodide, which is CPython in the browser.

wheel    builds it into dist/: Debian's emscripten compiles against the headers of Debian's CPython of the same version,
         with the configuration of Pyodide's own, from npm's package. If emcc is not in PATH, and for root, that happens
         in a chroot of Debian unstable, build/wasm/sid, which is made if it is missing.
test     runs the tests on the installed wheel under node, and measures the README's loop there.
browser  runs the README's loop in headless Chromium, by Playwright.

The wheel of a release is built by cibuildwheel, with the emscripten that Pyodide itself is built with.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

PYODIDE = "314.0.7"
PYTHON = "3.14"  # of this Pyodide
DEBIAN = ["emscripten", f"python{PYTHON}-dev"]
ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
WORK = ROOT / "build" / "wasm"
SID, PACKAGE, PACKAGES, HEADERS = (WORK / name for name in ("sid", "package", "packages", "include"))
CONFIGURATION = "_sysconfigdata__emscripten_wasm32-emscripten"  # the module with the variables of `sysconfig`
# Pyodide's own, which are a part of its ABI: exceptions and longjmp by instructions of WebAssembly.
CFLAGS = "-fPIC -fwasm-exceptions -sSUPPORT_LONGJMP=wasm -DPY_CALL_TRAMPOLINE -w"


def run(*command: object, cwd: Path = ROOT, capture: bool = True, **environment: str) -> str:
    """The command's output. If it fails, print the output and exit."""
    words = [str(word) for word in command]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if capture else {}
    try:
        done = subprocess.run(words, cwd=cwd, env={**os.environ, **environment}, text=True, check=False, **streams)
    except FileNotFoundError:
        package = {"node": "nodejs"}.get(words[0], words[0])
        sys.exit(f"make wasm needs {words[0]}, which is not in PATH (Debian: apt install {package})")
    if done.returncode:
        sys.exit(f"{done.stdout or ''}\n{' '.join(words)}: exit {done.returncode}")
    return done.stdout or ""


def pip_install(folder: Path, *options: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "--only-binary=:all:"]
    run(*pip, f"--python-version={PYTHON}", *options, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")


# ---- The wheel -------------------------------------------------------------------------------------


def enter_sid() -> list[str]:
    """What precedes a command that needs Debian's packages: nothing if they are here, else what enters the chroot."""
    if shutil.which("emcc") and shutil.which(f"python{PYTHON}"):
        return []
    if os.geteuid():
        sys.exit(f"make wasm needs Debian unstable's {' and '.join(DEBIAN)}, or root, to install them into a chroot")
    if not (SID / "usr" / "bin" / "emcc").exists():
        print("making a chroot of Debian unstable with emscripten, of 1 GB: some minutes ...", flush=True)
        shutil.rmtree(SID, ignore_errors=True)
        # A mirror's lists of packages expire after a week.
        options = ["--variant=apt", '--aptopt=Acquire::Check-Valid-Until "false"', f"--include={','.join(DEBIAN)}"]
        run("mmdebstrap", *options, "unstable", SID)
    # Mounts in a name space of its own end with the command, so that no `rm -rf build` reaches what they show.
    enter = 'mount --bind /proc "$1/proc" && mkdir -p "$1$2" && mount --bind "$2" "$1$2" && root=$1 && shift 2'
    return ["unshare", "--mount", "sh", "-c", f'{enter} && exec chroot "$root" "$@"', "sh", str(SID), str(ROOT)]


def get_pyodide() -> dict[str, object]:
    """Unpack npm's package into build/wasm/package. Returns the variables of Pyodide's `sysconfig`."""
    WORK.mkdir(parents=True, exist_ok=True)
    archive = WORK / f"pyodide-{PYODIDE}.tgz"
    if not archive.exists():
        run("npm", "pack", "--silent", f"pyodide@{PYODIDE}", cwd=WORK)
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.unpack_archive(archive, WORK)
    with zipfile.ZipFile(PACKAGE / "python_stdlib.zip") as library:
        path = library.extract(f"{CONFIGURATION}.py", WORK / "configuration")
    return runpy.run_path(path)["build_time_vars"]


def write_headers(enter: list[str], variables: dict[str, object]) -> None:
    """The headers of Debian's CPython, with a pyconfig.h of Pyodide's variables."""
    shutil.rmtree(HEADERS, ignore_errors=True)
    run(*enter, "cp", "-r", f"/usr/include/python{PYTHON}", HEADERS)
    debian = run(*enter, "sh", "-c", f"cat /usr/include/*-linux-gnu/python{PYTHON}/pyconfig.h")
    names = dict.fromkeys(re.findall(r"^(?:#define|/\* #undef) (\w+)", debian, re.MULTILINE))
    lines = [f"#define {name} {variables[name]}\n" for name in names if variables.get(name)]
    (HEADERS / "pyconfig.h").write_text("".join(lines))


def copy_sources(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.c", "*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


def build_wheel() -> None:
    DIST.mkdir(exist_ok=True)
    variables = get_pyodide()
    enter = enter_sid()
    write_headers(enter, variables)
    copy_sources(WORK / "source")
    pip_install(WORK / "tools", "Cython>=3.1,<4", "setuptools>=77")
    settings = {
        "PYTHONPATH": f"{WORK / 'tools'}:{WORK / 'configuration'}",
        "_PYTHON_SYSCONFIGDATA_NAME": CONFIGURATION,
        "_PYTHON_HOST_PLATFORM": f"pyemscripten_{variables['PYEMSCRIPTEN_ABI_VERSION']}_wasm32",
        "CC": "emcc",
        "CFLAGS": CFLAGS,
        "CPPFLAGS": f"-I{HEADERS}",
        "LDSHARED": "emcc -sSIDE_MODULE=1",
    }
    assignments = [f"{name}={value}" for name, value in settings.items()]
    backend = f"from setuptools.build_meta import build_wheel; build_wheel({str(DIST)!r})"
    command = shlex.join(["env", *assignments, f"python{PYTHON}", "-c", backend])
    for old in DIST.glob("*_wasm32.whl"):
        old.unlink()
    print("compiling by emcc: a minute ...", flush=True)
    run(*enter, "sh", "-c", f"cd {shlex.quote(str(WORK / 'source'))} && {command}")
    print(f"{built_wheel().relative_to(ROOT)}: {built_wheel().stat().st_size:,} bytes")


def built_wheel() -> Path:
    for wheel in DIST.glob("*_wasm32.whl"):
        return wheel
    sys.exit("there is no wheel for Pyodide in dist/: make wasm-wheel")


# ---- Under node, and in a browser ------------------------------------------------------------------


def test_wheel() -> None:
    [platform] = re.findall(r"pyemscripten_\w+", built_wheel().name)
    pip_install(PACKAGES, f"--platform={platform}", "graphviz", "hypothesis", "mpmath", "pytest")
    for program in ("wasm_tests.py", "wasm_loop.py"):
        run("node", ".ci/wasm.mjs", built_wheel(), Path(".ci", program), capture=False)


# In a page: the wheel is loaded from its address, and the program's output is what the function returns.
IN_PAGE = """async ([wheel, program]) => {
    const { loadPyodide } = await import("/build/wasm/package/pyodide.mjs");
    const lines = [navigator.userAgent.match(/Chrome\\S*/)[0]];
    const pyodide = await loadPyodide({ stdout: (line) => lines.push(line) });
    await pyodide.loadPackage(wheel);
    pyodide.runPython(program);
    return lines.join("\\n");
}"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files as what they are on any system, and has each asked for anew, since they may just have been built."""

    extensions_map: ClassVar = {
        "": "application/octet-stream",
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".mjs": "text/javascript",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


def server(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=folder))


@contextmanager
def chromium(target: str, folder: Path, *options: str) -> Iterator[tuple[Any, str]]:
    """Headless Chromium, and the address at which it finds the folder's files."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit(f"make {target} needs Playwright: pip install playwright")
    program = shutil.which("chromium") or sys.exit(f"make {target} needs Chromium (Debian: apt install chromium)")
    serving = server(folder)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *options])
        yield browser, f"http://127.0.0.1:{serving.server_port}/"
        browser.close()


def run_in_browser() -> None:
    with chromium("wasm-browser", ROOT) as (browser, address):
        page = browser.new_page()
        page.goto(address)  # the list of the files: any page will do
        program = (ROOT / "examples" / "train_mlp.py").read_text()
        print(page.evaluate(IN_PAGE, [f"/{built_wheel().relative_to(ROOT)}", program]))


if __name__ == "__main__":
    {"wheel": build_wheel, "test": test_wheel, "browser": run_in_browser}[sys.argv[1]]()
