"""Log of a job: pages of JSON, all lines as plain text or JSON lines, or a stream of new lines."""

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from models_store.jobs import logs as job_logs
from models_store.jobs import store as jobs
from models_store.jobs.logs import Level, Line, Lines
from models_store.spec import patterns
from models_store.storage.database import Database
from service.answers.events import LogPage
from service.auth import Owner
from service.context import Context, Here
from service.problems import InvalidRequest
from service.requests.parameters import KNOWN_QUERY, JobId, problems
from service.routes.jobs import GRACE_S, HEARTBEAT_S
from service.streams import Frame, sent

USUAL, MOST = 200, 1000
"""lines of a page"""
JSON, PLAIN, JSON_LINES = "application/json", "text/plain", "application/x-ndjson"
ACCEPTED = {PLAIN: PLAIN, "text/*": PLAIN, JSON_LINES: JSON_LINES, JSON: JSON, "application/*": JSON, "*/*": JSON}

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])


Follow = Annotated[bool, Query(description="stream lines until the job has ended")]


async def _stream_place(here: Here, owner: Owner, *, follow: Follow = False) -> AsyncIterator[None]:
    with here.streams.place(owner) if follow else nullcontext():
        yield  # until the stream has ended, however it does


@router.get(
    "/jobs/{job_id}/logs",
    operation_id="job_logs",
    summary="Read a job's log",
    response_model=LogPage,
    responses={
        200: {
            "description": "A page of lines. With `Accept: text/plain` or `application/x-ndjson`: all lines after "
            "`cursor`. With `follow=true`: server-sent events until the job has ended. The `data` of "
            "each is a LogStreamEvent: by its `event`, which equals the stream's, a LogLineEvent or a "
            "StateEvent",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                JSON_LINES: {"schema": {"type": "string"}},
                "text/event-stream": {"schema": {"$ref": "#/components/schemas/LogStreamEvent"}},
            },
        },
        204: {"description": "With `follow=true`: the job has ended, and nothing came after `Last-Event-ID`"},
        **problems(404, 429, 503),
    },
)
async def logs(
    job_id: JobId,
    here: Here,
    owner: Owner,
    _place: Annotated[None, Depends(_stream_place)],
    *,
    limit: Annotated[
        int | None,
        Query(ge=1, le=MOST, description=f"largest number of lines; left out: {USUAL} in JSON, otherwise all"),
    ] = None,
    cursor: Annotated[
        str | None,
        Query(
            pattern=patterns.LINE_CURSOR,
            description="`next` of the previous page, or the `seq` of a line: continue after it",
        ),
    ] = None,
    attempt: Annotated[int | None, Query(ge=1, description="only lines of this attempt")] = None,
    level: Annotated[Level, Query(description="only lines of this level or a more severe one")] = "info",
    follow: Follow = False,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID", pattern=patterns.LAST_EVENT, description="with `follow`: continue after this line"
        ),
    ] = None,
) -> Response:
    """Return the lines that the trainers wrote in all attempts, and how each attempt began and ended.

    A job keeps 10,000 lines or 1 MB; in a longer log the middle is left out, and a line reports this.
    """
    job = await run_in_threadpool(jobs.find, here.database, job_id, owner=owner)
    after = int(cursor or 0)
    if follow:
        if limit is not None:
            raise InvalidRequest("`limit` is for pages, and `follow` streams all lines: give only one of them")
        return await _stream(here, job, owner=owner, seen=int(last_event_id or after), attempt=attempt, level=level)
    filters = {"attempt": attempt, "level": level}
    media_type = _wanted(accept)
    if media_type != JSON and limit is None:
        pages = _pages(here.database, job, after, **filters)
        chunks = (_text(page, media_type) for page in pages)
        return StreamingResponse(iterate_in_threadpool(chunks), media_type=media_type)
    page = await run_in_threadpool(_page, here.database, job, after=after, limit=limit or USUAL, **filters)
    following = None if page.following is None else str(page.following)
    if media_type == JSON:
        body = orjson.dumps({"items": [_document(line) for line in page.lines], "next": following})
        return Response(body, media_type=JSON)
    return Response(_text(page, media_type), media_type=media_type)


async def _stream(
    here: Context, job: jobs.Job, *, owner: str, seen: int, attempt: int | None, level: Level
) -> Response:
    page = await here.streams.read(job.id, owner=owner, seen=seen)
    if page.is_over and not page.frames:
        return Response(status_code=204)  # tells a browser's EventSource not to come again
    lines = await run_in_threadpool(job_logs.lines_after, here.database, job.id, seen, kind=job.kind)
    return EventSourceResponse(
        here.streams.follow(job.id, page, seen=seen, rendered=_Rendering(lines, attempt=attempt, level=level)),
        ping=HEARTBEAT_S,
        sep="\n",
        shutdown_event=here.streams.leaving,
        shutdown_grace_period=GRACE_S,
    )


class _Rendering:
    """The line that a stream sends for each event."""

    def __init__(self, lines: Lines, *, attempt: int | None, level: Level) -> None:
        self._lines, self._attempt, self._level = lines, attempt, level

    def __call__(self, frame: Frame) -> bytes:
        line = self._lines.of(frame.event)
        is_shown = line is not None and job_logs.is_wanted(line, attempt=self._attempt, level=self._level)
        shown = sent(frame.seq, "log", _document(line)) if line is not None and is_shown else b""
        return shown + frame.text if frame.event.kind == "state" else shown


def _page(database: Database, job: jobs.Job, *, after: int, limit: int, **filters: Any) -> job_logs.Page:  # noqa: ANN401  as job_logs has them
    return job_logs.page(database, job.id, kind=job.kind, after=after, limit=limit, **filters)


def _pages(database: Database, job: jobs.Job, after: int, **filters: Any) -> Iterator[job_logs.Page]:  # noqa: ANN401  as job_logs has them
    following: int | None = after
    while following is not None:
        page = _page(database, job, after=following, limit=MOST, **filters)
        following = page.following
        yield page


def _text(page: job_logs.Page, media_type: str) -> bytes:
    if media_type == JSON_LINES:
        return b"".join(orjson.dumps(_document(line)) + b"\n" for line in page.lines)
    return "".join(map(_plain, page.lines)).encode()


def _document(line: Line) -> dict[str, Any]:
    return {
        "seq": line.seq,
        "at": f"{datetime.fromtimestamp(line.at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "attempt": line.attempt,
        "level": line.level,
        "stage": line.stage,
        "message": line.message,
    }


def _plain(line: Line) -> str:
    level = "" if line.level == "info" else f"{line.level}: "
    stage = "" if line.stage is None else f"[{line.stage}] "
    return f"{datetime.fromtimestamp(line.at, UTC):%Y-%m-%dT%H:%M:%S.%fZ} {stage}{level}{line.message}\n"


def _wanted(accept: str) -> str:
    """Return the preferred media type among ours (RFC 9110, section 12.5.1); JSON if none is named."""
    ranges = []
    for given in accept.lower().split(","):
        name, _, parameters = given.partition(";")
        quality = next((each.partition("=")[2] for each in parameters.split(";") if each.strip().startswith("q=")), "1")
        if name.strip() in ACCEPTED:
            ranges.append((float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0, name.strip()))
    best = max(ranges, key=lambda each: each[0], default=(1.0, "*/*"))
    return ACCEPTED[best[1]]
