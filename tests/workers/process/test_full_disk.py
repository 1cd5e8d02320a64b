"""Jobs on a host whose disk fills up: they wait for room, and it is no crash of theirs."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models_store.datasets import store as datasets
from models_store.jobs import claims, events, submissions
from models_store.jobs import store as jobs
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.tasks.image.spec import ResolvedImageSpec
from tests import databases
from tests.models_store.datasets.dataset_stores import a_zip
from tests.samples import a_png, a_train_spec, insert_dataset, quick_settings
from tests.small_disks import SmallDisk, small_disk
from workers.process.supervisor import StopFlag, supervise

OWNER = "ada"
SPEAK = """
import json, os, sys
_, assignment, parent, lifeline, reports = sys.argv
def say(kind, **data):
    os.write(int(reports), json.dumps({"kind": kind, "data": data}).encode() + b"\\n")
def fill(folder):
    with open(folder + "/filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
"""


class Host:
    """A worker's host with a small disk for its work, and the store; the database is elsewhere unless asked."""

    def __init__(self, small: SmallDisk, folder: Path, *, database: Path) -> None:
        self.small = small
        self.settings = quick_settings(folder / "home", work_dir=small.folder / "work")
        self.database = databases.sqlite(f"sqlite:///{database}")
        self.blobs = Blobs(self.settings.blobs_url, scratch=self.settings.scratch)
        self._script = folder / "trainer.py"

    def submit(self, spec: ResolvedImageSpec | None = None) -> str:
        return submissions.submit(self.database, owner=OWNER, spec=spec or a_train_spec(), settings=self.settings)[0].id

    def attempt(self, program: str | None = None) -> str:
        """Work on the next job, by a trainer that runs `program`, else by the real one; return the outcome."""
        claim = self.claim()
        command = None
        if program is not None:
            self._script.write_text(SPEAK + program)
            command = [sys.executable, str(self._script)]
        return supervise(self.database, self.blobs, claim, settings=self.settings, stop=StopFlag(), command=command)

    def claim(self) -> claims.Claim:
        with self.database.write() as connection:
            connection.execute(tables.job.update().where(tables.job.c.state == "queued").values(not_before=0))
        claim = claims.claim(self.database, settings=self.settings)
        assert claim is not None
        return claim

    def job(self) -> jobs.Job:
        return jobs.listing(self.database, owner=OWNER)[0][0]

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in events.after(self.database, self.job().id, 0, kinds=(kind,))]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", size_mb=24) as mounted:
        yield mounted


@pytest.fixture
def host(small: SmallDisk, tmp_path: Path) -> Iterator[Host]:
    opened = Host(small, tmp_path, database=tmp_path / "store.db")
    insert_dataset(opened.database, owner=OWNER)
    yield opened
    opened.database.close()


