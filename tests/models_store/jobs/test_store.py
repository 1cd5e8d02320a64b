import pytest
from sqlalchemy import select

from models_store.datasets import store as datasets
from models_store.jobs import claims, events, housekeeping, idempotency, leases, queue, schedule, submissions
from models_store.jobs import store as jobs
from models_store.jobs.claims import Stale
from models_store.settings import Settings
from models_store.spec.transfer import Transfer
from models_store.storage import tables
from models_store.storage.database import Database
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import DATASET_ID, a_train_spec, insert_dataset

OWNER = "ada"
OLDER_SPEC = {
    "task": "image_classification",
    "name": "leaves",
    "dataset": DATASET_ID,
    "seed": 0,
    "input": {"size": 64, "channels": 3, "fit": "crop"},
    "backbone": {"kind": "small_cnn", "weights": None, "freeze": "none"},
    "head": {"hidden_sizes": [], "activation": "relu", "dropout": 0.0},
    "augmentation": [],
    "regularizers": [],
    "loss": {"kind": "cross_entropy", "label_smoothing": 0.0, "class_weights": None},
    "optimizer": {"kind": "adamw", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup_epochs": 0.0, "final_fraction": 0.0},
    "training": {
        "epochs": 20,
        "batch_size": 32,
        "precision": "auto",
        "monitor": "val_accuracy",
        "early_stopping": None,
    },
    "compression": {
        "prune": None,
        "quantize": {"kind": "static_int8", "calibration_images": 128, "per_channel": True},
        "max_accuracy_drop": 0.02,
    },
    "export": {"opset": 20},
}
"""as the first version of the service resolved and kept it"""


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def submit(database: Database, settings: Settings, **given: object) -> jobs.Job:
    return submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, **given)[0]


def states(database: Database, job: jobs.Job) -> list[str]:
    return [event.data["state"] for event in events.after(database, job.id, 0, kinds=("state",))]


def test_a_submitted_job_waits_with_its_resolved_spec(database: Database, settings: Settings) -> None:
    job = submit(database, settings)

    found = jobs.find(database, job.id, owner=OWNER)

    assert (found.state, found.spec["input"]["size"], found.progress) == ("queued", 32, {"fraction": 0.0})


def test_another_owners_job_is_not_found(database: Database, settings: Settings) -> None:
    job = submit(database, settings)

    with pytest.raises(jobs.JobNotFound):
        jobs.find(database, job.id, owner="eve")


def test_the_same_key_and_body_make_one_job(database: Database, settings: Settings) -> None:
    key = idempotency.Key(OWNER, "/train", "key-1", "a" * 64)

    first, first_replayed = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, key=key)
    second, second_replayed = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, key=key)

    assert (first.id, first_replayed, second_replayed) == (second.id, False, True)


def test_a_key_with_another_body_is_refused_and_makes_no_job(database: Database, settings: Settings) -> None:
    submit(database, settings, key=idempotency.Key(OWNER, "/train", "key-1", "a" * 64))

    with pytest.raises(idempotency.InvalidKey):
        submit(database, settings, key=idempotency.Key(OWNER, "/train", "key-1", "b" * 64))

    assert len(jobs.listing(database, owner=OWNER)[0]) == 1


def test_a_job_on_a_deleted_dataset_is_refused(database: Database, settings: Settings) -> None:
    datasets.delete(database, DATASET_ID, owner=OWNER)

    with pytest.raises(jobs.DatasetGone):
        submit(database, settings)


def test_lists_are_newest_first_and_paged(database: Database, settings: Settings) -> None:
    made = [submit(database, settings).id for _ in range(5)]

    first, cursor = jobs.listing(database, owner=OWNER, limit=3)
    second, end = jobs.listing(database, owner=OWNER, limit=3, cursor=cursor)

    assert [job.id for job in first + second] == sorted(made, reverse=True)
    assert end is None


def test_a_job_is_claimed_once(database: Database, settings: Settings) -> None:
    submit(database, settings)

    first = claims.claim(database, settings=settings)

    assert first is not None
    assert claims.claim(database, settings=settings) is None


