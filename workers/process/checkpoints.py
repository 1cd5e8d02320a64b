"""A job's checkpoints as blobs: one file holds the newest state of each stage, and the newest two files are kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from models_store.errors import NotFound
from models_store.storage.blobs import Blobs, sha256_of
from workers.process.progress import Checkpoints

State = dict[str, Any]


class JobCheckpoints:
    """The checkpoints of one job. `names` are blobs, newest first; `keep` is informed each new blob's digest.

    A file that is missing, damaged or another job's is passed over for the next older one.
    """

    def __init__(
        self,
        blobs: Blobs,
        *,
        job_id: str,
        names: Sequence[str],
        staging: Path,
        keep: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        self._blobs = blobs
        self._job_id = job_id
        self._staging = staging
        self._keep = keep
        self._stages: dict[str, State] = {}
        for name in names:
            found = self._read(name)
            if found is not None:
                self._stages = found
                return
            log(f"checkpoint {name[:12]} is missing or damaged; trying an older one")

    def stage(self, name: str) -> Checkpoints:
        """Return the checkpoints of one stage: `training`, `recovery`."""
        return _Stage(self, name)

    def save(self, stage: str, state: State) -> None:
        """Write every stage's newest state to a file, put it among the blobs and tell its digest."""
        self._stages[stage] = state
        path = self._staging / "checkpoint.pt"
        torch.save({"job_id": self._job_id, "stages": self._stages}, path)
        self._keep(self._blobs.put(path).sha256)

    def load(self, stage: str) -> State | None:
        """Return a stage's newest state."""
        return self._stages.get(stage)

    def forget(self, stage: str) -> None:
        """Leave a stage's state out of what is saved from now on: it is done, and what came of it is kept elsewhere."""
        self._stages.pop(stage, None)

    def _read(self, name: str) -> dict[str, State] | None:
        try:
            path = self._blobs.local(name)
        except NotFound:
            return None
        if sha256_of(path) != name:
            return None
        document = torch.load(path, map_location="cpu", weights_only=True)
        stages: dict[str, State] = document["stages"]
        return stages if document["job_id"] == self._job_id else None


class _Stage:
    def __init__(self, checkpoints: JobCheckpoints, name: str) -> None:
        self._checkpoints = checkpoints
        self._name = name

    def save(self, state: State) -> None:
        self._checkpoints.save(self._name, state)

    def load(self) -> State | None:
        return self._checkpoints.load(self._name)
