"""Each op on 32 values, in each form of its operands, against the oracle: `make grid`.

The forms are Values, a Value and a number on either side, one Value twice, results of ops, instances of a subclass, and
data that are set after the op. Data, gradients, and the exceptions of the op and of backward() are compared to the bit.
"""

from __future__ import annotations

import itertools
import math
import sys

import oracle
from helpers import BINARY, OPERATORS, SPECIAL, UNARY, bits, op, outcome
from micrograd import Value

VALUES = [*SPECIAL, -0.5, -2.0, 3.0, 1.0 + 2**-52, 1.0 - 2**-53, -1e200, 2.0**53, 1e-9]
assert len(set(map(repr, VALUES))) == 32


class Weight(Value):
    pass


def computed(kind):
    """A result of an op, whose grad is passed on to a leaf."""
    return lambda x: kind(x) + -0.0


def set_after(args, leaves, twins):
    for x, leaf, twin in zip(args, leaves, twins):
        leaf.data = twin.data = x


# Of each operand: what makes it of a number, here and of the oracle. None is the number itself.
FORMS = {
    "Value, Value": (Value, Value),
    "Value, number": (Value, None),
    "number, Value": (None, Value),
    "result, Value": (computed(Value), Value),
    "Value, result": (Value, computed(Value)),
    "subclass, Value": (Weight, Value),
    "number, subclass": (None, Weight),
    "subclass, number": (Weight, None),
}
TWINS = {Value: oracle.Value, Weight: oracle.Value, None: None}


def operands(makes, args):
    """The operands, and the Values among them."""
    made = [x if make is None else make(x) for make, x in zip(makes, args)]
    return made, [v for v, make in zip(made, makes) if make is not None]


def compare(name, ours, theirs, changed=None):
    """The difference of an op on these operands, as text, or None. Each side is operands() of it."""
    (out, error), (twin, expected) = outcome(op(name), *ours[0]), outcome(op(name), *theirs[0])
    if error != expected:
        return f"the op raises {error}, not {expected}"
    if error:
        return None
    if bits(out.data) != bits(twin.data):
        return f"{out.data!r} is not {twin.data!r}"
    if changed:
        set_after(changed, ours[1], theirs[1])
    errors = twin.backward()
    _, error = outcome(out.backward)
    if not (error in errors if errors else error is None):
        return f"backward() raises {error}, not {errors}"
    for leaf, other in zip(ours[1], theirs[1]):
        if not errors and bits(leaf.grad) != bits(other.grad):
            return f"the gradient {leaf.grad!r} is not {other.grad!r}"
    return None


def twice(name, x):
    """v op v: the order in which the two terms are added up shows in no bit."""
    mine, twin = Value(x), oracle.Value(x)
    return compare(name, ([mine, mine], [mine]), ([twin, twin], [twin]))


def twins(makes):
    return [TWINS[make] if make in TWINS else computed(oracle.Value) for make in makes]


def cases(values):
    """Name, form and arguments of each case, and a function that compares it."""
    for name in UNARY:
        for (form, makes), x in itertools.product(FORMS.items(), values):
            if makes[1] is Value and makes[0] is not None:
                yield (
                    name,
                    form,
                    (x,),
                    lambda name=name, m=makes[:1], x=x: compare(name, operands(m, (x,)), operands(twins(m), (x,))),
                )
    for name in BINARY:
        forms = [form for form, makes in FORMS.items() if makes[0] is not None or name in OPERATORS]
        for form, args in itertools.product(forms, itertools.product(values, repeat=2)):
            yield (
                name,
                form,
                args,
                lambda name=name, m=FORMS[form], args=args: compare(name, operands(m, args), operands(twins(m), args)),
            )
        for x in values:
            yield name, "twice", (x,), lambda name=name, x=x: twice(name, x)
    for name in [*UNARY, *BINARY]:
        arity = 1 if name in UNARY else 2
        for before, after in itertools.product([0.5, 2.0], itertools.product(values, repeat=arity)):
            if before == 0.5 or arity == 2:
                yield (
                    name,
                    f"{before} at first",
                    after,
                    lambda n=name, b=before, a=after: compare(
                        n, operands([Value] * len(a), [b] * len(a)), operands([oracle.Value] * len(a), [b] * len(a)), a
                    ),
                )


def check(values):
    """How many cases there are, and the differences."""
    count, wrong = 0, []
    for name, form, args, run in cases(values):
        count += 1
        difference = run()
        if difference:
            wrong.append(f"{name} of {args} ({form}): {difference}")
    return count, wrong


def main():
    count, wrong = check(VALUES)
    print(*wrong[:100], sep="\n")
    print(f"{count:,} cases of {len(UNARY) + len(BINARY)} ops and {len(VALUES)} values: {len(wrong)} differences")
    print(f"{100 * (count - len(wrong)) / count:.2f} %")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    assert math.isnan(VALUES[4])
    main()