def after(seconds: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def is_waiting_uncrashed(job: jobs.Job) -> bool:
    return (job.state, job.crashes, job.problem) == ("queued", 0, None)


def test_a_trainer_that_reports_a_full_disk_costs_no_crash_and_the_log_says_why(host: Host) -> None:
    host.submit()

    outcomes = [
        host.attempt('say("trouble", code="storage_full", detail="no room for the weights"); sys.exit(71)')
        for _ in range(4)
    ]

    assert outcomes == ["put off: no room for the weights"] * 4
    assert is_waiting_uncrashed(host.job())
    assert "no room for the weights" in host.told("log")[0]["text"]
    waits = [data["retry_in_s"] for data in host.told("state") if "retry_in_s" in data]
    assert waits == [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize("end", ["sys.exit(1)", "os.kill(os.getpid(), 9)", "raise EOFError('marshal data too short')"])
def test_a_trainer_that_dies_on_a_full_disk_without_a_word_costs_no_crash(host: Host, end: str) -> None:
    host.submit()

    outcome = host.attempt(f"fill({str(host.small.folder)!r}); {end}")

    assert outcome.startswith("put off: there is no room left on the disk")
    assert is_waiting_uncrashed(host.job())


def test_a_trainer_that_dies_for_another_reason_is_a_crash(host: Host) -> None:
    host.submit()

    host.attempt('say("trouble", code="device_unavailable", detail="no CUDA"); sys.exit(71)')
    host.attempt("sys.exit(1)")

    assert host.job().crashes == 2


def test_on_a_full_disk_no_trainer_is_started(host: Host) -> None:
    host.submit()
    host.small.fill()

    outcome = host.attempt('say("log", text="started")')

    assert outcome.startswith("put off")
    assert is_waiting_uncrashed(host.job())
    assert not any(data["text"] == "started" for data in host.told("log"))
    assert host.small.files == []


def test_a_database_on_the_same_full_disk_is_told_when_it_has_room_again(small: SmallDisk, tmp_path: Path) -> None:
    host = Host(small, tmp_path, database=small.folder / "store.db")
    insert_dataset(host.database, owner=OWNER)
    host.submit()
    freeing = after(3, small.free)

    many_lines = 'say("metrics", text="x" * 100000); ' * 30
    outcome = host.attempt(f"fill({str(small.folder)!r}); {many_lines}")

    freeing.join()
    assert outcome.startswith("put off")
    assert is_waiting_uncrashed(host.job())
    host.database.close()


def test_a_cancel_that_came_first_ends_a_job_that_would_be_put_off(host: Host) -> None:
    job_id = host.submit()
    claim = host.claim()
    jobs.cancel(host.database, job_id, owner=OWNER)

    claims.postpone(host.database, claim, settings=host.settings, problem={"code": "storage_full", "detail": "full"})

    assert host.job().state == "canceled"


def test_the_wait_for_room_doubles_up_to_six_minutes(host: Host) -> None:
    host.submit()
    patient = host.settings.model_copy(update={"backoff_s": 10.0})
    for _ in range(8):
        claims.postpone(
            host.database, host.claim(), settings=patient, problem={"code": "storage_full", "detail": "full"}
        )

    waits = [data["retry_in_s"] for data in host.told("state") if "retry_in_s" in data]
    assert waits == [10, 20, 40, 80, 160, 320, 360, 360]
    assert is_waiting_uncrashed(host.job())


def test_trainers_write_no_bytecode(host: Host) -> None:
    host.submit()

    host.attempt('say("log", text=f"{sys.dont_write_bytecode} {sys.pycache_prefix}"); sys.exit(1)')

    assert host.told("log")[0]["text"] == "True None"


def test_a_real_job_whose_disk_fills_up_ends_well_when_there_is_room(small: SmallDisk, tmp_path: Path) -> None:
    host = Host(small, tmp_path, database=tmp_path / "store.db")
    archive = tmp_path / "colours.zip"
    files = {f"{hue}/{seed}.png": a_png(hue=hue, seed=seed) for hue in range(2) for seed in range(12)}
    archive.write_bytes(a_zip(files))
    dataset, _ = datasets.ingest(
        archive,
        owner=OWNER,
        name="colours",
        undecodable="refuse",
        database=host.database,
        blobs=host.blobs,
        settings=host.settings,
    )
    spec = a_train_spec(facts=datasets.facts(dataset), dataset=dataset.id, training={"epochs": 1, "batch_size": 8})
    host.submit(spec)
    small.fill(but_bytes=200_000)  # enough to begin, not for a checkpoint

    before = host.attempt()
    assert before.startswith("put off: there is no room left on the disk"), host.told("state")
    waiting = host.job()
    left = small.files
    small.free()
    afterwards = host.attempt()

    assert is_waiting_uncrashed(waiting)
    assert [name for name in left if not name.startswith("work/cache/")] == []
    assert afterwards == "succeeded: leaves:1"
    assert (host.job().state, host.job().crashes) == ("succeeded", 0)
