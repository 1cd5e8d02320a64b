"""Parents and children in the database: who waits, who is woken, who is canceled with whom."""

import threading

import pytest
from sqlalchemy.exc import IntegrityError

from models_store.jobs import children, claims, events, leases, results, submissions
from models_store.jobs import store as jobs
from models_store.jobs.children import NewChild
from models_store.jobs.claims import Claim, Stale
from models_store.settings import Settings
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
SEARCH = {"kind": "random", "trials": 3, "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}}
PROBLEM = {"code": "diverged", "detail": "the loss is not a number"}


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


@pytest.fixture
def parent(database: Database, settings: Settings) -> Claim:
    """A search that a worker has just claimed."""
    submissions.submit(database, owner=OWNER, spec=a_train_spec(search=SEARCH), settings=settings)
    return claimed(database, settings)


def claimed(database: Database, settings: Settings) -> Claim:
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    return claim


def a_child(number: int, **given: object) -> NewChild:
    return NewChild(number, "trial", a_train_spec().model_dump(mode="json"), **given)  # type: ignore[arg-type]


def wait_for(database: Database, claim: Claim, *new: NewChild, ended: int = 0) -> list[str]:
    return children.wait_for(database, claim, new, ended=ended, phase="trials", progress={"fraction": 0.0})


def succeed(database: Database, claim: Claim, **result: object) -> None:
    with database.write() as connection:
        claims.succeed(connection, claim, dict(result), files={"answers": "a" * 64})


def state(database: Database, job_id: str) -> str:
    return jobs.find(database, job_id, owner=OWNER).state


def test_a_spec_with_a_search_makes_a_parent(parent: Claim) -> None:
    assert (parent.job.kind, parent.job.progress) == ("search", {"fraction": 0.0, "children": 4, "ended": 0})


def test_a_parent_waits_without_a_worker_while_its_children_run(
    database: Database, settings: Settings, parent: Claim
) -> None:
    first, second = wait_for(database, parent, a_child(0), a_child(1))

    running = [claimed(database, settings).job for _ in range(2)]

    assert state(database, parent.job.id) == "waiting"
    assert [(job.id, job.number, job.parent_id) for job in running] == [
        (first, 0, parent.job.id),
        (second, 1, parent.job.id),
    ]
    assert claims.claim(database, settings=settings) is None
    assert leases.reap(database, settings=settings) == []


def test_every_end_of_a_child_wakes_its_parent(database: Database, settings: Settings, parent: Claim) -> None:
    once = settings.model_copy(update={"max_crashes": 1})
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET max_crashes = 1")
    woken = []

    for number, end in enumerate(("succeed", "fail", "cancel", "canceled while it waits", "crash", "reap")):
        (child_id,) = wait_for(database, parent, a_child(number), ended=number)
        if end == "canceled while it waits":
            jobs.cancel(database, child_id, owner=OWNER)
        else:
            child = claimed(database, once.model_copy(update={"lease_s": -1.0 if end == "reap" else 20}))
            assert child.job.id == child_id
            if end == "succeed":
                succeed(database, child, value=0.5)
            elif end == "fail":
                claims.fail(database, child, PROBLEM)
            elif end == "cancel":
                jobs.cancel(database, child_id, owner=OWNER)
                claims.confirm_cancel(database, child)
            elif end == "crash":
                claims.crash(database, child, settings=once, reason="it was killed")
            else:
                with database.write() as connection:
                    connection.exec_driver_sql("UPDATE attempt SET host = 'elsewhere'")
                leases.reap(database, settings=once)
        woken.append((end, state(database, parent.job.id)))
        parent = claimed(database, settings)

    assert {state for _, state in woken} == {"queued"}
    told = [event.data for event in events.after(database, parent.job.id, 0, kinds=("child",))]
    assert [each["number"] for each in told] == [0, 1, 2, 3, 4, 5]
    assert [each["state"] for each in told] == ["succeeded", "failed", "canceled", "canceled", "failed", "failed"]
    assert (told[0]["value"], told[1]["problem"]) == (0.5, PROBLEM["detail"])


def test_a_child_that_is_given_back_wakes_nobody(database: Database, settings: Settings, parent: Claim) -> None:
    wait_for(database, parent, a_child(0))

    claims.release(database, claimed(database, settings))

    assert state(database, parent.job.id) == "waiting"


def test_a_child_that_ended_while_the_step_was_decided_wakes_its_parent_all_the_same(
    database: Database, settings: Settings, parent: Claim
) -> None:
    wait_for(database, parent, a_child(0), a_child(1))
    children_claims = [claimed(database, settings) for _ in range(2)]
    succeed(database, children_claims[0])
    parent = claimed(database, settings)
    succeed(database, children_claims[1])  # the parent runs: nobody waits to be woken

    wait_for(database, parent, a_child(2), ended=1)

    assert state(database, parent.job.id) == "queued"


def test_ends_and_steps_at_the_same_time_leave_no_parent_asleep(
    database: Database, settings: Settings, parent: Claim
) -> None:
    wait_for(database, parent, a_child(0), a_child(1))
    running = [claimed(database, settings) for _ in range(2)]
    succeed(database, running[0])
    parent = claimed(database, settings)
    start = threading.Barrier(2)

    def end() -> None:
        start.wait()
        succeed(database, running[1])

    ender = threading.Thread(target=end)
    ender.start()
    start.wait()
    wait_for(database, parent, ended=1)
    ender.join()

    assert state(database, parent.job.id) == "queued"


def test_no_child_is_submitted_twice(database: Database, settings: Settings, parent: Claim) -> None:
    (child_id,) = wait_for(database, parent, a_child(0))
    succeed(database, claimed(database, settings))
    again = claimed(database, settings)

    with pytest.raises(IntegrityError):
        wait_for(database, again, a_child(0), ended=1)

    assert [child.id for child in children.of(database, parent.job.id)] == [child_id]
    assert state(database, parent.job.id) == "running"


def test_a_step_of_a_worker_that_lost_its_parent_submits_nothing(
    database: Database, settings: Settings, parent: Claim
) -> None:
    claims.release(database, parent)
    claimed(database, settings)

    with pytest.raises(Stale):
        wait_for(database, parent, a_child(0))

    assert children.of(database, parent.job.id) == []


def test_a_child_that_cannot_begin_has_failed_and_its_parent_goes_on(
    database: Database, settings: Settings, parent: Claim
) -> None:
    queued = wait_for(database, parent, a_child(0, problem=PROBLEM))

    (child,) = children.of(database, parent.job.id)
    assert (queued, child.state, child.problem) == ([], "failed", PROBLEM)
    assert claimed(database, settings).job.id == parent.job.id


def test_a_canceled_parent_cancels_those_that_wait_and_tells_those_that_run(
    database: Database, settings: Settings, parent: Claim
) -> None:
    first, second = wait_for(database, parent, a_child(0), a_child(1))
    running = claimed(database, settings)

    jobs.cancel(database, parent.job.id, owner=OWNER)

    assert state(database, parent.job.id) == "canceled"
    assert (running.job.id, state(database, first), state(database, second)) == (first, "running", "canceled")
    assert claims.beat(database, running, settings=settings).cancel is True
    claims.confirm_cancel(database, running)
    assert state(database, parent.job.id) == "canceled"
    assert claims.claim(database, settings=settings) is None


def test_a_parent_that_is_canceled_during_its_step_submits_nothing(database: Database, parent: Claim) -> None:
    jobs.cancel(database, parent.job.id, owner=OWNER)

    with pytest.raises(Stale):
        wait_for(database, parent, a_child(0))
    claims.confirm_cancel(database, parent)

    assert (state(database, parent.job.id), children.of(database, parent.job.id)) == ("canceled", [])


def test_a_finished_parent_gives_up_the_files_of_those_that_are_not_needed(
    database: Database, settings: Settings, parent: Claim
) -> None:
    wait_for(database, parent, a_child(0), a_child(1))
    for claim in [claimed(database, settings) for _ in range(2)]:
        succeed(database, claim)

    children.finish(database, claimed(database, settings), results.Repeated("val_loss", runs=[]), keep_files_of=(1,))

    assert state(database, parent.job.id) == "succeeded"
    assert [child.files for child in children.of(database, parent.job.id)] == [None, {"answers": "a" * 64}]


def test_a_parent_that_crashed_too_often_takes_its_children_with_it(
    database: Database, settings: Settings, parent: Claim
) -> None:
    quick = settings.model_copy(update={"backoff_s": 0.0})
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET max_crashes = 1")
    first, second = wait_for(database, parent, a_child(0), a_child(1))
    jobs.cancel(database, first, owner=OWNER)
    again = claimed(database, quick)

    claims.crash(database, again, settings=quick, reason="it was killed")

    assert (again.job.id, state(database, again.job.id), state(database, second)) == (
        parent.job.id,
        "failed",
        "canceled",
    )


def test_a_crash_between_steps_is_forgotten_by_the_next_step(
    database: Database, settings: Settings, parent: Claim
) -> None:
    quick = settings.model_copy(update={"backoff_s": 0.0})
    claims.crash(database, parent, settings=quick, reason="it was killed")

    wait_for(database, claimed(database, quick), a_child(0))

    assert jobs.find(database, parent.job.id, owner=OWNER).crashes == 0


def test_lists_of_jobs_leave_children_out_unless_their_parent_is_named(database: Database, parent: Claim) -> None:
    made = wait_for(database, parent, a_child(0), a_child(1))

    alone, _ = jobs.listing(database, owner=OWNER)
    below, _ = jobs.listing(database, owner=OWNER, parent=parent.job.id)

    assert [job.id for job in alone] == [parent.job.id]
    assert [job.id for job in below] == made[::-1]


def test_children_come_in_pages_by_number(database: Database, parent: Claim) -> None:
    wait_for(database, parent, *(a_child(number) for number in range(5)))

    first, following = children.page(database, parent.job.id, limit=3)
    assert following is not None
    second, end = children.page(database, parent.job.id, limit=3, after=following)

    assert [child.number for child in first + second] == [0, 1, 2, 3, 4]
    assert end is None


def test_an_epoch_that_was_done_twice_counts_as_it_was_done_last(
    database: Database, settings: Settings, parent: Claim
) -> None:
    (child_id,) = wait_for(database, parent, a_child(0))
    child = claimed(database, settings)
    for epoch, value in ((1, 0.1), (2, 0.2), (2, 0.3)):
        claims.report(database, child, [("metrics", {"epoch": epoch, "val_accuracy": value})])

    measured = children.metrics(database, parent.job.id)

    assert [row["val_accuracy"] for row in measured[child_id]] == [0.1, 0.3]


def test_a_child_is_not_retried_by_itself(database: Database, settings: Settings, parent: Claim) -> None:
    (child_id,) = wait_for(database, parent, a_child(0))
    claims.fail(database, claimed(database, settings), PROBLEM)

    with pytest.raises(jobs.ChildNotRetried):
        submissions.retry(database, child_id, owner=OWNER, settings=settings)


def test_a_retried_parent_begins_with_new_children(database: Database, settings: Settings, parent: Claim) -> None:
    wait_for(database, parent, a_child(0))
    jobs.cancel(database, parent.job.id, owner=OWNER)

    again = submissions.retry(database, parent.job.id, owner=OWNER, settings=settings)

    assert (again.kind, again.state, children.of(database, again.id)) == ("search", "queued", [])
