"""Calls about files of weights. POST streams a file to disk, and checks its header without loading a tensor."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.models import weights
from service.answers.weights import UploadedWeights, Weights, WeightsList
from service.auth import Owner
from service.context import Context, Here
from service.requests import changes, uploads
from service.requests.parameters import KNOWN_QUERY, Cursor, GivenName, Limit, WeightsId, answer, problems
from service.threads import writes

router = APIRouter(tags=["weights"], dependencies=[KNOWN_QUERY])

BODY: dict[str, Any] = {
    "required": True,
    "description": "A safetensors file: the tensors of a backbone under the names of its library, with or without "
    "its classifier, or those of a whole model of this service (`backbone.…`, `head.…`). Or vectors of words in "
    "word2vec's text form, whose first line is `count width`. Or a zip or tar with one safetensors file and its words: "
    "`vocabulary.txt` (one a line) or `vocabulary.json`. Or a zip or tar of a pretrained encoder: its `config.json`, "
    "`model.safetensors` and `tokenizer.json` (BERT, MiniLM, RoBERTa, XLM-RoBERTa, DistilBERT). All are stored as one "
    "safetensors file.",
    "content": {
        "application/octet-stream": {
            "schema": {"type": "string", "format": "binary", "description": "the file's bytes"}
        }
    },
}


@router.post(
    "/weights",
    operation_id="weights_create",
    summary="Upload initial weights",
    status_code=201,
    response_model=UploadedWeights,
    responses={
        200: {
            "model": UploadedWeights,
            "description": "The same bytes are already stored: the existing file with its own name; `note` explains it",
        },
        **problems(413, 415, 503, 507),
    },
    openapi_extra={"requestBody": BODY},
)
async def create(
    request: Request,
    here: Here,
    owner: Owner,
    name: Annotated[GivenName | None, Query(description="a name for people; left out: weights")] = None,
) -> Response:
    """Upload weights, check them, and store them as safetensors under their digest; a spec names them by their id.

    A pretrained encoder is checked whole: a missing or unlike file is refused here. Of other files, only a job that
    starts from the tensors checks whether they fit its backbone.
    """
    with uploads.scratch_file(here.settings.scratch) as (path, file):
        await uploads.receive_bytes(request, file, max_bytes=here.settings.weights_max_bytes)
        stored, created = await here.threads.intake.run(_add, here, path, owner=owner, name=name or "weights")
    location = {"Location": f"/weights/{stored.id}"}
    made = UploadedWeights.made(stored, known=not created, name=name)
    return answer(made, status=201 if created else 200, headers=location)


@router.get("/weights", operation_id="weights_list", summary="List files of weights", responses=problems())
def listing(here: Here, owner: Owner, limit: Limit = 20, cursor: Cursor = None) -> WeightsList:
    """Return your files of weights, newest first."""
    found, following = weights.listing(here.database, owner=owner, limit=limit, cursor=cursor)
    return WeightsList(items=[Weights.of(file) for file in found], next=following)


@router.get(
    "/weights/{weights_id}", operation_id="weights_get", summary="Describe a file of weights", responses=problems(404)
)
def get(weights_id: WeightsId, here: Here, owner: Owner) -> Weights:
    """Return the content of the file: tensors, parameters, types, digest."""
    return Weights.of(weights.find(here.database, weights_id, owner=owner))


@router.patch(
    "/weights/{weights_id}",
    operation_id="weights_update",
    summary="Rename a file of weights",
    responses=problems(400, 404, 413, 415, 503, 507),
    openapi_extra=changes.documented(changes.WeightsPatch),
)
async def update(weights_id: WeightsId, here: Here, owner: Owner, request: Request) -> Weights:
    """Set the file's name by a JSON merge patch (RFC 7396), and return it; an empty patch changes nothing."""
    given = await changes.patch_of(request, changes.WeightsPatch)
    if "name" not in given.model_fields_set:
        return Weights.of(await run_in_threadpool(weights.find, here.database, weights_id, owner=owner))
    renamed = await here.threads.writers.run(weights.rename, here.database, weights_id, given.name, owner=owner)
    return Weights.of(renamed)


@router.delete(
    "/weights/{weights_id}",
    operation_id="weights_delete",
    summary="Delete a file of weights",
    status_code=204,
    responses=problems(404, 409, 507),
)
@writes
def delete(weights_id: WeightsId, here: Here, owner: Owner) -> None:
    """Delete the file; refused while a job that has not ended starts from it. Models that were made from it stay."""
    weights.remove(here.database, weights_id, owner=owner)


def _add(here: Context, path: Path, *, owner: str, name: str) -> tuple[weights.WeightsFile, bool]:
    with uploads.reporting_full_disk():
        return weights.add(
            path,
            owner=owner,
            name=name,
            database=here.database,
            blobs=here.blobs,
            most_bytes=here.settings.weights_max_bytes,
        )
