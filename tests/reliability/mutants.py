"""How many faults in the engine the tests find. A mutant has one change in the op table, the backward pass, the layers
or replay: an operator or a number replaced, a condition negated, an assignment or a call left out. The tests that reach
the change run until one fails (mutant_tests.py). `make mutants`.

Changes are made in the C that Cython generates, in the statements of a randomly drawn line of the sources, and in
headers. One build has all of them. Which one runs, a file says that all processes of the tests share; there the build
notes which mutants were reached. build/mutants/report.jsonl has what came of each: a run that was interrupted goes on,
and only mutants that no test found meet the tests again, those written since included. A mutant that computes the same
for every input is no fault: equivalent_mutants.txt has those that were found, each with the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import pickle
import re
import shlex
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from compiled_coverage import copy_sources, origins
from mutant_tests import SIZE, Shared, append, make_shared, read_lines

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "mutants"
FOLDER = TREE / "src" / "micrograd"
SHARED, REPORT = TREE / "shared", TREE / "report.jsonl"
SECONDS = 120  # after this long, a test in a process of its own hangs; twenty times as long, all of them
MODULES = ["_core", "_nn", "_compile", "_optim"]

HEADERS = [f"_compile/lanes_{name}.h" for name in ("loops", "products", "dots", "math", "choices")]
# Of each area: its sources, in the package's folder.
AREAS = {
    "op table": ["_core/ops.pxd", "_core/activations.pxd", "_core/choices.pxd"],
    "backward": ["_core.pyx", "_core/walk.pxi", "_core/leaf_grads.pxi"],
    "layers": ["_core/affine.pxi"],
    "replay": ["_compile/execute.pxi", "_compile/draft.pxi", *HEADERS],
}
TESTS = ["tests/engine", "tests/nn", "tests/compile", "tests/optim", "tests/forks", "tests/reliability"]

# In generated C and in headers alike. Each match is one mutant.
CHANGES = [
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "), (r" < ", " <= "), (r" <= ", " < "),
    (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" & ", " | "), (r" \| ", " & "), (r" \+= ", " -= "), (r" -= ", " += "), (r"\+\+", "--"), (r"\b0\.0\b", "1.0"),
    (r"\b1\.0\b", "2.0"), (r"\b0\.5\b", "0.25"), (r"(?<=[ (])1(?=[)L])", "2"), (r"(?<=[ (])0(?=[);])", "1"),
    (r" = 1;", " = 0;"), (r"(?<=\()!", ""), (r"(?<=if )\((.*)\)(?= \{$|$)", r"(!(\1))"), (r"\bfmin\b", "fmax"),
    (r"\bsin\b", "cos"), (r"~", ""), (r"(?<=_v_)a\b", "b"), (r"(?<=_v_)r\b", "a"),
    (r"^(\s*)(?!__pyx_r = 0;)(Py_INCREF\(.*\);|[^=(){}]+ [|&+-]?= .*;|[\w>.-]+\(.*\);)$", r"\1;"),
]  # fmt: skip
# Cython's own statements, errors and reference counts; assertions of debug builds.
NOT_CHANGED = re.compile(
    r"__PYX_ERR|_check_|__Pyx_|__pyx_L|goto |__pyx_lineno|__pyx_filename"
    r"|^\s*(?:/?\*|//|#|return;|__pyx_t_\d+ = (?:0|NULL);|(?:PyObject \*)?__pyx_temp)"
)


class Mutant(NamedTuple):
    area: str
    place: tuple[str, int]  # source and line
    function: str  # that the line is in
    before: str  # a line of the generated C, or of the header
    after: str
    edits: list[tuple[Path, int]]  # which lines of which files

    @property
    def name(self) -> str:
        """Stays the same where other lines of the source change."""
        source = self.place[0].rpartition("/")[2]
        return f"{source}, {self.function}: {self.before.strip()}  ->  {self.after.strip()}"

    def __str__(self) -> str:
        return f"{self.area}: line {self.place[1]} of {self.name}"


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


# What a change is in, of statements that go on elsewhere.
WHOLE = [
    r"(\s*(?:\} else )?(?:if|while) \()(.*)(\)(?: \{)?)",
    r"(\s*if \()(.*)(\) [^(){}]*;)",
    r"(\s*for \([^;]*; )([^;]*)(; [^;]*)",
    r"(\s*return )(.*)(;)",
    r"([^=]*[^=!<>+*/|&-] = )([^=].*)(;)",
]
DECLARATION = re.compile(r"\s*(?!return)(?:static |const )*\w+(?: \**|\* )(?:const )?\w+\b")


def guarded(k: int, before: str, after: str) -> str | None:
    """A line that is `after` in mutant k and `before` in others; None where such a line cannot be written."""
    is_mutant = f"IS_MUTANT({k})"
    declares = DECLARATION.match(before)
    if declares and re.search(r", \**\w+ = ", before):
        return None
    for form in WHOLE:
        old, new = re.fullmatch(form, before), re.fullmatch(form, after)
        if old and new and (old[1], old[3]) == (new[1], new[3]):
            return f"{old[1]}{is_mutant} ? ({new[2]}) : ({old[2]}){old[3]}"
    if declares or not before.endswith(";") or re.search(r"[{}]|^\s*if \(", before + after):
        return None
    if after.strip() == ";":
        # That the variable keeps its value, or 0, the compiler has to be told. It might take what else is assigned.
        kept = re.match(r"([^=(){}]+) [|&+-]?= ", before)
        otherwise = f'__asm__ volatile("" : "+m"({kept[1].strip()}));' if kept else ";"
        return f"if ({is_mutant}) {{ {otherwise} }} else {{ {before} }}"
    return f"if ({is_mutant}) {{ {after} }} else {{ {before} }}"


FUNCTION = {
    ".h": re.compile(r"(?:static|LANES_INLINE)\b[^=;]*?\bF\((\w+)\)\(|#define (\w+)"),
    ".pyx": re.compile(r"\s*(?:cdef|cpdef|def)\s[^=(]*?(\w+)\("),
}


def lines_of(source: str) -> list[tuple[str, str]]:
    """The lines, each with the function that it is in."""
    path, function, found = FOLDER / source, "", []
    pattern = FUNCTION.get(path.suffix, FUNCTION[".pyx"])
    for line in path.read_text(encoding="utf-8").split("\n"):
        match = pattern.match(line)
        function = next(filter(None, match.groups())) if match else function
        found.append((function, line))
    return found


Places = dict[tuple[str, int], dict[str, list[tuple[Path, int]]]]


def find_places() -> Places:
    """Of each line of the sources: its lines of generated C, or itself in a header, by the text, and where they are."""
    found: Places = {}
    sources = {source for names in AREAS.values() for source in names}
    for path in (FOLDER / f"{module}.c" for module in MODULES):
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, place in origins(path).items():
            line = lines[number - 1]
            if place[0] in sources and changes_of(line):
                places = found.setdefault(place, {}).setdefault(line, [])
                if not any(other == path for other, _ in places):  # once in each module
                    places.append((path, number - 1))
    for source in HEADERS:
        in_comment = False
        for i, (_, line) in enumerate(lines_of(source)):
            in_comment = (in_comment or "/*" in line) and "*/" not in line
            if not in_comment and "*/" not in line and changes_of(line):
                found[source, i + 1] = {line: [(FOLDER / source, i)]}
    return found


def mutants_at(area: str, source: str, places: Places) -> list[list[Mutant]]:
    """All mutants of a source, those of each line in a list."""
    lines = lines_of(source)
    return [
        [
            Mutant(area, place, lines[place[1] - 1][0], before, after, edits)
            for before, edits in found.items()
            for after in changes_of(before)
        ]
        for place, found in places.items()
        if place[0] == source
    ]


def draw_mutants(seed: int, count: int) -> list[Mutant]:
    """Mutants of the areas in turn, each of a source line of its own. Each line draws for itself, and so does each of
    its mutants: where a line changes, the others' are as before."""

    def lot(mutant: Mutant, of: str) -> bytes:
        return hashlib.sha256(f"{seed} {of} {mutant.name}".encode()).digest()

    places = find_places()
    drawn = []
    for area, sources in AREAS.items():
        lines = [line for source in sources for line in mutants_at(area, source, places)]
        mutants = [min(line, key=partial(lot, of="change")) for line in lines]
        drawn.append(sorted(mutants, key=partial(lot, of="line")))
    return list(itertools.chain(*zip(*drawn)))[:count]


