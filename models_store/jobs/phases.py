"""Phases of a job: which it goes through, how long they take, and how far it has come."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from models_store.jobs import kinds
from models_store.jobs.job import TERMINAL, Job
from models_store.tasks import rooms

USUAL_S = {
    "validating": 5.0,
    "training": 60.0,
    "pruning": 30.0,
    "exporting": 12.0,
    "quantizing": 10.0,
    "verifying": 6.0,
    "evaluating": 10.0,
    "measuring": 14.0,
    "publishing": 2.0,
    "drawing": 1.0,
    "predicting": 20.0,
}
"""seconds that each phase takes, where nothing was measured yet"""
OTHERS_S = 10.0
"""the same for a phase of a task's own"""


def of_kind(kind: str, spec: Mapping[str, Any]) -> tuple[Sequence[str], Collection[str]]:
    """Return the phases of a kind of job, as its task has them, and those that the spec (a document) leaves out.

    A job of a task that is not known here is shown with the phases that most tasks have.
    """
    row = kinds.of(kind)
    own: Mapping[str, Sequence[str]] = {}
    with suppress(rooms.UnknownTask):
        own = rooms.contract_of(rooms.task_of(spec)).phases
    return own.get(kind, row.phases), row.left_out(spec)


def expected_s(kind: str, spec: Mapping[str, Any], measured_s: Mapping[str, float]) -> dict[str, float]:
    """Return the phases of a kind of job, without those that the spec (a document) leaves out, with their seconds.

    `measured_s` is what earlier jobs let expect, for some phases or none.
    """
    names, left_out = of_kind(kind, spec)
    return {name: measured_s.get(name, USUAL_S.get(name, OTHERS_S)) for name in names if name not in left_out}


def steps(job: Job, entered: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Return each phase with its state and times, in the order of the pipeline.

    `entered` are the phases that it has entered and when, oldest first, as `events.phases_entered` has them.
    """
    started: dict[str, float] = {}
    order: list[str] = []
    for name, entered_at in entered:
        if name in order:  # a resumed job starts over at an earlier phase
            order = order[: order.index(name)]
        order.append(name)
        started[name] = entered_at
    phases, left_out = of_kind(job.kind, job.spec)
    last = order[-1] if order else None
    documents = []
    for name in phases:
        follower = order.index(name) + 1 if name in order else 0
        if name == last and job.state != "succeeded":
            state = job.state if job.state in {"failed", "canceled"} else "running" if _is_under_way(job) else "pending"
        else:
            state = "done" if name in order else "skipped" if name in left_out or job.state in TERMINAL else "pending"
        ended = started[order[follower]] if 0 < follower < len(order) else job.finished_at if name == last else None
        documents.append(
            {
                "name": name,
                "state": state,
                "started_at": started.get(name) if name in order else None,
                "ended_at": ended,
            }
        )
    return documents


def _is_under_way(job: Job) -> bool:
    return job.state in {"running", "waiting"} or (kinds.of(job.kind).is_parent and job.state == "queued")
