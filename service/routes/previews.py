"""Previews of augmentation, made by a short urgent job for which the request waits: a picture, or a list and a page."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.datasets import store as datasets
from models_store.errors import NotFound
from models_store.jobs import store as jobs
from models_store.jobs import submissions
from models_store.jobs.job import TERMINAL
from models_store.spec.part import Part
from models_store.tasks import rooms
from service.answers.documents import Job
from service.answers.jobs import described, respond
from service.answers.previews import ChangedExamples
from service.answers.stored_files import StoredFile
from service.auth import Owner
from service.context import Context, Here
from service.negotiation import qualities
from service.problems import document
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, DatasetId, JobId, problems
from service.routes.jobs import wake
from service.routes.reports import HEADERS

MOST_BYTES = 1 << 20
POLL_S = 0.2

BODIES = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in rooms.previews()]
PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
LIST: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/ChangedExamples"}}}
PAGE: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
SHEET_IS = "The contact sheet: each row begins with the unchanged example"
LIST_IS = "examples that are read beside their changed copies, as a list or, where `Accept` prefers it, as a page"

router = APIRouter(tags=["datasets"], dependencies=[KNOWN_QUERY])


class PreviewNotThere(NotFound):
    """The job has made no such preview, or has not made it yet."""

    code = "preview_not_there"
    title = "No such preview"


@router.post(
    "/datasets/{dataset_id}:preview",
    operation_id="dataset_preview",
    summary="Preview an augmentation",
    response_class=Response,
    responses={
        200: {"content": PNG | LIST | PAGE, "description": f"{SHEET_IS}; or {LIST_IS}"},
        202: {
            "model": Job,
            "description": "Not ready yet: it will be at `/jobs/{id}/preview.png`, or `….json` and `….html`",
        },
        **problems(400, 404, 413, 415, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": BODIES[0] if len(BODIES) == 1 else {"anyOf": BODIES},
                    "example": {"augmentation": [{"kind": "random_resized_crop"}, {"kind": "rand_augment"}]},
                }
            },
        }
    },
)
async def preview(
    request: Request,
    dataset_id: DatasetId,
    here: Here,
    owner: Owner,
    *,
    wait_s: Annotated[
        float,
        Query(ge=0, le=120, description="seconds to wait for the preview; after that the answer is 202 with the job"),
    ] = 30.0,
) -> Response:
    """Return a few examples of the train split, changed as training would change them.

    A worker changes them, with the same code as in training; it takes this job before any other. `Content-Location` is
    where the preview stays for a day.
    """
    given = await bodies.parsed(request, await bodies.read_json(request, max_bytes=MOST_BYTES))
    dataset = await run_in_threadpool(datasets.find, here.database, dataset_id, owner=owner)
    if dataset.contract.preview is None:
        raise PreviewNotThere(f"dataset {dataset.id} has {dataset.contract.examples}, which can't be shown changed")
    wanted = bodies.check(dataset.contract.preview, given)
    with bodies.reporting_faults(dataset.contract.preview, given):
        job = await here.threads.writers.run(_submit, here, wanted, dataset)
    await wake(here, job)
    deadline = time.monotonic() + wait_s
    while job.state not in TERMINAL and time.monotonic() < deadline and not await request.is_disconnected():
        await asyncio.sleep(POLL_S)
        job = await run_in_threadpool(jobs.find, here.database, job.id, owner=owner)
    if job.problem is not None:
        return document(job.problem | {"instance": f"/jobs/{job.id}"})
    if job.state in TERMINAL:
        wanted_types = qualities(request.headers.get("accept", ""))
        forms = dataset.contract.preview_forms
        preferred = max(forms, key=lambda each: wanted_types.get(forms[each].media_type.partition(";")[0], 0))
        return _form(here, job, preferred)
    found = await run_in_threadpool(described, here.database, job)
    return respond(found, status=202, headers={"Location": f"/jobs/{job.id}"})


@router.get(
    "/jobs/{job_id}/preview.png",
    operation_id="job_preview",
    summary="Fetch a contact sheet",
    response_class=Response,
    responses={200: {"content": PNG, "description": "The contact sheet"}, **problems(404)},
)
def picture(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Return the picture of a preview."""
    return _form(here, jobs.find(here.database, job_id, owner=owner), "png")


@router.get(
    "/jobs/{job_id}/preview.json",
    operation_id="job_preview_list",
    summary="Read a preview",
    response_model=ChangedExamples,
    responses=problems(404),
)
def listed(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Return the examples of a preview beside their changed copies."""
    return _form(here, jobs.find(here.database, job_id, owner=owner), "json")


@router.get(
    "/jobs/{job_id}/preview.html",
    operation_id="job_preview_page",
    summary="Read a preview as a page",
    response_class=Response,
    responses={200: {"content": PAGE, "description": "One self-contained page"}, **problems(404)},
)
def page(job_id: JobId, here: Here, owner: Owner) -> Response:
    """Return the same as one HTML page, with what was changed marked."""
    return _form(here, jobs.find(here.database, job_id, owner=owner), "html")


def _submit(here: Context, wanted: Part, dataset: datasets.Dataset) -> jobs.Job:
    spec = dataset.contract.preview_spec(wanted, dataset_id=dataset.id, facts=datasets.facts(dataset))
    return submissions.submit(
        here.database,
        owner=dataset.owner,
        spec=spec,
        settings=here.settings,
        action=submissions.Action("preview", wanted.model_dump(mode="json")),
    )[0]


def _form(here: Context, job: jobs.Job, ending: str) -> Response:
    forms = rooms.contract_of(rooms.task_of(job.spec)).preview_forms
    sha256 = (job.files or {}).get(forms[ending].file) if ending in forms else None
    if sha256 is None:
        others = [each for each in forms if each != ending and job.kind == "preview"]
        hint = f"; its endings are {', '.join(others)}" if others else ""
        raise PreviewNotThere(f"job {job.id} is a {job.kind} and {job.state}; it has no preview.{ending}{hint}")
    headers = {"ETag": f'"{sha256}"', "Content-Location": f"/jobs/{job.id}/preview.{ending}", **HEADERS}
    return StoredFile(here.blobs.local(sha256), media_type=forms[ending].media_type, headers=headers)
