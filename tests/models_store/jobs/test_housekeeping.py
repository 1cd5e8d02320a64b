"""The housekeeper through an outage: what nobody could renew in it is not taken for lost."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update

from models_store.jobs import claims, leases, submissions
from models_store.jobs import store as jobs
from models_store.jobs.housekeeping import Housekeeper
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests.database_locks import no_connections
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"


class Rounds:
    """Counts the rounds of a housekeeper, also those that fail."""

    def __init__(self) -> None:
        self._made = threading.Semaphore(0)
        self._reap = leases.reap

    def reap(self, *given: object, **named: object) -> list[str]:
        try:
            return self._reap(*given, **named)  # type: ignore[arg-type]
        finally:
            self._made.release()

    def wait_for(self, count: int) -> None:
        while self._made.acquire(blocking=False):
            pass  # those before do not count
        for _ in range(count):
            assert self._made.acquire(timeout=30)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    counted = Rounds()
    monkeypatch.setattr(leases, "reap", counted.reap)
    return counted


@pytest.fixture
def housekeeper(postgresql_database: Database, blobs: Blobs, settings: Settings) -> Iterator[Housekeeper]:
    quick = settings.model_copy(update={"poll_s": 0.05})
    made = Housekeeper(postgresql_database, blobs, settings=quick, is_idle=lambda: False)
    made.start()
    yield made
    made.stop()


def running_elsewhere(database: Database, settings: Settings) -> claims.Claim:
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    with database.write() as connection:
        connection.execute(update(tables.attempt).values(host="elsewhere"))
    return claim


def lease_ends_in(database: Database, claim: claims.Claim, seconds: float) -> None:
    with database.write() as connection:
        values = {"lease_expires_at": time.time() + seconds}
        connection.execute(update(tables.job).where(tables.job.c.id == claim.job.id).values(**values))


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.usefixtures("housekeeper")
def test_a_lease_that_ran_out_in_an_outage_is_left_to_its_worker_for_a_while(
    postgresql_database: Database, settings: Settings, rounds: Rounds
) -> None:
    database = postgresql_database
    insert_dataset(database, owner=OWNER)
    claim = running_elsewhere(database, settings)
    rounds.wait_for(2)
    lease_ends_in(database, claim, 2)

    with no_connections(database.engine.url.render_as_string(hide_password=False)):
        rounds.wait_for(2)  # they fail
        time.sleep(2.5)  # until the lease has run out
    rounds.wait_for(5)

    claims.beat(database, claim, settings=settings)  # its worker comes back, and has the job yet
    found = jobs.find(database, claim.job.id, owner=OWNER)
    assert (found.state, found.crashes) == ("running", 0)


@pytest.mark.usefixtures("housekeeper")
def test_without_an_outage_a_lease_that_ran_out_is_taken_back(
    postgresql_database: Database, settings: Settings, rounds: Rounds
) -> None:
    database = postgresql_database
    insert_dataset(database, owner=OWNER)
    claim = running_elsewhere(database, settings)
    rounds.wait_for(2)

    lease_ends_in(database, claim, -1)

    assert eventually(lambda: jobs.find(database, claim.job.id, owner=OWNER).crashes == 1)
