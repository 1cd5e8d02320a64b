"""The training loop: epochs of steps, validation, the best weights, checkpoints, and the wish to stop."""

# B batch, K class

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models_store.spec.train import ResolvedSpec
from workers.progress import Checkpoints, Drained, Reporter
from workers.training import checkpoint, losses, optimizers, regularizers, schedules
from workers.training.checkpoint import Best, Position
from workers.training.failures import NothingToTrainOn, TrainingDiverged, told_in_our_words
from workers.training.feeds import Feed, RawFeed, batches, compute_features, infer
from workers.training.learner import Examples, Learner, Rows
from workers.training.precision import Precision, choose

REPORT_S = 0.5
SAVING_SHARE = 0.05  # saving takes at most about this share of the time, however large the net
FEATURES_SHARE = 0.9  # of the progress, when features are computed first

AnyLearner = TypeVar("AnyLearner", bound=Learner)


@dataclass(frozen=True)
class Trained(Generic[AnyLearner]):
    """A finished run: the learner with its best weights, one row of `history` per epoch, and how it was calculated.

    Epochs count from 1; `resumed_from` is the (epochs, steps of the next) that were done when it was taken up, or None.
    """

    classifier: AnyLearner
    history: list[dict[str, float]]
    best_epoch: int
    precision: str
    resumed_from: tuple[int, int] | None


def train(
    classifier: AnyLearner,
    arrays: Examples,
    *,
    spec: ResolvedSpec,
    device: torch.device,
    reporter: Reporter,
    checkpoints: Checkpoints,
    clock: Callable[[], float],
    checkpoint_s: float = 30.0,
) -> Trained[AnyLearner]:
    """Train as a resolved spec says, from the last checkpoint when there is one, and load the best weights.

    `clock` gives seconds; a checkpoint is saved every `checkpoint_s` of them, when the reporter asks to stop, and at
    the end. With a frozen backbone and no augmentation the features are computed once, and the head trains on them.

    Raises:
        Drained: if the reporter asked to stop; the state is saved.
        TrainingDiverged: if the loss is not finite.
        OutOfMemory: if a batch does not fit.
        BatchTooSmall: if batch norm meets a single value.
        NothingToTrainOn: if the train split is empty.
        PrecisionUnsupported: if the device lacks the precision asked for.
    """
    if len(arrays.split("train")) == 0:
        raise NothingToTrainOn("the dataset's train split has no image; give a dataset with training images")
    with told_in_our_words(spec):
        run = _Run(
            classifier,
            arrays,
            spec=spec,
            device=device,
            reporter=reporter,
            checkpoints=checkpoints,
            clock=clock,
            checkpoint_s=checkpoint_s,
        )
        run.to_the_end()
    return Trained(classifier, run.position.history, run.best_epoch, run.precision.name, run.resumed_from)


