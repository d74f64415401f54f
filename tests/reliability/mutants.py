"""How many faults in the engine the tests find. A mutant has one change in the op table, the backward pass, the layers
or replay: an operator or a number replaced, a condition negated, an assignment or a call left out. The tests of its
area run until one fails; if none does, all tests of the engine run. `make mutants`.

Changes are made in the C that Cython generates, in the statements of a randomly drawn line of the sources, and in
headers. One build has all of them, each behind a test of the environment variable MICROGRAD_MUTANT. A mutant that
computes the same for every input is no fault: EQUIVALENT names those that were found, each with the reason.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

from compiled_coverage import copy_sources

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "mutants"
FOLDER = TREE / "src" / "micrograd"
SECONDS = 120  # after this long, a test hangs, which counts as found; twenty times as long, all of them
MODULES = ["_core", "_nn", "_compile", "_optim"]

CORE, COMPILE = "micrograd/_core/", "src/micrograd/_compile/"
OPS = ["test_op_table.py", "test_rules.py", "test_infinities.py", "test_errors.py", "test_activations.py"]
HEADERS = ["loops", "products", "dots", "math", "choices"]
# Of each area: its sources as the generated C names them, and the tests that are run first.
AREAS: dict[str, tuple[list[str], list[str]]] = {
    "op table": (
        [CORE + "ops.pxd", CORE + "activations.pxd", CORE + "choices.pxd"],
        [*(f"tests/engine/{name}" for name in OPS), "tests/nn/test_functional.py", "tests/compile/test_math.py"],
    ),
    "backward": (
        ["micrograd/_core.pyx", "src/micrograd/_core/walk.pxi", "src/micrograd/_core/leaf_grads.pxi"],
        ["tests/engine"],
    ),
    "layers": (["src/micrograd/_core/affine.pxi"], ["tests/engine/test_affine_nodes.py", "tests/nn", "tests/engine"]),
    "replay": (
        [COMPILE + "execute.pxi", COMPILE + "draft.pxi", *(f"lanes_{x}.h" for x in HEADERS)],
        ["tests/compile"],
    ),
}
EVERYTHING = ["tests/engine", "tests/nn", "tests/compile", "tests/optim", "tests/forks"]

# In generated C and in headers alike. Each match is one mutant.
CHANGES = [
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "), (r" < ", " <= "), (r" <= ", " < "),
    (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" & ", " | "), (r" \| ", " & "), (r" \+= ", " -= "), (r" -= ", " += "), (r"\+\+", "--"), (r"\b0\.0\b", "1.0"),
    (r"\b1\.0\b", "2.0"), (r"\b0\.5\b", "0.25"), (r"(?<=[ (])1(?=[);L])", "2"), (r"(?<=[ (])0(?=[);])", "1"),
    (r"(?<=\()!", ""), (r"(?<=if )\((?=.*\) \{$)", "(!"), (r"\bfmin\b", "fmax"), (r"\bsin\b", "cos"), (r"~", ""),
    (r"(?<=_v_)a\b", "b"), (r"(?<=_v_)r\b", "a"),
    (r"^(\s*)(Py_INCREF\(.*\);|[^=(){}]+ [|&+-]?= .*;|[\w>.-]+\(.*\);)$", r"\1;"),
]  # fmt: skip
# Cython's own statements, errors and reference counts; assertions of debug builds.
NOT_CHANGED = re.compile(
    r"__PYX_ERR|_check_|__Pyx_|__pyx_L|goto |__pyx_lineno|__pyx_filename|^\s*(?:/?\*|//|#|return;)"
)

# The line of C, and as changed: why no test can tell it from the original.
EQUIVALENT: dict[tuple[str, str], str] = {}


class Mutant(NamedTuple):
    area: str
    place: str  # source and line
    before: str  # a line of the generated C, or of the header
    after: str
    edits: list[tuple[Path, int]]  # which lines of which files

    def __str__(self) -> str:
        return f"{self.area}: {self.place}: {self.before.strip()}  ->  {self.after.strip()}"


def changes_of(line: str) -> list[str]:
    """The line with each possible change."""
    if NOT_CHANGED.search(line) or not line.strip():
        return []
    found = []
    for pattern, new in CHANGES:
        for match in re.finditer(pattern, line):
            changed = line[: match.start()] + match.expand(new) + line[match.end() :]
            if changed != line and guarded(0, line, changed):
                found.append(changed)
    return found


def guarded(k: int, before: str, after: str) -> str | None:
    """A line that is `after` in mutant k and `before` in others; None where such a line cannot be written."""
    is_mutant = f"micrograd_mutant == {k}"
    for form in (r"(\s*(?:\} else )?if \()(.*)(\) \{)", r"(\s*return )(.*)(;)", r"([^=]*[^=!<>+*/|&-] = )([^=].*)(;)"):
        old, new = re.fullmatch(form, before), re.fullmatch(form, after)
        if old and new and old[1] == new[1]:
            return f"{old[1]}{is_mutant} ? ({new[2]}) : ({old[2]}){old[3]}"
    if not before.endswith(";") or re.search("[{}]", before + after):
        return None
    if after.strip() == ";":
        return f"if (!({is_mutant})) {{ {before} }}"
    return f"if ({is_mutant}) {{ {after} }} else {{ {before} }}"


MARK = re.compile(r'^\s*/\* "([^"]+)":(\d+)$')


def find_generated(sources: dict[str, str]) -> dict[tuple[str, str], dict[str, list[tuple[Path, int]]]]:
    """Of each line of these sources: the lines of generated C, by their text, and where they stand."""
    found: dict[tuple[str, str], dict[str, list[tuple[Path, int]]]] = {}
    for module in MODULES:
        path = FOLDER / f"{module}.c"
        place, in_comment = None, False
        for i, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
            if match := MARK.match(line):
                place, in_comment = (match[1], match[2]) if match[1] in sources else None, True
            elif in_comment:
                in_comment = "*/" not in line
            elif line.startswith(("}", "static ", "/*")):
                place = None
            elif place and changes_of(line):
                places = found.setdefault((sources[place[0]], ":".join(place)), {}).setdefault(line, [])
                if not any(other == path for other, _ in places):  # once in each module
                    places.append((path, i))
    return found


def find_headers(sources: dict[str, str]) -> dict[tuple[str, str], dict[str, list[tuple[Path, int]]]]:
    """The same of the lines of headers."""
    found: dict[tuple[str, str], dict[str, list[tuple[Path, int]]]] = {}
    for name in [name for name in sources if name.endswith(".h")]:
        path = FOLDER / "_compile" / name
        in_comment = False
        for i, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
            in_comment = (in_comment or "/*" in line) and "*/" not in line
            if not in_comment and "*/" not in line and changes_of(line):
                found[sources[name], f"{name}:{i + 1}"] = {line: [(path, i)]}
    return found


def draw_mutants(seed: int, count: int) -> list[Mutant]:
    """Mutants of the areas in turn, each of a source line of its own."""
    sources = {source: area for area, (names, _) in AREAS.items() for source in names}
    found = {**find_generated(sources), **find_headers(sources)}
    draw = random.Random(seed)
    mutants = []
    for i in range(count):
        area = list(AREAS)[i % len(AREAS)]
        place = draw.choice(sorted(place for place in found if place[0] == area))
        lines = found.pop(place)
        before = draw.choice(sorted(lines))
        mutants.append(Mutant(area, place[1], before, draw.choice(changes_of(before)), lines[before]))
    return mutants


# ---- Building and testing --------------------------------------------------------------------------------------------


PROLOGUE = """#include <stdlib.h>
static int micrograd_mutant;
__attribute__((constructor)) static void micrograd_choose_mutant(void) {
    const char *k = getenv("MICROGRAD_MUTANT");
    micrograd_mutant = k ? atoi(k) : -1;
}
"""


def generate() -> None:
    """A copy of the sources with generated C."""
    copy_sources(TREE)
    code = "import setup; from Cython.Build import cythonize; "
    code += "cythonize(setup.extensions, include_path=['src'], compiler_directives=setup.directives)"
    subprocess.run([sys.executable, "-c", code], cwd=TREE, check=True, stdout=subprocess.DEVNULL)


def compile_module(module: str) -> str:
    """Compile without optimisation, otherwise as setup.py does; gives what the compiler says."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    options = ["-shared", "-fPIC", "-O0", "-g0", "-w", "-DNDEBUG", "-ffp-contract=off", "-fno-math-errno"]
    options += ["-DCYTHON_USE_TYPE_SPECS=1"] if module == "_core" else []
    library = FOLDER / (module + sysconfig.get_config_var("EXT_SUFFIX"))
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler, *options, include, str(FOLDER / f"{module}.c"), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def build(mutants: dict[int, Mutant]) -> None:
    """Build the modules with these mutants, and take out of the dict those that the compiler refuses."""
    originals = {path: path.read_text(encoding="utf-8").split("\n") for path in sources_of(mutants)}
    while True:
        changed = {path: lines.copy() for path, lines in originals.items()}
        for k, mutant in mutants.items():
            for path, i in mutant.edits:
                changed[path][i] = guarded(k, mutant.before, mutant.after) or ""
        for path, lines in changed.items():
            prologue = f"{PROLOGUE}#line 1\n" if path.suffix == ".c" else ""
            path.write_text(prologue + "\n".join(lines), encoding="utf-8")
        said = "".join(map(compile_module, MODULES))
        faulty = {(Path(name).name, int(line) - 1) for name, line in re.findall(r"([\w./]+):(\d+):\d+: error", said)}
        refused = [k for k, m in mutants.items() if any((path.name, i) in faulty for path, i in m.edits)]
        assert bool(refused) == bool(said), said
        if not said:
            return
        for k in refused:
            del mutants[k]


