"""Answers about jobs, as documents of the shape `documents.Job`.

They are written as JSON without pydantic, because pydantic would take most of the time of a long page; a test compares
the shapes. The number of statements does not depend on the number of jobs.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Response
from starlette.background import BackgroundTask

from models_store.jobs import children, events, kinds, phases
from models_store.jobs import store as jobs
from models_store.jobs.job import UNFINISHED
from models_store.spec.upgrade import upgraded
from models_store.storage.database import Database
from service.answers.answer import moment
from service.answers.outcomes import Children, Outcome

Document = dict[str, Any]


NO_PROGRESS = {"fraction": 0.0, "epoch": None, "epochs": None, "eta_s": None}
"""in the order of `answers.Progress`"""


def described(database: Database, job: jobs.Job) -> Document:
    """Return the answer for a job, with its steps and attempts read from the store."""
    return all_described(database, [job])[0]


def all_described(database: Database, found: Sequence[jobs.Job]) -> list[Document]:
    """Return the answer for each job of a page."""
    ids = [job.id for job in found]
    entered = events.phases_entered(database, ids)
    attempts = jobs.attempts(database, ids)
    counts = children.counts(database, [job.id for job in found if kinds.of(job.kind).is_parent])
    return [
        _document(job, entered.get(job.id, []), attempts=attempts.get(job.id, 0), counts=counts.get(job.id, {}))
        for job in found
    ]


def respond(
    document: Document,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
) -> Response:
    """Return the document as a response; times are in UTC, to the microsecond."""
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return Response(body, status, headers, media_type="application/json", background=background)


def _document(
    job: jobs.Job, entered: Sequence[tuple[str, float]], *, attempts: int, counts: Mapping[str, int]
) -> Document:
    """Return one job's answer; `entered` are the phases that it has entered, with times, oldest first."""
    return {
        "id": job.id,
        "kind": job.kind,
        "parent": job.parent_id,
        "number": job.number,
        "parameters": job.parameters,
        "children": _children(job, counts) if kinds.of(job.kind).is_parent else None,
        "name": job.name,
        "dataset": job.dataset_id,
        "state": job.state,
        "phase": job.phase,
        "progress": {**NO_PROGRESS, **job.progress, "eta_s": _eta_s(job)},
        "steps": [
            {**step, "started_at": moment(step["started_at"]), "ended_at": moment(step["ended_at"])}
            for step in phases.steps(job, entered)
        ],
        "cancel_requested": job.cancel_requested_at is not None,
        "attempts": attempts,
        "crashes": job.crashes,
        "result": None if job.result is None else Outcome.model_validate(job.result).model_dump(mode="json"),
        "problem": None if job.problem is None else {"errors": []} | job.problem,
        "warnings": job.warnings,
        "spec": upgraded(job.spec),
        "created_at": datetime.fromtimestamp(job.created_at, UTC),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
    }


def _children(job: jobs.Job, counts: Mapping[str, int]) -> Document:
    planned = max(job.progress.get("children", 0), sum(counts.values()))
    return Children(planned=planned, **counts).model_dump()


def _eta_s(job: jobs.Job) -> float | None:
    """Return the seconds left of a running job, or of a parent with running children; None for other jobs."""
    is_going_on = job.state == "running" or (kinds.of(job.kind).is_parent and job.state in UNFINISHED)
    return job.progress.get("eta_s") if is_going_on else None
