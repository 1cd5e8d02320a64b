"""Progress of jobs: append and follow.

A job's events are numbered from 1, so a reader can go on where it stopped. There are gaps only where a long log has
lost its middle (`logs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, literal, select, update

from models_store.storage import tables
from models_store.storage.database import Database, now

IDS_PER_QUERY = 500


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `kind` is state, phase, progress, metrics, log, or a parent's child."""

    seq: int
    kind: str
    data: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class Page:
    """Some of a job's events, and how far it was when they were read: its state, and the number of its newest event."""

    state: str
    newest: int
    events: list[Event]


def append(connection: Connection, job_id: str, kind: str, data: dict[str, Any]) -> int:
    """Add an event in the caller's transaction and return its number."""
    number = update(tables.job).where(tables.job.c.id == job_id).values(event_seq=tables.job.c.event_seq + 1)
    seq = int(connection.execute(number.returning(tables.job.c.event_seq)).scalar_one())
    insert_numbered(connection, job_id, seq, kind, data)
    return seq


def append_all(connection: Connection, job_id: str, reports: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Add events, each a kind and its data, in the caller's transaction."""
    number = update(tables.job).where(tables.job.c.id == job_id).values(event_seq=tables.job.c.event_seq + len(reports))
    newest = int(connection.execute(number.returning(tables.job.c.event_seq)).scalar_one())
    rows = [
        {"job_id": job_id, "seq": seq, "kind": kind, "data": data}
        for seq, (kind, data) in enumerate(reports, newest - len(reports) + 1)
    ]
    if rows:
        connection.execute(insert(tables.job_event).values(created_at=now()), rows)


def insert_numbered(connection: Connection, job_id: str, seq: int, kind: str, data: dict[str, Any]) -> None:
    """Add an event under a number that the caller has counted on the job's row."""
    connection.execute(insert(tables.job_event).values(job_id=job_id, seq=seq, kind=kind, data=data, created_at=now()))


def phases_entered(database: Database, job_ids: Sequence[str]) -> dict[str, list[tuple[str, float]]]:
    """Return job → each phase that it entered, and when, oldest first; a job that has entered none is left out."""
    event = tables.job_event
    kind = literal("phase", literal_execute=True)  # written out, or the partial index is not used
    query = select(event.c.job_id, event.c.data, event.c.created_at)
    query = query.where(event.c.job_id.in_(job_ids), event.c.kind == kind).order_by(event.c.job_id, event.c.seq)
    entered: dict[str, list[tuple[str, float]]] = {}
    with database.read() as connection:
        for job_id, data, created_at in connection.execute(query).all():
            entered.setdefault(job_id, []).append((data["phase"], created_at))
    return entered


def after(database: Database, job_id: str, seq: int, *, kinds: tuple[str, ...] = (), limit: int = 1000) -> list[Event]:
    """Return up to `limit` events numbered above `seq`, oldest first; of the given kinds, or all."""
    with database.read() as connection:
        return _after(connection, job_id, seq, kinds=kinds, limit=limit)


def page(database: Database, job_id: str, seq: int, *, limit: int, owner: str | None = None) -> Page | None:
    """Return up to `limit` events numbered above `seq`; None when there is no such job, or it is not this owner's."""
    job = tables.job
    query = select(job.c.state, job.c.event_seq).where(job.c.id == job_id, job.c.deleted_at.is_(None))
    if owner is not None:
        query = query.where(job.c.owner == owner)
    with database.read() as connection:
        row = connection.execute(query).first()  # before the events: what it says has happened is then among them
        if row is None:
            return None
        found = _after(connection, job_id, seq, limit=limit) if row.event_seq > seq else []
        return Page(row.state, row.event_seq, found)


def news(database: Database, known: Mapping[str, int], *, limit: int) -> dict[str, Page | None]:
    """Return the jobs with events above the number known of each, with up to `limit` of them; None: the job is gone."""
    job, found = tables.job, dict[str, Page | None]()
    job_ids = list(known)
    with database.read() as connection:
        for start in range(0, len(job_ids), IDS_PER_QUERY):
            some = job_ids[start : start + IDS_PER_QUERY]
            there = (job.c.id.in_(some), job.c.deleted_at.is_(None))
            rows = connection.execute(select(job.c.id, job.c.state, job.c.event_seq).where(*there)).all()
            found |= dict.fromkeys(set(some) - {row.id for row in rows})
            for row in rows:
                if row.event_seq > known[row.id]:
                    events = _after(connection, row.id, known[row.id], limit=limit)
                    found[row.id] = Page(row.state, row.event_seq, events)
    return found


def _after(connection: Connection, job_id: str, seq: int, *, limit: int, kinds: tuple[str, ...] = ()) -> list[Event]:
    event = tables.job_event
    query = select(event.c.seq, event.c.kind, event.c.data, event.c.created_at)
    query = query.where(event.c.job_id == job_id, event.c.seq > seq).order_by(event.c.seq).limit(limit)
    if kinds:
        query = query.where(event.c.kind.in_(kinds))
    return [Event(*row) for row in connection.execute(query)]
