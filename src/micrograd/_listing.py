"""A program as text, for `Compiled.program`: what was found in a trace, and what is computed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from micrograd._compile import Program, op_name


def listing(title: str, program: Program) -> str:
    """Runs of one instruction take one line, with the first and the last of them; r7 is a row's, u7 is the same for all
    rows and computed once a call, and so are numbers and w7, a captured leaf."""
    trace = program.trace
    names = _names(program)
    steps = [row for group in program.schedule for row in group]
    sums = sum(_op(program, row) == "dot" for row in range(len(program.rows)))
    layers = sum(len(group) > 1 for group in program.schedule)
    forward, backward = program.counts(gradients=False), program.counts(gradients=True)
    once = [row for row in names if names[row][0] == "u"]
    unused = trace.arguments - sum(_op(program, row) == "argument" for row in range(len(program.rows)))
    lines = [
        title,
        f"  read: {trace.read:,} ops, of {trace.arguments:,} arguments and {len(trace.captured):,} captured leaves",
        f"  folded: {trace.folded:,} ops of numbers",
        f"  dropped: {trace.shared:,} ops met before, {unused:,} arguments unused",
        f"  fused: {sums:,} sums of products, {layers:,} layers of them",
        f"  forward: {forward[0]:,} instructions on {forward[1]:,} slots",
        f"  with gradients: {backward[0]:,} instructions on {backward[1]:,} slots",
    ]
    if once:
        lines += ["  once a call:", *_runs(program, names, [(row,) for row in once])]
    if steps:
        lines += ["  each row:", *_runs(program, names, program.schedule)]
    return "\n".join([*lines, f"  returns: {_ends([names[row] for row in program.outputs])}"])


def _op(program: Program, row: int) -> str:
    return op_name(program.rows[row][0])


def _names(program: Program) -> dict[int, str]:
    names = {}
    for row, (op, args) in enumerate(program.rows):
        kind = op_name(op)
        if kind == "number":
            names[row] = f"{args[0]!r}"
        elif kind in ("captured", "argument"):
            names[row] = f"{'w' if kind == 'captured' else 'x'}{args[0]}"
        else:
            names[row] = f"{'u' if program.uniform[row] else 'r'}{row}"
    return names


def _runs(program: Program, names: dict[int, str], groups: Iterable[tuple[int, ...]]) -> Iterator[str]:
    def kind(group: tuple[int, ...]) -> tuple[Any, ...]:
        op = _op(program, group[0])
        return (op, len(group), id(group)) if len(group) > 1 else (op, 1, len(program.rows[group[0]][1]))

    for _, run in groupby(groups, kind):
        rows = [row for group in run for row in group]
        yield f"    {_ends([names[row] for row in rows])} = {_ends([_call(program, names, row) for row in rows])}"


def _call(program: Program, names: dict[int, str], row: int) -> str:
    args = [names[arg] for arg in program.rows[row][1]]
    if _op(program, row) == "dot":
        return f"{args[0]} + {_ends([f'{a} {b}' for a, b in zip(args[1::2], args[2::2])], ' + … + ', ' + ')}"
    return f"{_op(program, row).strip('_')}({_ends(args)})"


def _ends(items: list[str], between: str = " … ", pair: str = ", ") -> str:
    return pair.join(items) if len(items) <= 2 else f"{items[0]}{between}{items[-1]}"
