"""jobs as their owner sees them: state, events as they happen, logs, cancel, retry."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.background import BackgroundTask
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from models_store import events, jobs, patrol
from models_store.database import Database
from service.answers import Job, JobList
from service.auth import Owner
from service.context import Context, Here
from service.job_answers import all_described, described, respond
from service.outcomes import State
from service.routes.requests import KNOWN_QUERY, Cursor, JobId, Limit, problems

POLL_S = 0.5
HEARTBEAT_S = 15
PAGE = 1000

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])


def accepted(here: Context, job: jobs.Job, *, replayed: bool = False) -> Response:
    """Return the answer for a job that was queued, or that the same request had queued before; wake a worker for it."""
    headers = {"Location": f"/jobs/{job.id}"} | ({"Idempotency-Replayed": "true"} if replayed else {})
    wake = None if replayed else BackgroundTask(patrol.wake, here.database, job.id, settings=here.settings)
    return respond(described(here.database, job), status=202, headers=headers, background=wake)


@router.get("/jobs", operation_id="job_list", summary="List jobs", response_model=JobList, responses=problems())
def listing(
    here: Here,
    owner: Owner,
    *,
    state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    parent: Annotated[
        str | None,
        Query(
            pattern=r"^job_[0-9a-z]{8,40}$",
            description="only the children of this job; left out: only jobs that are no children",
        ),
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Return your jobs, newest first."""
    found, following = jobs.listing(here.database, owner=owner, state=state, parent=parent, limit=limit, cursor=cursor)
    return respond({"items": all_described(here.database, found), "next": following})


@router.get(
    "/jobs/{job_id}",
    operation_id="job_get",
    summary="Describe a job",
    response_model=Job,
    responses=problems(404),
)
def get(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Return the job with its steps, progress, and its result or its problem."""
    return respond(described(here.database, jobs.find(here.database, job_id, owner=owner)))


@router.post(
    "/jobs/{job_id}:cancel",
    operation_id="job_cancel",
    summary="Cancel a job",
    response_model=Job,
    responses=problems(404, 409),
)
def cancel(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Cancel a waiting job at once, a running one within seconds. Doing it twice changes nothing.

    A parent's children are canceled with it. A canceled child counts as failed, and its parent goes on.
    """
    return respond(described(here.database, jobs.cancel(here.database, job_id, owner=owner)))


@router.post(
    "/jobs/{job_id}:retry",
    operation_id="job_retry",
    summary="Try a failed or canceled job again",
    status_code=202,
    response_model=Job,
    responses=problems(404, 409),
)
def retry(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Queue a new job with the spec of one that failed or was canceled; a parent's begins with new children."""
    return accepted(here, jobs.retry(here.database, job_id, owner=owner, settings=here.settings))


@router.get(
    "/jobs/{job_id}/events",
    operation_id="job_events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events (`state`, `phase`, `progress`, `metrics`, `log`, `child`; JSON data), "
            "until the job has ended",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended, and nothing came after `Last-Event-ID`"},
        **problems(404),
    },
)
async def follow(
    job_id: JobId,
    here: Here,
    owner: Owner,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=r"^[0-9]{0,15}$",
            description="go on after this event; left out: from the first",
        ),
    ] = None,
) -> Response:
    """Stream everything that has happened to the job and will, each event with its number as `id`."""
    seen = int(last_event_id or 0)
    job = await run_in_threadpool(jobs.find, here.database, job_id, owner=owner)
    if job.state in jobs.TERMINAL and not await run_in_threadpool(events.after, here.database, job_id, seen, limit=1):
        return Response(status_code=204)  # tells a browser's EventSource not to come again
    return EventSourceResponse(_events(here.database, job_id, owner=owner, seen=seen), ping=HEARTBEAT_S, sep="\n")


@router.get(
    "/jobs/{job_id}/logs",
    operation_id="job_logs",
    summary="Read a job's log",
    response_class=PlainTextResponse,
    responses=problems(404),
)
def logs(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Return the job's log lines so far, each with its time."""
    jobs.find(here.database, job_id, owner=owner)
    return StreamingResponse(iterate_in_threadpool(_log_lines(here.database, job_id)), media_type="text/plain")


async def _events(database: Database, job_id: str, *, owner: str, seen: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        # the state first: what it says has happened is then among the events that are read after it
        job = await run_in_threadpool(jobs.find, database, job_id, owner=owner)
        found = await run_in_threadpool(events.after, database, job_id, seen, limit=PAGE)
        for event in found:
            yield ServerSentEvent(id=str(event.seq), event=event.kind, data=orjson.dumps(event.data).decode(), sep="\n")
            seen = event.seq
        if job.state in jobs.TERMINAL and len(found) < PAGE:
            return
        if not found:
            await asyncio.sleep(POLL_S)


def _log_lines(database: Database, job_id: str) -> Iterator[str]:
    seen = 0
    while found := events.after(database, job_id, seen, kinds=("log",), limit=PAGE):
        for event in found:
            yield f"{datetime.fromtimestamp(event.created_at, UTC):%Y-%m-%dT%H:%M:%S.%fZ} {event.data['text']}\n"
            seen = event.seq
