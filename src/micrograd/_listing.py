"""A program as text, for `Compiled.program`: what was found in a trace, and what is computed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any

from micrograd._compile import Program, op_name
from micrograd._core import op_columns


class Listing(str):
    """Text that a prompt and a notebook show as it is, line by line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self) or "<no program: not called yet>"


Code = list[tuple[str, tuple[Any, ...]]]  # the name of each instruction's op, and its operands


def listing(title: str, program: Program) -> str:
    """A line for each layer and for each run of instructions of one op, with the first and the last of them.

    r0, r1, … are the results for a sample, in the order of computation; u0, u1, … those that are the same for all
    samples, as are numbers and w0, a captured leaf; x0 is an argument.
    """
    trace, schedule = program.trace, program.schedule
    code: Code = [(op_name(op), operands) for op, operands in program.instructions]
    names = _names(program, code, schedule)
    layers = sum(len(group) > 1 for group in schedule)
    sums = sum(op == "dot" for op, _ in code)
    unused = trace.arguments - sum(op == "argument" for op, _ in code)
    forward, backward = program.counts(gradients=False), program.counts(gradients=True)
    prologue = [(i,) for i in names if names[i][0] == "u"]
    lines = [
        title,
        f"  read: {trace.read:,} ops, of {trace.arguments:,} arguments and {len(trace.captured):,} captured leaves",
        f"  folded: {trace.folded:,} ops of numbers",
        f"  dropped: {trace.shared:,} ops met before, {unused:,} arguments unused",
        f"  fused: {sums:,} sums of products, {layers:,} layers of them",
        f"  forward: {forward[0]:,} instructions on {forward[1]:,} slots",
        f"  with gradients: {backward[0]:,} instructions on {backward[1]:,} slots",
    ]
    if prologue:
        lines += ["  once a call:", *_runs(code, names, prologue)]
    if schedule:
        lines += ["  each sample:", *_runs(code, names, schedule)]
    return "\n".join([*lines, f"  returns: {_ends([names[i] for i in program.outputs])}"])


def _names(program: Program, code: Code, schedule: Iterable[tuple[int, ...]]) -> dict[int, str]:
    """The name of each instruction's result. Results that are computed are numbered in the order of computation."""
    names, prologue = {}, []
    for i, (kind, operands) in enumerate(code):
        if kind == "number":
            names[i] = f"{operands[0]!r}"
        elif kind in ("captured", "argument"):
            names[i] = f"{'w' if kind == 'captured' else 'x'}{operands[0]}"
        elif program.is_invariant(i):
            prologue.append(i)
    names.update((i, f"u{k}") for k, i in enumerate(prologue))
    names.update((i, f"r{k}") for k, i in enumerate(chain.from_iterable(schedule)))
    return names


def _runs(code: Code, names: dict[int, str], groups: Iterable[tuple[int, ...]]) -> Iterator[str]:
    def kind(group: tuple[int, ...]) -> tuple[Any, ...]:
        op, operands = code[group[0]]
        return (op, len(group), id(group)) if len(group) > 1 else (op, 1, len(operands))

    for (_, outputs, _), run in groupby(groups, kind):
        run_of = [i for group in run for i in group]
        inputs = len(code[run_of[0]][1]) // 2
        layer = f"layer of {inputs} inputs, {outputs} outputs: " if outputs > 1 else ""
        results = _ends([names[i] for i in run_of])
        yield f"    {results} = {layer}{_ends([_call(*code[i], names) for i in run_of])}"


def _call(op: str, operands: tuple[Any, ...], names: dict[int, str]) -> str:
    named = [names[operand] for operand in operands]
    if op == "dot":
        products = [f"{a} {b}" for a, b in zip(named[1::2], named[2::2])]
        return f"{named[0]} + {_ends(products, ' + … + ', ' + ')}"
    if op_columns(op)["shape"] == "indexed":
        return f"{op.strip('_')}({named[-1]}: {_ends(named[:-1])})"
    return f"{op.strip('_')}({_ends(named)})"


def _ends(items: list[str], between: str = " … ", pair: str = ", ") -> str:
    return pair.join(items) if len(items) <= 2 else f"{items[0]}{between}{items[-1]}"