def sources_of(mutants: dict[int, Mutant]) -> set[Path]:
    modules = {FOLDER / f"{module}.c" for module in MODULES}
    return modules | {path for mutant in mutants.values() for path, _ in mutant.edits}


def failing(tests: list[str], k: int = -1) -> str | None:
    """The first test that fails in this mutant, or how pytest ended; None where all pass."""
    path = os.pathsep.join([str(TREE / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "MICROGRAD_MUTANT": str(k)}
    environment.setdefault("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    options = ["-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-rf", "-vv"]
    options += ["-o", f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20 * SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end after {20 * SECONDS} s"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    begun = re.findall(r"^(\S+::\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else f"pytest ends with {done.returncode} in {begun[-1] if begun else tests[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description="How many faults in the engine the tests find.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print the mutants, and build none")
    parser.add_argument("--again", action="store_true", help="use the build of the last run")
    parser.add_argument("--unchecked", action="store_true", help="do not run the tests without a change first")
    options = parser.parse_args()
    built = TREE / "mutants.pickle"
    if options.again:
        mutants = pickle.loads(built.read_bytes())
    else:
        generate()
        mutants = dict(enumerate(draw_mutants(options.seed, options.count)))
    if options.list:
        print(*mutants.values(), sep="\n")
        return
    if not options.again:
        build(mutants)
        built.write_bytes(pickle.dumps(mutants))
    for area, (_, tests) in AREAS.items():
        by = None if options.unchecked else failing(tests)
        assert not by, f"the tests of {area} fail without a change: {by}"
    found = missed = 0
    for k, mutant in mutants.items():
        start = time.perf_counter()
        by = failing(AREAS[mutant.area][1], k)
        reason = EQUIVALENT.get((mutant.before.strip(), mutant.after.strip()))
        if not by and reason:
            print(f"equivalent: {mutant}: {reason}", flush=True)
            continue
        by = by or failing(EVERYTHING, k)
        found += bool(by)
        missed += not by
        print(f"{by or 'NOT FOUND'}, {time.perf_counter() - start:.0f} s: {k} {mutant}", flush=True)
    share = 100 * found / max(found + missed, 1)
    print(f"mutants: {found} of {found + missed} found, {share:.1f} %, seed {options.seed}")
    sys.exit(1 if share < 95 else 0)


if __name__ == "__main__":
    main()
