"""Folder of one job: its stages run there again and again from its checkpoints, with no supervisor."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models_store.datasets.store import Dataset, ManifestEntry
from models_store.jobs.phases import USUAL_S
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import DATASET_ID, quick_settings
from tests.workers.training_runs import CLASSES, CPU, Recorder
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.reporting import PipeReporter
from workers.stages.context import Work
from workers.stages.data import Data
from workers.training.examples import Examples

JOB_ID = "job_1"


A_DATASET = AssignedDataset(DATASET_ID, "d" * 64, list(CLASSES), "1" * 64, "2" * 64)
"""a dataset that no file stands behind"""


def assigned(dataset: Dataset) -> AssignedDataset:
    """Return a dataset as a trainer gets it."""
    classes = dataset.card["classes"]
    return AssignedDataset(dataset.id, dataset.digest, classes, dataset.content_blob, dataset.manifest_blob)


def an_assignment(spec: ResolvedImageSpec, *, staging: Path, **given: Any) -> Assignment:
    """Return a first attempt at a job; `given` are other fields of it."""
    document = spec.model_dump(mode="json")
    fields = {"dataset": A_DATASET, "checkpoints": []} | given
    return Assignment(job_id=JOB_ID, spec=document, spec_sha256="5" * 64, staging=str(staging), **fields)


def data_of(examples: Examples, *, entries: Sequence[ManifestEntry] = (), content: Path = Path("unused")) -> Data:
    """Return examples as the stages are given them."""
    return Data(entries, examples, content)


class StoppingReporter(PipeReporter):
    """A reporter that asks to stop at one of the times when it is asked; 0: never."""

    asked = 0
    stop_after = 0

    def stop_requested(self) -> bool:
        self.asked += 1
        return self.asked == self.stop_after


class JobFolder:
    """One job's folder, its checkpoints, and what was reported last."""

    def __init__(
        self,
        folder: Path,
        *,
        dataset: AssignedDataset = A_DATASET,
        blobs: Blobs | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.folder, self.dataset = folder, dataset
        self.settings = settings or quick_settings(folder / "home")
        self.blobs = blobs or Blobs(str(folder / "blobs"), scratch=folder / "scratch")
        self.kept: list[str] = []
        self.reports: list[dict[str, Any]] = []

    def work(self, spec: ResolvedImageSpec, *, reporter: Recorder | PipeReporter | None = None, **given: Any) -> Work:
        """Return the work of a fresh attempt at the job; `given` are fields of its assignment."""
        heard: Any = reporter or Recorder()
        checkpoints = JobCheckpoints(
            self.blobs,
            job_id=JOB_ID,
            names=self.kept[::-1],
            staging=self.folder,
            keep=self.kept.append,
            log=heard.log,
        )
        assignment = an_assignment(spec, staging=self.folder, dataset=self.dataset, **given)
        return Work(assignment, self.settings, spec, CPU, self.blobs, heard, checkpoints)

    @contextmanager
    def reporter(self, *, stop_after: int = 0) -> Iterator[StoppingReporter]:
        """Give a trainer's real reporter; at the end, `reports` is what it has written."""
        path = self.folder / "reports"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        reporter = StoppingReporter(descriptor, plan=list(USUAL_S.items()))
        reporter.stop_after = stop_after
        try:
            yield reporter
        finally:
            os.close(descriptor)
            self.reports = [json.loads(line) for line in path.read_text().splitlines()]

    def reported(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of each report of this kind."""
        return [report["data"] for report in self.reports if report["kind"] == kind]
