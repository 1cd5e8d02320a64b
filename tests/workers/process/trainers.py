"""Trainers that a test starts on this host."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from models_store.datasets import store as datasets
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from tests.processes import starter_of
from tests.samples import a_train_spec
from tests.workers.job_folders import an_assignment, assigned
from workers.process.trainer_process import TrainerProcess

PATIENCE_S = 120
CURRENT_TEST = "PYTEST_CURRENT_TEST"
NET = {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}
SHORT, ENDLESS = 2, 5000


class Host:
    """A data set on one host, and the trainers that are started there."""

    def __init__(self, settings: Settings, dataset: datasets.Dataset) -> None:
        self.settings, self.dataset = settings, dataset
        self.blobs = Blobs(settings.blobs_url, scratch=settings.scratch)

    def start(self, *, epochs: int = SHORT, command: list[str] | None = None) -> TrainerProcess:
        """Start the trainer of a trial."""
        staging = tempfile.mkdtemp(prefix="staging-", dir=self.settings.scratch)
        training = {"epochs": epochs, "batch_size": 16, "precision": "fp32"}
        spec = a_train_spec(backbone=NET, training=training, regularizers=[{"kind": "dropout", "probability": 0.3}])
        assignment = an_assignment(
            spec, staging=Path(staging), dataset=assigned(self.dataset), kind="trial", keeps_weights=True
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(CURRENT_TEST, raising=False)  # of another value in each test
            return TrainerProcess(assignment, settings=self.settings, command=command)

    def run(self, **given: Any) -> dict[str, np.ndarray]:
        """Return the weights that a trainer makes."""
        trainer = self.start(**given)
        result = None
        while not trainer.is_silent:
            for kind, data in trainer.read(timeout_s=1):
                result = data if kind == "result" else result
        log = trainer.log_tail()
        exit_code = wait_for(trainer.exit_code, until=lambda code: code is not None)
        trainer.close()
        assert result is not None, log
        assert exit_code == 0
        return load(self.blobs.local(result["files"]["weights"]).read_bytes())

    def start_endless(self) -> tuple[TrainerProcess, int]:
        """Return a trainer that has trained an epoch, and its pid."""
        trainer = self.start(epochs=ENDLESS)
        wait_for(lambda: trainer.read(timeout_s=1), until=lambda reports: any(kind == "metrics" for kind, _ in reports))
        return trainer, trainer.pid


def wait_for(look: Callable[[], Any], *, until: Callable[[Any], bool] = bool) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not until(found := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s; the last look found {found!r}"
        time.sleep(0.02)
    return found


def the_starter(of: int) -> int:
    """Return the pid of the starter that a worker keeps, when it serves."""
    return int(wait_for(lambda: starter_of(of)))
