"""Entries of optimizers, schedules and clipping; see entries.py."""

from __future__ import annotations

import pickle

from micrograd import Value, optim, utils
from micrograd.optim import lr_scheduler

XS = [Value(v) for v in (0.6, 0.3, -0.2)]


def of_optim():
    kinds = {
        "SGD": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        "SGD plain": (optim.SGD, {"lr": 0.1}),
        "Adam": (optim.Adam, {"amsgrad": True}),
        "AdamW": (optim.AdamW, {"lr": 0.01}),
        "RMSprop": (optim.RMSprop, {"momentum": 0.5, "centered": True}),
    }
    for name, (kind, options) in kinds.items():
        yield f"optim.{name}", lambda kind=kind, options=options: _optimized(kind, options)
        yield f"optim.{name} state", lambda kind=kind, options=options: _restored(kind, options)
    schedulers = {
        "StepLR": (2,),
        "ExponentialLR": (0.9,),
        "CosineAnnealingLR": (4,),
        "LinearLR": (),
        "LambdaLR": (lambda epoch: 0.5**epoch,),
    }
    yield "lr_scheduler.LRScheduler", lambda: _scheduled(Halved, ())
    for name, args in schedulers.items():
        kind = getattr(lr_scheduler, name)
        yield f"lr_scheduler.{name}", lambda kind=kind, args=args: _scheduled(kind, args)
    yield "utils.clip_grad_norm_", lambda: _clipped(lambda: utils.clip_grad_norm_(XS, 1.0))
    yield "utils.clip_grad_value_", lambda: _clipped(lambda: utils.clip_grad_value_(XS, 1.0))


def _optimized(kind, options):
    params = [Value(1.0), Value(-2.0)]
    optimizer = kind(params[:1], **options)
    optimizer.add_param_group({"params": params[1:], "lr": 0.5})
    for _ in range(2):
        optimizer.zero_grad()
        (params[0] * params[1]).backward()
        optimizer.step()
    return [p.data for p in params]


def _restored(kind, options):
    params = [Value(1.0)]
    optimizer = kind(params, **options)
    params[0].grad = 0.5
    optimizer.step()
    other = kind([Value(2.0)], **options)
    other.load_state_dict(optimizer.state_dict())
    return [len(repr(other)), len(other.state_dict()["state"]), len(pickle.loads(pickle.dumps(other)).param_groups)]


class Halved(lr_scheduler.LRScheduler):
    """A scheduler of a user's own."""

    def get_lr(self):
        return [0.5 * group["lr"] for group in self.optimizer.param_groups]


def _scheduled(kind, args):
    optimizer = optim.SGD([Value(1.0)], lr=0.1)
    scheduler = kind(optimizer, *args)
    optimizer.step()
    scheduler.step()
    scheduler.load_state_dict(scheduler.state_dict())
    return [*scheduler.get_last_lr(), *scheduler.get_lr(), isinstance(optimizer, optim.Optimizer)]


def _clipped(clip):
    for i, v in enumerate(XS):
        v.grad = 3.0 + i
    clip()
    return [v.grad for v in XS]
