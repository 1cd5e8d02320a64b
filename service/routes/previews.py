"""contact sheets of augmentation: a short job that a worker does first, waited for here."""

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
from service.answers.stored_files import StoredFile
from service.auth import Owner
from service.context import Context, Here
from service.problems import document
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, DatasetId, JobId, problems
from service.routes.jobs import wake

MOST_BYTES = 1 << 20
POLL_S = 0.2

BODIES = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in rooms.previews()]
PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}

router = APIRouter(tags=["datasets"], dependencies=[KNOWN_QUERY])


class PreviewNotThere(NotFound):
    """The job has made no contact sheet, or not yet."""

    code = "preview_not_there"
    title = "No such picture"


@router.post(
    "/datasets/{dataset_id}:preview",
    operation_id="dataset_preview",
    summary="See what an augmentation does",
    response_class=Response,
    responses={
        200: {"content": PNG, "description": "The contact sheet: each row begins with the image as it is"},
        202: {"model": Job, "description": "Not ready yet: the picture will be at `/jobs/{id}/preview.png`"},
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
        float, Query(ge=0, le=120, description="seconds to wait for a worker; then the answer is 202 with the job")
    ] = 30.0,
) -> Response:
    """Change a few images of the train split with a list of augmentations and a seed, as training would, and show them.

    The pixels are changed by a worker, with the very code that trains; it takes this before any other job.
    """
    given = await bodies.parsed(request, await bodies.read_json(request, max_bytes=MOST_BYTES))
    dataset = await run_in_threadpool(datasets.find, here.database, dataset_id, owner=owner)
    if dataset.contract.preview is None:
        raise PreviewNotThere(f"dataset {dataset.id} has {dataset.contract.examples}, which can't be shown changed")
    wanted = bodies.check(dataset.contract.preview, given)
    job = await here.threads.writers.run(_submit, here, wanted, dataset)
    await wake(here, job)
    deadline = time.monotonic() + wait_s
    while job.state not in TERMINAL and time.monotonic() < deadline and not await request.is_disconnected():
        await asyncio.sleep(POLL_S)
        job = await run_in_threadpool(jobs.find, here.database, job.id, owner=owner)
    if job.problem is not None:
        return document(job.problem | {"instance": f"/jobs/{job.id}"})
    if job.state in TERMINAL:
        return _picture(here, job)
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
    """Return the picture that a preview has made."""
    return _picture(here, jobs.find(here.database, job_id, owner=owner))


def _submit(here: Context, wanted: Part, dataset: datasets.Dataset) -> jobs.Job:
    spec = dataset.contract.preview_spec(wanted, dataset_id=dataset.id, facts=datasets.facts(dataset))
    return submissions.submit(
        here.database,
        owner=dataset.owner,
        spec=spec,
        settings=here.settings,
        action=submissions.Action("preview", wanted.model_dump(mode="json")),
    )[0]


def _picture(here: Context, job: jobs.Job) -> Response:
    sha256 = (job.files or {}).get("preview")
    if sha256 is None:
        raise PreviewNotThere(f"job {job.id} is a {job.kind} and {job.state}; it has no contact sheet")
    return StoredFile(here.blobs.local(sha256), media_type="image/png", headers={"ETag": f'"{sha256}"'})
