"""The supervisor while the database is locked or away, and while it is stopped itself: no crash of the job's."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models_store.jobs import events, leases, submissions
from models_store.models import registry
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import UNAVAILABLE, Database
from tests import databases
from tests.database_locks import write_lock
from tests.samples import a_train_spec, insert_dataset
from tests.workers.process.attempts import OWNER, SPEAK, Attempt, the_job, wait_for_a_job_then
from workers.process import persistence, supervisor
from workers.process.persistence import AwakeClock
from workers.process.supervisor import StopFlag


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A store whose calls wait half a second for a lock, as a worker's wait ten."""
    store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}", patience_s=0.5)
    insert_dataset(store, owner=OWNER)
    return store


def outcomes(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(tables.attempt.c.outcome).order_by(tables.attempt.c.fence)).scalars())


def locked_until(database: Database, is_over: Callable[[], bool]) -> None:
    """Hold the write lock from another process until the condition holds."""
    with write_lock(str(database.engine.url)):
        deadline = time.monotonic() + 30
        while not is_over() and time.monotonic() < deadline:
            time.sleep(0.05)


def trainers_pid(database: Database) -> int:
    return int(events.after(database, the_job(database).id, 0, kinds=("log",))[0].data["text"])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def test_a_job_goes_on_through_a_lock_that_ends_in_time(database: Database, attempt: Attempt) -> None:
    began = time.monotonic()
    locker = wait_for_a_job_then(database, lambda: locked_until(database, lambda: time.monotonic() > began + 4))

    program = """
say("log", text=str(os.getpid()))
for step in range(40):
    say("progress", fraction=step / 40); time.sleep(0.1)
say("result", **RESULT)
"""
    outcome = attempt(program)
    locker.join()

    job = the_job(database)
    assert (outcome, job.state, job.crashes) == ("succeeded: leaves:1", "succeeded", 0)
    told = [event.data["fraction"] for event in events.after(database, job.id, 0, kinds=("progress",))]
    assert told == [step / 40 for step in range(40)]


def test_a_lock_that_outlasts_the_deadline_gives_the_job_back_without_a_crash(
    database: Database, attempt: Attempt
) -> None:
    pids: list[int] = []

    def lock_until_the_trainer_is_gone() -> None:
        pids.append(trainers_pid(database))
        locked_until(database, lambda: is_gone(pids[0]))

    locker = wait_for_a_job_then(database, lock_until_the_trainer_is_gone)
    outcome = attempt('say("log", text=str(os.getpid())); time.sleep(60)', beat_deadline_s=2)
    locker.join()

    job = the_job(database)
    assert outcome.startswith("left: no heartbeat")
    assert is_gone(pids[0])
    assert (job.state, job.crashes, outcomes(database)) == ("queued", 0, ["released"])
    reason = events.after(database, job.id, 0, kinds=("state",))[-1].data["reason"]
    assert "no heartbeat reached the database" in reason


def test_a_result_that_is_ready_in_the_outage_is_published_after_it(database: Database, attempt: Attempt) -> None:
    def lock_until_well_after_the_end() -> None:
        pid = trainers_pid(database)
        locked_until(database, lambda: is_gone(pid))
        over_at = time.monotonic() + 3
        locked_until(database, lambda: time.monotonic() > over_at)

    locker = wait_for_a_job_then(database, lock_until_well_after_the_end)
    program = 'say("log", text=str(os.getpid())); time.sleep(1); say("result", **RESULT)'
    outcome = attempt(program, beat_deadline_s=2)
    locker.join()

    assert (outcome, the_job(database).crashes) == ("succeeded: leaves:1", 0)
    assert [model.name for model in registry.models(database, owner=OWNER)[0]] == ["leaves"]


def test_a_crash_in_the_outage_is_counted_once_it_is_over(database: Database, attempt: Attempt) -> None:
    def lock_until_it_has_crashed() -> None:
        pid = trainers_pid(database)
        locked_until(database, lambda: is_gone(pid))

    locker = wait_for_a_job_then(database, lock_until_it_has_crashed)
    outcome = attempt('say("log", text=str(os.getpid())); time.sleep(1); sys.exit(3)')
    locker.join()

    assert "exit code 3" in outcome
    assert (the_job(database).state, the_job(database).crashes) == ("queued", 1)


