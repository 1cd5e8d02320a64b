"""What the stages of one job share: the job itself, and its variants on their way."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import Blobs
from workers.evaluation.calibration import Temperature
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.reporting import PipeReporter
from workers.tasks.rooms import task_of
from workers.tasks.task import Task
from workers.training.learner import Learner


@dataclass
class Variant:
    """One exported variant on its way: its file, and the net or the variant it was made from."""

    path: Path
    parent: str | None
    net: Learner | None = None
    made_by: dict[str, Any] | None = None
    """the part of the spec that it is made by, as JSON; None for fp32"""
    facts: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    """why its accuracy gate failed on the way: it is measured and told, and nothing more is made of it"""
    temperature: Temperature | None = None
    """what the net's logits are divided by in its file; None: by nothing"""

    @property
    def divisor(self) -> float:
        """Return the temperature, 1 where there is none."""
        return self.temperature.value if self.temperature else 1.0

    @property
    def batch_dependent(self) -> bool:
        """Return whether an image's answer depends on the others of its batch: the ranges of both are one."""
        return (self.made_by or {}).get("kind") == "dynamic_int8"


@dataclass(frozen=True)
class Plan:
    """How a training was fitted to its budget, and the seconds that it was estimated at.

    `card` is what its version's card says of it.
    """

    card: dict[str, Any]
    before_s: float
    epoch_s: float


@dataclass
class Work:
    """What the stages of one job share."""

    assignment: Assignment
    settings: Settings
    spec: ResolvedSpec
    device: torch.device
    blobs: Blobs
    reporter: PipeReporter
    checkpoints: JobCheckpoints
    plan: Plan | None = None

    @property
    def task(self) -> Task:
        """Return what the spec's task supplies."""
        return task_of(self.spec.task)

    @property
    def staging(self) -> Path:
        """Return this attempt's own folder."""
        return Path(self.assignment.staging)

    @property
    def dataset(self) -> AssignedDataset:
        """Return the job's dataset, in a story that has one."""
        assert self.assignment.dataset is not None, "the job's task has data"
        return self.assignment.dataset


def identity(work: Work) -> dict[str, Any]:
    """Return what tells a version's files from all others."""
    spec, dataset = work.spec, work.assignment.dataset
    return {
        "task": spec.task,
        **work.task.described(spec),
        "spec_sha256": work.assignment.spec_sha256,
        "dataset": None if dataset is None else dataset.id,
        "dataset_digest": None if dataset is None else dataset.digest,
    }