def test_a_higher_fence_makes_the_earlier_claim_stale(database: Database, settings: Settings) -> None:
    submit(database, settings)
    first = claims.claim(database, settings=settings)
    assert first is not None
    claims.release(database, first)
    second = claims.claim(database, settings=settings)
    assert second is not None

    with pytest.raises(Stale):
        claims.report(database, first, [("progress", {"fraction": 0.9})])

    assert claims.beat(database, second, settings=settings).cancel is False
    assert jobs.find(database, second.job.id, owner=OWNER).progress == {"fraction": 0.0}


def test_a_waiting_job_is_canceled_at_once(database: Database, settings: Settings) -> None:
    job = submit(database, settings)

    jobs.cancel(database, job.id, owner=OWNER)

    assert jobs.find(database, job.id, owner=OWNER).state == "canceled"
    assert claims.claim(database, settings=settings) is None


def test_a_running_job_hears_of_its_cancel_at_the_next_beat(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None

    jobs.cancel(database, job.id, owner=OWNER)

    assert claims.beat(database, claim, settings=settings).cancel is True
    claims.confirm_cancel(database, claim)
    assert states(database, job) == ["queued", "running", "running", "canceled"]


def test_a_job_that_ended_cannot_be_canceled(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.fail(database, claim, {"code": "diverged", "detail": "the loss is not a number"})

    with pytest.raises(jobs.JobFinished):
        jobs.cancel(database, job.id, owner=OWNER)


def test_a_failed_job_is_retried_as_a_new_job_with_the_same_spec(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.fail(database, claim, {"code": "diverged", "detail": "the loss is not a number"})

    again = submissions.retry(database, job.id, owner=OWNER, settings=settings)

    assert (again.state, again.spec_sha256) == ("queued", job.spec_sha256)
    assert again.id != job.id


def test_a_retried_preview_is_a_preview(database: Database, settings: Settings) -> None:
    job = submit(database, settings, action=submissions.Action("preview", {"images": 4}))
    jobs.cancel(database, job.id, owner=OWNER)

    again = submissions.retry(database, job.id, owner=OWNER, settings=settings)

    assert (again.kind, again.parameters, again.priority) == ("preview", {"images": 4}, job.priority)


def test_a_job_that_brings_its_examples_has_no_dataset_and_takes_them_along_when_it_is_retried(
    database: Database, settings: Settings
) -> None:
    files = {"examples": "e" * 64, "manifest": "f" * 64}
    job = submit(database, settings, action=submissions.Action("preview", {"images": 4}, files))
    jobs.cancel(database, job.id, owner=OWNER)

    again = submissions.retry(database, job.id, owner=OWNER, settings=settings)

    assert (job.dataset_id, again.dataset_id, again.files) == (None, None, files)
    assert set(files.values()) <= housekeeping.named_blobs(database)


def test_a_job_from_before_the_vocabulary_grew_is_retried_as_what_it_meant(
    database: Database, settings: Settings
) -> None:
    job = submit(database, settings)
    jobs.cancel(database, job.id, owner=OWNER)
    with database.write() as connection:
        connection.execute(tables.job.update().values(spec=OLDER_SPEC))

    spec = submissions.retry(database, job.id, owner=OWNER, settings=settings).spec

    unchanged = {name: part for name, part in OLDER_SPEC.items() if name != "compression"}
    kept = {name: spec[name] | part if isinstance(part, dict) else part for name, part in unchanged.items()}
    assert {name: spec[name] for name in unchanged} == kept
    assert spec["compression"]["prune"] is None
    assert [(part["kind"], part["calibration_images"]) for part in spec["compression"]["quantize"]] == [
        ("static_int8", 128)
    ]
    assert (spec["search"], spec["validation"], spec["distillation"]) == (None, None, None)
    assert spec["transfer"] == Transfer().model_dump(mode="json")
    assert ResolvedImageSpec.model_validate(spec).model_dump(mode="json") == spec


def claimed_by(
    database: Database, settings: Settings, *, lease_s: float = -1.0, **owner: object
) -> tuple[jobs.Job, claims.Claim]:
    """Submit a job and claim it with a lease that has run out; with `owner`, as if another process had claimed it."""
    job = submit(database, settings)
    return job, claimed_again(database, settings, lease_s=lease_s, **owner)


def claimed_again(database: Database, settings: Settings, *, lease_s: float = -1.0, **owner: object) -> claims.Claim:
    claim = claims.claim(database, settings=settings.model_copy(update={"lease_s": lease_s, "backoff_s": 0.0}))
    assert claim is not None
    if owner:
        mine = (tables.attempt.c.job_id == claim.job.id, tables.attempt.c.fence == claim.fence)
        with database.write() as connection:
            connection.execute(tables.attempt.update().where(*mine).values(**owner))
    return claim


def outcome(database: Database, claim: claims.Claim) -> str:
    mine = (tables.attempt.c.job_id == claim.job.id, tables.attempt.c.fence == claim.fence)
    with database.read() as connection:
        return str(connection.execute(select(tables.attempt.c.outcome).where(*mine)).scalar_one())


@pytest.mark.parametrize("owner", [{"host": "elsewhere"}, {"boot_id": "another container's"}, {"pid_started": "0"}])
def test_a_lost_worker_that_is_not_known_to_live_counts_as_a_crash(
    database: Database, settings: Settings, owner: dict[str, object]
) -> None:
    job, first = claimed_by(database, settings, **owner)

    taken_back = leases.reap(database, settings=settings)

    found = jobs.find(database, job.id, owner=OWNER)
    assert (taken_back, found.state, found.crashes) == ([job.id], "queued", 1)
    with pytest.raises(Stale):
        claims.beat(database, first, settings=settings)


def test_a_living_worker_whose_lease_ran_out_loses_the_job_and_no_crash_counts(
    database: Database, settings: Settings
) -> None:
    job, first = claimed_by(database, settings)
    for _ in range(5):  # more often than a job may crash
        assert leases.reap(database, settings=settings) == [job.id]
        claimed_again(database, settings)

    found = jobs.find(database, job.id, owner=OWNER)
    assert (found.state, found.crashes, found.problem) == ("running", 0, None)
    assert outcome(database, first) == "lost_lease"
    with pytest.raises(Stale):
        claims.beat(database, first, settings=settings)


def test_a_lost_lease_of_a_job_that_is_to_be_canceled_cancels_it(database: Database, settings: Settings) -> None:
    job, _ = claimed_by(database, settings)
    jobs.cancel(database, job.id, owner=OWNER)

    leases.reap(database, settings=settings)

    found = jobs.find(database, job.id, owner=OWNER)
    assert (found.state, found.crashes) == ("canceled", 0)


def test_a_worker_that_proves_to_be_alive_takes_its_crash_back_once(database: Database, settings: Settings) -> None:
    job, first = claimed_by(database, settings, host="elsewhere")
    leases.reap(database, settings=settings)

    answers = [leases.disprove_loss(database, first) for _ in range(2)]

    assert (answers, jobs.find(database, job.id, owner=OWNER).crashes) == ([True, False], 0)
    assert outcome(database, first) == "lost_lease"


def test_a_crash_that_was_seen_is_not_disproved(database: Database, settings: Settings) -> None:
    job, first = claimed_by(database, settings)
    claims.crash(database, first, settings=settings, reason="it was killed")

    assert not leases.disprove_loss(database, first)
    assert jobs.find(database, job.id, owner=OWNER).crashes == 1


@pytest.mark.parametrize("owner", [{"host": "elsewhere"}, {"pid_started": "0"}], ids=["lost", "dead"])
def test_workers_that_are_lost_time_and_again_end_the_job_for_good(
    database: Database, settings: Settings, owner: dict[str, object]
) -> None:
    quick = settings.model_copy(update={"backoff_s": 0.0})
    job, last = claimed_by(database, settings, **owner)
    leases.reap(database, settings=quick)
    for _ in range(2):
        last = claimed_again(database, settings, **owner)
        leases.reap(database, settings=quick)

    leases.disprove_loss(database, last)  # too late: terminal is final

    found = jobs.find(database, job.id, owner=OWNER)
    assert (found.state, (found.problem or {})["code"]) == ("failed", "worker_lost")


def test_a_lease_that_ran_out_within_the_grace_is_left_alone(database: Database, settings: Settings) -> None:
    job, _ = claimed_by(database, settings, lease_s=-30.0, host="elsewhere")

    spared = leases.reap(database, settings=settings, grace_s=60)
    reaped = leases.reap(database, settings=settings, grace_s=10)

    assert (spared, reaped) == ([], [job.id])


def test_a_living_owners_job_is_left_alone(database: Database, settings: Settings) -> None:
    submit(database, settings)
    claims.claim(database, settings=settings)

    assert leases.reap(database, settings=settings) == []


def test_the_wait_after_a_crash_doubles_up_to_six_minutes(database: Database, settings: Settings) -> None:
    patient = settings.model_copy(update={"backoff_s": 10.0, "max_crashes": 9})
    job = submit(database, patient)
    waits = []

    for _ in range(8):
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET not_before = 0")
        claim = claims.claim(database, settings=patient)
        assert claim is not None
        claims.crash(database, claim, settings=patient, reason="it was killed")
        waits.append(events.after(database, job.id, 0, kinds=("state",))[-1].data["retry_in_s"])

    assert waits == [10, 20, 40, 80, 160, 320, 360, 360]


def test_after_three_crashes_a_job_has_failed_with_worker_lost(database: Database, settings: Settings) -> None:
    quick = settings.model_copy(update={"backoff_s": 0.0})
    job = submit(database, quick)

    for _ in range(3):
        claim = claims.claim(database, settings=quick)
        assert claim is not None
        claims.crash(database, claim, settings=quick, reason="it was killed")

    found = jobs.find(database, job.id, owner=OWNER)
    assert (found.state, found.problem["code"]) == ("failed", "worker_lost")


def test_a_job_that_is_to_be_canceled_does_not_go_back_to_the_queue(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    jobs.cancel(database, job.id, owner=OWNER)

    claims.release(database, claim)

    assert jobs.find(database, job.id, owner=OWNER).state == "canceled"


def test_a_round_announces_one_job_however_many_wait(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        submit(database, settings)
    announced: list[str] = []
    monkeypatch.setattr(queue, "announce", lambda _settings, job_id: bool(announced.append(job_id)) or True)

    housekeeping.make_round(database, settings=settings, idle=True)

    assert len(announced) == 1


def test_a_key_is_answered_though_its_dataset_is_gone(database: Database, settings: Settings) -> None:
    key = idempotency.Key(OWNER, "/train", "key-1", "a" * 64)
    job = submit(database, settings, key=key)
    jobs.cancel(database, job.id, owner=OWNER)
    datasets.delete(database, DATASET_ID, owner=OWNER)

    found = submissions.submitted(database, key)

    assert found is not None
    assert found.id == job.id


def test_a_crash_of_a_job_that_is_to_be_canceled_cancels_it(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    jobs.cancel(database, job.id, owner=OWNER)

    claims.crash(database, claim, settings=settings, reason="it was killed")

    assert jobs.find(database, job.id, owner=OWNER).state == "canceled"


def test_two_checkpoints_are_kept_and_the_third_is_given_up(database: Database, settings: Settings) -> None:
    submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None

    given_up = [claims.keep_checkpoint(database, claim, letter * 64) for letter in "abc"]

    assert given_up == [[], [], ["a" * 64]]
    assert jobs.find(database, claim.job.id, owner=OWNER).checkpoints == ["c" * 64, "b" * 64]


def test_events_are_numbered_without_gaps_and_followed_from_any_number(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.report(database, claim, [("phase", {"phase": "training"}), ("log", {"text": "hello"})])

    seen = events.after(database, job.id, 0)

    assert [event.seq for event in seen] == [1, 2, 3, 4]
    assert [event.kind for event in events.after(database, job.id, 2)] == ["phase", "log"]


def test_only_due_jobs_without_a_fresh_wake_up_are_announced(database: Database, settings: Settings) -> None:
    job = submit(database, settings)

    before = schedule.due_for_wake_up(database, older_than_s=30)
    schedule.note_wake_up(database, job.id)
    after = schedule.due_for_wake_up(database, older_than_s=30)

    assert (before, after) == ([job.id], [])