def test_a_worker_that_leaves_in_the_outage_gives_the_job_back_after_it(database: Database, attempt: Attempt) -> None:
    stop = StopFlag()

    def lock_and_leave() -> None:
        pid = trainers_pid(database)

        def leave_and_wait() -> bool:
            stop.set()  # the lock is held by now
            return is_gone(pid)

        locked_until(database, leave_and_wait)

    locker = wait_for_a_job_then(database, lock_and_leave)
    program = (
        'signal.signal(signal.SIGTERM, lambda *_: os._exit(75)); say("log", text=str(os.getpid())); time.sleep(60)'
    )
    outcome = attempt(program, stop=stop)
    locker.join()

    assert (outcome, the_job(database).state, the_job(database).crashes) == ("released", "queued", 0)


def test_a_worker_that_can_not_wait_for_the_end_of_the_outage_counts_no_crash_either(
    database: Database, attempt: Attempt, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "LAST_WRITES_S", 0.5)
    stop, has_left = StopFlag(), threading.Event()

    def leave_and_wait() -> bool:
        stop.set()  # the lock is held by now
        return has_left.is_set()

    def lock_and_leave() -> None:
        locked_until(database, leave_and_wait)

    locker = wait_for_a_job_then(database, lock_and_leave)
    program = 'signal.signal(signal.SIGTERM, lambda *_: os._exit(75)); say("log", text="working"); time.sleep(60)'
    outcome = attempt(program, stop=stop)
    has_left.set()
    locker.join()
    with database.write() as connection:
        connection.execute(update(tables.attempt).values(pid_started="0"))  # its process has ended
    leases.reap(database, settings=settings)

    job = the_job(database)
    assert outcome == "left: the database did not answer"
    assert (job.state, job.crashes, outcomes(database)) == ("queued", 0, ["lost_lease"])


