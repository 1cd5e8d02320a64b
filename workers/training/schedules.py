"""How the learning rate changes: a part of the spec → the share of the peak at each step."""

import math
from collections.abc import Callable
from functools import singledispatch

from models_store.spec.part import Part
from models_store.spec.schedule import Constant, Cosine

Factor = Callable[[int], float]


@singledispatch
def build(part: Part, *, steps: int, steps_per_epoch: int) -> Factor:
    """Return the share of the peak learning rate at a step, counted from 0 over all `steps` of the run."""
    raise NotImplementedError(
        f"no schedule is built for {type(part).__name__} ({steps} steps, {steps_per_epoch} per epoch)"
    )


@build.register
def _(part: Constant, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  it never ends
    warmup = part.warmup_epochs * steps_per_epoch
    return lambda step: _rise(step, warmup)


@build.register
def _(part: Cosine, *, steps: int, steps_per_epoch: int) -> Factor:
    warmup = part.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return _rise(step, warmup)
        done = (step - warmup) / max(1.0, steps - warmup)
        return part.final_fraction + (1 - part.final_fraction) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return factor


def _rise(step: int, warmup: float) -> float:
    return min(1.0, (step + 1) / warmup) if step < warmup else 1.0
