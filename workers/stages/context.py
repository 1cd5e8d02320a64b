"""Context of a job: what all its stages share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import Blobs
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.reporting import PipeReporter
from workers.tasks.rooms import task_of
from workers.tasks.task import Task


class Outcome(Protocol):
    """What a job hands to its supervisor."""

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON."""
        ...


@dataclass(frozen=True)
class Plan:
    """How a training was fitted to its budget, and the seconds that it was estimated at.

    `card` is what its version's card says of it.
    """

    card: dict[str, Any]
    before_s: float
    epoch_s: float


@dataclass(frozen=True)
class Work:
    """A job as its stages see it. A stage that changes the spec returns another one."""

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
    def start(self) -> Path | None:
        """Return the file of weights that the net starts from, or that it was trained to; None: there is none."""
        trained = self.assignment.promoted
        blob = self.assignment.initial_weights if trained is None else trained.weights
        return None if blob is None else self.blobs.local(blob)

    @property
    def dataset(self) -> AssignedDataset:
        """Return the job's dataset, in a story that has one."""
        assert self.assignment.dataset is not None, "the job's task has data"
        return self.assignment.dataset

    @property
    def identity(self) -> dict[str, Any]:
        """Return what identifies the files of this job's version, as their cards say it."""
        dataset = self.assignment.dataset
        return {
            "task": self.spec.task,
            **self.task.described(self.spec),
            "spec_sha256": self.assignment.spec_sha256,
            "dataset": None if dataset is None else dataset.id,
            "dataset_digest": None if dataset is None else dataset.digest,
        }


Story = Callable[[Work], Outcome]
"""all stages of a job, in their order"""
