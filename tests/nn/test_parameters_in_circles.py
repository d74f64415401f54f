"""What Module.parameters() and named_parameters() find in modules that refer to each other in circles."""

from __future__ import annotations

import copy
import random

import pytest

from micrograd import Value, nn


class Plain(nn.Module):
    def __init__(self, **members):
        vars(self).update(members)


class Circle(nn.Module):
    def __init__(self):
        self.w = Value(1.0)
        self.child = Plain(w=Value(2.0), parent=self)
        self.all = [self, self.child]
        self.all.append(self.all)
        self.table = {"self": self, "v": Value(3.0)}
        self.table["table"] = self.table
        self.layer = nn.Layer(1, 1)
        self.layer.owner = self
        self.twin = self.child


def test_circles_are_walked_once():
    model = Circle()
    names = ["w", "child.w", "table.v", "layer.neurons.0.w.0", "layer.neurons.0.b"]
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == names
    assert len(model.parameters()) == 5
    assert model.load_state_dict(dict.fromkeys(names, 4.0)) == ([], [])
    assert {p.data for p in model.parameters()} == {4.0}
    assert sorted(name for name, _ in model.child.named_parameters()) == sorted(
        ["w", "parent.w", "parent.table.v", "parent.layer.neurons.0.w.0", "parent.layer.neurons.0.b"]
    )
    model.zero_grad()
    assert copy.deepcopy(model).state_dict() == model.state_dict()


def test_what_is_shared_in_a_circle_keeps_every_name():
    shared = [Value(1.0)]
    model = Plain(a=shared, b=[shared], c=Plain(inner=shared))
    model.me = model.b.append(model) or model
    assert list(model.state_dict()) == ["a.0", "b.0.0", "c.inner.0"]
    loop = Plain(w=Value(2.0))
    loop.me = loop
    assert list(Plain(a=[loop, shared], b=[loop, shared]).state_dict()) == ["a.0.w", "a.1.0", "b.1.0"]


def names_by_definition(root):
    """The names of state_dict(): a module that leads back to itself comes once, others as often as they are there."""

    def leads_back(module):
        seen, todo = set(), [module]
        while todo:
            for member in vars(todo.pop()).values():
                if member is module:
                    return True
                if isinstance(member, nn.Module) and member not in seen:
                    seen.add(member)
                    todo.append(member)
        return False

    def walk(module, path):
        met.add(module)
        for name, member in vars(module).items():
            if isinstance(member, Value):
                yield ".".join([*path, name])
            elif member not in met or not leads_back(member):
                yield from walk(member, [*path, name])

    met = set()
    return list(walk(root, []))


def linked(links):
    """Modules that refer to others by their numbers."""
    modules = [Plain(w=Value(float(i))) for i in range(len(links))]
    for module, others in zip(modules, links):
        vars(module).update({f"m{k}": modules[i] for k, i in enumerate(others)})
    return modules[0]


@pytest.mark.parametrize("seed", range(100))
def test_names_of_modules_that_refer_to_each_other_at_random(seed):
    draw = random.Random(seed)
    count = draw.randint(4, 8)
    back = draw.choice([0.1, 0.3])
    links = [
        [
            draw.randrange(0 if draw.random() < back or i == count - 1 else i + 1, count)
            for _ in range(draw.randint(1, 3))
        ]
        for i in range(count)
    ]
    assert list(linked(links).state_dict()) == names_by_definition(linked(links))


def test_names_in_a_circle_that_leads_back_by_way_of_another():
    """Module 4 leads back to 0 by way of 2 and 3 alone, which are done when the walk comes to it."""
    model = linked([[1, 4], [2, 3, 4], [0, 3], [3, 2], [3]])
    assert list(model.state_dict()) == names_by_definition(model) == ["w", "m0.w", "m0.m0.w", "m0.m0.m1.w", "m0.m2.w"]
