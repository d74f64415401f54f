"""A program as text, for `Compiled.program`: what was found in a trace, and what is computed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any

from micrograd._compile import Program, op_name
from micrograd._core import op_columns


def listing(title: str, program: Program) -> str:
    """A line for each layer and for each run of instructions of one op, with the first and the last of them.

    r0, r1, … are the results for a sample, in the order of computation; u0, u1, … those that are the same for all
    samples, as are numbers and w0, a captured leaf; x0 is an argument.
    """
    trace = program.trace
    names = _names(program)
    layers = sum(len(group) > 1 for group in program.schedule)
    sums = sum(_op(program, i) == "dot" for i in range(len(program.instructions)))
    unused = trace.arguments - sum(_op(program, i) == "argument" for i in range(len(program.instructions)))
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
        lines += ["  once a call:", *_runs(program, names, prologue)]
    if program.schedule:
        lines += ["  each sample:", *_runs(program, names, program.schedule)]
    return "\n".join([*lines, f"  returns: {_ends([names[i] for i in program.outputs])}"])


def _op(program: Program, i: int) -> str:
    return op_name(program.instructions[i][0])


def _names(program: Program) -> dict[int, str]:
    """The name of each instruction's result. Results that are computed are numbered in the order of computation."""
    names, prologue = {}, []
    for i, (op, operands) in enumerate(program.instructions):
        kind = op_name(op)
        if kind == "number":
            names[i] = f"{operands[0]!r}"
        elif kind in ("captured", "argument"):
            names[i] = f"{'w' if kind == 'captured' else 'x'}{operands[0]}"
        elif program.is_invariant(i):
            prologue.append(i)
    names.update((i, f"u{k}") for k, i in enumerate(prologue))
    names.update((i, f"r{k}") for k, i in enumerate(chain.from_iterable(program.schedule)))
    return names


def _runs(program: Program, names: dict[int, str], groups: Iterable[tuple[int, ...]]) -> Iterator[str]:
    def kind(group: tuple[int, ...]) -> tuple[Any, ...]:
        op = _op(program, group[0])
        return (op, len(group), id(group)) if len(group) > 1 else (op, 1, len(program.instructions[group[0]][1]))

    for (_, outputs, _), run in groupby(groups, kind):
        run_of = [i for group in run for i in group]
        inputs = len(program.instructions[run_of[0]][1]) // 2
        layer = f"layer of {inputs} inputs, {outputs} outputs: " if outputs > 1 else ""
        results = _ends([names[i] for i in run_of])
        yield f"    {results} = {layer}{_ends([_call(program, names, i) for i in run_of])}"


def _call(program: Program, names: dict[int, str], i: int) -> str:
    operands = [names[operand] for operand in program.instructions[i][1]]
    if _op(program, i) == "dot":
        products = [f"{a} {b}" for a, b in zip(operands[1::2], operands[2::2])]
        return f"{operands[0]} + {_ends(products, ' + … + ', ' + ')}"
    if op_columns(_op(program, i))["shape"] == "indexed":
        return f"{_op(program, i).strip('_')}({operands[-1]}: {_ends(operands[:-1])})"
    return f"{_op(program, i).strip('_')}({_ends(operands)})"


def _ends(items: list[str], between: str = " … ", pair: str = ", ") -> str:
    return pair.join(items) if len(items) <= 2 else f"{items[0]}{between}{items[-1]}"
