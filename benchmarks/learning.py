"""One spec learned and judged by the real parts of a job, without its processes: what several benchmarks share."""

# N examples, K classes

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.bystander import Bystander, MemoryCheckpoints
from models_store.spec.train import ResolvedSpec
from workers.evaluation import bootstrap
from workers.evaluation.metrics import evaluate
from workers.tasks.image import net as task
from workers.training import feeds, loop, targets
from workers.training.derived_specs import probing
from workers.training.examples import Examples


class Silent(Bystander):
    """A reporter that says nothing."""

    def metrics(self, **values: float) -> None:
        """Do nothing."""

    def log(self, text: str) -> None:
        """Do nothing."""

    def warn_owner(self, text: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Judged:
    """What a finished run is worth on the test split, which nothing was chosen by."""

    right_N: npt.NDArray[np.bool_]  # noqa: N815  the shape is part of the name
    accuracy: float
    balanced_accuracy: float
    loss: float
    interval: tuple[float, float]
    """95 % of the accuracy, by bootstrap"""
    train_s: float
    best_epoch: int
    precision: str


def device() -> torch.device:
    """Return the device that a worker would take by itself."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learn(
    spec: ResolvedSpec,
    arrays: Examples,
    *,
    weights_dir: Path,
    reporter: Callable[[], Bystander] = Bystander,
) -> Judged:
    """Train as the pipeline does, the head first where the spec says so, and judge what is kept on the test split."""
    began = time.monotonic()
    aim = targets.build(spec.task, arrays)
    net = task.build(spec, class_count=aim.output_count, weights_dir=weights_dir, last_layer=aim.last_layer())
    stages = [probing(spec)] if spec.transfer.probe_epochs else []
    for stage in [*stages, spec]:
        trained = loop.train(
            net,
            arrays,
            spec=stage,
            device=device(),
            reporter=reporter(),
            checkpoints=MemoryCheckpoints(),
            clock=time.monotonic,
        )
    train_s = time.monotonic() - began
    rows = arrays.split("test")
    probabilities_NK = feeds.probabilities(trained.learner, arrays, rows, device=device())
    labels_N = arrays.targets[rows].astype(np.int64)
    metrics = evaluate(probabilities_NK, labels_N, arrays.classes)
    interval = bootstrap.classification(probabilities_NK, labels_N, samples=1000, seed=0)["accuracy"]
    assert interval is not None, "the accuracy of a test split is defined"
    return Judged(
        right_N=probabilities_NK.argmax(axis=1) == labels_N,
        accuracy=metrics["accuracy"],
        balanced_accuracy=metrics["balanced_accuracy"],
        loss=metrics["loss"],
        interval=(interval["low"], interval["high"]),
        train_s=train_s,
        best_epoch=trained.best_epoch,
        precision=trained.precision,
    )
