"""Where the stages of one job are worked at, over and over from its checkpoints, with real files and no supervisor."""

from pathlib import Path
from typing import Any

from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import Blobs
from tests.samples import DATASET_ID, quick_settings
from tests.workers.small_runs import CPU, Recorder
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.stages.context import Work


class Desk:
    """One job's folder and its checkpoints."""

    def __init__(self, folder: Path, *, classes: list[str]) -> None:
        self.folder, self.classes = folder, classes
        self.settings = quick_settings(folder / "home")
        self.blobs = Blobs(str(folder / "blobs"), scratch=folder / "scratch")
        self.kept: list[str] = []

    def work(self, spec: ResolvedSpec, *, reporter: Recorder | None = None) -> Work:
        """Return the work of a fresh attempt at the job."""
        recorder: Any = reporter or Recorder()  # in the place of a pipe to the supervisor
        assignment = Assignment(
            job_id="job_1",
            spec=spec.model_dump(mode="json"),
            spec_sha256="5" * 64,
            dataset=AssignedDataset(DATASET_ID, "d" * 64, self.classes, "1" * 64, "2" * 64),
            checkpoints=[],
            staging=str(self.folder),
        )
        checkpoints = JobCheckpoints(
            self.blobs,
            job_id="job_1",
            names=self.kept[::-1],
            staging=self.folder,
            keep=self.kept.append,
            log=recorder.log,
        )
        return Work(assignment, self.settings, spec, CPU, self.blobs, recorder, checkpoints)
