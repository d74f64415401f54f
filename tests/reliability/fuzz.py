"""Random programs on this engine and on the oracle: `make fuzz`, or `python -m reliability.fuzz` in tests/.

A program has a seed. One that fails is made smaller as long as it fails, and printed; `--seed` runs it again. The
programs run in processes of their own, so that a crash has a seed too.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import BINARY, OPERATORS, SPECIAL, UNARY
from reliability.networks import Everything

ALARMS = hasattr(signal, "setitimer")
THREADS = sys.platform != "emscripten"
MEANWHILE = ["", "", "look", "build", "pass", "collect", "free"]
MOST_CHUNK = 20_000


def number(draw):
    return draw.choice(SPECIAL) if draw.random() < 0.25 else draw.uniform(-3, 3)


def operand(draw):
    return draw.choice([number(draw), number(draw), draw.randint(-3, 3), True, 2**53 + 1, 10**400])


def index(draw):
    return draw.choice([0, 0, 1, draw.randrange(40)])


def indices(draw):
    return [draw.randrange(40) for _ in range(draw.randint(1, 5))]


def small_program(draw):
    """Ops for evaluate(): a name, operands, numbers."""
    program = []
    for _ in range(draw.randint(1, 8)):
        kind = draw.randrange(4)
        if kind == 0:
            program.append((draw.choice(UNARY), [draw.randrange(40)], []))
        elif kind == 1:
            program.append((draw.choice(BINARY), [draw.randrange(40)], [draw.uniform(-3, 3)]))
        else:
            program.append((draw.choice(BINARY), [draw.randrange(40), draw.randrange(40)], []))
    return program


def seconds(draw):
    return draw.choice([1e-6, 1e-5, 5e-5, 2e-4])


# name: how often, and what draws its arguments
STEPS = {
    "leaf": (4, lambda d: (number(d),)),
    "subclass": (2, lambda d: (number(d),)),
    "binary": (12, lambda d: (d.choice(BINARY), index(d), index(d))),
    "number_right": (5, lambda d: (d.choice(BINARY), index(d), operand(d))),
    "number_left": (5, lambda d: (d.choice(OPERATORS), index(d), operand(d))),
    "unary": (6, lambda d: (d.choice(UNARY), index(d))),
    "where": (2, lambda d: (index(d), index(d), d.uniform(-1, 1))),
    "sums": (3, lambda d: (d.choice(["dot", "linear"]), indices(d))),
    "block": (2, lambda d: ([(index(d), d.uniform(-3, 3)) for _ in range(d.randrange(5))],)),
    "cut": (2, lambda d: (d.choice(["detach", "no_grad"]), index(d))),
    "copied": (2, lambda d: (d.choice(["copy", "deepcopy", "pickle"]), index(d))),
    "user_op": (4, lambda d: (index(d), d.choice([*MEANWHILE, "raise"]))),
    "custom_backward": (1, lambda d: (index(d),)),
    "arm": (1, lambda d: (d.randrange(4),)),
    "cycle": (1, lambda d: (index(d), index(d))),
    "look": (3, lambda d: (d.choice(["children", "local_grads", "look"]), index(d))),
    "adopt": (3, lambda d: (index(d), d.randrange(9))),
    "set_data": (3, lambda d: (index(d), number(d))),
    "set_grad": (1, lambda d: (index(d), d.uniform(-3, 3))),
    "fill_slab": (1, lambda d: (d.choice([1, 50, 1100]),)),
    "drop": (3, lambda d: (index(d),)),
    "backward": (10, lambda d: (index(d), d.randint(1, 3), d.random() < 0.7)),
    "zero_grad": (3, lambda d: (index(d),)),
    "network": (1, lambda d: (d.random() < 0.5, [d.randint(1, 4) for _ in range(d.randint(2, 4))], d.randrange(99))),
    "call": (4, lambda d: (d.randrange(9), indices(d), d.random() < 0.3)),
    "change": (3, lambda d: (d.randrange(99), d.choice(CHANGES), number(d))),
    "optimizer": (1, lambda d: (d.choice(OPTIMIZERS), d.randrange(9), indices(d), d.uniform(0, 0.5))),
    "step": (2, lambda d: (d.randrange(9), d.choice(["step", "step", "pickle", "zero_grad"]))),
    "compile": (1, lambda d: (small_program(d), indices(d), d.random() < 0.8)),
    "call_compiled": (3, lambda d: (d.randrange(9), index(d), number(d), d.choice(["number", "value", "pickle"]))),
    "grad": (2, lambda d: (index(d), indices(d), d.random() < 0.3)),
    "threads": (0.3 * THREADS, lambda d: ([small_program(d) for _ in range(d.randint(2, 4))], indices(d))),
    "signalled": (1 * ALARMS, lambda d: (index(d), seconds(d), d.choice([*MEANWHILE, "raise"]), d.random() < 0.7)),
    "long_pass": (0.1 * ALARMS, lambda d: (index(d), d.choice([3000, 30_000]), seconds(d) * 10, d.random() < 0.5)),
}
CHANGES = ["data", "data", "zero_grad", "state_dict", "deepcopy", "pickle"]
OPTIMIZERS = ["SGD", "Adam", "AdamW"]
NAMES, WEIGHTS = list(STEPS), [weight for weight, _ in STEPS.values()]


def program_of(seed):
    return drawn(random.Random(seed))


def drawn(draw):
    names = draw.choices(NAMES, WEIGHTS, k=draw.randint(1, 60))
    return [(name, *STEPS[name][1](draw)) for name in names]


def failure(program, machine=Everything):
    """What a program raises, or None."""
    try:
        machine().run(program)
    except Exception as error:
        return error
    return None


def smaller(program, fails):
    """A part of the program that fails too: runs of instructions are left out, halves first."""
    size = len(program)
    while size:
        for start in range(0, len(program), size):
            part = program[:start] + program[start + size :]
            if fails(part):
                program = part
                break
        else:
            size //= 2
    return program


def report(seed, program):
    error = failure(program)
    print(f"seed {seed}: {type(error).__name__}: {error}")
    for instruction in smaller(program, lambda part: type(failure(part)) is type(error)):
        print("   ", instruction)
    sys.stdout.flush()


def run(seed, steps, note=lambda _seed: None):
    """Programs from this seed on, until there were so many instructions. Gives how many, and the seeds that failed."""
    done, failed = 0, []
    while done < steps and len(failed) < 5:
        program = program_of(seed)
        note(seed)
        if failure(program) is not None:
            failed.append(seed)
            report(seed, program)
        done += len(program)
        seed += 1
    return done, seed, failed


def child(seed, steps, path):
    """A part of the long run, which writes the seed it is at to a file."""
    faulthandler.enable()
    sys.setswitchinterval(1e-4)
    gc.freeze()
    with Path(path).open("r+b", buffering=0) as file:

        def note(seed):
            file.seek(0)
            file.write(b"%20d" % seed)

        done, after, failed = run(seed, steps, note)
    Path(path).write_text(f"{done} {after}")
    return len(failed)


def campaign(seed, steps):
    """The long run. Gives how many programs failed or crashed."""
    start, total, wrong = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "seed")
        while total < steps:
            path.write_text(" " * 20)
            chunk = min(MOST_CHUNK, steps - total)
            command = [sys.executable, "-m", "reliability.fuzz", "--seed", str(seed), "--steps", str(chunk)]
            code = subprocess.run([*command, "--child", str(path)], check=False).returncode
            text = path.read_text().split()
            if len(text) == 1:
                print(f"seed {text[0]}: the process ended with {code}", flush=True)
                wrong, total, seed = wrong + 1, total + 1, int(text[0]) + 1
                continue
            wrong += code
            total, seed = total + int(text[0]), int(text[1])
            spent = time.monotonic() - start
            print(f"{total:,} steps, next seed {seed}, {wrong} differences, {spent:.0f} s", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="of the first program; without --steps, of the only one")
    parser.add_argument("--steps", type=float, help="how many instructions")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        sys.exit(child(given.seed, int(given.steps), given.child))
    if given.steps is None and given.seed is not None:
        program = program_of(given.seed)
        for instruction in program:
            print("   ", instruction)
        with contextlib.suppress(KeyboardInterrupt):
            if failure(program):
                report(given.seed, program)
        return
    sys.exit(bool(campaign(given.seed or 0, int(given.steps or 1e6))))


if __name__ == "__main__":
    main()
