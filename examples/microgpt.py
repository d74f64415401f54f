"""A character GPT of scalars that learns words and makes up others, after karpathy's microgpt, in three steps:

(a) Plain       operators of Value alone, as in his lecture; runs on micrograd 0.1.0 too, given `exp` and `log`
(b) Functional  layers, attention and loss are calls of `micrograd.functional`, the update is `optim.Adam`'s
(c) Compiled    the loss of a document has a decorator, and a call takes many documents

Each prints the median time of a step, its speed (documents a second, relative to the first), and words it made up.
`--check` trains the three on the same documents and compares their losses. docs/microgpt.md tells more.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import micrograd
from micrograd import Value, optim
from micrograd import functional as F

WIDTH, HEADS, CONTEXT = 16, 4, 16  # numbers a token, heads of attention, greatest number of tokens that are seen
HEAD = WIDTH // HEADS
EPS = 1e-5  # of rms norm
RATE, TEMPERATURE = 0.01, 0.7

Vector = list[Value]
Past = list[tuple[Vector, Vector]]  # of each token so far, its key and its value


class GPT:
    """The weights of one layer. `logits`, `loss` and `learn` are what the steps differ in."""

    def __init__(self, tokens: int) -> None:
        def matrix(rows: int, columns: int) -> list[Vector]:
            return [[Value(random.gauss(0.0, 0.08)) for _ in range(columns)] for _ in range(rows)]

        self.token = matrix(tokens, WIDTH)
        self.position = matrix(CONTEXT, WIDTH)
        self.query, self.key, self.value, self.out = [matrix(WIDTH, WIDTH) for _ in range(4)]
        self.up = matrix(4 * WIDTH, WIDTH)
        self.down = matrix(WIDTH, 4 * WIDTH)
        self.head = matrix(tokens, WIDTH)
        self.parameters = [p for weight in vars(self).values() for row in weight for p in row]

    def logits(self, token: int, past: Past) -> Vector:
        """A number for each token that may follow `token`. Its key and value are appended to `past`."""
        raise NotImplementedError

    def learn(self, documents: Sequence[Sequence[int]], rate: float) -> float:
        """One step of Adam, and the mean of the documents' losses before it."""
        raise NotImplementedError


# ---- (a) Values -------------------------------------------------------------------------------------


def add(x: Vector, y: Vector) -> Vector:
    return [xi + yi for xi, yi in zip(x, y)]


def dot(x: Vector, y: Vector) -> Value:
    return sum((xi * yi for xi, yi in zip(x, y)), Value(0.0))


def linear(x: Vector, weight: list[Vector]) -> Vector:
    return [dot(x, row) for row in weight]


def rms_norm(x: Vector) -> Vector:
    scale = (dot(x, x) / len(x) + EPS) ** -0.5
    return [xi * scale for xi in x]


def softmax(x: Vector) -> Vector:
    greatest = max(xi.data for xi in x)
    exps = [(xi - greatest).exp() for xi in x]
    total = sum(exps, Value(0.0))
    return [e / total for e in exps]


def attention(query: Vector, keys: list[Vector], values: list[Vector]) -> Vector:
    shares = softmax([dot(query, key) / math.sqrt(len(query)) for key in keys])
    return [dot(shares, list(column)) for column in zip(*values)]


