"""Submission of jobs: queue a new one, find what the same request has made, retry one that failed.

DatasetGone 404 · JobNotFound 404 · JobDeleted 410 · JobFinished 409 · JobNotFinished 409 · ChildNotRetried 409
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from models_store import traces
from models_store.jobs import events, idempotency, kinds
from models_store.jobs.errors import ChildNotRetried, DatasetGone, JobDeleted, JobFinished, JobNotFinished, JobNotFound
from models_store.jobs.job import COLUMNS, FOUND, TERMINAL, Job, digest_of, job_of
from models_store.jobs.store import find, is_shown
from models_store.models import uses, weights
from models_store.settings import Settings
from models_store.spec.space import planned
from models_store.spec.train import ResolvedSpec
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id
from models_store.tasks.rooms import read_resolved


@dataclass(frozen=True)
class Action:
    """What a job does that trains nothing from the start: its kind, and that kind's parameters.

    A `preview` shows augmentations (its document); `compress`, `measure` and `predict_dataset` work on a version: its
    model and version, and what else is asked for.
    """

    kind: str
    parameters: dict[str, Any]
    files: dict[str, str] | None = None
    """examples of its own, name → blob, in place of its spec's dataset"""


def submit(
    database: Database,
    *,
    owner: str,
    spec: ResolvedSpec,
    settings: Settings,
    warnings: Sequence[str] = (),
    key: idempotency.Key | None = None,
    action: Action | None = None,
) -> tuple[Job, bool]:
    """Queue a job for a fully resolved spec; return it, and whether `key` had made it before.

    With an `action` it does that, and trains nothing from the start.

    Raises:
        InvalidKey, KeyInFlight: as idempotency.begin does.
        DatasetGone: if the dataset is not there (any more).
        WeightsNotFound: if a file of weights that the spec starts from is not.
        VersionGone: if a version that it builds on is not.
        JobDeleted: if `key` had made a job that was deleted.
    """
    document = spec.model_dump(mode="json")
    job_id = new_id("job")
    parameters = action.parameters if action else None
    kind = kinds.of(kind_of(spec) if action is None else action.kind)
    files = action.files if action else None
    dataset_id = None if files else spec.dataset
    row = {
        "id": job_id,
        "owner": owner,
        "kind": kind.name,
        "parameters": parameters,
        "priority": kind.priority,
        "name": spec.name,
        "dataset_id": dataset_id,
        "spec": document,
        "spec_sha256": digest_of(document),
        "warnings": list(warnings),
        "state": "queued",
        "not_before": now(),
        "max_crashes": settings.max_crashes,
        "progress": {"fraction": 0.0} | ({"children": children_of(spec), "ended": 0} if children_of(spec) else {}),
        "checkpoints": [],
        "files": files,
        "created_at": now(),
        "traceparent": traces.traceparent.get(),
    }
    with database.write() as connection:
        earlier = idempotency.begin(connection, key) if key else None
        if earlier is None:
            _hold_dataset(connection, dataset_id, owner=owner)
            if kind.follows_its_spec:  # others start from no file
                weights.hold(connection, document, owner=owner)
            uses.hold(connection, document, kind=kind, parameters=parameters, owner=owner)
            connection.execute(insert(tables.job).values(**row))
            events.append(connection, job_id, "state", {"state": "queued"})
            if key:
                idempotency.finish(connection, key, {"job": job_id})
        made = (earlier or {"job": job_id})["job"]
        found = connection.execute(select(*COLUMNS).where(tables.job.c.id == made, is_shown())).first()
    if found is None:
        raise _deleted(made)
    return job_of(found), earlier is not None


def submitted(database: Database, key: idempotency.Key) -> Job | None:
    """Return the job that the same request has made, whatever has become of its dataset.

    Raises:
        InvalidKey, KeyInFlight: as idempotency.begin does.
        JobDeleted: if that job was deleted.
    """
    with database.read() as connection:
        response = idempotency.answered(connection, key)
    if response is None:
        return None
    try:
        return find(database, response["job"], owner=key.owner)
    except JobNotFound:
        raise _deleted(response["job"]) from None


def _deleted(job_id: str) -> JobDeleted:
    detail = (
        f"the first request with this Idempotency-Key made {job_id}, which was deleted; use a new key for a new job"
    )
    return JobDeleted(detail)


def _hold_dataset(connection: Connection, dataset_id: str | None, *, owner: str) -> None:
    """Keep the dataset, if the job has one, from being deleted until the transaction ends."""
    if dataset_id is None:
        return
    table = tables.dataset
    row = select(table.c.id).where(table.c.id == dataset_id, table.c.owner == owner).with_for_update(read=True)
    if connection.execute(row).first() is None:
        raise DatasetGone(f"there is no dataset {dataset_id!r}; GET /datasets lists yours")


def kind_of(spec: ResolvedSpec) -> str:
    """Return the kind of job that a spec asks for."""
    if spec.search is not None:
        return "search"
    return "train" if spec.validation is None else spec.validation.kind


def children_of(spec: ResolvedSpec) -> int:
    """Return how many children a job of this spec will have, with the last one, which publishes; 0: none."""
    tried = planned(spec)
    return tried + (tried > 0 and (spec.validation is None or spec.validation.publish))


def retry(database: Database, job_id: str, *, owner: str, settings: Settings) -> Job:
    """Queue a new job with the spec of one that failed or was canceled; a parent's begins with new children.

    Raises:
        JobNotFound: as `find` does.
        ChildNotRetried: if it is a part of another job.
        JobNotFinished: if it has not ended.
        JobFinished: if it succeeded.
    """
    earlier = find(database, job_id, owner=owner)
    if earlier.parent_id is not None:
        raise ChildNotRetried(f"job {job_id} is a child of {earlier.parent_id}; retry that job when it has ended")
    if earlier.state == "succeeded":
        raise JobFinished(f"job {job_id} succeeded; {_again(earlier)}")
    if earlier.state not in TERMINAL:
        raise JobNotFinished(f"job {job_id} is {earlier.state}; cancel it first, or wait")
    spec = read_resolved(earlier.spec)
    return submit(
        database,
        owner=owner,
        spec=spec,
        settings=settings,
        warnings=[text for text in earlier.warnings if not text.startswith(FOUND)],
        action=action_of(earlier),
    )[0]


def action_of(job: Job) -> Action | None:
    """Return what a job does that trains nothing from the start; None: it trains, or its children do."""
    if kinds.of(job.kind).follows_its_spec:
        return None
    return Action(job.kind, job.parameters or {}, job.files if job.dataset_id is None else None)


def _again(job: Job) -> str:
    """Return how the same is done once more."""
    known = job.parameters or {}
    version = f"/models/{known.get('model')}/versions/{known.get('version')}"
    return kinds.of(job.kind).again.format(version=version)
