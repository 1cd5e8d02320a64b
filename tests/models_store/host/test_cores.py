"""How many threads each of several trainers gets."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from models_store.host import cores
from models_store.host.processes import Process, this_process
from models_store.jobs import claims, submissions
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from tests.models_store.host.host_files import V2_MOUNT, a_host
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"


@pytest.mark.parametrize(("quota", "expected"), [("50000", 1), ("100000", 1), ("9900000", None), ("max", None)])
def test_the_usable_cores_are_those_of_the_affinity_within_the_cpu_quota(
    tmp_path: Path, quota: str, expected: int | None
) -> None:
    root = a_host(tmp_path, groups="0::/", mounts=V2_MOUNT, files={"cpu.max": f"{quota} 100000"})

    assert cores.usable(root=root) == (expected or len(os.sched_getaffinity(0)))


def test_part_of_a_core_counts_as_one(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    root = a_host(tmp_path, groups="0::/", mounts=V2_MOUNT, files={"cpu.max": f"{100_000 * allowed - 1} 100000"})

    assert cores.usable(root=root) == allowed


def test_a_process_bound_to_one_core_uses_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from models_store.host import cores; "
    )
    answer = subprocess.run(
        [sys.executable, "-c", program + "print(cores.usable())"], check=True, capture_output=True, text=True
    )

    assert answer.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("usable", "machine", "trainers", "threads"),
    [
        (4, 4, (1, 1), 4),
        (4, 4, (2, 2), 2),
        (4, 4, (3, 3), 1),
        (4, 4, (9, 9), 1),  # never none
        (2, 8, (1, 4), 2),  # four containers of two cores each: every one has its own
        (8, 8, (1, 4), 2),  # four containers without limits: they share the machine
    ],
)
def test_trainers_share_the_cores_that_they_have_in_common(
    monkeypatch: pytest.MonkeyPatch, usable: int, machine: int, trainers: tuple[int, int], threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(usable)))
    monkeypatch.setattr(os, "cpu_count", lambda: machine)

    beside, on_machine = trainers
    assert cores.shared(trainers_beside=beside, trainers_on_machine=on_machine) == threads


@pytest.fixture
def a_running_job(database: Database, settings: Settings) -> claims.Claim:
    insert_dataset(database, owner=OWNER)
    return running(database, settings)


def running(database: Database, settings: Settings, *, process: Process | None = None) -> claims.Claim:
    """Claim a new job; its attempt is told to be of another process."""
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    if process is not None:
        table = tables.attempt
        values = {
            "host": process.host,
            "boot_id": process.boot_id,
            "pid": process.pid,
            "pid_started": process.pid_started,
        }
        with database.write() as connection:
            connection.execute(update(table).where(table.c.job_id == claim.job.id).values(**values))
    return claim


def test_every_running_trainer_of_this_host_counts(
    database: Database, settings: Settings, a_running_job: claims.Claim
) -> None:
    alone = cores.running_trainers(database)
    second = running(database, settings)
    both = cores.running_trainers(database)
    claims.release(database, second)

    assert (alone, both, cores.running_trainers(database)) == ((1, 1), (2, 2), (1, 1))
    assert a_running_job.fence == 1


def test_trainers_of_other_machines_and_of_dead_workers_do_not_count(
    database: Database, settings: Settings, a_running_job: claims.Claim
) -> None:
    here = this_process()
    running(database, settings, process=replace(here, host="elsewhere", boot_id="another-boot pid:[1]"))
    running(database, settings, process=replace(here, boot_id="another-boot pid:[1]"))  # this host, before it restarted
    running(database, settings, process=replace(here, pid_started="1"))

    assert cores.running_trainers(database) == (1, 1)
    assert a_running_job.job.state == "running"


def test_trainers_of_other_containers_share_the_machine_alone(
    database: Database, settings: Settings, a_running_job: claims.Claim
) -> None:
    here = this_process()
    boot = here.boot_id.partition(" ")[0]
    running(database, settings, process=replace(here, host="container-2", boot_id=f"{boot} pid:[7]"))
    running(database, settings, process=replace(here, boot_id=f"{boot} pid:[8]"))  # a container of the same host name

    assert cores.running_trainers(database) == (1, 3)
    assert a_running_job.job.state == "running"


def test_an_urgent_job_takes_no_share(database: Database, settings: Settings, a_running_job: claims.Claim) -> None:
    submissions.submit(
        database, owner=OWNER, spec=a_train_spec(), settings=settings, action=submissions.Action("preview", {})
    )

    claim = claims.claim(database, settings=settings)

    assert claim is not None
    assert (claim.job.kind, claim.job.state) == ("preview", "running")
    assert cores.running_trainers(database) == (1, 1)
    assert a_running_job.job.state == "running"


def test_a_parent_that_plans_its_children_has_no_trainer(
    database: Database, settings: Settings, a_running_job: claims.Claim
) -> None:
    parent = running(database, settings)
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == parent.job.id).values(kind="search"))

    assert cores.running_trainers(database) == (1, 1)
    assert a_running_job.job.state == "running"