class Plain(GPT):
    """(a) Nothing but the operators of Value."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.steps = 0
        self.m, self.v = [0.0] * len(self.parameters), [0.0] * len(self.parameters)  # averages of grad and grad²

    def logits(self, token: int, past: Past) -> Vector:
        x = add(self.token[token], self.position[len(past)])
        h = rms_norm(x)
        query = linear(h, self.query)
        past.append((linear(h, self.key), linear(h, self.value)))
        seen = []
        for i in range(0, WIDTH, HEAD):
            part = slice(i, i + HEAD)
            seen += attention(query[part], [key[part] for key, _ in past], [value[part] for _, value in past])
        x = add(x, linear(seen, self.out))
        h = [hi.relu() for hi in linear(rms_norm(x), self.up)]
        x = add(x, linear(h, self.down))
        return linear(rms_norm(x), self.head)

    def loss(self, document: Sequence[int]) -> Value:
        past: Past = []
        pairs = zip(document, document[1:])
        losses = [-softmax(self.logits(token, past))[target].log() for token, target in pairs]
        return sum(losses, Value(0.0)) / len(losses)

    def learn(self, documents: Sequence[Sequence[int]], rate: float) -> float:
        loss = sum([self.loss(document) for document in documents], Value(0.0)) / len(documents)
        loss.backward()
        self.steps += 1
        for i, p in enumerate(self.parameters):
            self.m[i] = 0.9 * self.m[i] + 0.1 * p.grad
            self.v[i] = 0.99 * self.v[i] + 0.01 * p.grad**2
            m, v = self.m[i] / (1 - 0.9**self.steps), self.v[i] / (1 - 0.99**self.steps)
            p.data -= rate * m / (math.sqrt(v) + 1e-8)
            p.grad = 0.0
        return loss.data


# ---- (b) micrograd.functional and micrograd.optim ---------------------------------------------------


class Functional(GPT):
    """(b) Each layer, head of attention and loss is a call, and so is the update."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.optimizer = optim.Adam(self.parameters, betas=(0.9, 0.99))

    def logits(self, token: int, past: Past) -> Vector:
        x = add(F.embedding(token, self.token), F.embedding(len(past), self.position))
        h = F.rms_norm(x, eps=EPS)
        query = F.linear(h, self.query)
        past.append((F.linear(h, self.key), F.linear(h, self.value)))
        seen = []
        for i in range(0, WIDTH, HEAD):
            part = slice(i, i + HEAD)
            keys, values = [key[part] for key, _ in past], [value[part] for _, value in past]
            seen += F.scaled_dot_product_attention(query[part], keys, values)
        x = add(x, F.linear(seen, self.out))
        h = F.relu(F.linear(F.rms_norm(x, eps=EPS), self.up))
        x = add(x, F.linear(h, self.down))
        return F.linear(F.rms_norm(x, eps=EPS), self.head)

    def loss(self, document: Sequence[int]) -> Value:
        past: Past = []
        pairs = zip(document, document[1:])
        return F.mean(F.cross_entropy(self.logits(token, past), target) for token, target in pairs)

    def mean(self, documents: Sequence[Sequence[int]]) -> Value:
        return F.mean(self.loss(document) for document in documents)

    def learn(self, documents: Sequence[Sequence[int]], rate: float) -> float:
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.mean(documents)
        loss.backward()
        self.optimizer.step()
        return loss.data


# ---- (c) micrograd.compile --------------------------------------------------------------------------


class Compiled(Functional):
    """(c) The loss of a document becomes a program for each length of document. Words are made up by (b)'s code."""

    @micrograd.compile
    def compiled_loss(self, document: Sequence[int]) -> Value:
        return self.loss(document)

    def mean(self, documents: Sequence[Sequence[int]]) -> Value:
        return self.compiled_loss.mean(documents)


# ---- Training and sampling --------------------------------------------------------------------------


class Words:
    """Words as documents: a token for each letter, and the token `end` before and after the word."""

    def __init__(self, words: list[str]) -> None:
        self.letters = sorted(set("".join(words)))
        self.end = len(self.letters)
        tokens = [[self.end, *map(self.letters.index, word), self.end] for word in words]
        self.documents = [document[: CONTEXT + 1] for document in random.sample(tokens, len(tokens))]

    def batch(self, step: int, size: int) -> list[list[int]]:
        return [self.documents[i % len(self.documents)] for i in range(step * size, (step + 1) * size)]

    def make_up(self, model: GPT) -> str:
        past: Past = []
        token, word = self.end, ""
        while len(past) < CONTEXT:
            shares = softmax([x / TEMPERATURE for x in model.logits(token, past)])
            token = random.choices(range(len(shares)), [share.data for share in shares])[0]
            if token == self.end:
                break
            word += self.letters[token]
        return word


