"""a job's life as its owner sees it: submit, find, cancel, retry. What workers do to it stands in claims.py.

The row is the truth, and its own outbox; the queue is only a wake-up. Terminal is final.

    queued ──claim──► running ──► succeeded | failed | canceled
      │  ▲  ▲            │  │
      │  │  └drain, crash┘  │     (a crash counts; after `max_crashes` the job has failed with `worker_lost`)
      │  └──child ends── waiting  (a parent has submitted children, and holds no worker: families.py)
      └──cancel──► canceled ◄──cancel── waiting

JobNotFound 404 · DatasetGone 404 · JobDeleted 410 · JobFinished 409 · JobNotFinished 409 · ChildNotRetried 409
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from models_store.jobs import events, families, idempotency
from models_store.jobs.errors import ChildNotRetried, DatasetGone, JobDeleted, JobFinished, JobNotFinished, JobNotFound
from models_store.models import uses, weights
from models_store.settings import Settings
from models_store.spec.space import planned
from models_store.spec.train import ResolvedSpec
from models_store.spec.upgrade import read_resolved
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id

__all__ = [
    "COLUMNS",
    "ERRANDS",
    "STATES",
    "TERMINAL",
    "URGENT",
    "ChildNotRetried",
    "DatasetGone",
    "Errand",
    "ErrandKind",
    "Job",
    "JobDeleted",
    "JobFinished",
    "JobNotFinished",
    "JobNotFound",
    "attempts",
    "cancel",
    "children_of",
    "digest_of",
    "errand_of",
    "find",
    "job_of",
    "kind_of",
    "listing",
    "maker",
    "retry",
    "submit",
    "submitted",
]

STATES = ("queued", "running", "waiting", "succeeded", "failed", "canceled")
TERMINAL = families.TERMINAL
FOUND = "found while it ran: "
"""beginning of a warning that is of one run, not of its spec"""
ErrandKind = Literal["preview", "compress", "measure"]
ERRANDS: tuple[ErrandKind, ...] = get_args(ErrandKind)
URGENT = 100
"""priority of a job that somebody waits for at a screen; a thread of each worker does nothing else"""


@dataclass(frozen=True)
class Job:
    """A row of the job table; times are seconds since the epoch."""

    id: str
    owner: str
    kind: str
    parent_id: str | None
    number: int | None
    parameters: dict[str, Any] | None
    name: str
    dataset_id: str | None
    spec: dict[str, Any]
    spec_sha256: str
    warnings: list[str]
    state: str
    phase: str | None
    priority: int
    cancel_requested_at: float | None
    not_before: float
    fence: int
    lease_owner: str | None
    lease_expires_at: float | None
    crashes: int
    max_crashes: int
    progress: dict[str, Any]
    checkpoints: list[str]
    result: dict[str, Any] | None
    files: dict[str, str] | None
    problem: dict[str, Any] | None
    wake_sent_at: float | None
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True)
class Errand:
    """What a job does besides training what its spec says, or in its place.

    A `preview` shows augmentations (its document); `compress` and `measure` take a version up: its model and version.
    """

    kind: ErrandKind
    parameters: dict[str, Any]

    @property
    def priority(self) -> int:
        """Return how urgent it is: of a preview, somebody is looking at the screen."""
        return URGENT if self.kind == "preview" else 0


COLUMNS = [tables.job.c[field.name] for field in fields(Job)]


def job_of(row: Row[Any] | tuple[Any, ...]) -> Job:
    """Return the job that a row of `COLUMNS` holds."""
    return Job(*row)


def submit(
    database: Database,
    *,
    owner: str,
    spec: ResolvedSpec,
    settings: Settings,
    warnings: Sequence[str] = (),
    key: idempotency.Key | None = None,
    errand: Errand | None = None,
) -> tuple[Job, bool]:
    """Queue a job for a fully resolved spec; return it, and whether `key` had made it before.

    With an `errand` it does that, and trains nothing from the start.

    Raises:
        InvalidKey, KeyInFlight: as idempotency.begin does.
        DatasetGone: if the dataset is not there (any more).
        WeightsNotFound: if a file of weights that the spec starts from is not.
        VersionGone: if a version that it builds on is not.
        JobDeleted: if `key` had made a job that was deleted.
    """
    document = spec.model_dump(mode="json")
    job_id = new_id("job")
    row = {
        "id": job_id,
        "owner": owner,
        "kind": kind_of(spec) if errand is None else errand.kind,
        "parameters": errand and errand.parameters,
        "priority": errand.priority if errand else 0,
        "name": spec.name,
        "dataset_id": spec.dataset,
        "spec": document,
        "spec_sha256": digest_of(document),
        "warnings": list(warnings),
        "state": "queued",
        "not_before": now(),
        "max_crashes": settings.max_crashes,
        "progress": {"fraction": 0.0} | ({"children": children_of(spec), "ended": 0} if children_of(spec) else {}),
        "checkpoints": [],
        "created_at": now(),
    }
    with database.write() as connection:
        earlier = idempotency.begin(connection, key) if key else None
        if earlier is None:
            _hold_dataset(connection, spec.dataset, owner=owner)
            if errand is None:  # an errand starts from no file
                weights.hold(connection, document, owner=owner)
            uses.hold(connection, document, errand.parameters if errand else None, owner=owner)
            connection.execute(insert(tables.job).values(**row))
            events.append(connection, job_id, "state", {"state": "queued"})
            if key:
                idempotency.finish(connection, key, {"job": job_id})
        made = (earlier or {"job": job_id})["job"]
        found = connection.execute(select(*COLUMNS).where(tables.job.c.id == made, _is_shown())).first()
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


def digest_of(spec_document: dict[str, Any]) -> str:
    """Return the SHA-256 of a spec's canonical JSON."""
    return hashlib.sha256(json.dumps(spec_document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find(database: Database, job_id: str, *, owner: str) -> Job:
    """Return the job.

    Raises:
        JobNotFound: if there is none with this id, or it is another owner's.
    """
    mine = (tables.job.c.id == job_id, tables.job.c.owner == owner, _is_shown())
    with database.read() as connection:
        row = connection.execute(select(*COLUMNS).where(*mine)).first()
    if row is None:
        raise JobNotFound(f"there is no job {job_id!r}; GET /jobs lists yours")
    return job_of(row)


def maker(database: Database, version_id: str) -> Job:
    """Return the job that has made a version, also one that was deleted: its spec and its report are kept."""
    version = tables.version
    query = select(*COLUMNS).join(version, version.c.job_id == tables.job.c.id).where(version.c.id == version_id)
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise JobNotFound(f"version {version_id} was deleted")
    return job_of(row)


def _is_shown() -> ColumnElement[bool]:
    return tables.job.c.deleted_at.is_(None)


def listing(
    database: Database,
    *,
    owner: str,
    state: str | None = None,
    kind: str | None = None,
    parent: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> tuple[list[Job], str | None]:
    """Return up to `limit` jobs, newest first, and the cursor of the next page: a parent's children, or no children.

    Previews are left out, unless that `kind` is asked for.
    """
    query = (
        select(*COLUMNS)
        .where(tables.job.c.owner == owner, _is_shown())
        .order_by(tables.job.c.id.desc())
        .limit(limit + 1)
    )
    if parent:
        query = query.where(tables.job.c.parent_id == parent)
    else:
        query = query.where(tables.IS_PREVIEW if kind == "preview" else tables.IS_LISTED)
    if kind:
        query = query.where(tables.job.c.kind == kind)
    if state:
        query = query.where(tables.job.c.state == state)
    if cursor:
        query = query.where(tables.job.c.id < cursor)
    with database.read() as connection:
        found = [job_of(row) for row in connection.execute(query).all()]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def cancel(database: Database, job_id: str, *, owner: str) -> Job:
    """Cancel a job: at once when it waits, by a flag that its worker sees when it runs. A second call changes nothing.

    A parent's children are canceled with it; a child counts as failed, and its parent goes on.

    Raises:
        JobNotFound: as `find` does.
        JobFinished: if it has ended otherwise than by a cancel.
    """
    job = tables.job
    mine = (job.c.id == job_id, job.c.owner == owner)  # what is deleted has ended, and is left as it is
    with database.write() as connection:
        families.lock_parent(connection, job_id)
        waiting = update(job).where(*mine, job.c.state.in_(("queued", "waiting")))
        if connection.execute(waiting.values(state="canceled", cancel_requested_at=now(), finished_at=now())).rowcount:
            events.append(connection, job_id, "state", {"state": "canceled"})
            families.ended(connection, job_id)
        else:
            running = update(job).where(*mine, job.c.state == "running", job.c.cancel_requested_at.is_(None))
            if connection.execute(running.values(cancel_requested_at=now())).rowcount:
                events.append(connection, job_id, "state", {"state": "running", "cancel_requested": True})
    found = find(database, job_id, owner=owner)
    if found.state in {"succeeded", "failed"}:
        raise JobFinished(f"job {job_id} has {found.state} already; there is nothing left to cancel")
    return found


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
        raise ChildNotRetried(f"job {job_id} is a part of {earlier.parent_id}; retry that, when it has ended")
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
        errand=errand_of(earlier),
    )[0]


def _again(job: Job) -> str:
    """Return how the same is done once more."""
    errand = errand_of(job)
    if errand is None:
        return "post its spec to /train to train again"
    if errand.kind == "preview":
        return "ask its dataset for a preview to have another"
    version = f"/models/{errand.parameters.get('model')}/versions/{errand.parameters.get('version')}"
    if errand.kind == "measure":
        return f"POST {version}:measure measures again"
    return f"post its spec's `compression` to {version}:compress to compress again"


def errand_of(job: Job) -> Errand | None:
    """Return what a job does besides training, if it does."""
    kind = next((each for each in ERRANDS if each == job.kind), None)
    return None if kind is None else Errand(kind, job.parameters or {})


def attempts(database: Database, job_ids: Sequence[str]) -> dict[str, int]:
    """Return job → how often workers have claimed it; a job that none has claimed is left out."""
    attempt = tables.attempt
    query = select(attempt.c.job_id, func.count()).where(attempt.c.job_id.in_(job_ids)).group_by(attempt.c.job_id)
    with database.read() as connection:
        return {job_id: int(count) for job_id, count in connection.execute(query)}
