"""Optimizers with PyTorch's names, arguments and numbers: SGD, Adam, AdamW, RMSprop. `lr_scheduler` has schedules of
their learning rates.

A step over the parameters is one compiled call a group. All parameters have a grad here, so none is skipped as
PyTorch skips those whose grad is None: a grad of 0.0 still moves averages, and weight decay still decays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, Union

from micrograd import _optim
from micrograd._core import Value

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]


def __dir__() -> list[str]:
    return [*__all__, "lr_scheduler"]


TYPE_CHECKING = False
if TYPE_CHECKING:
    from micrograd.optim import lr_scheduler as lr_scheduler

Params = Union[Iterable[Value], Iterable[dict[str, Any]]]


class Optimizer:
    """Base of the optimizers: parameter groups, and each parameter's state.

    `params` is an iterable of Values, or of dicts: groups with a 'params' of their own and any options that differ from
    `defaults`. `param_groups` lists the groups as dicts of 'params' and all the options; `step()` reads them when it
    runs, so options and the lists of parameters can be changed in between. A parameter keeps its state when it moves
    to another group, and loses it when it is in none.

    An optimizer of your own is a subclass with a `step()` that goes over `param_groups`.

    >>> class SignSGD(Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p.data -= group["lr"] * ((p.grad > 0) - (p.grad < 0))
    >>> x = Value(1.0)
    >>> optimizer = SignSGD([x])
    >>> (x * x).backward()
    >>> optimizer.step()
    >>> x.data
    0.9

    Raises ValueError where there are no parameters, one is there twice or is the result of an op, or an option is out
    of its range; TypeError where a parameter is not a Value or an option not a number.
    """

    param_groups: list[dict[str, Any]]
    defaults: dict[str, Any]

    _width: ClassVar[int] = 0  # how many numbers of state a parameter has
    _names: ClassVar[tuple[str, ...]] = ()  # what state_dict() calls them; the number of steps comes first
    _optional: ClassVar[dict[str, str]] = {}  # names of those that only an option needs, and the option
    _ranges: ClassVar[dict[str, str]] = {}  # options that must not be negative, and what errors call them

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Value):
            raise TypeError("params must be an iterable of Values or of dicts, not a Value")
        self._check(defaults)
        self.defaults = defaults
        self.param_groups = []
        self._states: list[_optim.State] = []
        items: list[Any] = list(params)
        if not items:
            raise ValueError("optimizer got an empty parameter list")
        for group in items if isinstance(items[0], dict) else [{"params": items}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with 'params', a Value or an iterable of Values, and options where they differ.

        >>> x, y = Value(1.0), Value(2.0)
        >>> optimizer = SGD([x], lr=0.1)
        >>> optimizer.add_param_group({"params": [y], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]

        Raises as the constructor does; the optimizer is then as it was.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group must be a dict, not {type(param_group).__name__!r}")
        if "params" not in param_group:
            raise ValueError(f"a parameter group must have 'params', but this one has {sorted(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("parameters must be in an ordered collection, and a set has no order: use a list")
        params = [params] if isinstance(params, Value) else list(params)
        group = {**self.defaults, **param_group, "params": params}
        self._check(group)
        _check_params([*self.param_groups, group])
        # The dict itself becomes the group, as in PyTorch: whoever made it can change its options.
        param_group.update(group)
        self.param_groups.append(param_group)

    # In C: frames of Python around the loops would take a quarter of a training step of a small network.
    step = _optim.step
    zero_grad = _optim.zero_grad

    def state_dict(self) -> dict[str, Any]:
        """Options and state as Python numbers in PyTorch's layout, for `load_state_dict()`.

        Parameters are numbered through all groups; 'state' has an entry for each parameter that has state yet.

        >>> x = Value(1.0)
        >>> optimizer = SGD([x], lr=0.1, momentum=0.9)
        >>> (x * x).backward()
        >>> optimizer.step()
        >>> state = optimizer.state_dict()
        >>> state["state"]
        {0: {'momentum_buffer': 2.0}}
        >>> state["param_groups"]
        [{'lr': 0.1, 'momentum': 0.9, 'dampening': 0, 'weight_decay': 0, 'nesterov': False, 'maximize': False,
          'params': [0]}]
        """
        state: dict[int, dict[str, float]] = {}
        groups = []
        first = 0
        for held, group in zip(_optim.synced(self), self.param_groups):
            values = held.values()
            for i, numbers in enumerate(values, first):
                entry = self._entry(numbers, group)
                if entry:
                    state[i] = entry
            options = {name: option for name, option in group.items() if name != "params"}
            groups.append({**options, "params": list(range(first, first + len(values)))})
            first += len(values)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load options and state that `state_dict()` returned. Nothing is changed unless all can be loaded.

        Also takes what PyTorch's optimizer of the same name returned, its tensors converted to numbers. Flags that are
        missing, as from older versions of PyTorch, are off.

        >>> x, y = Value(1.0), Value(1.0)
        >>> first, second = SGD([x], lr=0.1), SGD([y])
        >>> second.load_state_dict(first.state_dict())
        >>> second.param_groups[0]["lr"]
        0.1

        Raises ValueError where the groups or their sizes differ, options or numbers are missing or out of range, or
        there is state of no parameter or by an unknown name; TypeError where a number is none.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping, not {type(state_dict).__name__!r}")
        missing = [key for key in ("state", "param_groups") if key not in state_dict]
        if missing:
            raise ValueError(f"state_dict lacks {_listed(missing)}")
        _optim.synced(self)
        saved_groups = state_dict["param_groups"]
        entries = dict(state_dict["state"])
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in saved_groups]
        if saved_sizes != sizes:
            raise ValueError(f"state_dict has groups of {saved_sizes} parameters, the optimizer of {sizes}")
        loaded = [self._loaded(group, saved, entries) for group, saved in zip(self.param_groups, saved_groups)]
        if entries:
            raise ValueError(f"state_dict has state of {_listed(entries)}, which no group of it has")
        for group, (options, _) in zip(self.param_groups, loaded):
            params = group["params"]
            group.clear()
            group.update({**options, "params": params})
        self._states = [state for _, state in loaded]

    def _loaded(
        self, group: dict[str, Any], saved: Mapping[str, Any], entries: dict[Any, Any]
    ) -> tuple[dict[str, Any], _optim.State]:
        """Options and state of a group from what was saved of it. Takes its parameters' state out of `entries`."""
        options = {name: deepcopy(option) for name, option in saved.items() if name != "params"}
        for name, default in self.defaults.items():
            if isinstance(default, bool):
                options.setdefault(name, False)
        missing = [name for name in self.defaults if name not in options]
        if missing:
            raise ValueError(f"a parameter group of state_dict lacks {_listed(missing)}")
        # Rounding may make a learning rate negative, such as that of LinearLR(optimizer, end_factor=0.0) at its end.
        self._check({**options, "lr": abs(_optim.number(options["lr"], "lr"))} if "lr" in self._ranges else options)
        values = [self._values(key, entries.pop(key, {}), options) for key in saved["params"]]
        return options, _optim.State(group["params"], values, self._width)

    def __repr__(self) -> str:
        groups = [
            "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
            for group in self.param_groups
        ]
        return f"{type(self).__name__} (" + "".join(f"\nParameter Group {i}\n{g}" for i, g in enumerate(groups)) + ")"

    # -- for subclasses that have compiled loops

    def _check(self, options: dict[str, Any]) -> None:
        """Raise where an option is out of its range."""
        for name, what in self._ranges.items():
            if not _optim.number(options[name], name) >= 0.0:
                raise ValueError(f"Invalid {what}: {options[name]}")

    def _update(self, state: _optim.State, group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def _entry(self, values: tuple[float, ...], group: dict[str, Any]) -> dict[str, float]:
        """The entry of state_dict() for a parameter with these numbers of state; empty where it has no state yet."""
        if not any(values):
            return {}
        entry = dict(zip(self._names, values))
        for name, option in self._optional.items():
            if not group[option] and entry[name] == 0.0:
                del entry[name]
        return entry

    def _values(self, key: object, entry: Mapping[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        """The numbers of such an entry."""
        if not entry:
            return (0.0,) * self._width
        needed = [name for name in self._names if name not in self._optional or group[self._optional[name]]]
        _check_names(key, entry, needed, self._names)
        values = tuple(_optim.number(entry.get(name, 0.0), f"{name} of {key!r}") for name in self._names)
        if not values[0] >= 0.0:
            raise ValueError(f"{self._names[0]} of {key!r} must be at least 0, not {entry[self._names[0]]}")
        return values

    def _renewed(self) -> list[_optim.State]:
        """States for the groups as they are now; parameters that had state keep it."""
        groups, states = self.param_groups, self._states
        for group in groups:
            if not isinstance(group["params"], list):  # an iterator has its items once
                group["params"] = list(group["params"])
        _check_params(groups)
        kept = {id(p): values for state in states for p, values in zip(state.params, state.values())}
        zeros = (0.0,) * self._width
        made = []
        for group in groups:
            values = [kept.get(id(p), zeros) for p in group["params"]]
            made.append(_optim.State(group["params"], values, self._width))
        self._states = made
        return made


class SGD(Optimizer):
    """Stochastic gradient descent: data -= lr * g, where g is made from the grad in this order:

        g = -grad if maximize else grad
        g = g + weight_decay * data
        b = momentum * b + (1 - dampening) * g         with momentum; the first time b = g
        g = g + momentum * b if nesterov else b        with momentum

    as torch.optim.SGD does it.

    >>> x = Value(3.0)
    >>> optimizer = SGD([x], lr=0.1, momentum=0.5)
    >>> for _ in range(50):
    ...     optimizer.zero_grad()
    ...     ((x - 1) ** 2).backward()
    ...     optimizer.step()
    >>> round(x.data, 6)
    1.0

    Raises ValueError where `lr`, `momentum` or `weight_decay` is negative, and for `nesterov` without momentum or with
    dampening; otherwise as `Optimizer`.
    """

    _width = 2
    _ranges: ClassVar[dict[str, str]] = {
        "lr": "learning rate",
        "momentum": "momentum value",
        "weight_decay": "weight_decay value",
    }
    _update = staticmethod(_optim.sgd)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum == 0 or _optim.number(dampening, "dampening") != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"not a momentum of {momentum} and a dampening of {dampening}"
            )

    def _entry(self, values: tuple[float, ...], group: dict[str, Any]) -> dict[str, float]:
        has_buffer, buffer = values
        return {"momentum_buffer": buffer} if has_buffer else {}

    def _values(self, key: object, entry: Mapping[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        _check_names(key, entry, (), ("momentum_buffer",))
        buffer = entry.get("momentum_buffer")
        return (0.0, 0.0) if buffer is None else (1.0, _optim.number(buffer, f"momentum_buffer of {key!r}"))


class Adam(Optimizer):
    """Adam: data -= lr * m^ / (sqrt(v^) + eps), where m^ and v^ are running averages of the grad and its square,

        m = beta1 * m + (1 - beta1) * grad             m^ = m / (1 - beta1**step)
        v = beta2 * v + (1 - beta2) * grad**2          v^ = v / (1 - beta2**step)

    as torch.optim.Adam computes it. With `amsgrad` the largest v so far takes the place of v in v^; `weight_decay` adds
    weight_decay * data to the grad, or, with `decoupled_weight_decay`, takes lr * weight_decay * data off the data;
    `maximize` negates the grad.

    >>> x = Value(3.0)
    >>> optimizer = Adam([x], lr=0.1)
    >>> for _ in range(300):
    ...     optimizer.zero_grad()
    ...     ((x - 1) ** 2).backward()
    ...     optimizer.step()
    >>> round(x.data, 4)
    1.0

    Raises ValueError where `lr`, `eps` or `weight_decay` is negative or one of `betas` is not in [0, 1); otherwise as
    `Optimizer`.

    Kingma and Ba, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980; Reddi, Kale and Kumar,
    On the Convergence of Adam and Beyond, https://openreview.net/forum?id=ryQu7f-RZ
    """

    _width = 4
    _names = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _optional: ClassVar[dict[str, str]] = {"max_exp_avg_sq": "amsgrad"}
    _ranges: ClassVar[dict[str, str]] = {
        "lr": "learning rate",
        "eps": "epsilon value",
        "weight_decay": "weight_decay value",
    }
    _update = staticmethod(_optim.adam)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        betas = options["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers, not {betas!r}")
        for i, beta in enumerate(betas):
            if not 0.0 <= _optim.number(beta, f"betas[{i}]") < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


class AdamW(Adam):
    """Adam with decoupled weight decay: data -= lr * weight_decay * data before Adam's step, no part of the averages.

    >>> x = Value(2.0)
    >>> optimizer = AdamW([x], lr=0.1, weight_decay=0.5)
    >>> optimizer.step()
    >>> x.data
    1.9

    Raises as `Adam`.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As `Optimizer.load_state_dict()`, but weight decay stays decoupled if the state is Adam's.

        >>> optimizer = AdamW([Value(1.0)])
        >>> optimizer.load_state_dict(Adam([Value(1.0)]).state_dict())
        >>> optimizer.param_groups[0]["decoupled_weight_decay"]
        True
        """
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class RMSprop(Optimizer):
    """RMSprop: data -= lr * grad / (sqrt(v) + eps), where v is a running average of grad**2,

        v = alpha * v + (1 - alpha) * grad**2

    as torch.optim.RMSprop computes it. With `centered`, v - a**2 takes the place of v, where a is a running average of
    the grad: an estimate of its variance. With `momentum`, b = momentum * b + grad / (sqrt(v) + eps) and
    data -= lr * b. `weight_decay` adds weight_decay * data to the grad; `maximize` negates the grad.

    >>> x = Value(3.0)
    >>> optimizer = RMSprop([x], lr=0.01)
    >>> for _ in range(500):
    ...     optimizer.zero_grad()
    ...     ((x - 1) ** 2).backward()
    ...     optimizer.step()
    >>> round(x.data, 1)
    1.0

    Raises ValueError where `lr`, `alpha`, `eps`, `weight_decay` or `momentum` is negative; otherwise as `Optimizer`.

    Hinton, Neural Networks for Machine Learning, lecture 6, https://www.cs.toronto.edu/~hinton/coursera/lecture6/lec6.pdf;
    centered: Graves, Generating Sequences With Recurrent Neural Networks, https://arxiv.org/abs/1308.0850
    """

    _width = 4
    _names = ("step", "square_avg", "momentum_buffer", "grad_avg")
    _optional: ClassVar[dict[str, str]] = {"momentum_buffer": "momentum", "grad_avg": "centered"}
    _ranges: ClassVar[dict[str, str]] = {
        "lr": "learning rate",
        "eps": "epsilon value",
        "momentum": "momentum value",
        "weight_decay": "weight_decay value",
        "alpha": "alpha value",
    }
    _update = staticmethod(_optim.rmsprop)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name):
        if name == "lr_scheduler":  # imported when it is first asked for, since it imports this module
            from importlib import import_module

            return import_module("micrograd.optim.lr_scheduler")
        raise AttributeError(f"module 'micrograd.optim' has no attribute {name!r}")


def _check_params(groups: list[dict[str, Any]]) -> None:
    seen: set[int] = set()
    for i, group in enumerate(groups):
        for p in group["params"]:
            if not isinstance(p, Value):
                raise TypeError(f"an optimizer can only optimize Values, but was given a {type(p).__name__!r}")
            if not _optim.is_leaf(p):
                raise ValueError(f"cannot optimize {p!r}, the result of an op: make a new Value of its data")
            if id(p) in seen:
                raise ValueError(f"{p!r} of parameter group {i} appears more than once among the parameters")
            seen.add(id(p))


def _check_names(key: object, entry: Mapping[str, Any], needed: Iterable[str], known: Iterable[str]) -> None:
    missing = [name for name in needed if name not in entry]
    unknown = [name for name in entry if name not in known]
    if missing or unknown:
        faults = [f"{verb} {_listed(names)}" for verb, names in (("lacks", missing), ("has", unknown)) if names]
        raise ValueError(f"the state of parameter {key!r} {' and '.join(faults)}")


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(repr, names))