def recovery(spec: ResolvedSpec, *, epochs: int) -> ResolvedSpec:
    """Return the spec of training on after channels were cut: everything trains, at a tenth of the learning rate."""
    return spec.model_copy(
        update={
            "backbone": spec.backbone.model_copy(update={"freeze": "none"}),
            "optimizer": spec.optimizer.model_copy(update={"lr": spec.optimizer.lr / 10}),
            "schedule": spec.schedule.model_copy(update={"warmup_epochs": 0.0}),
            "training": spec.training.model_copy(update={"epochs": epochs, "early_stopping": None}),
        }
    )


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
    ) -> None:
        self.spec, self.device, self.reporter, self.checkpoints, self.clock = spec, device, reporter, checkpoints, clock
        self.checkpoint_s = checkpoint_s
        self.train_rows, self.val_rows = examples.split("train"), examples.split("val")
        self.bounds = batches(len(self.train_rows), spec.training.batch_size)
        self.labels = torch.from_numpy(examples.labels_N)
        self.classes = examples.classes
        self.class_count = len(examples.classes)
        self.fraction_at_start = 0.0

        saved = self._saved()
        self.learner = learner
        learner.freeze(spec.backbone.freeze or "none")
        learner.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks the pair of both
        raw = RawFeed(learner, examples, device=device)
        uses_features = learner.frozen and not learner.draws
        self.precision = self._precision(raw, saved, epochs=1 if uses_features else spec.training.epochs)
        self.step_precision = Precision("fp32", device) if uses_features else self.precision  # a head alone is small
        is_finished = saved is not None and saved["position"]["finished"]
        self.feed: Feed = self._features(raw) if uses_features and not is_finished else raw
        self.net = learner.head if uses_features else learner
        self._make_tools()
        self._start(saved)

    def to_the_end(self) -> None:
        """Do what is left of the run, and load the best weights."""
        position = self.position
        while not position.finished:
            self._epoch()
            self._close_epoch()
        if position.best is not None:
            self.net.load_state_dict(position.best.weights)
        self.learner.eval()
        self.reporter.progress(1.0, epoch=position.epoch, epochs=self.spec.training.epochs)

    @property
    def best_epoch(self) -> int:
        return self.position.epoch if self.position.best is None else self.position.best.epoch

    # ---- before the first step

    def _saved(self) -> checkpoint.State | None:
        saved = self.checkpoints.load()
        if saved is None:
            return None
        if saved["spec"] != checkpoint.digest(self.spec):
            self.reporter.log("the checkpoint there is of another spec; this run starts at the beginning")
            return None
        if saved["device"] != self.device.type:
            self.reporter.log(
                f"begun on {saved['device']}, the run goes on on {self.device.type}: it will differ in the last digits"
            )
        elif self.device.type == "cpu":
            torch.set_num_threads(saved["threads"])
        return saved

    def _precision(self, feed: RawFeed, saved: checkpoint.State | None, *, epochs: int) -> Precision:
        if saved is not None and saved["device"] == self.device.type:
            return Precision(saved["precision"], self.device)
        start, end = self.bounds[0]
        rows = self.train_rows[start:end]
        return choose(
            self.spec.training.precision,
            feed.net,
            device=self.device,
            sample=lambda: (feed.batch(rows, None), self._labels(rows)),
            steps_ahead=epochs * len(self.bounds),
        )

    def _features(self, raw: RawFeed) -> Feed:
        rows = np.union1d(self.train_rows, self.val_rows)
        began = self.clock()
        reported = -math.inf

        def each(done: int) -> None:
            nonlocal reported
            if self.reporter.stop_requested():
                raise Drained
            now = self.clock()
            if now - reported >= REPORT_S:
                reported = now
                self.reporter.progress(
                    FEATURES_SHARE * done / len(rows), step="features", images_per_s=done / max(now - began, 1e-9)
                )

        feed = compute_features(
            raw, rows, batch_size=self.spec.training.batch_size, precision=self.precision, each=each
        )
        self.fraction_at_start = FEATURES_SHARE
        return feed

    def _make_tools(self) -> None:
        spec = self.spec
        groups = optimizers.groups(
            self.net, weight_decay=spec.optimizer.weight_decay, decay_norms=spec.optimizer.decay_norms
        )
        self.optimizer = optimizers.build(spec.optimizer, groups)
        self.penalized = list(
            optimizers.decayed(parameter for parameter in self.net.parameters() if parameter.requires_grad)
        )
        self.penalties = regularizers.penalties(spec.regularizers)
        self.factor = schedules.build(
            spec.schedule, steps=spec.training.epochs * len(self.bounds), steps_per_epoch=len(self.bounds)
        )
        counts_K = torch.bincount(self.labels[self.train_rows], minlength=self.class_count)
        self.loss = losses.build(
            spec.loss, counts_K=counts_K, classes=self.classes, train_count=len(self.train_rows)
        ).to(self.device)
        self.scaler = self.step_precision.scaler()
        self.generator = torch.Generator(self.device)

    def _start(self, saved: checkpoint.State | None) -> None:
        self.resumed_from: tuple[int, int] | None = None
        if saved is None:
            torch.manual_seed(self.spec.seed)
            self.position = Position(sums=torch.zeros(3, dtype=torch.float64, device=self.device))
        else:
            self.net.load_state_dict(saved["net"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            self.position = Position.from_state(saved["position"], device=self.device)
            self.resumed_from = (self.position.epoch, self.position.step)
            checkpoint.restore_random_state(saved["random"])
        self.saved_at = self.reported_at = self.clock()
        self.saving_s = 0.0
        self.seen_since_report = 0

    # ---- one epoch

    def _epoch(self) -> None:
        """Do the steps that are left of the epoch under way."""
        position = self.position
        order = checkpoint.epoch_order(self.train_rows, seed=self.spec.seed, epoch=position.epoch)
        self.net.train()
        for start, end in self.bounds[position.step :]:
            self._step(np.sort(order[start:end]))
            position.step += 1
            self._report()
            if self.reporter.stop_requested():
                self._save()
                raise Drained
            if position.step < len(self.bounds):
                self._save_when_due()

    def _step(self, rows: Rows) -> None:
        position, spec = self.position, self.spec
        rate = spec.optimizer.lr * self.factor(position.epoch * len(self.bounds) + position.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.generator.manual_seed(checkpoint.step_seed(seed=spec.seed, epoch=position.epoch, step=position.step))
        inputs, labels_B = self.feed.batch(rows, self.generator), self._labels(rows)
        with self.step_precision.autocast():
            logits_BK = self.net(inputs)
        loss = self.loss(logits_BK.float(), labels_B)
        objective = loss
        for penalty in self.penalties:
            objective = objective + penalty.of(self.penalized)
        self.scaler.scale(objective).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            right = (logits_BK.argmax(1) == labels_B).sum()
            position.sums += torch.stack(
                [objective.double() * len(rows), right.double(), torch.full_like(right, len(rows)).double()]
            )
        self.seen_since_report += len(rows)
        if self.device.type == "cpu":  # elsewhere the look at the number would make the device wait at every step
            self._check_finite()

    def _close_epoch(self) -> None:
        """Validate, keep the best weights, decide whether to stop, and move to the next epoch."""
        position, training = self.position, self.spec.training
        self._check_finite()
        loss_sum, right, seen = position.sums.tolist()
        row: dict[str, float] = {
            "epoch": position.epoch + 1,
            "lr": self._rate(),
            "train_loss": loss_sum / seen,
            "train_accuracy": right / seen,
        }
        if len(self.val_rows):
            row |= self._validate()
            self._keep_best(row)
        position.history.append(row)
        position.sums = torch.zeros_like(position.sums)
        position.epoch, position.step = position.epoch + 1, 0
        stopping = training.early_stopping
        has_stalled = stopping is not None and position.epochs_without_gain >= stopping.patience
        position.finished = position.epoch >= training.epochs or has_stalled
        if has_stalled and position.epoch < training.epochs:
            without = f"{position.epochs_without_gain} without a better {training.monitor}"
            self.reporter.log(f"stopped after epoch {position.epoch}: {without}")
        self.reporter.metrics(**row)
        if position.finished:
            self._save()
        else:
            self._save_when_due()

    def _validate(self) -> dict[str, float]:
        done = (self.position.epoch + 1) / self.spec.training.epochs
        logits_BK = infer(
            self.feed,
            self.val_rows,
            batch_size=self.spec.training.batch_size,
            precision=self.step_precision,
            each=lambda _: self.reporter.progress(
                self.fraction_at_start + (1 - self.fraction_at_start) * done,
                step="validation",
                epoch=self.position.epoch + 1,
                epochs=self.spec.training.epochs,
            ),
        )
        labels_B = self._labels(self.val_rows)
        loss = float(functional.cross_entropy(logits_BK, labels_B))
        if not math.isfinite(loss):
            raise self._diverged()
        return {"val_loss": loss, "val_accuracy": float((logits_BK.argmax(1) == labels_B).double().mean())}

    def _keep_best(self, row: dict[str, float]) -> None:
        """Keep the weights if they are better; of equal accuracy, those of lower loss. That alone is no gain."""
        position, training = self.position, self.spec.training
        loss = row["val_loss"]
        value = row["val_accuracy"] if training.monitor == "val_accuracy" else -loss
        best = position.best
        gain = math.inf if position.reference is None else value - position.reference
        least = training.early_stopping.min_delta if training.early_stopping else 0.0
        position.epochs_without_gain += 1
        if gain > least:
            position.reference, position.epochs_without_gain = value, 0
        if best is None or (value, -loss) > (best.value, -best.loss):
            weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.net.state_dict().items()}
            position.best = Best(value=value, loss=loss, epoch=position.epoch + 1, weights=weights)

    # ---- what a step needs beside the net

    def _labels(self, rows: Rows) -> Tensor:
        return self.labels[torch.from_numpy(rows)].to(self.device, non_blocking=True)

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _check_finite(self) -> None:
        if not math.isfinite(float(self.position.sums[0])):
            raise self._diverged()

    def _diverged(self) -> TrainingDiverged:
        position = self.position
        return TrainingDiverged(
            f"the loss was no longer a finite number in epoch {position.epoch + 1}, "
            f"at step {position.step + 1} of {len(self.bounds)}, with the learning rate at {self._rate():.3g}; "
            "lower `optimizer.lr`, add `schedule.warmup_epochs`, or set `training.precision` to fp32"
        )

    def _report(self) -> None:
        now = self.clock()
        if now - self.reported_at < REPORT_S:
            return
        position, epochs = self.position, self.spec.training.epochs
        self._check_finite()
        loss_sum, _, seen = position.sums.tolist()
        done = (position.epoch + position.step / len(self.bounds)) / epochs
        self.reporter.progress(
            self.fraction_at_start + (1 - self.fraction_at_start) * done,
            step="steps",
            epoch=position.epoch + 1,
            epochs=epochs,
            loss=loss_sum / seen,
            lr=self._rate(),
            images_per_s=self.seen_since_report / (now - self.reported_at),
        )
        self.reported_at, self.seen_since_report = now, 0

    def _save_when_due(self) -> None:
        if self.clock() - self.saved_at >= max(self.checkpoint_s, self.saving_s / SAVING_SHARE):
            self._save()

    def _save(self) -> None:
        self._check_finite()
        began = self.clock()
        self.checkpoints.save(
            {
                "spec": checkpoint.digest(self.spec),
                "device": self.device.type,
                "threads": torch.get_num_threads(),
                "precision": self.precision.name,
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "random": checkpoint.random_state(),
                "position": self.position.as_state(),
            }
        )
        self.saved_at = self.clock()
        self.saving_s = self.saved_at - began
