"""progress: append, follow. A job's events are numbered from 1 without gaps, so a reader can go on where it stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, literal, select, update

from models_store import tables
from models_store.database import Database, now


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `kind` is state, phase, progress, metrics, log, or a parent's child."""

    seq: int
    kind: str
    data: dict[str, Any]
    created_at: float


def append(connection: Connection, job_id: str, kind: str, data: dict[str, Any]) -> int:
    """Add an event in the caller's transaction and return its number."""
    number = update(tables.job).where(tables.job.c.id == job_id).values(event_seq=tables.job.c.event_seq + 1)
    seq = connection.execute(number.returning(tables.job.c.event_seq)).scalar_one()
    connection.execute(insert(tables.job_event).values(job_id=job_id, seq=seq, kind=kind, data=data, created_at=now()))
    return int(seq)


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
    event = tables.job_event
    query = select(event.c.seq, event.c.kind, event.c.data, event.c.created_at)
    query = query.where(event.c.job_id == job_id, event.c.seq > seq).order_by(event.c.seq).limit(limit)
    if kinds:
        query = query.where(event.c.kind.in_(kinds))
    with database.read() as connection:
        return [Event(*row) for row in connection.execute(query)]
