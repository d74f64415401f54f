"""Schedules of learning rates with PyTorch's names, arguments and numbers, to the bit.

A scheduler is made over an optimizer, and sets the `lr` of its groups: once when it is made, and at each `step()`,
which is called after the optimizer's. Like PyTorch's, most compute the next learning rate from the current one, so
several of them can be used on one optimizer, and changes of `lr` by hand stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

from micrograd._optim import number
from micrograd.optim import Optimizer

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "StepLR"]


def __dir__() -> list[str]:
    return __all__


Factor = Callable[[int], float]


class LRScheduler:
    """Base of the schedulers. A scheduler of your own is a subclass with a `get_lr()`.

    `last_epoch` is the number of steps so far. Given as an argument, it resumes: the groups must then have the
    'initial_lr' that a scheduler gave them. `base_lrs` lists the initial learning rates of the groups.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> class InverseTimeLR(LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / (1 + self.last_epoch) for lr in self.base_lrs]
    >>> optimizer = SGD([Value(1.0)], lr=0.6)
    >>> scheduler = InverseTimeLR(optimizer)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), optimizer.param_groups[0]["lr"]
    ([0.15], 0.15)

    Raises TypeError for what is not an Optimizer and for an argument that is not a number, KeyError where it resumes
    and a group has no 'initial_lr'.
    """

    base_lrs: list[float]
    last_epoch: int

    _is_initial = False  # does the constructor call step()?

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._is_initial = True
        self.step()
        del self._is_initial

    def get_lr(self) -> list[float]:
        """The learning rates of the groups after `last_epoch` steps, computed from those now in the groups. To be
        called by `step()` alone; `get_last_lr()` gives the current ones.

        >>> from micrograd import Value
        >>> from micrograd.optim import SGD
        >>> ExponentialLR(SGD([Value(1.0)], lr=0.5), gamma=0.5).get_lr()
        [0.25]
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_lr()")

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step set, one for each group.

        >>> from micrograd import Value
        >>> from micrograd.optim import SGD
        >>> StepLR(SGD([Value(1.0)], lr=0.5), step_size=10).get_last_lr()
        [0.5]
        """
        return list(self._last_lr)

    def step(self) -> None:
        """Set the learning rates for the next epoch: to be called once an epoch (or step, if the schedule is in steps),
        after the optimizer's `step()`.

        >>> from micrograd import Value
        >>> from micrograd.optim import SGD
        >>> optimizer = SGD([Value(1.0)], lr=0.5)
        >>> scheduler = StepLR(optimizer, step_size=1)
        >>> scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.05

        Raises ValueError where the optimizer has another number of groups than `get_lr()` gives learning rates. After
        an error, the scheduler and the groups are as before.
        """
        groups = self.optimizer.param_groups
        self.last_epoch += 1
        try:
            lrs = self.get_lr()
            if len(lrs) != len(groups):
                raise ValueError(f"{len(lrs)} learning rates for an optimizer with {len(groups)} parameter groups")
        except BaseException:
            self.last_epoch -= 1
            raise
        for group, lr in zip(groups, lrs):
            group["lr"] = lr
        self._last_lr = lrs

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer, in PyTorch's layout, for `load_state_dict()`. The current learning rates
        are part of the optimizer's state.

        >>> from micrograd import Value
        >>> from micrograd.optim import SGD
        >>> ExponentialLR(SGD([Value(1.0)], lr=0.5), gamma=0.5).state_dict()
        {'gamma': 0.5, 'base_lrs': [0.5], 'last_epoch': 0, '_last_lr': [0.5]}
        """
        return {
            name: list(item) if isinstance(item, list) else item
            for name, item in vars(self).items()
            if name != "optimizer"
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict()` returned, or PyTorch's scheduler of the same name.

        It does not set the learning rates: load the optimizer's state too, after the scheduler was made.

        >>> from micrograd import Value
        >>> from micrograd.optim import SGD
        >>> scheduler = ExponentialLR(SGD([Value(1.0)], lr=0.5), gamma=0.5)
        >>> scheduler.load_state_dict({"gamma": 0.9, "base_lrs": [0.5], "last_epoch": 7, "_last_lr": [0.1]})
        >>> scheduler.last_epoch, scheduler.get_last_lr()
        (7, [0.1])

        Raises TypeError where it is no mapping, and ValueError where attributes are missing or the numbers of groups
        differ; the scheduler is then as it was. Attributes that this one does not have are ignored.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping, not {type(state_dict).__name__!r}")
        names = list(self.state_dict())
        missing = [name for name in names if name not in state_dict]
        if missing:
            raise ValueError(f"the state of {type(self).__name__} lacks {', '.join(map(repr, missing))}")
        for name, mine in self.state_dict().items():
            if isinstance(mine, list) and len(state_dict[name]) != len(mine):
                raise ValueError(f"{name} of the state has {len(state_dict[name])} items, not {len(mine)}")
        self._load({name: state_dict[name] for name in names})

    def _load(self, state: dict[str, Any]) -> None:
        vars(self).update({name: list(item) if isinstance(item, list) else item for name, item in state.items()})

    def _current(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """Multiplies the learning rates by `gamma` every `step_size` steps.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=0.8)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(5):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    [0.8] [0.8] [0.4] [0.4] [0.2]

    Raises ValueError where `step_size` is not positive; otherwise as `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _positive(step_size, "step_size")
        self.gamma = _number(gamma, "gamma")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._current()
        return [lr * self.gamma for lr in self._current()]


class ExponentialLR(LRScheduler):
    """Multiplies the learning rates by `gamma` at every step.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=0.8)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> for _ in range(4):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    [0.8] [0.4] [0.2] [0.1]

    Raises as `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = _number(gamma, "gamma")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._current() if self._is_initial else [lr * self.gamma for lr in self._current()]


class CosineAnnealingLR(LRScheduler):
    """Half a period of a cosine, from the initial learning rates to `eta_min` in `T_max` steps, then back up, and so on

        eta_min + (initial - eta_min) * (1 + cos(pi * step / T_max)) / 2,

    computed recursively from the current learning rates, as PyTorch does.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=0.8)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=4)
    >>> for _ in range(5):
    ...     print([round(lr, 3) for lr in scheduler.get_last_lr()], end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    [0.8] [0.683] [0.4] [0.117] [0.0]

    Raises ValueError where `T_max` is not positive; otherwise as `LRScheduler`.

    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, https://arxiv.org/abs/1608.03983
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = _positive(T_max, "T_max")
        self.eta_min = _number(eta_min, "eta_min")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, period, low = self.last_epoch, self.T_max, self.eta_min
        if self._is_initial:
            return self._current()
        if (t - 1 - period) % (2 * period) == 0:  # from the lowest point, where the ratio below is 0 / 0
            return [
                lr + (base - low) * (1 - math.cos(math.pi / period)) / 2
                for lr, base in zip(self._current(), self.base_lrs)
            ]
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return [ratio * (lr - low) + low for lr in self._current()]


class LinearLR(LRScheduler):
    """Multiplies the learning rates by a factor that goes from `start_factor` to `end_factor` in `total_iters` steps,
    and stays there: a warm-up.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=0.8)
    >>> scheduler = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> for _ in range(5):
    ...     print([round(lr, 3) for lr in scheduler.get_last_lr()], end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    [0.2] [0.4] [0.6] [0.8] [0.8]

    Raises ValueError where `start_factor` is not in (0, 1] or `end_factor` not in [0, 1]; otherwise as `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0.0 < _number(start_factor, "start_factor") <= 1.0:
            raise ValueError(f"start_factor must be greater than 0 and at most 1, not {start_factor}")
        if not 0.0 <= _number(end_factor, "end_factor") <= 1.0:
            raise ValueError(f"end_factor must be between 0 and 1, not {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = _number(total_iters, "total_iters")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._current()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._current()
        way = self.end_factor - self.start_factor
        ratio = 1.0 + way / (self.total_iters * self.start_factor + (self.last_epoch - 1) * way)
        return [lr * ratio for lr in self._current()]


class LambdaLR(LRScheduler):
    """The initial learning rates times what a function of the number of steps gives; for several groups, one function
    or a list with one for each.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=0.8)
    >>> scheduler = LambdaLR(optimizer, lambda step: 0.5 ** step)
    >>> for _ in range(4):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    [0.8] [0.4] [0.2] [0.1]

    `state_dict()` has None for a function, and the attributes of any other callable.

    Raises ValueError where there are more or fewer functions than groups; otherwise as `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups) if isinstance(optimizer, Optimizer) else 0
        if not callable(lr_lambda) and not isinstance(lr_lambda, Iterable):
            raise TypeError(f"lr_lambda must be a function or a list of them, not {type(lr_lambda).__name__!r}")
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        for factor in self.lr_lambdas:
            if not callable(factor):
                raise TypeError(f"an item of lr_lambda must be a function, not {type(factor).__name__!r}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self) -> dict[str, Any]:
        held = [None if isinstance(f, FunctionType) else dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": held}

    def _load(self, state: dict[str, Any]) -> None:
        held = state.pop("lr_lambdas")
        updates = []
        for factor, attributes in zip(self.lr_lambdas, held):
            if attributes is not None and not isinstance(attributes, Mapping):
                raise TypeError(f"lr_lambdas must hold mappings or None, not {type(attributes).__name__!r}")
            if attributes:
                updates.append((vars(factor), dict(attributes)))
        super()._load(state)
        for mine, attributes in updates:
            mine.update(attributes)


Number = TypeVar("Number", bound=float)


def _number(x: Number, what: str) -> Number:
    number(x, what)
    return x


def _positive(x: int, what: str) -> int:
    if not number(x, what) > 0.0:
        raise ValueError(f"{what} must be positive, not {x}")
    return x
