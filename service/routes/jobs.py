"""Calls about jobs: state, events, logs, cancel, retry, deletion."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from sse_starlette import EventSourceResponse
from starlette.background import BackgroundTask

from models_store.jobs import housekeeping, submissions
from models_store.jobs import store as jobs
from models_store.models import removals
from models_store.spec import patterns
from service.answers.documents import Job, JobList
from service.answers.jobs import all_described, described, respond
from service.answers.outcomes import ListedKind, State
from service.auth import Owner
from service.context import Context, Here
from service.problems import DatabaseUnavailable
from service.requests.parameters import KNOWN_QUERY, Cursor, JobId, Limit, problems
from service.threads import writes

HEARTBEAT_S = 15
GRACE_S = 3
"""Time for streams to end by themselves when the server stops; streams of clients that do not read are then closed."""
STREAM = (
    "Server-sent events until the job has ended. `id` counts from 1; `event` is `state`, `phase`, `progress`, "
    "`metrics`, `log` or `child`; `data` is a JobEvent with the same `event`: a StateEvent, PhaseEvent, "
    "ProgressEvent, MetricsEvent, LogEvent or ChildEvent. The schema is that of one event's `data`"
)

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])


def accepted(here: Context, job: jobs.Job, *, replayed: bool = False) -> Response:
    """Return the answer for a job that this request, or the same request before, has queued; wake a worker for it."""
    headers = {"Location": f"/jobs/{job.id}"} | ({"Idempotency-Replayed": "true"} if replayed else {})
    waking = None if replayed else BackgroundTask(wake, here, job)
    return respond(described(here.database, job), status=202, headers=headers, background=waking)


async def wake(here: Context, job: jobs.Job) -> None:
    """Wake a worker for a queued job, if the broker answers in time."""
    with suppress(DatabaseUnavailable):  # too much waits to be written: the housekeeper announces the job soon
        await here.threads.writers.run(
            housekeeping.wake, here.database, job.id, settings=here.settings, priority=job.priority
        )


async def _stream_place(here: Here, owner: Owner) -> AsyncIterator[None]:
    with here.streams.place(owner):
        yield  # until the stream has ended, however it does


StreamPlace = Annotated[None, Depends(_stream_place)]


@router.get("/jobs", operation_id="job_list", summary="List jobs", response_model=JobList, responses=problems())
def listing(
    here: Here,
    owner: Owner,
    *,
    state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    kind: Annotated[
        ListedKind | None, Query(description="only jobs of this kind; left out: all kinds but previews")
    ] = None,
    parent: Annotated[
        str | None,
        Query(
            pattern=patterns.JOB_ID,
            description="only the children of this job; left out: only jobs without a parent",
        ),
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Return your jobs, newest first; previews only with `kind=preview`, and for one day."""
    found, following = jobs.listing(
        here.database, owner=owner, state=state, kind=kind, parent=parent, limit=limit, cursor=cursor
    )
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


@router.delete(
    "/jobs/{job_id}",
    operation_id="job_delete",
    summary="Delete a job that has ended",
    status_code=204,
    responses=problems(404, 409, 503, 507),
)
@writes
def delete(job_id: JobId, here: Here, owner: Owner) -> None:
    """Delete the job with its events, log, report and files; refused while it waits or runs.

    The version that it made stays. A parent's children are deleted with it; a single child can't be deleted. Repeating
    the request that made the job, with its `Idempotency-Key`, gives 410.
    """
    removals.delete_job(here.database, job_id, owner=owner)


@router.post(
    "/jobs/{job_id}:cancel",
    operation_id="job_cancel",
    summary="Cancel a job",
    response_model=Job,
    responses=problems(404, 409, 507),
)
@writes
def cancel(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Cancel a waiting job at once, or a running one within seconds. Doing this twice changes nothing.

    A parent's children are canceled with it. A canceled child counts as failed, and its parent continues.
    """
    return respond(described(here.database, jobs.cancel(here.database, job_id, owner=owner)))


@router.post(
    "/jobs/{job_id}:retry",
    operation_id="job_retry",
    summary="Try a failed or canceled job again",
    status_code=202,
    response_model=Job,
    responses=problems(404, 409, 507),
)
@writes
def retry(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Queue a new job with the spec of a failed or canceled job; a new parent begins with new children."""
    return accepted(here, submissions.retry(here.database, job_id, owner=owner, settings=here.settings))


@router.get(
    "/jobs/{job_id}/events",
    operation_id="job_events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": STREAM,
            "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEvent"}}},
        },
        204: {"description": "The job has ended, and nothing came after `Last-Event-ID`"},
        **problems(404, 429, 503),
    },
)
async def follow(
    job_id: JobId,
    here: Here,
    owner: Owner,
    _place: StreamPlace,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=patterns.LAST_EVENT,
            description="continue after this event; left out: from the first event",
        ),
    ] = None,
) -> Response:
    """Stream all past and future events of the job, each with its number as `id`."""
    seen = int(last_event_id or 0)
    page = await here.streams.read(job_id, owner=owner, seen=seen)
    if page.is_over and not page.frames:
        return Response(status_code=204)  # tells a browser's EventSource not to come again
    return EventSourceResponse(
        here.streams.follow(job_id, page, seen=seen),
        ping=HEARTBEAT_S,
        sep="\n",
        shutdown_event=here.streams.leaving,
        shutdown_grace_period=GRACE_S,
    )
