"""The training loop: epochs of steps, validation, the best weights, checkpoints, and the wish to stop.

    loop.train
    ├── before      preparation: learner (what trains) · memory (batch size) · precision · feeds · distillation
    ├── an epoch    transfer (what has thawed) · sampling (its order) · schedules (the rate)
    │   └── a step  step: feeds → net → losses, distillation, regularizers → sharpness → optimizers → averaging
    └── its close   averaging (what is shown) · targets (its metrics) · selection (best, enough) · saving

All along it tells how far it is (progress).
"""

# N rows, K class or label

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from models_store.spec.train import ResolvedSpec
from workers.process.progress import Checkpoints, Drained, Reporter
from workers.training import (
    checkpoint,
    optimizers,
    preparation,
    sampling,
    schedules,
    selection,
    targets,
    transfer,
    warnings,
)
from workers.training.allocator import keeping_freed_memory
from workers.training.averaging import renew_statistics
from workers.training.checkpoint import Position
from workers.training.examples import Examples, Rows
from workers.training.failures import NothingToTrainOn, TrainingDiverged, diverged, explaining_errors
from workers.training.feeds import infer
from workers.training.learner import Learner
from workers.training.optimizers import KeepsTwoWeights
from workers.training.progress import RunProgress
from workers.training.saving import Saver


@dataclass(frozen=True)
class Trained:
    """A finished run: the learner with its best weights, one row of `history` per epoch, and how it was calculated.

    Epochs count from 1; `resumed_from` is the (epochs, steps of the next) that were done when it was taken up, or None.
    `batch_size` is that of a step, found where the spec leaves it to the machine.
    """

    learner: Learner
    history: list[dict[str, float]]
    best_epoch: int
    precision: str
    resumed_from: tuple[int, int] | None
    batch_size: int


def train(
    learner: Learner,
    examples: Examples,
    *,
    spec: ResolvedSpec,
    device: torch.device,
    reporter: Reporter,
    checkpoints: Checkpoints,
    clock: Callable[[], float],
    checkpoint_s: float = 30.0,
    teacher: Learner | None = None,
    epoch_s: float | None = None,
) -> Trained:
    """Train as a resolved spec says, from the last checkpoint when there is one, and load the best weights.

    `clock` gives seconds; a checkpoint is saved every `checkpoint_s` of them, when the reporter asks to stop, and at
    the end. With a frozen backbone and no random changes the features are computed once, and the head trains on them.
    `teacher` is the trained net that the spec's `distillation` means. `epoch_s` is what an epoch is expected to take.

    Raises:
        Drained: if the reporter asked to stop; the state is saved.
        TrainingDiverged: if the loss is not finite.
        OutOfMemory: if a batch does not fit.
        BatchTooSmall: if batch norm meets a single value.
        NothingToTrainOn: if the train split is empty.
        PrecisionUnsupported: if the device lacks the precision asked for.
    """
    if len(examples.split("train")) == 0:
        raise NothingToTrainOn("the dataset's train split has no example; give a dataset with training examples")
    assert (teacher is None) == (spec.distillation is None), "a teacher comes with `distillation`"
    with explaining_errors(spec), keeping_freed_memory():
        run = _Run(
            learner,
            examples,
            spec=spec,
            device=device,
            reporter=reporter,
            checkpoints=checkpoints,
            clock=clock,
            checkpoint_s=checkpoint_s,
            teacher=teacher,
            epoch_s=epoch_s,
        )
        run.to_the_end()
        trained = Trained(
            learner, run.position.history, run.best_epoch, run.precision.name, run.resumed_from, run.sizes.batch
        )
        del run  # what it held is given back as well
    return trained


