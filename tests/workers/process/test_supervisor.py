"""The supervisor against trainers that misbehave: small real processes in the place of `workers.process.trainer`."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models_store.datasets import store as datasets
from models_store.errors import NotFound
from models_store.jobs import claims, events, leases, stage_costs, submissions
from models_store.jobs import logs as job_logs
from models_store.jobs import store as jobs
from models_store.jobs.job import digest_of
from models_store.models import registry
from models_store.settings import Settings
from models_store.storage.database import Database
from tests import databases
from tests.samples import a_train_spec, insert_dataset, quick_settings
from tests.workers.process.attempts import OWNER, Attempt, the_job, wait_for_a_job_then
from workers.process import supervisor
from workers.process.claim_loop import work
from workers.process.supervisor import StopFlag
from workers.process.trainer_process import environment


@pytest.fixture
def database(tmp_path: Path) -> Database:
    store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(store, owner=OWNER)
    return store


def test_what_the_trainer_hands_over_is_published(database: Database, attempt: Attempt) -> None:
    outcome = attempt('say("phase", phase="training"); say("progress", fraction=0.5); say("result", **RESULT)')

    assert outcome == "succeeded: leaves:1"
    assert the_job(database).result == {"model": "leaves", "version": 1}
    kinds = [event.kind for event in events.after(database, the_job(database).id, 0)]
    assert kinds == ["state", "state", "phase", "progress", "state"]


def test_a_fitted_plan_is_the_jobs_spec_from_then_on(database: Database, attempt: Attempt) -> None:
    outcome = attempt(
        'spec = json.load(open(assignment))["spec"]\n'
        'spec["training"] |= {"epochs": 1, "fit_to_budget": []}\n'
        'say("plan", spec=spec); say("log", text="fitted"); os._exit(75)'
    )

    job = the_job(database)
    assert outcome == "released"
    assert (job.spec["training"]["epochs"], job.spec["training"]["fit_to_budget"]) == (1, [])
    assert job.spec_sha256 == digest_of(job.spec)
    assert "plan" not in [event.kind for event in events.after(database, job.id, 0)]


def test_what_its_stages_took_is_kept_for_estimates_and_is_no_event(database: Database, attempt: Attempt) -> None:
    attempt('say("cost", stage="training", seconds=7.0, epochs=2, memory_bytes=1000); say("result", **RESULT)')

    job = the_job(database)
    card = datasets.find(database, job.dataset_id, owner=OWNER).card
    found = stage_costs.estimates(database, stage_costs.features_of(job.spec, card))
    assert found["training"].seconds.middle == pytest.approx(7.0 * job.spec["training"]["epochs"] / 2)
    assert "cost" not in [event.kind for event in events.after(database, job.id, 0)]


def test_what_is_likely_to_be_wrong_is_kept_with_the_job_and_not_with_its_repetition(
    database: Database, settings: Settings, attempt: Attempt
) -> None:
    attempt(
        'say("warning", text="it blew up"); say("warning", text="it blew up")\n'
        'say("problem", status=422, code="diverged", title="Diverged", detail="it blew up", errors=[]); os._exit(65)'
    )

    job = the_job(database)
    again = submissions.retry(database, job.id, owner=OWNER, settings=settings)
    assert job.warnings == ["found while it ran: it blew up"]
    assert again.warnings == []


def test_what_a_measuring_trainer_hands_over_replaces_figures(
    database: Database, attempt: Attempt, settings: Settings
) -> None:
    attempt('say("result", **RESULT)')
    action = submissions.Action("measure", {"model": "leaves", "version": 1})
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, action=action)

    outcome = attempt(
        'say("result", measured={"fp32": {"cpu": {"speedup": 1.0, "accepted": True}}}, defaults={"cpu": "fp32"})'
    )

    version = registry.version(database, "leaves", 1, owner=OWNER)
    assert (outcome, the_job(database).kind, the_job(database).state) == ("succeeded", "measure", "succeeded")
    assert version.variants[0].card["measured"]["cpu"] == {"speedup": 1.0, "accepted": True}
    assert version.defaults == {"cpu": "fp32"}


def test_a_trainer_that_dies_is_a_crash_with_its_last_words(database: Database, attempt: Attempt) -> None:
    outcome = attempt('print("out of luck", flush=True); sys.exit(3)')

    job = the_job(database)
    assert "exit code 3" in outcome
    assert (job.state, job.crashes) == ("queued", 1)
    logs = events.after(database, job.id, 0, kinds=("log",))
    assert "out of luck" in logs[0].data["text"]


def test_a_result_of_a_trainer_that_then_dies_is_not_published(database: Database, attempt: Attempt) -> None:
    attempt('say("result", **RESULT); os.kill(os.getpid(), signal.SIGKILL)')

    assert the_job(database).state == "queued"
    assert registry.models(database, owner=OWNER) == ([], None)


def test_a_problem_of_the_users_is_final(database: Database, attempt: Attempt) -> None:
    attempt('say("problem", code="diverged", detail="the loss is not a number"); sys.exit(65)')

    job = the_job(database)
    assert (job.state, job.crashes, job.problem["code"]) == ("failed", 0, "diverged")


def test_a_trainer_without_progress_is_ended(database: Database, attempt: Attempt) -> None:
    outcome = attempt("time.sleep(60)", stall_s=0.5)

    assert "no progress" in outcome
    assert the_job(database).crashes == 1


def test_time_that_passes_is_told_as_progress_and_does_not_count_as_such(database: Database, attempt: Attempt) -> None:
    outcome = attempt('[(say("tick", fraction=n / 1000), time.sleep(0.1)) for n in range(1, 600)]', stall_s=1.0)

    job = the_job(database)
    assert "no progress" in outcome
    assert 0 < job.progress["fraction"] < 0.5
    assert job.crashes == 1


WATCHED = """
from workers.process import liveness
from workers.process.reporting import PipeReporter
reporter = PipeReporter(int(reports), plan=[("exporting", 1.0)])
liveness.report_work(reporter.alive, stall_s=2.0)
reporter.phase("exporting")
reporter.progress(0.0, step="fp32")
"""


def test_an_urgent_job_that_stands_still_holds_up_the_next_one_for_minutes_at_most(
    database: Database, attempt: Attempt, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "URGENT_STALL_S", 0.5)
    submissions.submit(
        database, owner=OWNER, spec=a_train_spec(), settings=settings, action=submissions.Action("preview", {})
    )

    outcome = attempt('say("phase", phase="drawing"); time.sleep(600)')

    assert "no progress for 0.5 s while drawing" in outcome


def test_one_long_call_that_calculates_is_no_stall(database: Database, attempt: Attempt) -> None:
    outcome = attempt(
        WATCHED
        + """