def show_progress(step: int, steps: int, loss: float) -> None:
    """Draw a bar, if stderr is a terminal, at every hundredth of the steps, and erase it after the last."""
    if sys.stderr.isatty() and 100 * step // steps != 100 * (step - 1) // steps:
        bar = "#" * (40 * step // steps)
        line = f"\r[{bar:.<40}] step {step} of {steps}, loss {loss:.3f} "
        print(line if step < steps else "\r\033[K", end="", file=sys.stderr, flush=True)


def train(model: GPT, words: Words, steps: int, size: int = 1) -> tuple[list[float], list[float]]:
    """The loss and the seconds of each step of `size` documents. The learning rate falls to 0 in a line."""
    losses, seconds = [], []
    for step in range(steps):
        batch = words.batch(step, size)
        started = time.perf_counter()
        losses.append(model.learn(batch, RATE * (1 - step / steps)))
        seconds.append(time.perf_counter() - started)
        show_progress(step + 1, steps, losses[-1])
    return losses, seconds


STEPS: dict[str, type[GPT]] = {"a": Plain, "b": Functional, "c": Compiled}


def differences(words: Words, steps: int, seed: int) -> list[float]:
    """How far the losses of (b) and (c) are from (a)'s, one document at a time and (c) with the roundings of (b)."""

    class Exact(Compiled):
        compiled_loss = micrograd.compile(Functional.loss, exact=True)

    kinds: list[type[GPT]] = [Plain, Functional, Exact]
    curves = []
    for kind in kinds:
        random.seed(seed)
        curves.append(train(kind(words.end + 1), words, steps)[0])
    return [abs(loss - first) for first, *others in zip(*curves) for loss in others]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    option = parser.add_argument
    option("--words", type=Path, default=Path(__file__).with_name("words.txt"), help="a file (default: words.txt)")
    option("--step", choices=[*STEPS, "all"], default="all", help="which of (a), (b), (c) (default: all)")
    option("--steps", type=int, default=1000, help="of training (default: 1000)")
    option("--batch", type=int, default=32, help="documents in a call of (c), after one at a time (default: 32)")
    option("--seed", type=int, default=1, help="of the order of words and of the weights (default: 1)")
    option("--check", action="store_true", help="compare the losses of the three in the first 100 steps, and end")
    options = parser.parse_args(arguments)
    try:
        listed = options.words.read_text(encoding="utf-8").split()
    except (OSError, UnicodeError) as error:
        parser.error(f"--words: {error}")
    if not listed or options.steps < 1 or options.batch < 1:
        parser.error("there must be a word in the file of --words, and --steps and --batch must be at least 1")
    random.seed(options.seed)
    words = Words(listed)

    if options.check:
        steps = min(options.steps, 100)
        found = differences(words, steps, options.seed)
        print(f"in {steps} steps the losses of (a), (b) and exact (c) differ by {max(found):.1e} at most")
        raise SystemExit(not all(difference <= 1e-9 for difference in found))

    first = None
    for name, size in [("a", 1), ("b", 1), ("c", 1), ("c", options.batch)]:
        if options.step not in (name, "all"):
            continue
        random.seed(options.seed)
        model = STEPS[name](words.end + 1)
        losses, seconds = train(model, words, options.steps, size)
        median, loss = statistics.median(seconds), statistics.mean(losses[-100:])
        first = first or median
        print(f"({name}) documents a step: {size}, ms a step: {1e3 * median:.3f}, speed: {first * size / median:,.1f}")
        print(f"    {sum(seconds):.1f} s in all, mean of the last losses {loss:.3f}; made up:")
        print("    " + " ".join(words.make_up(model) for _ in range(12)))


if __name__ == "__main__":
    main()
