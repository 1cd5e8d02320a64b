"""Schedules of the learning rate: a part of the spec → the share of the peak at each step.

A share depends on the step and on what was monitored alone, never on an earlier call, so a run that is taken up from a
checkpoint has nothing to restore.
"""

import math
from collections.abc import Callable, Sequence
from functools import singledispatch
from itertools import accumulate
from typing import Protocol

from models_store.spec.part import Part
from models_store.spec.schedule import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    StepDecay,
    WarmupStableDecay,
)

Curve = Callable[[float], float]


class Factor(Protocol):
    """The share of the peak learning rate."""

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        """Return the share at a step, counted from 0 over the whole run.

        `monitored` are the values of the epochs that are closed, higher is better.
        """
        ...


@singledispatch
def build(part: Part, *, steps: int, steps_per_epoch: int) -> Factor:
    """Return the share of the peak learning rate at each of the run's `steps`."""
    raise NotImplementedError(
        f"no schedule is built for {type(part).__name__} ({steps} steps, {steps_per_epoch} per epoch)"
    )


@build.register
def _(part: Constant, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  it never ends
    return _by_epoch(lambda _: 1.0, part.warmup_epochs, steps_per_epoch=steps_per_epoch)


@build.register
def _(part: StepDecay, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  its drops go on
    return _by_epoch(
        lambda epoch: part.gamma ** (int(epoch) // part.every_epochs),
        part.warmup_epochs,
        steps_per_epoch=steps_per_epoch,
    )


@build.register
def _(part: MultiStep, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  its drops are where they are
    return _by_epoch(
        lambda epoch: part.gamma ** sum(epoch >= milestone for milestone in part.milestones),
        part.warmup_epochs,
        steps_per_epoch=steps_per_epoch,
    )


@build.register
def _(part: Exponential, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  it never ends
    return _by_epoch(lambda epoch: part.gamma**epoch, part.warmup_epochs, steps_per_epoch=steps_per_epoch)


@build.register
def _(part: Linear, *, steps: int, steps_per_epoch: int) -> Factor:
    return _by_share(
        lambda done: _between(1, part.final_fraction, done), part.warmup_epochs * steps_per_epoch, steps=steps
    )


@build.register
def _(part: Polynomial, *, steps: int, steps_per_epoch: int) -> Factor:
    return _by_share(
        lambda done: _between(part.final_fraction, 1, (1 - done) ** part.power),
        part.warmup_epochs * steps_per_epoch,
        steps=steps,
    )


@build.register
def _(part: Cosine, *, steps: int, steps_per_epoch: int) -> Factor:
    lengths = [part.cycle_growth**cycle for cycle in range(part.cycles)]
    starts = [start / sum(lengths) for start in accumulate(lengths, initial=0.0)]

    def curve(done: float) -> float:
        cycle = max(number for number in range(part.cycles) if starts[number] <= done)
        in_cycle = (done - starts[cycle]) / (starts[cycle + 1] - starts[cycle])
        return _between(1, part.final_fraction, _half_cosine(in_cycle))

    return _by_share(curve, part.warmup_epochs * steps_per_epoch, steps=steps)


@build.register
def _(part: OneCycle, *, steps: int, steps_per_epoch: int) -> Factor:
    warmup = part.warmup_epochs * steps_per_epoch
    last = max(steps - warmup - 1, 1)  # the last step has the last learning rate
    top = max(part.rise_share * (last + 1) - 1, 0)

    def curve(step: int) -> float:
        place = min(max(step - warmup, 0), last)
        if place < top:
            return _between(part.initial_fraction, 1, _half_cosine(place / top))
        return _between(1, part.final_fraction, _half_cosine((place - top) / (last - top)))

    return _warmed(curve, warmup)


@build.register
def _(part: WarmupStableDecay, *, steps: int, steps_per_epoch: int) -> Factor:
    shapes: dict[str, Curve] = {
        "linear": lambda done: done,
        "cosine": _half_cosine,
        "one_minus_sqrt": math.sqrt,
    }
    decay = part.decay_share * steps

    def curve(step: int) -> float:
        done = min(1.0, max(0.0, step - (steps - decay)) / decay)
        return _between(1, part.final_fraction, shapes[part.shape](done))

    return _warmed(curve, part.warmup_epochs * steps_per_epoch)


@build.register
def _(part: ReduceOnPlateau, *, steps: int, steps_per_epoch: int) -> Factor:  # noqa: ARG001  what is monitored decides
    warmup = part.warmup_epochs * steps_per_epoch

    def factor(step: int, monitored: Sequence[float] = ()) -> float:
        return _rise(step, warmup) * max(part.final_fraction, part.gamma ** _drops(part, monitored))

    return factor


def _drops(part: ReduceOnPlateau, monitored: Sequence[float]) -> int:
    drops = waited = cooldown = 0
    best = -math.inf
    for value in monitored:
        if value > best + part.min_delta:
            best, waited = value, 0
        else:
            waited += 1
        if cooldown > 0:
            cooldown, waited = cooldown - 1, 0
        if waited > part.patience:
            drops, cooldown, waited = drops + 1, part.cooldown_epochs, 0
    return drops


def _by_epoch(curve: Curve, warmup_epochs: float, *, steps_per_epoch: int) -> Factor:
    """Return the curve of the epochs done since the run began, with a warm-up."""
    return _warmed(lambda step: curve(step / steps_per_epoch), warmup_epochs * steps_per_epoch)


def _by_share(curve: Curve, warmup: float, *, steps: int) -> Factor:
    """Return the curve of the share done of the steps after the warm-up."""
    left = max(1.0, steps - warmup)
    return _warmed(lambda step: curve(min(1.0, max(0.0, step - warmup) / left)), warmup)


def _warmed(curve: Callable[[int], float], warmup: float) -> Factor:
    def factor(step: int, monitored: Sequence[float] = ()) -> float:  # noqa: ARG001  it follows the step alone
        return _rise(step, warmup) * curve(step)

    return factor


def _rise(step: int, warmup: float) -> float:
    return min(1.0, (step + 1) / warmup) if step < warmup else 1.0


def _half_cosine(done: float) -> float:
    """Return what rises from 0 to 1, slowly at both ends."""
    return (1 - math.cos(math.pi * done)) / 2


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