end = time.monotonic() + 5
while time.monotonic() < end:
    sum(range(100_000))
say("result", **RESULT)
""",
        stall_s=2.0,
    )

    assert outcome == "succeeded: leaves:1"
    assert the_job(database).crashes == 0


def test_one_long_call_whose_child_calculates_is_no_stall(attempt: Attempt) -> None:
    outcome = attempt(
        WATCHED
        + """
import subprocess
program = "import time; end = time.monotonic() + 5\\nwhile time.monotonic() < end: sum(range(100_000))"
subprocess.run([sys.executable, "-c", program], check=True)
say("result", **RESULT)
""",
        stall_s=2.0,
    )

    assert outcome == "succeeded: leaves:1"


def test_one_long_call_that_waits_for_ever_is_a_stall_told_by_its_stage(database: Database, attempt: Attempt) -> None:
    outcome = attempt(WATCHED + "time.sleep(60)", stall_s=2.0, max_crashes=1)

    problem = the_job(database).problem
    assert "no progress for 2 s while exporting (fp32)" in outcome
    assert problem is not None
    assert problem["code"] == "worker_lost"
    assert "while exporting (fp32)" in problem["detail"]
    assert "memory" not in problem["detail"]


def test_a_killed_trainer_is_not_blamed_on_memory_without_a_sign_of_it(database: Database, attempt: Attempt) -> None:
    attempt('say("phase", phase="training"); time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)', max_crashes=1)

    problem = the_job(database).problem
    assert problem is not None
    assert "killed (SIGKILL) while training" in problem["detail"]
    assert "batch_size" not in problem["detail"]


def test_a_cancel_ends_the_trainer_and_publishes_nothing(database: Database, attempt: Attempt) -> None:
    canceler = wait_for_a_job_then(database, lambda: jobs.cancel(database, the_job(database).id, owner=OWNER))

    outcome = attempt('say("log", text="working"); time.sleep(60)')
    canceler.join()

    assert (outcome, the_job(database).state) == ("canceled", "canceled")
    assert registry.models(database, owner=OWNER) == ([], None)


def test_a_trainer_that_ignores_the_cancel_is_killed_after_the_grace(database: Database, attempt: Attempt) -> None:
    canceler = wait_for_a_job_then(database, lambda: jobs.cancel(database, the_job(database).id, owner=OWNER))

    program = 'signal.signal(signal.SIGTERM, signal.SIG_IGN); say("log", text=str(os.getpid())); time.sleep(60)'
    outcome = attempt(program, stop_grace_s=0.3)
    canceler.join()

    assert outcome == "canceled"
    pid = int(events.after(database, the_job(database).id, 0, kinds=("log",))[0].data["text"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_cancel_during_publishing_wins(database: Database, attempt: Attempt) -> None:
    canceler = wait_for_a_job_then(database, lambda: jobs.cancel(database, the_job(database).id, owner=OWNER))

    attempt('say("log", text="almost"); time.sleep(1); say("result", **RESULT)', beat_s=0.9)
    canceler.join()

    assert the_job(database).state == "canceled"
    assert registry.models(database, owner=OWNER) == ([], None)


def test_a_leaving_worker_gives_the_job_back_without_a_crash(database: Database, attempt: Attempt) -> None:
    stop = StopFlag()
    stopper = wait_for_a_job_then(database, stop.set)

    program = 'signal.signal(signal.SIGTERM, lambda *_: os._exit(75)); say("log", text="working"); time.sleep(60)'
    outcome = attempt(program, stop=stop)
    stopper.join()

    job = the_job(database)
    assert (outcome, job.state, job.crashes) == ("released", "queued", 0)


def test_a_checkpoint_is_kept_for_the_next_attempt(database: Database, attempt: Attempt) -> None:
    attempt('say("checkpoint", sha256="c" * 64); sys.exit(1)')

    assert the_job(database).checkpoints == ["c" * 64]


def test_whoever_lost_the_claim_kills_its_trainer_and_publishes_nothing(
    database: Database, attempt: Attempt, settings: Settings
) -> None:
    late = settings.model_copy(update={"max_crashes": 9, "backoff_s": 60})

    def take_away() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET lease_expires_at = 0")
        leases.reap(database, settings=late)

    thief = wait_for_a_job_then(database, take_away)
    outcome = attempt('say("log", text="working"); time.sleep(60); say("result", **RESULT)', beat_s=0.3)
    thief.join()

    assert outcome.startswith("stale")
    assert registry.models(database, owner=OWNER) == ([], None)


def test_no_folder_is_left_behind(attempt: Attempt, settings: Settings) -> None:
    attempt('open(os.path.dirname(assignment) + "/half-written", "w").close(); sys.exit(1)')

    assert list((settings.scratch / "staging").iterdir()) == []


def test_a_stale_supervisor_leaves_its_successors_folder_alone(
    database: Database, attempt: Attempt, settings: Settings
) -> None:
    late = settings.model_copy(update={"max_crashes": 9, "backoff_s": 0})
    successors: list[Path] = []

    def take_over() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET lease_expires_at = 0")
        leases.reap(database, settings=late)
        second = claims.claim(database, settings=late)
        assert second is not None
        successors.append(settings.scratch / "staging" / second.job.id / str(second.fence))
        successors[0].mkdir(parents=True)

    thief = wait_for_a_job_then(database, take_over)
    outcome = attempt('say("log", text="working"); time.sleep(2)', beat_s=0.3)
    thief.join()

    assert outcome.startswith("stale")
    assert successors[0].is_dir()


def test_a_trainer_is_killed_while_the_database_hangs(
    database: Database, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[float] = []
    beat = claims.beat

    def hang_once(*given: object, **named: object) -> object:
        if not events.after(database, the_job(database).id, 0, kinds=("log",)):
            return beat(*given, **named)  # type: ignore[arg-type]
        pid = int(events.after(database, the_job(database).id, 0, kinds=("log",))[0].data["text"])
        began = time.monotonic()
        while time.monotonic() - began < 20 and Path(f"/proc/{pid}").exists():
            time.sleep(0.05)
        deaths.append(time.monotonic() - began)
        raise OperationalError("SELECT 1", {}, TimeoutError())

    monkeypatch.setattr(claims, "beat", hang_once)

    outcome = attempt('say("log", text=str(os.getpid())); time.sleep(60)', beat_deadline_s=4)

    assert outcome.startswith("left: no heartbeat")
    assert deaths
    assert deaths[0] < 20


def test_a_fault_of_the_host_is_tried_again_with_its_checkpoints(database: Database, attempt: Attempt) -> None:
    program = 'say("checkpoint", sha256="c" * 64); say("trouble", detail="there is no room left"); sys.exit(71)'

    outcome = attempt(program)

    job = the_job(database)
    assert "no room left" in outcome
    assert (job.state, job.crashes, job.checkpoints) == ("queued", 1, ["c" * 64])


def test_the_trainer_sees_no_secrets(database: Database, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")

    attempt('say("log", text=str(sorted(n for n in os.environ if n in ("DATABASE_URL", "API_KEYS", "BROKER_URL"))))')

    assert events.after(database, the_job(database).id, 0, kinds=("log",))[0].data["text"] == "[]"


def test_the_trainer_is_told_to_stop_by_sigterm(database: Database, attempt: Attempt) -> None:
    stop = StopFlag()
    program = (
        'signal.signal(signal.SIGTERM, lambda number, _: (say("log", text=f"got {number}"), os._exit(75)));'
        'say("log", text="working"); time.sleep(60)'
    )
    stopper = wait_for_a_job_then(database, stop.set)

    attempt(program, stop=stop)
    stopper.join()

    logs = [event.data["text"] for event in events.after(database, the_job(database).id, 0, kinds=("log",))]
    assert logs == ["working", f"got {signal.SIGTERM.value}"]


def wait_until_all_have_failed(database: Database, *, count: int) -> None:
    deadline = time.monotonic() + 20
    while [job.state for job in jobs.listing(database, owner=OWNER)[0]] != ["failed"] * count:
        assert time.monotonic() < deadline, jobs.listing(database, owner=OWNER)[0]
        time.sleep(0.02)


@pytest.fixture
def here(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a host on which every job fails at once, for want of its data set."""

    def refuse(*_: object, **__: object) -> None:
        raise NotFound("the data set is gone")

    monkeypatch.setattr(supervisor, "assign", refuse)
    return settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'store.db'}"})


