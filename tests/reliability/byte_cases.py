"""What guided.py does with the bytes of a fuzzer. The first byte chooses one of CASES. Those of the other drivers draw
their programs and arguments from the bytes after it; the loaders of pickles, states and safetensors files read them."""

from __future__ import annotations

import io
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

from micrograd import interop, nn
from reliability import compiled, fuzz, hostile, mutated
from reliability.networks import Everything

Say = Callable[[str], None]
# Steps of fuzz.py that take time by a clock, whose SIGALRM libFuzzer uses itself, or whose threads run in any order.
TIMED = {"signalled", "long_pass", "threads"}
MOST_CALLS = 4  # with hostile arguments
DRAWN = 400  # bytes of a seed for what draws


class Draws(random.Random):
    """Draws from bytes, and then from zeros. random() reads two bytes, and gives numbers with all bits of a double."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    def _take(self, count: int) -> int:
        return int.from_bytes(self._stream.read(count), "little")

    def random(self) -> float:
        return self._take(2) / 65537

    def _randbelow(self, n: int) -> int:  # what Random makes choice(), randrange() and sample() of
        return self._take((max(n - 1, 0).bit_length() + 7) // 8) % max(n, 1)

    def getrandbits(self, k: int) -> int:
        return self._take((k + 7) // 8) % (1 << k)


# ---- Cases -----------------------------------------------------------------------------------------------------------


def program(content: bytes, say: Say) -> None:
    """Values, ops, passes, networks and optimizers, on the engine and on the oracle."""
    steps = [step for step in fuzz.drawn(Draws(content)) if step[0] not in TIMED]
    say("\n".join(map(str, steps)))
    Everything().run(steps)


def compiled_program(content: bytes, say: Say) -> None:
    """A program compiled in both modes, and eager."""
    say("\n".join(map(str, compiled.Program(Draws(content[1:])).steps)))
    compiled.check(Draws(content[1:]), alone=content[:1] < b"@")


def hostile_calls(content: bytes, say: Say) -> None:
    """Constructor, ops, functions, methods and compiled functions, called with objects that lie, raise or change."""
    draw = Draws(content)
    calls = draw.randint(1, MOST_CALLS)
    hostile.case(draw, say, calls)


def pickled(content: bytes, say: Say) -> None:
    mutated.load_pickle(content, say)
    hostile.check_results()


def state(content: bytes, say: Say) -> None:
    """A pickle as state of what the first byte chooses."""
    loader = mutated.Loader(io.BytesIO(content[1:]))
    found = mutated.try_to(lambda: (x := loader.load(), repr(x)))[1]
    if found:
        which, strict = divmod(content[0], 2)
        owner = mutated.STATEFUL[which % len(mutated.STATEFUL)]()
        options = {"strict": False} if isinstance(owner, nn.Module) and not strict else {}
        mutated.load_state(owner, found[0], options, say)


def tensors(content: bytes, say: Say) -> None:
    mutated.load_tensors(content, say)


CASES = [program, compiled_program, hostile_calls, pickled, state, tensors]


def run(content: bytes, say: Say = lambda _text: None) -> None:
    """The case of these bytes. What it raises is a fault, and so is an exception that Python can only report."""
    ignored: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda args: ignored.append(f"ignored in {args.object!r:.200}: {args.exc_value!r}")
    random.seed(0)
    try:
        CASES[content[0] % len(CASES) if content else 0](content[1:], say)
    finally:
        sys.unraisablehook = hook
    assert not ignored, ignored


# ---- Bytes to begin with ---------------------------------------------------------------------------------------------


def seeds(each: int) -> list[bytes]:
    """So many cases of what draws, and a valid pickle, state and file of each kind."""
    draw = random.Random(0)
    found = [bytes([k]) + bytes(draw.choices(range(256), k=DRAWN)) for k in range(3) for _ in range(each)]
    found += [bytes([CASES.index(pickled)]) + whole for whole in mutated.PICKLES]
    for k, make in enumerate(mutated.STATEFUL):
        found.append(bytes([CASES.index(state), 2 * k]) + pickle.dumps(make().state_dict(), 2))
    for dtype in ("float64", "float32", "float16"):
        path = Path("seed.safetensors")
        interop.save_safetensors(nn.MLP(2, [3, 1]), path, dtype)
        found.append(bytes([CASES.index(tensors)]) + path.read_bytes())
        path.unlink()
    return found
