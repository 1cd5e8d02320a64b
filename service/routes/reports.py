"""Report of a finished job: as JSON, as one page, and its pictures."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from models_store.errors import Unavailable
from models_store.jobs import reports
from models_store.jobs import store as jobs
from models_store.spec import patterns
from models_store.storage.blobs import BlobMissing
from service.answers.reports import JobReport
from service.answers.stored_files import is_named, unchanged
from service.auth import Owner
from service.context import Context, Here
from service.requests.parameters import KNOWN_QUERY, JobId, problems

PictureName = Annotated[
    str,
    Path(pattern=patterns.PICTURE, description="name of the picture, as the report lists it"),
]
HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    # names of classes and files are their owner's: whatever they hold, nothing of a page runs or calls out
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
}
TYPES = {"svg": "image/svg+xml", "png": "image/png"}
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "`If-None-Match` names this very report"}}

router = APIRouter(tags=["jobs"], dependencies=[KNOWN_QUERY])


class ReportLost(Unavailable):
    """The store does not have the report's file, or can't read it now."""

    code = "report_lost"
    title = "The report's file is missing or damaged"


@router.get(
    "/jobs/{job_id}/report",
    operation_id="job_report",
    summary="Read a job's report",
    response_model=JobReport,
    responses={**UNCHANGED, **problems(404, 503, 507)},
)
def report(job_id: JobId, here: Here, owner: Owner, request: Request) -> Response:
    """Return every figure of the fp32 file on the val and test splits, with 95 % intervals, and the epochs' history."""
    return _member(here, job_id, reports.JSON, owner=owner, request=request, media_type="application/json")


@router.get(
    "/jobs/{job_id}/report.html",
    operation_id="job_report_page",
    summary="Read a job's report as a page",
    response_class=Response,
    responses={
        200: {
            "description": "One self-contained page",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **UNCHANGED,
        **problems(404, 503, 507),
    },
)
def page(job_id: JobId, here: Here, owner: Owner, request: Request) -> Response:
    """Return the report with its pictures as one HTML page, which can be saved and sent to others."""
    return _member(here, job_id, reports.PAGE, owner=owner, request=request, media_type="text/html; charset=utf-8")


@router.get(
    "/jobs/{job_id}/report/pictures/{name}",
    operation_id="job_report_picture",
    summary="Fetch a picture of a job's report",
    response_class=Response,
    responses={
        200: {
            "description": "The picture",
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in TYPES.values()},
        },
        **UNCHANGED,
        **problems(404, 503, 507),
    },
)
def picture(job_id: JobId, name: PictureName, here: Here, owner: Owner, request: Request) -> Response:
    """Return one of the pictures that the report lists."""
    media_type = TYPES[name.rpartition(".")[2]]
    return _member(here, job_id, reports.PICTURES + name, owner=owner, request=request, media_type=media_type)


def _member(here: Context, job_id: str, member: str, *, owner: str, request: Request, media_type: str) -> Response:
    sha256 = reports.digest_of(jobs.find(here.database, job_id, owner=owner))
    headers = {"ETag": f'"{sha256}"', **HEADERS}
    try:
        content = reports.read(here.blobs, sha256, member)
    except BlobMissing as error:
        raise ReportLost(f"the report of {job_id} is missing or damaged; restore the blobs from a backup") from error
    if is_named(request.headers.get("if-none-match", ""), headers["ETag"]):
        return unchanged(headers)
    return Response(content, headers=headers, media_type=media_type)
