"""Preparation of a run before its first step: sizes, precision, features, and the tools of a step."""

from dataclasses import dataclass

import numpy as np
import torch

from models_store.spec.distillation import Distillation
from models_store.spec.train import ResolvedSpec
from models_store.wording import counted
from workers.process.progress import Reporter
from workers.training import losses, memory
from workers.training.allocator import give_back
from workers.training.checkpoint import State
from workers.training.distillation import Distiller, Teacher, widths
from workers.training.examples import Examples, Rows
from workers.training.feeds import FeatureFeed, Feed, RawFeed, batches, compute_features
from workers.training.learner import Learner
from workers.training.precision import Precision, choose
from workers.training.progress import RunProgress
from workers.training.step import Stepper
from workers.training.targets import Targets

FEATURES_SHARE = 0.9  # of the progress, when features are computed first


@dataclass(frozen=True)
class Sizes:
    """The examples of a step, and the most of them that go through the net at once, where that was found out."""

    batch: int
    part: int | None

    @property
    def at_once(self) -> int:
        """Return how many examples go through the net at once."""
        return self.batch if self.part is None else min(self.batch, self.part)


@dataclass(frozen=True)
class Prepared:
    """A run before its first step. `precision` is the backbone's; a head on features takes fp32."""

    sizes: Sizes
    bounds: list[tuple[int, int]]
    precision: Precision
    stepper: Stepper


def prepare(
    learner: Learner,
    examples: Examples,
    *,
    spec: ResolvedSpec,
    targets: Targets,
    device: torch.device,
    saved: State | None,
    teacher: Learner | None,
    progress: RunProgress,
) -> Prepared:
    """Return what the steps need; what a checkpoint knows is taken from there, except for its weights."""
    train_rows = examples.split("train")
    for net in (learner, teacher):
        if net is not None:
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks the pair of both
    learner.freeze(spec.freeze)
    raw = RawFeed(learner, examples, device=device)
    sizes = _sizes(spec, raw, train_rows, saved=saved, reporter=progress.reporter)
    bounds = batches(len(train_rows), sizes.batch)
    uses_features = spec.freeze == "backbone" and not learner.draws
    is_finished = saved is not None and saved["position"]["finished"]
    passes = 1 if uses_features else spec.training.epochs
    precision = _precision(
        spec,
        raw,
        train_rows[: bounds[0][1]][: sizes.at_once],
        targets,
        saved=saved,
        steps_ahead=passes * len(bounds),
        reporter=progress.reporter,
    )
    distiller = None
    if teacher is not None and spec.distillation is not None:
        tutor = Teacher(teacher, student=learner, precision=precision)
        if not learner.draws and not is_finished:
            reported = progress.a_pass("teacher", of=len(train_rows), share=0.0)
            tutor.remember(raw, train_rows, batch_size=sizes.at_once, each=reported)
        distiller = _distiller(spec.distillation, targets, tutor, raw, train_rows, seed=spec.seed).to(device)
    feed: Feed = raw
    if uses_features and is_finished:
        feed = FeatureFeed(learner.head, torch.empty(0), rows=train_rows)  # nothing will ask
    elif uses_features:
        feed = _features(raw, np.union1d(train_rows, examples.split("val")), sizes, precision, progress=progress)
    loss = losses.build(
        spec.loss, counts_K=targets.counts_K(train_rows), classes=examples.classes, train_count=len(train_rows)
    )
    stepper = Stepper(
        learner,
        feed,
        spec=spec,
        targets=targets,
        loss=loss.to(device),
        precision=Precision("fp32", device) if uses_features else precision,  # a head alone is small
        device=device,
        part_size=sizes.part,
        distiller=distiller,
    )
    return Prepared(sizes, bounds, precision, stepper)


def _sizes(spec: ResolvedSpec, raw: RawFeed, rows: Rows, *, saved: State | None, reporter: Reporter) -> Sizes:
    if saved is not None:
        return Sizes(**saved["sizes"])
    wanted = spec.training.batch_size
    if isinstance(wanted, int):
        return Sizes(wanted, None)
    give_back()  # else what an earlier stage freed would count as taken, and serve the probe for nothing
    fitting = memory.largest_batch(
        raw.net,
        lambda count: raw.batch(rows[:count], None),
        most=len(rows),
        free=memory.free_bytes(raw.device),
        device=raw.device,
        tell=lambda: reporter.progress(0.0, step="batch size"),
    )
    reporter.log(
        f"{counted(fitting, 'example at once fits', 'examples at once fit')} into the memory of this "
        f"{raw.device.type} device"
    )
    return Sizes(len(rows) if wanted == "full" else fitting, fitting)


def _precision(
    spec: ResolvedSpec,
    raw: RawFeed,
    rows: Rows,
    targets: Targets,
    *,
    saved: State | None,
    steps_ahead: int,
    reporter: Reporter,
) -> Precision:
    if saved is not None and saved["device"] == raw.device.type:
        return Precision(saved["precision"], raw.device)
    return choose(
        spec.training.precision,
        raw.net,
        device=raw.device,
        sample=lambda count: (raw.batch(rows[:count], None), targets.of(rows[:count]).to(raw.device)),
        batch=len(rows),
        steps_ahead=steps_ahead,
        reporter=reporter,
    )


def _features(raw: RawFeed, rows: Rows, sizes: Sizes, precision: Precision, *, progress: RunProgress) -> FeatureFeed:
    reported = progress.a_pass("features", of=len(rows), share=FEATURES_SHARE)
    feed = compute_features(raw, rows, batch_size=sizes.at_once, precision=precision, each=reported)
    progress.share_before = FEATURES_SHARE
    return feed


def _distiller(
    part: Distillation, targets: Targets, tutor: Teacher, raw: RawFeed, rows: Rows, *, seed: int
) -> Distiller:
    counts = widths(raw.net, tutor, raw.batch(rows[:2], None)) if part.features_weight > 0 else None
    return Distiller(part, targets, tutor, widths=counts, seed=seed)