def find_mutants(wanted: list[str]) -> list[Mutant]:
    """All mutants of these lines of the sources."""
    places = find_places()
    return [
        mutant
        for area, sources in AREAS.items()
        for source in sources
        for line in mutants_at(area, source, places)
        for mutant in line
        if f"{source.rpartition('/')[2]}:{mutant.place[1]}" in wanted
    ]


# ---- Building and testing --------------------------------------------------------------------------------------------


PROLOGUE = f"""#include <fcntl.h>
#include <sys/mman.h>
#include <stdlib.h>
#include <unistd.h>
struct micrograd_mutants {{ volatile int chosen; volatile char reached[{SIZE}]; }};
static struct micrograd_mutants micrograd_unshared = {{-1}}, *micrograd_mutants = &micrograd_unshared;
__attribute__((constructor)) static void micrograd_share_mutants(void) {{
    const char *path = getenv("MICROGRAD_MUTANTS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(0, sizeof *micrograd_mutants, 3, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) micrograd_mutants = shared;
    if (file >= 0) close(file);
}}
#define IS_MUTANT(k) (micrograd_mutants->reached[k] = 1, micrograd_mutants->chosen == (k))
"""


def generate() -> None:
    """A copy of the sources with generated C."""
    copy_sources(TREE)
    code = "import setup; from Cython.Build import cythonize; "
    code += "cythonize(setup.extensions, include_path=['src'], compiler_directives=setup.directives)"
    subprocess.run([sys.executable, "-c", code], cwd=TREE, check=True, stdout=subprocess.DEVNULL)