@pytest.mark.parametrize(
    "fault",
    [OperationalError("SELECT 1", {}, Exception("the server is gone")), PoolTimeoutError("QueuePool limit")],
    ids=["away", "no connection"],
)
def test_an_outage_before_the_trainer_starts_is_no_crash(
    database: Database, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def refuse(*_given: object, **_named: object) -> None:
        raise fault

    monkeypatch.setattr(supervisor, "assign", refuse)

    outcome = attempt('say("result", **RESULT)')

    job = the_job(database)
    assert outcome == "released: the database did not answer"
    assert (job.state, job.crashes, outcomes(database)) == ("queued", 0, ["released"])


def test_a_worker_taken_for_lost_takes_its_crash_back(database: Database, attempt: Attempt, settings: Settings) -> None:
    def take_for_lost() -> None:
        with database.write() as connection:
            connection.execute(update(tables.attempt).values(host="elsewhere"))
            connection.execute(update(tables.job).values(lease_expires_at=0))
        leases.reap(database, settings=settings.model_copy(update={"backoff_s": 60}))
        counted.append(the_job(database).crashes)

    counted: list[int] = []
    thief = wait_for_a_job_then(database, take_for_lost)
    outcome = attempt('say("log", text="working"); time.sleep(60)')
    thief.join()

    assert outcome.startswith("stale")
    assert (counted, the_job(database).crashes, outcomes(database)) == ([1], 0, ["lost_lease"])


SUPERVISE = """
import sys
from pathlib import Path
from models_store.jobs import claims
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.settings import Settings
from workers.process.supervisor import StopFlag, supervise
url, home, trainer = sys.argv[1:]
settings = Settings(espalier_home=Path(home), beat_s=0.2, lease_s=5, beat_deadline_s=4, stall_s=9, stop_grace_s=5)
database = Database(url, patience_s=5)
claim = claims.claim(database, settings=settings)
print("claimed", flush=True)
blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
print(supervise(database, blobs, claim, settings=settings, stop=StopFlag(), command=[sys.executable, trainer]))
"""


class StoppableSupervisor:
    """A supervisor in a process of its own, and its trainer."""

    def __init__(self, database: Database, settings: Settings, folder: Path, program: str) -> None:
        submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
        trainer = folder / "trainer.py"
        trainer.write_text(SPEAK + program)
        arguments = [str(database.engine.url), str(settings.espalier_home), str(trainer)]
        command = [sys.executable, "-c", SUPERVISE, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._database = database
        assert self._read() == "claimed"
        deadline = time.monotonic() + 30
        while not events.after(database, the_job(database).id, 0, kinds=("log",)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop_until_the_lease_has_run_out(self) -> None:
        while not self._stops_outside_a_transaction():
            os.kill(self.process.pid, signal.SIGCONT)
            time.sleep(0.05)
        job = the_job(self._database)
        while time.time() < (job.lease_expires_at or 0) + 0.5:
            time.sleep(0.1)

    def _stops_outside_a_transaction(self) -> bool:
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            with self._database.write():
                return True
        except UNAVAILABLE:
            return False

    def outcome(self) -> str:
        """Let it run on, and return how its attempt ended."""
        os.kill(self.process.pid, signal.SIGCONT)
        return self._read()


@pytest.fixture
def stoppable(database: Database, settings: Settings, tmp_path: Path) -> Callable[[str], StoppableSupervisor]:
    return lambda program: StoppableSupervisor(database, settings, tmp_path, program)


def test_a_supervisor_that_was_stopped_goes_on_if_nobody_took_its_job(
    database: Database, stoppable: Callable[[str], StoppableSupervisor]
) -> None:
    supervisor = stoppable('say("log", text=str(os.getpid())); time.sleep(12); say("result", **RESULT)')

    supervisor.stop_until_the_lease_has_run_out()
    time.sleep(3)  # longer than the deadline for a heartbeat, and the stall limit with it
    outcome = supervisor.outcome()
    supervisor.process.wait(30)

    job = the_job(database)
    assert (outcome, job.state, job.crashes) == ("succeeded: leaves:1", "succeeded", 0)


def test_a_stopped_supervisor_loses_its_job_without_a_crash_and_ends_its_trainer(
    database: Database, settings: Settings, stoppable: Callable[[str], StoppableSupervisor]
) -> None:
    supervisor = stoppable('say("log", text=str(os.getpid())); time.sleep(60)')
    pid = trainers_pid(database)

    supervisor.stop_until_the_lease_has_run_out()
    taken_back = leases.reap(database, settings=settings)
    outcome = supervisor.outcome()
    supervisor.process.wait(30)

    job = the_job(database)
    assert taken_back == [job.id]
    assert outcome.startswith("stale")
    assert (job.state, job.crashes, outcomes(database)) == ("queued", 0, ["lost_lease"])
    assert is_gone(pid)


def test_a_stopped_supervisor_that_is_killed_counts_as_a_crash(
    database: Database, settings: Settings, stoppable: Callable[[str], StoppableSupervisor]
) -> None:
    supervisor = stoppable('say("log", text=str(os.getpid())); time.sleep(60)')

    supervisor.stop_until_the_lease_has_run_out()
    supervisor.process.kill()
    supervisor.process.wait(30)
    leases.reap(database, settings=settings)

    assert (the_job(database).state, the_job(database).crashes) == ("queued", 1)


def test_the_clock_of_a_process_leaves_out_the_time_in_which_it_was_stopped() -> None:
    moments = iter([0.0, 0.5, 1.0, 3600.0, 3600.5])
    clock = AwakeClock(clock=lambda: next(moments))

    readings = [clock() for _ in range(4)]

    assert readings[:2] == [0.5, 1.0]
    assert readings[2:] == [1.0, 1.5]


def test_the_clock_counts_on_while_one_thread_waits() -> None:
    clock = AwakeClock()
    readings = [clock()]
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.2):
            clock()

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(4)  # longer than the gap that would be taken for a stop
    readings.append(clock())
    watching.set()
    thread.join()

    assert readings[1] - readings[0] > 3.5