def test_a_supervisor_that_lingers_takes_the_job_that_comes_next(database: Database, here: Settings) -> None:
    stop = StopFlag()
    done: list[int] = []
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=here)
    thread = threading.Thread(target=lambda: done.append(work(here, stop=stop, linger_s=60)))

    thread.start()
    wait_until_all_have_failed(database, count=1)
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=here)
    wait_until_all_have_failed(database, count=2)
    stop.set()
    thread.join(timeout=20)

    assert done == [2]


def test_a_supervisor_that_was_woken_for_nothing_leaves_at_once(here: Settings, database: Database) -> None:
    assert jobs.listing(database, owner=OWNER)[0] == []
    assert work(here, stop=StopFlag(), linger_s=10_000) == 0


def test_a_supervisor_that_could_not_write_down_an_end_leaves_so_that_the_job_is_taken_back(
    database: Database, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "fail", lambda *_: None)  # what a database that is away leaves of it
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=here)

    assert work(here, stop=StopFlag(), linger_s=10_000) == 1
    assert the_job(database).state == "running"


@pytest.mark.parametrize(
    "name",
    ["DATABASE_URL", "broker_url", "API_KEYS", "PGPASSWORD", "PGPASSFILE", "POSTGRES_PASSWORD", "VALKEY_PASSWORD"],
)
def test_a_trainer_is_given_no_password_of_the_database_or_the_broker(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick_settings(tmp_path)
    monkeypatch.setenv(name, "secret")

    assert "secret" not in environment(settings).values()


def test_a_trainer_reports_nothing_to_the_makers_of_its_libraries(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")

    assert environment(settings)["ORT_DISABLE_TELEMETRY"] == "1"


def log_lines(database: Database) -> list[job_logs.Line]:
    page = job_logs.page(database, the_job(database).id, kind="train", after=0, limit=20_000)
    return page.lines


def test_a_trainers_lines_are_kept_with_stage_attempt_and_level(database: Database, attempt: Attempt) -> None:
    attempt(
        'reporting = __import__("workers.process.reporting").process.reporting;'
        'reporter = reporting.PipeReporter(int(reports), plan=[("training", 1.0)]);'
        'reporter.phase("training"); reporter.progress(0.5, epochs=5);'
        'reporter.metrics(epoch=1, train_loss=0.41234); reporter.warn("int8\\x1b[31m fails");'
        'reporter.end_phase(); say("result", **RESULT)'
    )

    lines = [(line.attempt, line.level, line.stage, line.message) for line in log_lines(database)]
    assert lines[2:5] == [
        (1, "info", "training", "training begins"),
        (1, "info", "training", "epoch 1 of 5: train_loss 0.4123"),
        (1, "warning", "training", "int8 fails"),
    ]
    assert lines[5][3].startswith("training took ")
    assert lines[6:] == [(1, "info", None, "succeeded: leaves:1")]


def test_the_last_output_of_a_trainer_that_died_names_no_folder_of_the_host(
    database: Database, attempt: Attempt, tmp_path: Path
) -> None:
    written = str(tmp_path / "data" / "a.bin")
    attempt(f'say("phase", phase="training"); print({written!r}, file=sys.stderr); open("/no/such/b.bin")')

    errors = [line for line in log_lines(database) if line.level == "error"]
    shown = "\n".join(line.message for line in errors)
    assert "FileNotFoundError" in shown
    assert "b.bin" in shown
    assert "/no/such" not in shown
    assert str(tmp_path) not in shown
    assert {(line.attempt, line.stage) for line in errors} == {(1, "training")}


def test_a_trainer_that_writes_without_end_is_cut_short_and_a_line_says_so(
    database: Database, attempt: Attempt
) -> None:
    attempt('[say("log", text=f"line {n}") for n in range(3000)]; say("result", **RESULT)')

    messages = [line.message for line in log_lines(database)]
    kept = [message for message in messages if message.startswith("line ")]
    left_out = [int(message.split()[0].replace(",", "")) for message in messages if "left out here" in message]
    assert kept[0] == "line 0"
    assert 500 <= len(kept) < 3000
    assert len(kept) + sum(left_out) == 3000


def test_lines_that_come_together_are_written_together(database: Database, attempt: Attempt) -> None:
    commits: list[object] = []
    event.listen(database.engine, "commit", commits.append)

    attempt('[(say("log", text=f"line {n}"), time.sleep(0.005)) for n in range(200)]; say("result", **RESULT)')

    assert sum(line.message.startswith("line ") for line in log_lines(database)) == 200
    assert len(commits) < 100
