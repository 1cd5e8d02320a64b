import math
from collections.abc import Callable, Sequence
from typing import get_args

import pytest
import torch
from torch import optim
from torch.optim import lr_scheduler

from models_store.spec import schedule as spec
from models_store.spec.part import Part
from workers.training import schedules

EPOCHS, STEPS_PER_EPOCH = 12, 5
STEPS = EPOCHS * STEPS_PER_EPOCH
PARTS: tuple[type[Part], ...] = get_args(get_args(spec.Schedule)[0])
every_schedule = pytest.mark.parametrize("part", PARTS, ids=[str(part.model_fields["kind"].default) for part in PARTS])

Scheduler = Callable[[optim.Optimizer], lr_scheduler.LRScheduler]


def built(part: Part, *, steps: int = STEPS) -> schedules.Factor:
    return schedules.build(part, steps=steps, steps_per_epoch=STEPS_PER_EPOCH)


def an_optimizer() -> optim.Optimizer:
    return optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def rates(scheduler: Scheduler, *, count: int) -> list[float]:
    optimizer = an_optimizer()
    following = scheduler(optimizer)
    seen = []
    for _ in range(count):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        following.step()
    return seen


BY_EPOCH: list[tuple[Part, Scheduler]] = [
    (spec.Constant(), lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    (spec.StepDecay(every_epochs=4, gamma=0.3), lambda optimizer: lr_scheduler.StepLR(optimizer, 4, gamma=0.3)),
    (
        spec.MultiStep(milestones=[3, 4, 9], gamma=0.3),
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [3, 4, 9], gamma=0.3),
    ),
    (spec.Exponential(gamma=0.8), lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.8)),
]
BY_STEP: list[tuple[Part, Scheduler]] = [
    (
        spec.Linear(final_fraction=0.1),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=STEPS),
    ),
    (
        spec.Polynomial(power=0.9),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total_iters=STEPS, power=0.9),
    ),
    (
        spec.Cosine(final_fraction=0.05),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=0.05),
    ),
    (
        spec.Cosine(cycles=4, final_fraction=0.05),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=STEPS // 4, eta_min=0.05),
    ),
    (
        spec.Cosine(cycles=4, cycle_growth=2.0),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=STEPS // 15, T_mult=2),
    ),
    (
        spec.OneCycle(),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=STEPS + 1, cycle_momentum=False),
    ),
]


def named(cases: list[tuple[Part, Scheduler]]) -> list[str]:
    return [f"{type(part).__name__}-{number}" for number, (part, _) in enumerate(cases)]


@pytest.mark.parametrize(("part", "scheduler"), BY_EPOCH, ids=named(BY_EPOCH))
def test_at_the_start_of_each_epoch_it_is_torch_s(part: Part, scheduler: Scheduler) -> None:
    factor = built(part)

    ours = [factor(epoch * STEPS_PER_EPOCH) for epoch in range(EPOCHS)]

    assert ours == pytest.approx(rates(scheduler, count=EPOCHS))


@pytest.mark.parametrize("part", [part for part, _ in BY_EPOCH[1:3]], ids=["step", "multistep"])
def test_drops_wait_for_the_end_of_the_epoch(part: Part) -> None:
    factor = built(part)

    for epoch in range(EPOCHS):
        within = {factor(epoch * STEPS_PER_EPOCH + step) for step in range(STEPS_PER_EPOCH)}
        assert len(within) == 1


@pytest.mark.parametrize(("part", "scheduler"), BY_STEP, ids=named(BY_STEP))
def test_at_each_step_it_is_torch_s(part: Part, scheduler: Scheduler) -> None:
    steps = STEPS + 1 if isinstance(part, spec.OneCycle) else STEPS
    factor = built(part, steps=steps)

    ours = [factor(step) for step in range(steps)]

    assert ours == pytest.approx(rates(scheduler, count=steps), abs=1e-9)


HISTORIES: dict[str, Sequence[float]] = {
    "always better": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "never better": [0.5] * 14,
    "better at times": [0.1, 0.3, 0.3, 0.3, 0.2, 0.5, 0.4, 0.4, 0.4, 0.4, 0.51, 0.4, 0.4, 0.4],
    "losses": [-3.0, -1.0, -1.5, -1.2, -1.1, -0.999, -0.2, -0.3, -0.3, -0.3],
    "little by little": [0.5, 0.5005, 0.501, 0.5015, 0.502, 0.5025, 0.503],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("cooldown", [0, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.01])
def test_a_plateau_is_torch_s(history: Sequence[float], patience: int, cooldown: int, min_delta: float) -> None:
    part = spec.ReduceOnPlateau(
        gamma=0.5, patience=patience, cooldown_epochs=cooldown, min_delta=min_delta, final_fraction=0.1
    )
    factor, optimizer = built(part), an_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "max",
        factor=0.5,
        patience=patience,
        cooldown=cooldown,
        threshold=min_delta,
        threshold_mode="abs",
        min_lr=0.1,
    )

    for closed in range(1, len(history) + 1):
        scheduler.step(history[closed - 1])
        assert factor(closed * STEPS_PER_EPOCH, history[:closed]) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_learning_rate_stays_decays_at_the_end_and_reaches_its_last() -> None:
    part = spec.WarmupStableDecay(warmup_epochs=2.0, decay_share=0.25, shape="linear", final_fraction=0.2)
    factor = built(part)

    assert [factor(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert {factor(step) for step in range(10, 46)} == {1.0}
    assert [factor(step) for step in (49, 54)] == pytest.approx([1 - 0.8 * 4 / 15, 1 - 0.8 * 9 / 15])
    assert factor(STEPS) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("shape", "share"),
    [("linear", 0.75), ("cosine", (1 + math.cos(math.pi / 4)) / 2), ("one_minus_sqrt", 0.5)],
    ids=["linear", "cosine", "one_minus_sqrt"],
)
def test_a_quarter_into_the_decay_each_shape_is_where_its_formula_says(shape: str, share: float) -> None:
    factor = built(spec.WarmupStableDecay.model_validate({"warmup_epochs": 0.0, "decay_share": 0.4, "shape": shape}))

    assert factor(STEPS - 24 + 6) == pytest.approx(share)


@every_schedule
def test_a_warm_up_rises_in_a_line_to_where_the_curve_begins(part: type[Part]) -> None:
    begins = built(part(warmup_epochs=0.0))(0)
    warm = built(part(warmup_epochs=2.0))
    steepest = built(spec.Exponential(warmup_epochs=0.0))

    rising = [warm(step) for step in range(10)]

    expected = [begins * (step + 1) / 10 for step in range(10)]
    if part is spec.Exponential:  # its epochs count from the start of the run
        expected = [value * steepest(step) for step, value in enumerate(expected)]
    assert rising == pytest.approx(expected)


@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 7, STEPS])
@pytest.mark.parametrize("warmup_epochs", [0.0, 0.3, 5.0])
def test_every_share_is_finite_and_at_most_the_peak_however_short_the_run(
    part: type[Part], steps: int, warmup_epochs: float
) -> None:
    factor = built(part(warmup_epochs=warmup_epochs), steps=steps)

    shares = [factor(step, [0.5] * (step // STEPS_PER_EPOCH)) for step in range(steps)]

    assert all(0 <= share <= 1 for share in shares)
    assert shares[0] > 0