def compile_module(module: str, *others: str) -> str:
    """Compile with little optimisation, otherwise as setup.py does; gives what the compiler says."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    options = ["-shared", "-fPIC", "-O1", "-g0", "-w", "-DNDEBUG", "-ffp-contract=off", "-fno-math-errno"]
    options += ["-ftrivial-auto-var-init=zero"]
    options += ["-DCYTHON_USE_TYPE_SPECS=1"] if module == "_core" else []
    library = FOLDER / (module + sysconfig.get_config_var("EXT_SUFFIX"))
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler, *options, *others, include, str(FOLDER / f"{module}.c"), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def build(mutants: dict[int, Mutant]) -> None:
    """Build the modules with these mutants, and take out of the dict those that the compiler refuses."""
    originals = {path: path.read_text(encoding="utf-8").split("\n") for path in sources_of(mutants)}
    while True:
        changed = {path: lines.copy() for path, lines in originals.items()}
        for k, mutant in mutants.items():
            for path, i in mutant.edits:
                changed[path][i] = guarded(k, changed[path][i], mutant.after) or changed[path][i]
        for path, lines in changed.items():
            prologue = f"{PROLOGUE}#line 1\n" if path.suffix == ".c" else ""
            path.write_text(prologue + "\n".join(lines), encoding="utf-8")
        said = "".join(compile_module(module, "-fsyntax-only") for module in MODULES)
        faulty = {
            (Path(name).name, int(line) - 1)
            for name, line in re.findall(r"([\w./]+):(\d+):\d+: (?:error|note: in expansion)", said)
        }
        refused = [k for k, m in mutants.items() if any((path.name, i) in faulty for path, i in m.edits)]
        assert bool(refused) == bool(said), said
        if not said:
            said = "".join(map(compile_module, MODULES))
            assert not said, said
            return
        for k in refused:
            del mutants[k]


def sources_of(mutants: dict[int, Mutant]) -> set[Path]:
    modules = {FOLDER / f"{module}.c" for module in MODULES}
    return modules | {path for mutant in mutants.values() for path, _ in mutant.edits}


def run_tests(options: list[str], tests: list[str]) -> subprocess.Popen[str]:
    """pytest on the build, in the environment that mutants need."""
    path = os.pathsep.join([str(TREE / "src"), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "MICROGRAD_MUTANTS": str(SHARED)}
    environment.setdefault("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--no-header", *options, *tests]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def failing_in_its_own_process(k: int, tests: list[str]) -> str | None:
    """For a mutant that runs while modules are imported: the first test that fails, or how pytest ended, or None."""
    options = ["-x", "--tb=no", "-rf", "-vv", "-o", f"faulthandler_timeout={SECONDS}"]
    Shared(SHARED).choose(k)
    process = run_tests([*options, "-o", "faulthandler_exit_on_timeout=true"], tests)
    try:
        said, _ = process.communicate(timeout=20 * SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"no end after {20 * SECONDS} s"
    finally:
        Shared(SHARED).choose(-1)
    if process.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    begun = re.findall(r"^(\S+::\S+)", said, re.MULTILINE)
    return failed[1] if failed else f"pytest ends with {process.returncode} in {begun[-1] if begun else 'imports'}"


def read_report() -> dict[str, dict[str, Any]]:
    return {line["key"]: line for line in read_lines(REPORT)}


def run_mutants(mutants: dict[int, Mutant], tests: list[str]) -> None:
    """Run the tests on those that no test has found so far; the report gets a line for each."""
    known = read_report()
    jobs = [(k, str(m)) for k, m in mutants.items() if not known.get(str(m), {}).get("by") and not reason_of(m)]
    jobs.sort(key=lambda job: job[1] in known)
    (TREE / "jobs.pickle").write_bytes(pickle.dumps(jobs))
    make_shared(SHARED)
    process = run_tests(["-q", "-s", "-p", "mutant_tests"], tests)
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
    assert process.wait() in (0, 5), "pytest ended before all mutants were tried"
    at_import = set(read_lines(TREE / "reached.jsonl")[0][2])
    known = read_report()
    for k, key in jobs:
        if k in at_import and not known[key]["by"] and (by := failing_in_its_own_process(k, tests)):
            append(REPORT, {**known[key], "by": by})


def reason_of(mutant: Mutant) -> str | None:
    """Why no test can find it, if that is known."""
    if re.fullmatch(r"\s*(__pyx_r|__pyx_t_\d+\.\w+) = (0|NULL);", mutant.before) and mutant.after.strip() == ";":
        return "the build gives 0 to what is not assigned"
    lines = Path(__file__).with_name("equivalent_mutants.txt").read_text(encoding="utf-8").splitlines()[1:]
    return dict(zip(lines[::2], map(str.strip, lines[1::2]))).get(mutant.name)


def print_report(mutants: dict[int, Mutant]) -> float:
    """A line for each mutant, and the share of those found in percent."""
    report = read_report()
    found = missed = 0
    for k, mutant in mutants.items():
        known = report.get(str(mutant))
        if reason := reason_of(mutant):
            print(f"equivalent: {k} {mutant}: {reason}")
        elif known:
            found += bool(known["by"])
            missed += not known["by"]
            print(f"{known['by'] or 'NOT FOUND by {tests} tests'.format(**known)}: {k} {mutant}")
    share = 100 * found / max(found + missed, 1)
    print(f"mutants: {found} of {found + missed} found, {share:.1f} %")
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description="How many faults in the engine the tests find.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", nargs="*", default=[], help="all mutants of these lines (`affine.pxi:185`) instead")
    parser.add_argument("--tests", nargs="*", default=TESTS)
    parser.add_argument("--list", action="store_true", help="print the mutants, and build none")
    parser.add_argument("--again", action="store_true", help="use the build of the last run")
    parser.add_argument("--report", action="store_true", help="print what came of the last run's mutants, and run none")
    options = parser.parse_args()
    built = TREE / "mutants.pickle"
    if options.again or options.report:
        mutants = pickle.loads(built.read_bytes())
    else:
        generate()
        mutants = dict(enumerate(find_mutants(options.place) or draw_mutants(options.seed, options.count)))
    if options.list:
        print(*mutants.values(), sep="\n")
        return
    if not options.again and not options.report:
        build(mutants)
        built.write_bytes(pickle.dumps(mutants))
        (TREE / "reached.jsonl").unlink(missing_ok=True)
    if not options.report:
        run_mutants(mutants, options.tests)
    sys.exit(1 if print_report(mutants) < 95 else 0)


if __name__ == "__main__":
    main()
