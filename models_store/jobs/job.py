"""A job: its row, and the states that it goes through.

The row is the truth, and its own outbox; the queue is only a wake-up. Terminal is final.

    queued ──claim──► running ──► succeeded | failed | canceled
      │  ▲  ▲            │  │
      │  │  └drain, crash┘  │     (a crash counts; after `max_crashes` the job has failed with `worker_lost`)
      │  └──child ends── waiting  (a parent has submitted children, and holds no worker: families.py)
      └──cancel──► canceled ◄──cancel── waiting
"""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row

from models_store.storage import tables

STATES = ("queued", "running", "waiting", "succeeded", "failed", "canceled")
TERMINAL = ("succeeded", "failed", "canceled")
UNFINISHED = ("queued", "running", "waiting")
FOUND = "found while it ran: "
"""beginning of a warning that is of one run, not of its spec"""


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
    traceparent: str | None = None


COLUMNS = [tables.job.c[field.name] for field in fields(Job)]


def job_of(row: Row[Any] | tuple[Any, ...]) -> Job:
    """Return the job that a row of `COLUMNS` holds."""
    return Job(*row)


def digest_of(spec_document: dict[str, Any]) -> str:
    """Return the SHA-256 of a spec's canonical JSON."""
    return hashlib.sha256(json.dumps(spec_document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
