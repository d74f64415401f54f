"""Whole runs as a README shows them: a model of the library, a loss, an optimizer with a schedule, predictions, files.
The oracle is the same run of PyTorch on matrices, with the module that `to_torch` makes of the model."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest

import micrograd
from micrograd import MLP, interop, nn, optim, utils
from micrograd import functional as F

torch = pytest.importorskip("torch")

ANGLES = np.linspace(0.0, math.pi, 12)
MOONS = np.vstack([np.c_[np.cos(ANGLES), np.sin(ANGLES)], np.c_[1 - np.cos(ANGLES), 0.5 - np.sin(ANGLES)]])
SIDES = np.repeat([0.0, 1.0], 12)
CLOUD = np.random.default_rng(5).normal(size=(15, 2)) + np.repeat([[0.0, 2.0], [2.0, 0.0], [-2.0, -1.0]], 5, axis=0)
CLASSES = np.repeat([0, 1, 2], 5)

in_each_mode = pytest.mark.parametrize("mode", ["eager", "compiled", "compiled exactly"])


def mean_loss(mode, of_sample):
    """The mean over a batch: a loop, or a compiled function."""
    if mode != "eager":
        return micrograd.compile(lambda x, y: of_sample(x, y), exact=mode == "compiled exactly").mean

    def mean(xs, ys):
        return F.mean([of_sample([micrograd.Value(x) for x in row], y) for row, y in zip(xs.tolist(), ys.tolist())])

    return mean


def seeded(make):
    random.seed(1337)
    model = make()
    return model, interop.to_torch(model)


def tensors(x, y):
    return torch.tensor(x), torch.tensor(y)


def assert_same_parameters(model, module):
    theirs = interop.from_torch(module).state_dict()
    assert model.state_dict() == pytest.approx(theirs, rel=1e-9, abs=1e-11)


@in_each_mode
def test_moons_with_a_margin_and_a_falling_rate(mode):
    model, module = seeded(lambda: nn.MLP(2, [6, 6, 1]))
    loss = mean_loss(mode, lambda x, y: (1 - (2 * y - 1) * model(x)).relu())
    parameters, (X, y) = model.parameters(), tensors(MOONS, SIDES)
    for k in range(10):
        total = loss(MOONS, SIDES) + 1e-4 * sum(p * p for p in parameters)
        model.zero_grad()
        total.backward()
        rate = 1.0 - 0.9 * k / 10
        for p in parameters:
            p.data -= rate * p.grad
        theirs = (1 - (2 * y - 1) * module(X)[:, 0]).relu().mean() + 1e-4 * sum(
            (p * p).sum() for p in module.parameters()
        )
        module.zero_grad()
        theirs.backward()
        with torch.no_grad():
            for p in module.parameters():
                p -= rate * p.grad
        assert total.data == pytest.approx(theirs.item(), rel=1e-10)
    scores = micrograd.compile(lambda x: model(x)).map(MOONS)
    assert (scores > 0).tolist() == (module(X)[:, 0] > 0).tolist()
    assert_same_parameters(model, module)


@in_each_mode
def test_classes_with_adamw_a_cosine_and_clipping(mode):
    model, module = seeded(lambda: nn.MLP(2, [5, 3], activation="tanh"))
    nn.init.xavier_uniform_(model, gain=nn.init.calculate_gain("tanh"), generator=7)
    module = interop.to_torch(model)
    loss, (X, y) = mean_loss(mode, lambda x, y: F.cross_entropy(model(x), y)), tensors(CLOUD, CLASSES)
    optimizer, theirs = optim.AdamW(model.parameters(), lr=0.1), torch.optim.AdamW(module.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    their_schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=12)
    for _ in range(12):
        total, other = loss(CLOUD, CLASSES), torch.nn.functional.cross_entropy(module(X), y)
        for step, parameters, of, value, clip in (
            (optimizer, model.parameters(), schedule, total, utils.clip_grad_norm_),
            (theirs, list(module.parameters()), their_schedule, other, torch.nn.utils.clip_grad_norm_),
        ):
            step.zero_grad()
            value.backward()
            clip(parameters, 0.5)
            step.step()
            of.step()
        assert total.data == pytest.approx(other.item(), rel=1e-10)
    with micrograd.no_grad():
        guesses = [int(np.argmax([s.item() for s in model(x)])) for x in CLOUD.tolist()]
    assert guesses == module(X).argmax(1).tolist()
    assert_same_parameters(model, module)


@in_each_mode
def test_huber_with_early_stopping_and_the_best_parameters(mode):
    model, module = seeded(lambda: MLP(2, [4, 1]))
    loss, (X, y) = mean_loss(mode, lambda x, y: huber(model(x) - y)), tensors(CLOUD, np.sin(CLOUD[:, 0]))
    optimizer, theirs = optim.RMSprop(model.parameters(), lr=0.3), torch.optim.RMSprop(module.parameters(), lr=0.3)
    schedules = optim.lr_scheduler.ExponentialLR(optimizer, 0.8), torch.optim.lr_scheduler.ExponentialLR(theirs, 0.8)
    losses, other_losses, best, other_best = [], [], None, None
    for _ in range(10):
        total = loss(CLOUD, np.sin(CLOUD[:, 0]))
        other = torch.nn.functional.huber_loss(module(X)[:, 0], y, delta=0.5)
        losses.append(total.data)
        other_losses.append(other.item())
        if losses[-1] == min(losses):
            best, other_best = model.state_dict(), copy.deepcopy(module.state_dict())
        for step, value in ((optimizer, total), (theirs, other)):
            step.zero_grad()
            value.backward()
            step.step()
        for schedule in schedules:
            schedule.step()
    assert losses == pytest.approx(other_losses, rel=1e-9)
    assert schedules[0].get_last_lr() == schedules[1].get_last_lr()
    model.load_state_dict(best)
    module.load_state_dict(other_best)
    assert_same_parameters(model, module)


def huber(error, delta=0.5):
    size = abs(error)
    return F.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


@in_each_mode
def test_a_run_that_goes_on_from_files(mode, tmp_path):
    pytest.importorskip("safetensors")
    model, module = seeded(lambda: nn.MLP(2, [4, 1], activation="sigmoid"))
    theirs, (X, y) = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9), tensors(MOONS, SIDES)

    def steps(model, optimizer, count):
        loss = mean_loss(mode, lambda x, y: F.softplus(model(x)) - y * model(x))
        for _ in range(count):
            total = loss(MOONS, SIDES)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        return total.data

    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    steps(model, optimizer, 4)
    interop.save_safetensors(model, tmp_path / "model.safetensors")
    other = interop.load_safetensors(tmp_path / "model.safetensors", nn.MLP(2, [4, 1], activation="sigmoid"))
    again = optim.SGD(other.parameters(), lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    last = steps(other, again, 4)
    for _ in range(8):
        total = torch.nn.functional.binary_cross_entropy_with_logits(module(X)[:, 0], y)
        theirs.zero_grad()
        total.backward()
        theirs.step()
    assert last == pytest.approx(total.item(), rel=1e-10)
    assert_same_parameters(other, module)


@pytest.mark.parametrize("exact", [False, True])
def test_a_model_with_a_compiled_loss_dropout_and_two_modes(exact):
    """A class of one's own: layers, a table, masks as arguments, evaluation without them."""

    class Tagger(nn.Module):
        def __init__(self):
            random.seed(3)
            self.table = [[micrograd.Value(random.gauss(0, 0.5)) for _ in range(3)] for _ in range(5)]
            self.out = nn.Layer(6, 3, nonlin=False)

        def logits(self, before, word, mask):
            pair = [*F.embedding(before, self.table), *F.embedding(word, self.table)]
            return self.out([m * F.silu(x) for m, x in zip(mask, pair)])

        def loss(self, before, word, mask, tag):
            return F.cross_entropy(self.logits(before, word, mask), tag)

    model = Tagger()
    words, tags = np.array([0, 3, 1, 4, 2, 2, 0, 1]), np.array([1, 0, 2, 1, 0, 2, 1])
    masks = np.random.default_rng(2).choice([0.0, 1.25], p=[0.2, 0.8], size=(7, 6))
    loss, scores = (micrograd.compile(f, exact=exact) for f in (model.loss, model.logits))
    table, weight, bias = (
        torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
        for numbers in (
            [[v.data for v in row] for row in model.table],
            [[v.data for v in n.w] for n in model.out.neurons],
            [n.b.data for n in model.out.neurons],
        )
    )

    def their_logits(masks):
        pair = torch.cat([table[words[:-1]], table[words[1:]]], 1)
        return torch.nn.functional.linear(torch.tensor(masks) * torch.nn.functional.silu(pair), weight, bias)

    optimizer, theirs = optim.Adam(model.parameters(), lr=0.05), torch.optim.Adam([table, weight, bias], lr=0.05)
    for _ in range(8):
        total = loss.mean(words[:-1], words[1:], masks, tags)
        other = torch.nn.functional.cross_entropy(their_logits(masks), torch.tensor(tags))
        for step, value in ((optimizer, total), (theirs, other)):
            step.zero_grad()
            value.backward()
            step.step()
        assert total.data == pytest.approx(other.item(), rel=1e-9)
    found = scores.map(words[:-1], words[1:], np.ones((7, 6)))
    assert np.argmax(found, axis=1).tolist() == their_logits(np.ones((7, 6))).argmax(1).tolist()
    assert "table" in utils.summary(model)
    assert len(model.parameters()) == 5 * 3 + 6 * 3 + 3
