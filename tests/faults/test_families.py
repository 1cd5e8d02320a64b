"""`kill -9` of one of two workers in the middle of a search and of a cross-validation: no child is lost or doubled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models_store.datasets import store as datasets
from models_store.jobs import children, submissions
from models_store.jobs import store as jobs
from models_store.jobs.job import TERMINAL
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec
from tests import databases, samples
from tests.processes import children_of, is_alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OWNER = "ada"
PATIENCE_S = 500
TINY = {
    "input": {"size": 16},
    "backbone": {"kind": "small_cnn", "widths": [4], "depth": 1},
    "augmentation": [],
    "regularizers": [],
    "training": {"epochs": 2, "batch_size": 32, "precision": "fp32"},
    "compression": None,
}

WORKER = """
import time
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.jobs.housekeeping import Housekeeper
from models_store.settings import Settings
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag
settings = Settings()
blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
Housekeeper(Database(settings.database_url), blobs, settings=settings, is_idle=lambda: False).start()
while True:
    work(settings, stop=StopFlag())
    time.sleep(0.1)
"""
"""a worker without a broker: it looks at the database now and then"""


class Farm:
    """A store with a dataset, and as many workers on it as a test starts."""

    def __init__(self, home: Path, archive: Path) -> None:
        self.settings = samples.quick_settings(home, max_crashes=3)
        self.database = databases.sqlite(self.settings.database_url)
        blobs = Blobs(self.settings.blobs_url, scratch=self.settings.scratch)
        self.dataset, _ = datasets.ingest(
            archive,
            owner=OWNER,
            name="leaves",
            undecodable="refuse",
            database=self.database,
            blobs=blobs,
            settings=self.settings,
        )

    def submit(self, **asked: Any) -> jobs.Job:
        document = TINY | {"name": "leaves", "dataset": self.dataset.id} | asked
        spec, _ = IMAGE.resolve(ImageSpec.model_validate(document), datasets.facts(self.dataset))
        return submissions.submit(self.database, owner=OWNER, spec=spec, settings=self.settings)[0]

    @contextmanager
    def workers(self, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        values = self.settings.model_dump(mode="json", exclude_none=True)
        environment = os.environ | {name.upper(): str(value) for name, value in values.items()}
        environment |= {"OMP_NUM_THREADS": "1"}
        running = [subprocess.Popen([sys.executable, "-c", WORKER], env=environment) for _ in range(count)]
        try:
            yield running
        finally:
            for worker in running:
                worker.kill()
                worker.wait()

    def wait_until(self, job: jobs.Job, *, ended: int = 10**6) -> jobs.Job:
        """Wait until so many children have ended, or the job itself has."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = jobs.find(self.database, job.id, owner=OWNER)
            done = sum(child.state in TERMINAL for child in children.of(self.database, job.id))
            if found.state in TERMINAL or done >= ended:
                return found
            time.sleep(0.1)
        states = [child.state for child in children.of(self.database, job.id)]
        raise AssertionError(f"{job.id} is still {found.state} after {PATIENCE_S} s, its children {states}")

    def kill_one_in_the_middle(self, workers: list[subprocess.Popen[bytes]]) -> tuple[str, list[int]]:
        """Kill a worker that has a child in its hands; return the child's id and the pids that must be gone."""
        job, attempt = tables.job, tables.attempt
        query = select(attempt.c.job_id, attempt.c.pid).join(job, job.c.id == attempt.c.job_id)
        query = query.where(job.c.parent_id.is_not(None), job.c.state == "running", attempt.c.fence == job.c.fence)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with self.database.read() as connection:
                held = connection.execute(query).all()
            for child_id, pid in held:
                trainers = children_of(pid)
                if trainers and pid in {worker.pid for worker in workers}:
                    os.kill(pid, signal.SIGKILL)
                    return child_id, [pid, *trainers]
            time.sleep(0.02)
        raise AssertionError(f"no worker took a child up in {PATIENCE_S} s")


@pytest.fixture
def farm(tmp_path: Path, archive: Path) -> Farm:
    return Farm(tmp_path / "home", archive)


def attempts(farm: Farm, parent: jobs.Job) -> dict[int, int]:
    found = children.of(farm.database, parent.id)
    claimed = jobs.attempts(farm.database, [child.id for child in found])
    return {child.number or 0: claimed.get(child.id, 0) for child in found}


def test_a_search_of_12_trials_with_a_worker_killed_midway_ends_with_12_accounted_trials(farm: Farm) -> None:
    space = {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "training.epochs": {"int_uniform": [1, 3]}}
    parent = farm.submit(search={"kind": "tpe", "trials": 12, "startup_trials": 3, "space": space, "winner": "promote"})

    with farm.workers(2) as workers:
        farm.wait_until(parent, ended=4)
        victim, pids = farm.kill_one_in_the_middle(workers)
        ended = farm.wait_until(parent)

    *trials, last = children.of(farm.database, parent.id)
    assert ended.state == "succeeded", ended.problem
    assert [(child.kind, child.number, child.state) for child in trials] == [
        ("trial", number, "succeeded") for number in range(12)
    ]
    assert [run["number"] for run in ended.result["trials"]] == list(range(12))
    assert (last.kind, ended.result["version"]) == ("train", 1)
    assert [count for count in attempts(farm, parent).values() if count > 1] == [2]
    assert next(child for child in [*trials, last] if child.id == victim).crashes == 1
    assert not any(is_alive(pid) for pid in pids)


def test_a_cross_validation_of_5_folds_with_a_worker_killed_midway_ends_with_5_accounted_folds(farm: Farm) -> None:
    parent = farm.submit(validation={"kind": "k_fold", "folds": 5, "publish": False})

    with farm.workers(2) as workers:
        farm.wait_until(parent, ended=1)
        victim, pids = farm.kill_one_in_the_middle(workers)
        ended = farm.wait_until(parent)

    folds = children.of(farm.database, parent.id)
    assert ended.state == "succeeded", ended.problem
    assert [(child.kind, child.number, child.state) for child in folds] == [
        ("fold", number, "succeeded") for number in range(5)
    ]
    assert ended.result["summary"]["held_out"]["accuracy"]["runs"] == 5
    assert next(child for child in folds if child.id == victim).crashes == 1
    assert not any(is_alive(pid) for pid in pids)
