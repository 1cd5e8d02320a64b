"""Deletion of jobs, versions and models: what is in use stays, and what is deleted leaves nothing behind."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Table, func, select, update

from models_store import descriptions
from models_store.jobs import claims, events, housekeeping, idempotency, submissions
from models_store.jobs import store as jobs
from models_store.jobs.submissions import Action
from models_store.models import aliases, registry, removals, rework
from models_store.models import publish as publications
from models_store.models.aliases import Alias, Shadow, Target
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = "ada"
REPORT, WEIGHTS, ONNX, CHECKPOINT, VOCABULARY = (letter * 64 for letter in "abcdf")
FIGURES = {"speedup": 1.0, "accepted": True, "reasons": []}


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def queued(database: Database, settings: Settings, **changes: Any) -> jobs.Job:
    return submissions.submit(database, owner=OWNER, spec=a_train_spec(**changes), settings=settings)[0]


def publish(database: Database, settings: Settings, name: str = "leaves", *, blob: str = ONNX) -> jobs.Job:
    """Train and publish as a worker does, with a report and a log."""
    queued(database, settings, name=name)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.report(database, claim, [("log", {"text": "hello"})])
    claims.keep_checkpoint(database, claim, CHECKPOINT)
    variant = registry.Variant("fp32", blob, 1000, {"kind": "fp32", "measured": {"cpu": FIGURES}}, accepted=True)
    publication = publications.Publication({"labels": ["x", "y"]}, "fp32", [variant], weights_blob=WEIGHTS)
    files = {"report": REPORT, "answers": "e" * 64}
    publications.publish(database, claim, replace(publication, files=files, defaults={"cpu": "fp32"}))
    return claim.job


def rows_of(database: Database, table: Table) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def numbers(database: Database, name: str = "leaves") -> list[int]:
    return [version.number for version in registry.model(database, name, owner=OWNER).versions]


def test_a_versions_auxiliary_files_are_kept_as_long_as_the_version(database: Database, settings: Settings) -> None:
    queued(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    made = {
        "card": {"labels": ["x", "y"]},
        "default_variant": "fp32",
        "variants": [{"name": "fp32", "blob": ONNX, "size_bytes": 1000, "card": {"kind": "fp32"}, "accepted": True}],
        "defaults": {"cpu": "fp32"},
        "auxiliary_blobs": {"vocabulary": VOCABULARY},
    }

    publications.publish(database, claim, publications.Publication.of_document(made))

    served = registry.resolve(database, "leaves", owner=OWNER, provider="cpu")
    assert served.auxiliary_blobs == {"vocabulary": VOCABULARY}
    assert VOCABULARY in housekeeping.named_blobs(database)
    removals.delete_version(database, "leaves", 1, owner=OWNER)
    assert VOCABULARY not in housekeeping.named_blobs(database)


def test_a_deleted_job_takes_its_rows_and_files_with_it(database: Database, settings: Settings) -> None:
    job = queued(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.keep_checkpoint(database, claim, CHECKPOINT)
    claims.fail(database, claim, {"code": "diverged", "detail": "it diverged"})

    removals.delete_job(database, job.id, owner=OWNER)

    assert [rows_of(database, table) for table in (tables.job, tables.attempt, tables.job_event)] == [0, 0, 0]
    assert CHECKPOINT not in housekeeping.named_blobs(database)
    with pytest.raises(jobs.JobNotFound):
        jobs.find(database, job.id, owner=OWNER)


def test_the_version_that_a_deleted_job_made_stays_whole(database: Database, settings: Settings) -> None:
    job = publish(database, settings)

    removals.delete_job(database, job.id, owner=OWNER)

    version = registry.version(database, "leaves", 1, owner=OWNER)
    assert jobs.listing(database, owner=OWNER) == ([], None)
    assert jobs.maker(database, version.id).spec == job.spec
    assert events.page(database, job.id, 0, limit=10) is None
    assert rows_of(database, tables.job_event) == 0
    assert {REPORT, WEIGHTS, ONNX} <= housekeeping.named_blobs(database)
    assert {CHECKPOINT, "e" * 64}.isdisjoint(housekeeping.named_blobs(database))


@pytest.mark.parametrize("order", ["job first", "version first", "model last"])
def test_nothing_is_left_of_a_job_and_its_version(database: Database, settings: Settings, order: str) -> None:
    job = publish(database, settings)

    if order == "version first":
        removals.delete_version(database, "leaves", 1, owner=OWNER)
    removals.delete_job(database, job.id, owner=OWNER)
    if order == "job first":
        removals.delete_version(database, "leaves", 1, owner=OWNER)
    elif order == "model last":
        removals.delete_model(database, "leaves", owner=OWNER)

    left = [rows_of(database, table) for table in (tables.job, tables.version, tables.variant, tables.job_event)]
    assert left == [0, 0, 0, 0]
    assert housekeeping.named_blobs(database) == {"1" * 64, "2" * 64}  # the dataset's


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_a_job_that_has_not_ended_stays(database: Database, settings: Settings, state: str) -> None:
    job = queued(database, settings)
    with database.write() as connection:
        connection.execute(update(tables.job).values(state=state))

    with pytest.raises(jobs.JobNotFinished) as caught:
        removals.delete_job(database, job.id, owner=OWNER)

    assert f"is {state}" in caught.value.detail
    assert f"POST /jobs/{job.id}:cancel" in caught.value.detail
    assert jobs.find(database, job.id, owner=OWNER).state == state


def a_family(database: Database, settings: Settings, *, states: dict[int, str]) -> tuple[str, list[str]]:
    """Return a canceled search and its children, each in the state given."""
    parent = queued(database, settings)
    children = [queued(database, settings) for _ in states]
    job = tables.job
    with database.write() as connection:
        connection.execute(update(job).where(job.c.id == parent.id).values(kind="search", state="canceled"))
        for number, (child, state) in enumerate(zip(children, states.values(), strict=True)):
            values = {"kind": "trial", "parent_id": parent.id, "number": number, "state": state}
            connection.execute(update(job).where(job.c.id == child.id).values(values))
    return parent.id, [child.id for child in children]


def test_a_parents_children_go_with_it(database: Database, settings: Settings) -> None:
    parent, _ = a_family(database, settings, states={0: "succeeded", 1: "failed", 2: "canceled"})

    removals.delete_job(database, parent, owner=OWNER)

    assert (rows_of(database, tables.job), rows_of(database, tables.job_event)) == (0, 0)


def test_a_child_is_not_deleted_by_itself(database: Database, settings: Settings) -> None:
    parent, children = a_family(database, settings, states={0: "succeeded"})

    with pytest.raises(removals.ChildNotDeleted, match=parent):
        removals.delete_job(database, children[0], owner=OWNER)


def test_a_parent_stays_while_a_child_still_stops(database: Database, settings: Settings) -> None:
    parent, children = a_family(database, settings, states={0: "canceled", 1: "running"})

    with pytest.raises(jobs.JobNotFinished, match=children[1]):
        removals.delete_job(database, parent, owner=OWNER)

    assert rows_of(database, tables.job) == 3


def test_many_events_are_removed_too(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "ROWS_AT_ONCE", 7)
    job = queued(database, settings)
    with database.write() as connection:
        for number in range(50):
            events.append(connection, job.id, "log", {"text": str(number)})
    jobs.cancel(database, job.id, owner=OWNER)

    removals.delete_job(database, job.id, owner=OWNER)

    assert (rows_of(database, tables.job), rows_of(database, tables.job_event)) == (0, 0)


def test_what_a_crash_leaves_of_a_deleted_job_is_swept(database: Database, blobs: Blobs, settings: Settings) -> None:
    job = queued(database, settings)
    jobs.cancel(database, job.id, owner=OWNER)
    with database.write() as connection:  # a crash came after the first transaction
        connection.execute(update(tables.job).values(deleted_at=1.0))

    housekeeping.sweep(database, blobs, settings=settings)

    assert (rows_of(database, tables.job), rows_of(database, tables.job_event)) == (0, 0)


def test_a_preview_is_deleted_a_while_after_its_end(database: Database, blobs: Blobs, settings: Settings) -> None:
    trained = queued(database, settings)
    old, young, waiting = (
        submissions.submit(
            database, owner=OWNER, spec=a_train_spec(), settings=settings, action=submissions.Action("preview", {})
        )[0]
        for _ in range(3)
    )
    for ended in (trained, old, young):
        jobs.cancel(database, ended.id, owner=OWNER)
    with database.write() as connection:
        gone = tables.job.c.id.in_((trained.id, old.id))
        connection.execute(update(tables.job).where(gone).values(finished_at=1.0, files={"preview": REPORT}))

    housekeeping.sweep(database, blobs, settings=settings)

    with database.read() as connection:
        left = set(connection.execute(select(tables.job.c.id)).scalars())
        events = set(connection.execute(select(tables.job_event.c.job_id)).scalars())
    assert left == events == {trained.id, young.id, waiting.id}
    assert REPORT in housekeeping.named_blobs(database)  # of the training


def test_a_key_whose_job_was_deleted_makes_no_second_job(database: Database, settings: Settings) -> None:
    key = idempotency.Key(OWNER, "POST /train", "once", "0" * 64)
    job, _ = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, key=key)
    jobs.cancel(database, job.id, owner=OWNER)
    removals.delete_job(database, job.id, owner=OWNER)

    with pytest.raises(jobs.JobDeleted, match="use a new key"):
        submissions.submitted(database, key)
    with pytest.raises(jobs.JobDeleted):
        submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, key=key)

    assert rows_of(database, tables.job) == 0


def test_numbers_of_versions_are_never_given_again(database: Database, settings: Settings) -> None:
    for _ in range(2):
        publish(database, settings)
    removals.delete_version(database, "leaves", 2, owner=OWNER)
    publish(database, settings)
    after_a_version = numbers(database)
    removals.delete_model(database, "leaves", owner=OWNER)
    publish(database, settings)

    assert (after_a_version, numbers(database)) == ([3, 1], [4])


def test_a_model_without_versions_is_still_there(database: Database, settings: Settings) -> None:
    publish(database, settings)
    descriptions.change_model(database, "leaves", {"tags": ["kept"]}, owner=OWNER)

    removals.delete_version(database, "leaves", 1, owner=OWNER)

    model = registry.model(database, "leaves", owner=OWNER)
    assert (model.versions, model.tags) == ((), ("kept",))
    for reference in ("leaves", "leaves:1"):
        with pytest.raises(registry.ModelNotFound, match="has no versions"):
            registry.resolve(database, reference, owner=OWNER, provider="cpu")


def test_a_version_with_an_alias_stays(database: Database, settings: Settings) -> None:
    publish(database, settings)
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1),)))

    with pytest.raises(removals.VersionInUse) as caught:
        removals.delete_version(database, "leaves", 1, owner=OWNER)

    assert "'live'" in caught.value.detail
    assert "PUT /models/leaves/aliases/live" in caught.value.detail
    assert numbers(database) == [1]


def test_a_version_that_an_alias_has_as_its_shadow_stays(database: Database, settings: Settings) -> None:
    for _ in range(2):
        publish(database, settings)
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1),), Shadow(2, None, 0.5)))

    with pytest.raises(removals.VersionInUse, match="'live'"):
        removals.delete_version(database, "leaves", 2, owner=OWNER)
    removals.delete_model(database, "leaves", owner=OWNER)

    assert rows_of(database, tables.alias_target) == 0


def test_a_models_aliases_go_with_it(database: Database, settings: Settings) -> None:
    publish(database, settings)
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1),)))

    removals.delete_model(database, "leaves", owner=OWNER)

    assert (registry.models(database, owner=OWNER), rows_of(database, tables.alias)) == (([], None), 0)


USES: dict[str, dict[str, Any]] = {
    "starts from it": {"backbone": {"kind": "small_cnn", "weights": "leaves:1"}},
    "learns from it": {"distillation": {"teacher": "leaves:1"}},
    "may start from it in a search": {"search": {"space": {"backbone.weights": {"choice": ["leaves:1", None]}}}},
    "may start from the newest in a search": {
        "search": {"space": {"backbone": {"choice": [{"kind": "small_cnn", "weights": "leaves"}]}}}
    },
}


def use(database: Database, settings: Settings, how: str) -> jobs.Job:
    if how in {"compress", "measure"}:
        action = Action(how, {"model": "leaves", "version": 1})  # type: ignore[arg-type]
        return submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, action=action)[0]
    job = queued(database, settings, name="other")
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(spec=job.spec | USES[how]))
    return job


@pytest.mark.parametrize("how", [*USES, "compress", "measure"])
def test_a_version_stays_while_a_job_builds_on_it(database: Database, settings: Settings, how: str) -> None:
    publish(database, settings)
    job = use(database, settings, how)

    with pytest.raises(removals.VersionInUse, match=job.id):
        removals.delete_version(database, "leaves", 1, owner=OWNER)
    with pytest.raises(removals.ModelInUse, match=job.id):
        removals.delete_model(database, "leaves", owner=OWNER)
    jobs.cancel(database, job.id, owner=OWNER)
    removals.delete_version(database, "leaves", 1, owner=OWNER)

    assert numbers(database) == []


def test_a_version_goes_while_jobs_build_on_others(database: Database, settings: Settings) -> None:
    for _ in range(2):
        publish(database, settings)
    publish(database, settings, name="leaves-2")
    use(database, settings, "starts from it")
    queued(database, settings, name="leaves")  # only makes a version of the same model

    removals.delete_version(database, "leaves", 2, owner=OWNER)
    removals.delete_version(database, "leaves-2", 1, owner=OWNER)

    assert numbers(database) == [1]


@pytest.mark.parametrize("kind", ["compress", "measure"])
def test_a_job_that_would_build_on_a_deleted_version_is_refused(
    database: Database, settings: Settings, kind: Any
) -> None:
    publish(database, settings)
    removals.delete_version(database, "leaves", 1, owner=OWNER)

    with pytest.raises(registry.ModelNotFound, match="was deleted"):
        submissions.submit(
            database,
            owner=OWNER,
            spec=a_train_spec(),
            settings=settings,
            action=Action(kind, {"model": "leaves", "version": 1}),
        )


def test_a_file_that_another_version_has_too_is_not_swept(
    database: Database, blobs: Blobs, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "shared").write_bytes(b"shared")
    (tmp_path / "own").write_bytes(b"own")
    shared, own = (blobs.put(tmp_path / name).sha256 for name in ("shared", "own"))
    for blob in (shared, shared, own):
        publish(database, settings, blob=blob)

    removals.delete_version(database, "leaves", 1, owner=OWNER)
    removals.delete_version(database, "leaves", 3, owner=OWNER)
    housekeeping.sweep(database, blobs, settings=settings.model_copy(update={"blob_grace_s": -60.0}))

    assert (blobs.exists(shared), blobs.exists(own)) == (True, False)


def test_a_teacher_that_was_deleted_is_not_asked_when_its_student_is_compressed(
    database: Database, settings: Settings
) -> None:
    publish(database, settings, name="teacher")
    student = publish(database, settings)
    spec = a_train_spec(distillation={"teacher": "teacher:1"}).model_dump(mode="json")
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == student.id).values(spec=spec))
    removals.delete_model(database, "teacher", owner=OWNER)

    taken = rework.take_up(database, "leaves", 1, owner=OWNER)

    assert taken.spec.distillation is None
    assert "teacher:1, was deleted" in taken.warnings[0]


def test_whoever_comes_first_wins_between_a_deletion_and_a_use(database: Database, settings: Settings) -> None:
    for number in range(1, 9):
        publish(database, settings)
        action = Action("measure", {"model": "leaves", "version": number})
        uses: list[Callable[[], object]] = [
            partial(aliases.set_alias, database, "leaves", "live", owner=OWNER, to=Alias((Target(number),))),
            partial(submissions.submit, database, owner=OWNER, spec=a_train_spec(), settings=settings, action=action),
        ]
        deletion = partial(removals.delete_version, database, "leaves", number, owner=OWNER)
        with ThreadPoolExecutor(2) as pool:
            begun = [pool.submit(_refused, each) for each in (uses[number % 2], deletion)]
        used, deleted = (each.result() for each in begun)

        assert {used, deleted} == {False, True}
        assert (number in numbers(database)) == deleted
        for job in jobs.listing(database, owner=OWNER, state="queued")[0]:
            jobs.cancel(database, job.id, owner=OWNER)


def _refused(call: "Callable[[], object]") -> bool:
    try:
        call()
    except (registry.ModelNotFound, removals.VersionInUse):
        return True
    return False


def test_what_is_anothers_is_not_there(database: Database, settings: Settings) -> None:
    job = publish(database, settings)

    with pytest.raises(jobs.JobNotFound):
        removals.delete_job(database, job.id, owner="bob")
    with pytest.raises(registry.ModelNotFound):
        removals.delete_version(database, "leaves", 1, owner="bob")
    with pytest.raises(registry.ModelNotFound):
        removals.delete_model(database, "leaves", owner="bob")

    assert numbers(database) == [1]


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("good", ["a"]),
        ("GOOD", []),
        ("goo", []),
        ("ein Blatt", ["b"]),
        ('a"b', ["b"]),
        ("b", []),
        ("%", []),
        ("\u6a39", ["a"]),
    ],
)
def test_models_and_datasets_are_found_by_a_tag(
    database: Database, settings: Settings, tag: str, found: list[str]
) -> None:
    given = {"a": ["good", "\u6a39"], "b": ["ein Blatt", 'a"b'], "c": []}
    for name, tags in given.items():
        publish(database, settings, name=name)
        descriptions.change_model(database, name, {"tags": tags}, owner=OWNER)
    descriptions.change_dataset(database, "ds_0000000000", {"tags": given["a"]}, owner=OWNER)

    listed = [model.name for model in registry.models(database, owner=OWNER, tag=tag)[0]]

    assert listed == found
