"""Threads that do urgent jobs, on both databases and without a broker: each job is done once, and others are left."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from models_store.datasets import store as datasets
from models_store.jobs import claims, submissions
from models_store.jobs import store as jobs
from models_store.jobs.job import TERMINAL
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.image.preview import Preview
from tests.samples import a_train_spec, quick_settings
from workers.process.urgent_jobs import UrgentJobs

pytestmark = pytest.mark.slow

OWNER = "ada"
PATIENCE_S = 120
PREVIEW = submissions.Action(
    "preview", Preview.model_validate({"augmentation": [], "images": 2, "input": {"size": 16}}).model_dump(mode="json")
)


@pytest.fixture
def here(database: Database, tmp_path: Path) -> Settings:
    """Settings of a host whose broker is down."""
    url = database.engine.url.render_as_string(hide_password=False)
    return quick_settings(tmp_path / "home", database_url=url, lease_s=60, beat_deadline_s=40)


@pytest.fixture
def dataset(database: Database, here: Settings, archive: Path) -> str:
    blobs = Blobs(here.blobs_url, scratch=here.scratch)
    found, _ = datasets.ingest(
        archive,
        owner=OWNER,
        name="colours",
        undecodable="refuse",
        database=database,
        blobs=blobs,
        settings=here,
    )
    return found.id


@pytest.fixture
def begin(here: Settings) -> Iterator[Callable[[], UrgentJobs]]:
    """Start threads as workers of two hosts do, one each; all have ended afterwards."""
    begun: list[UrgentJobs] = []

    def one() -> UrgentJobs:
        begun.append(UrgentJobs(here))
        begun[-1].start()
        return begun[-1]

    yield one
    for each in begun:
        each.leave()
    wait_for(lambda: not any(each.is_at_work for each in begun))


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s"
        time.sleep(0.05)


def submit(
    database: Database, dataset: str, settings: Settings, *, action: submissions.Action | None = PREVIEW
) -> jobs.Job:
    return submissions.submit(
        database, owner=OWNER, spec=a_train_spec(dataset=dataset), settings=settings, action=action
    )[0]


def state_of(database: Database, job: jobs.Job) -> str:
    return jobs.find(database, job.id, owner=OWNER).state


def test_two_hosts_do_each_preview_once_and_leave_a_training_alone(
    database: Database, dataset: str, here: Settings, begin: Callable[[], UrgentJobs]
) -> None:
    training = submit(database, dataset, here, action=None)
    previews = [submit(database, dataset, here) for _ in range(4)]

    begin()
    begin()

    wait_for(lambda: all(state_of(database, job) in TERMINAL for job in previews))
    assert {state_of(database, job) for job in previews} == {"succeeded"}
    with database.read() as connection:
        attempts = list(connection.execute(select(tables.attempt.c.job_id)).scalars())
    assert sorted(attempts) == sorted(job.id for job in previews)
    assert state_of(database, training) == "queued"


def test_a_look_leaves_the_folders_of_the_jobs_beside_it(
    database: Database, dataset: str, here: Settings, begin: Callable[[], UrgentJobs]
) -> None:
    submit(database, dataset, here, action=None)
    training = claims.claim(database, settings=here)
    assert training is not None
    folder = here.scratch / "staging" / training.job.id / str(training.fence)
    folder.mkdir(parents=True)
    preview = submit(database, dataset, here)

    begin()

    wait_for(lambda: state_of(database, preview) == "succeeded")
    wait_for(lambda: [path.name for path in (here.scratch / "staging").iterdir()] == [training.job.id])
    assert folder.is_dir()


def test_who_is_told_to_leave_takes_no_more_previews(
    database: Database, dataset: str, here: Settings, begin: Callable[[], UrgentJobs]
) -> None:
    thread = begin()
    thread.leave()
    wait_for(lambda: not thread.is_at_work)

    preview = submit(database, dataset, here)

    time.sleep(3 * here.poll_s)
    assert state_of(database, preview) == "queued"
