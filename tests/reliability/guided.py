"""Coverage-guided fuzzing of the constructor, ops, passes, compiled functions and loaders: `make fuzz-c`.

libFuzzer, of the package atheris, changes the bytes of byte_cases.py so that they reach code of the engine that none
did before; the engine is built with its counters and sanitizers. A finding is kept in a file, and libFuzzer goes on.
`python -m reliability.guided FILE` in tests/ runs it again, on any build; `--seeds 20` runs the cases to begin with.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_FINDINGS = 10
SEEDS = 100  # of each kind of case that draws
OPTIONS = [
    "-timeout=120",
    "-rss_limit_mb=4096",
    "-malloc_limit_mb=0",  # what is asked for and not there is a MemoryError
    "-max_len=4096",
    "-detect_leaks=0",
    "-report_slow_units=100",
    "-print_final_stats=1",
    "-print_funcs=0",
]
PULSE = re.compile(r"#(\d+)\t.*?cov: (\d+) ft: (\d+) corp: (\d+)")


def fuzz(corpus: str, options: list[str]) -> None:
    """libFuzzer in this process, which ends with the first finding."""
    import atheris

    with atheris.instrument_imports(include=["micrograd"]):
        from reliability import byte_cases
    for k, content in enumerate(byte_cases.seeds(SEEDS)):
        Path(corpus, f"seed-{k}").write_bytes(content)

    def target(content: bytes) -> None:
        byte_cases.run(content)

    gc.freeze()  # cases that collect are slow otherwise
    atheris.Setup([sys.argv[0], corpus, *OPTIONS, *options], target, internal_libfuzzer=False)
    atheris.Fuzz()


def campaign(minutes: float, folder: Path) -> int:
    """libFuzzer in processes of its own, one after another, for so long. Gives how many findings there were."""
    corpus, found = folder / "corpus", folder / "found"
    for path in (corpus, found):
        path.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    total, runs, findings = 0, 1, 0
    while runs and (left := int(end - time.monotonic())) > 0 and findings < MOST_FINDINGS:
        options = [f"-max_total_time={left}", f"-artifact_prefix={found}/"]
        command = [sys.executable, "-m", "reliability.guided", "--child", str(corpus), *options]
        runs, status, tail = watch(command, folder / "log", total)
        total += runs
        if status != 0:
            findings += 1
            print(f"finding {findings}: exit {status}\n{tail}", flush=True)
    print(f"{total:,} cases, {len(list(corpus.iterdir()))} files in {corpus}, {findings} findings", flush=True)
    return findings


def watch(command: list[str], log: Path, before: int) -> tuple[int, int, str]:
    """Run libFuzzer, and print what it has reached once a minute: executions, exit status, last lines."""
    said, runs, last = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as scratch, log.open("a") as file:
        process = subprocess.Popen(
            command, cwd=scratch, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, errors="replace"
        )
        for line in process.stdout:
            file.write(line)
            last = [*last[-80:], line]
            if match := PULSE.match(line):
                runs = int(match[1])
                if time.monotonic() - said > 60:
                    said = time.monotonic()
                    print(f"{before + runs:,} cases, {match[2]} edges, {match[4]} files", flush=True)
            elif line.startswith("stat::number_of_executed_units:"):
                runs = int(line.split()[-1])
    return runs, process.wait(), "".join(last)


def again(contents: list[bytes]) -> None:
    """Run these cases in this process, and print what each one does."""
    from reliability import byte_cases

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for content in contents:
            byte_cases.run(content, lambda text: print(text, flush=True))
        os.chdir(here)  # Windows removes no folder that a process is in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="cases to run again")
    parser.add_argument("--seeds", type=int, help="run the cases to begin with, so many of each kind that draws")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzzer"), help="of the corpus and the findings")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given, options = parser.parse_known_args()
    if given.child:
        fuzz(given.child, options)
    elif given.files:
        again([path.read_bytes() for path in given.files])
    elif given.seeds:
        from reliability import byte_cases

        again(byte_cases.seeds(given.seeds))
    else:
        sys.exit(bool(campaign(given.minutes, given.folder.resolve())))


if __name__ == "__main__":
    main()
