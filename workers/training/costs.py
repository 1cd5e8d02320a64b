"""Seconds that a net's steps and answers take on this host, measured before there is any data.

Real steps of the real loop: changes of the examples, the net, its loss, regularizers and optimizer. All are wall time,
for what else runs here will run beside the training too. Each figure takes about `LIMIT_S`, however slow the host: two
calls of a few examples, and then as many examples at once as the time allows.
"""

# N rows, F feature

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from models_store.spec.train import ResolvedSpec
from workers.training import losses, targets
from workers.training.derived_specs import probing
from workers.training.examples import Examples, Rows
from workers.training.feeds import FeatureFeed, Feed, RawFeed
from workers.training.learner import Learner
from workers.training.optimizers import KeepsTwoWeights
from workers.training.precision import WORTHWHILE, Precision, cpu_has_bf16, require_support
from workers.training.step import Stepper

LIMIT_S = 3.0
FEW_EXAMPLES = 4
"""examples of the first two calls"""
CALLS = 3
MOST_EXAMPLES = 64
"""examples of a step where their number is not fixed"""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Counts:
    """How many examples a run has to go through."""

    train: int
    val: int


@dataclass(frozen=True)
class Estimate:
    """The seconds of a run: before its first epoch, and of each epoch with its validation."""

    before_s: float
    epoch_s: float

    def total_s(self, epochs: int) -> float:
        """Return the seconds of a run of so many epochs."""
        return self.before_s + epochs * self.epoch_s