class _Run:
    """One run of the loop, fresh or taken up from a checkpoint."""

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        *,
        spec: ResolvedSpec,
        device: torch.device,
        reporter: Reporter,
        checkpoints: Checkpoints,
        clock: Callable[[], float],
        checkpoint_s: float,
        teacher: Learner | None,
        epoch_s: float | None,
    ) -> None:
        self.learner, self.spec, self.device = learner, spec, device
        self.reporter = reporter
        self.saver = Saver(checkpoints, spec=spec, device=device, clock=clock, every_s=checkpoint_s)
        self.train_rows, self.val_rows = examples.split("train"), examples.split("val")
        self.targets = targets.build(spec.task, examples)
        self.progress = RunProgress(reporter, clock=clock, epochs=spec.training.epochs, epoch_s=epoch_s)
        saved = self.saver.load(reporter)
        prepared = preparation.prepare(
            learner,
            examples,
            spec=spec,
            targets=self.targets,
            device=device,
            saved=saved,
            teacher=teacher,
            progress=self.progress,
        )
        self.sizes, self.bounds, self.precision = prepared.sizes, prepared.bounds, prepared.precision
        self.stepper = prepared.stepper
        self.factor = schedules.build(
            spec.schedule, steps=spec.training.epochs * len(self.bounds), steps_per_epoch=len(self.bounds)
        )
        balanced = spec.training.sampling == "balanced"
        self.shares_N = sampling.balancing_shares(self.targets, self.train_rows) if balanced else None
        self.lengths_N = examples.lengths if examples.padded else None
        self._start(saved)

    def to_the_end(self) -> None:
        """Do what is left of the run, and load the best weights."""
        position, net, shown = self.position, self.stepper.net, self.stepper.shown
        while not position.finished:
            self._epoch()
            self._close_epoch()
            shown = self.stepper.shown
        if position.best is not None:
            net.load_state_dict(position.best.weights)
        elif shown is not net:
            net.load_state_dict(shown.state_dict())
        self.learner.eval()
        self.progress.of_end(position)

    @property
    def best_epoch(self) -> int:
        return self.position.epoch if self.position.best is None else self.position.best.epoch

    # ---- before the first step

    def _start(self, saved: checkpoint.State | None) -> None:
        self.resumed_from: tuple[int, int] | None = None
        if saved is None:
            torch.manual_seed(self.spec.seed)
            self.position = Position(sums=torch.zeros(3, dtype=torch.float64, device=self.device))
        else:
            self.stepper.load(saved)
            self.position = Position.from_state(saved["position"], device=self.device)
            self.resumed_from = (self.position.epoch, self.position.step)
            checkpoint.restore_random_state(saved["random"])
            epoch, step = self.resumed_from
            self.reporter.log(f"goes on from its checkpoint, after step {step} of epoch {epoch + 1}")
        self.progress.begin()
        self.saver.begin()

    # ---- one epoch

    def _epoch(self) -> None:
        """Do the steps that are left of the epoch under way."""
        position, spec = self.position, self.spec
        transfer.let_train(self.learner, spec, epoch=position.epoch)
        optimizers.for_training(self.stepper.optimizer)
        self.stepper.net.train()
        self.monitored = selection.values(position.history, spec.training.monitor)
        order = self._order()
        for start, end in self.bounds[position.step :]:
            self._step(np.sort(order[start:end]))
            position.step += 1
            if self.progress.is_due(images=end - start):
                self._check_finite()
                self.progress.of_steps(position, steps=len(self.bounds))
            if self.reporter.stop_requested():
                self._save()
                raise Drained
            if position.step < len(self.bounds):
                self._save_when_due()

    def _order(self) -> Rows:
        seed, epoch = self.spec.seed, self.position.epoch
        if self.shares_N is None:
            order = sampling.shuffled(self.train_rows, seed=seed, epoch=epoch)
        else:
            order = sampling.drawn(self.train_rows, self.shares_N, seed=seed, epoch=epoch)
        if self.lengths_N is None:
            return order
        return sampling.alike(order, self.lengths_N, size=self.sizes.batch, seed=seed, epoch=epoch)

    def _step(self, rows: Rows) -> None:
        position = self.position
        position.rate = self.spec.optimizer.peak_lr * self._factor()
        seed = sampling.step_seed(seed=self.spec.seed, epoch=position.epoch, step=position.step)
        position.sums += self.stepper.take(rows, rate=position.rate, seed=seed)
        if self.device.type == "cpu":  # elsewhere the look at the number would make the device wait at every step
            self._check_finite()

    def _factor(self) -> float:
        """Return the learning rate of the step under way, as a share of its peak."""
        position, training = self.position, self.spec.training
        average = self.stepper.average
        constant = average.averaging.lr_fraction if average is not None else None
        if average is not None and constant is not None and average.begun(position.epoch, epochs=training.epochs):
            return constant
        return self.factor(position.epoch * len(self.bounds) + position.step, self.monitored)

    def _close_epoch(self) -> None:
        """Validate, keep the best weights, decide whether to stop, and move to the next epoch."""
        position, training = self.position, self.spec.training
        self._check_finite()
        loss_sum, right, seen = position.sums.tolist()
        row: dict[str, float] = {
            "epoch": position.epoch + 1,
            "lr": position.rate,
            "train_loss": loss_sum / seen,
            "train_accuracy": right / seen,
        }
        self._show()
        if len(self.val_rows):
            row |= self._validate()
            selection.keep_if_best(position, row, self.stepper.shown, metric=training.monitor)
            selection.count_gains(position, row, training.early_stopping, metric=training.monitor)
        position.history.append(row)
        position.sums = torch.zeros_like(position.sums)
        position.epoch, position.step = position.epoch + 1, 0
        self._finish_if_done()
        self.reporter.metrics(**row)
        for text in warnings.new(position.history, self.spec, outputs=self.targets.output_count):
            self.reporter.warn_owner(text)
        if position.finished:
            self._save()
        else:
            self._save_when_due()

    def _show(self) -> None:
        """Bring about the weights that are validated and kept: an average's, or an optimizer's second ones."""
        stepper, epoch = self.stepper, self.position.epoch
        optimizers.for_evaluation(stepper.optimizer)
        is_new = isinstance(stepper.optimizer, KeepsTwoWeights)
        average = stepper.average
        if (
            average is not None
            and average.averaging.each == "epoch"
            and average.begun(epoch, epochs=self.spec.training.epochs)
        ):
            average.add(stepper.net)
            is_new = True
        if is_new:
            renew_statistics(
                self.stepper.feed.of(stepper.shown),
                self.train_rows,
                batch_size=self.sizes.at_once,
                precision=self.stepper.precision,
                each=lambda _: self.progress.of_close("statistics", self.position),
            )

    def _validate(self) -> dict[str, float]:
        logits_NK = infer(
            self.stepper.feed.of(self.stepper.shown),
            self.val_rows,
            batch_size=self.sizes.at_once,
            precision=self.stepper.precision,
            each=lambda _: self.progress.of_close("validation", self.position),
        )
        metrics = self.targets.epoch_metrics(logits_NK, self.targets.of(self.val_rows).to(self.device))
        if not math.isfinite(metrics["val_loss"]):
            raise self._diverged()
        return metrics

    def _finish_if_done(self) -> None:
        position, training = self.position, self.spec.training
        stopping = training.early_stopping
        has_stalled = stopping is not None and position.epochs_without_gain >= stopping.patience
        position.finished = position.epoch >= training.epochs or has_stalled
        if stopping is not None and has_stalled and position.epoch < training.epochs:
            without = f"{position.epochs_without_gain} without a better {stopping.metric or training.monitor}"
            self.reporter.log(f"stopped after epoch {position.epoch}: {without}")

    def _check_finite(self) -> None:
        if not math.isfinite(float(self.position.sums[0])):
            raise self._diverged()

    def _diverged(self) -> TrainingDiverged:
        position = self.position
        return diverged(position.epoch + 1, step=position.step + 1, steps=len(self.bounds), rate=position.rate)

    def _save_when_due(self) -> None:
        if self.saver.is_due:
            self._save()

    def _save(self) -> None:
        self._check_finite()
        self.saver.save(
            {
                "precision": self.precision.name,
                "sizes": asdict(self.sizes),
                "position": self.position.as_state(),
                **self.stepper.state(),
            }
        )