class Costs:
    """What a net costs on a device; each figure is measured when it is first asked for.

    `learner` is a net of the spec's kind that nobody needs afterwards, `teacher` the one that it learns from.
    `examples` are of the spec's size, whatever they show, and all in `train`. `alive` is called after each call of a
    net.

    Raises:
        PrecisionUnsupported: if the device lacks the precision that the spec asks for.
    """

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        *,
        spec: ResolvedSpec,
        counts: Counts,
        work_of: Callable[[ResolvedSpec], float],
        device: torch.device,
        teacher: Learner | None = None,
        clock: Clock = time.perf_counter,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._counts, self._device = spec, counts, device
        self._work_of = work_of
        self._clock, self._alive = clock, alive
        self._learner = learner.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks the pair of both
        self._teacher = teacher.to(device) if teacher is not None else None
        self._examples = examples
        self._rows = examples.split("train")
        self._feed = RawFeed(self._learner, self._examples, device=device)
        require_support(spec.training.precision, device)
        self._step_s: dict[str, float] = {}
        self._renews_statistics = False

    def of(self, spec: ResolvedSpec) -> Estimate:
        """Return the estimate for a spec that differs from the measured one by its size, freezing or way at most."""
        work = self._work_of(spec) / self._work_of(self._spec)
        train, val = self._counts.train, self._counts.val
        steps = -(-train // self._batch(spec))
        features_s = (train + val) * self.forward_s * work
        draws = self._learner.draws
        taught_s = train * self.teacher_s * work
        if spec.freeze == "backbone" and not draws:
            return Estimate(features_s + taught_s, steps * self.head_step_s)
        step_s = self.step_s(spec.freeze)
        passes = val + (train if self._renews_statistics else 0)
        epoch_s = (train * step_s + passes * self.forward_s) * work + (taught_s if draws else 0)
        before_s = 0.0 if draws else taught_s
        if spec.transfer.probe_epochs:
            before_s += features_s + taught_s + spec.transfer.probe_epochs * steps * self.head_step_s
        return Estimate(before_s, epoch_s)

    def step_s(self, freeze: str) -> float:
        """Return the seconds of a training step, per example, with so much of the backbone frozen."""
        if freeze not in self._step_s:
            self._learner.freeze(freeze)
            stepper = self._stepper(self._learner, self._feed, spec=self._spec)
            self._learner.train()

            def step(rows: Rows) -> None:
                stepper.take(rows, rate=0.0, seed=0)

            self._step_s[freeze] = self._per_example(step, most=self._batch(self._spec))
            average = stepper.average
            by_epoch = average is not None and average.averaging.each == "epoch"
            self._renews_statistics = by_epoch or isinstance(stepper.optimizer, KeepsTwoWeights)
        return self._step_s[freeze]

    def known_step_s(self, freeze: str) -> float | None:
        """Return what `step_s` has measured; None: it was not asked for."""
        return self._step_s.get(freeze)

    @cached_property
    def forward_s(self) -> float:
        """Return the seconds of an answer without a gradient, per example."""
        self._learner.eval()

        def answer(rows: Rows) -> None:
            with torch.no_grad(), self._precision.autocast():
                self._learner(self._feed.batch(rows, None))

        return self._per_example(answer, most=MOST_EXAMPLES)

    @cached_property
    def teacher_s(self) -> float:
        """Return the seconds of a teacher's answer, per example; 0 without a teacher."""
        teacher = self._teacher
        if teacher is None:
            return 0.0
        teacher.eval()

        def answer(rows: Rows) -> None:
            with torch.no_grad(), self._precision.autocast():
                teacher(teacher.translate(self._feed.batch(rows, None), of=self._learner))

        return self._per_example(answer, most=MOST_EXAMPLES)

    @cached_property
    def head_step_s(self) -> float:
        """Return the seconds of one step of the head alone, on features that are there."""
        spec = probing(self._spec)
        self._learner.freeze("backbone")
        self._learner.eval()
        with torch.no_grad():
            width = self._learner.features(self._feed.batch(self._rows[:1], None)).shape[1]
        rows = self._rows[: self._batch(spec)]
        feed = FeatureFeed(self._learner.head, torch.randn(len(rows), width, device=self._device), rows=rows)
        stepper = self._stepper(self._learner.plain(), feed, spec=spec)

        def step(rows: Rows) -> None:
            stepper.take(rows, rate=0.0, seed=0)

        self._timed(step, rows)
        return min(self._timed(step, rows) for _ in range(CALLS))

    @cached_property
    def _precision(self) -> Precision:
        wanted = self._spec.training.precision
        if wanted != "auto":
            return Precision(wanted, self._device)
        if self._device.type == "cuda":
            return Precision("bf16" if torch.cuda.is_bf16_supported() else "fp16", self._device)
        fp32, bf16 = Precision("fp32", self._device), Precision("bf16", self._device)
        if not cpu_has_bf16():
            return fp32
        gain = self._few_s(fp32) / self._few_s(bf16)
        return bf16 if gain > WORTHWHILE else fp32

    def _few_s(self, precision: Precision) -> float:
        """Return the seconds of a gradient of a few examples; of two, the second."""
        inputs = self._feed.batch(self._rows[:FEW_EXAMPLES], None)

        def find_gradient(_: Rows) -> None:
            with torch.enable_grad(), precision.autocast():  # it may be asked for while answers are measured
                loss = self._learner(inputs).float().square().mean()
            loss.backward()
            self._learner.zero_grad(set_to_none=True)

        self._timed(find_gradient, self._rows)
        return self._timed(find_gradient, self._rows)

    def _batch(self, spec: ResolvedSpec) -> int:
        wanted = spec.training.batch_size
        return min(wanted if isinstance(wanted, int) else MOST_EXAMPLES, max(self._counts.train, 1))

    def _stepper(self, learner: Learner, feed: Feed, *, spec: ResolvedSpec) -> Stepper:
        aim = targets.build(spec.task, self._examples)
        loss = losses.build(
            spec.loss,
            counts_K=aim.counts_K(self._rows),
            classes=self._examples.classes,
            train_count=len(self._rows),
        )
        return Stepper(
            learner,
            feed,
            spec=spec,
            targets=aim,
            loss=loss.to(self._device),
            precision=self._precision if isinstance(feed, RawFeed) else Precision("fp32", self._device),
            device=self._device,
            part_size=None,
            distiller=None,  # the teacher's answers are counted apart
        )

    def _per_example(self, call: Callable[[Rows], None], *, most: int) -> float:
        """Return the mean seconds of an example; the first call, which compiles kernels, is left out."""
        few = self._rows[: min(FEW_EXAMPLES, most)]
        self._timed(call, few)
        spent_s = self._timed(call, few)
        fitting = int(LIMIT_S / CALLS * len(few) / max(spent_s, 1e-9))
        if fitting < len(few):
            return spent_s / len(few)
        rows = self._rows[: min(most, fitting)]
        if len(rows) > len(few):
            spent_s = 0.0
        images = len(rows) if spent_s == 0 else len(few) + len(rows)
        spent_s += self._timed(call, rows)
        for _ in range(1, CALLS):
            if spent_s >= LIMIT_S:
                break
            spent_s += self._timed(call, rows)
            images += len(rows)
        return spent_s / images

    def _timed(self, call: Callable[[Rows], None], rows: Rows) -> float:
        began = self._clock()
        call(rows)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        spent_s = self._clock() - began
        self._alive()
        return spent_s
