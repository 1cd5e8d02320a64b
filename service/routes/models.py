"""Calls about models, their versions and measured variants, and the files."""

from typing import Any

from fastapi import APIRouter, Request, Response

from models_store import descriptions
from models_store.models import registry, removals
from models_store.models.registry import ModelNotFound
from models_store.storage.blobs import BlobMissing
from service.answers.models import Model, ModelList, Version
from service.answers.stored_files import StoredFile, is_named, unchanged
from service.auth import Owner
from service.context import Context, Here
from service.inference.releasing import release_deleted
from service.inference.sessions import unusable
from service.requests import changes
from service.requests.parameters import (
    KNOWN_QUERY,
    Cursor,
    Limit,
    ModelName,
    TagFilter,
    VariantName,
    VersionNumber,
    problems,
)

FILE: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

router = APIRouter(tags=["models"], dependencies=[KNOWN_QUERY])


@router.get("/models", operation_id="model_list", summary="List models", responses=problems())
def listing(here: Here, owner: Owner, *, tag: TagFilter = None, limit: Limit = 20, cursor: Cursor = None) -> ModelList:
    """Return your models, by name."""
    found, following = registry.models(here.database, owner=owner, tag=tag, limit=limit, cursor=cursor)
    return ModelList(items=[Model.of(model) for model in found], next=following)


@router.get(
    "/models/{name}",
    operation_id="model_get",
    summary="Describe a model",
    responses=problems(404),
)
def get(name: ModelName, here: Here, owner: Owner) -> Model:
    """Return the model's versions, newest first, and its aliases."""
    return Model.of(registry.model(here.database, name, owner=owner))


@router.patch(
    "/models/{name}",
    operation_id="model_update",
    summary="Change a model's description or tags",
    responses=problems(400, 404, 413, 415, 503, 507),
    openapi_extra=changes.documented(changes.DescriptionPatch),
)
async def update(name: ModelName, here: Here, owner: Owner, request: Request) -> Model:
    """Set the model's description or tags by a JSON merge patch (RFC 7396), and return it.

    A missing key changes nothing; null clears. A model keeps its name, because specs and predictions refer to it.
    """
    given = await changes.changes_of(request, changes.DescriptionPatch)
    changed = await here.threads.writers.run(descriptions.change_model, here.database, name, given, owner=owner)
    return Model.of(changed)


@router.delete(
    "/models/{name}",
    operation_id="model_delete",
    summary="Delete a model",
    status_code=204,
    responses=problems(404, 409, 503, 507),
)
async def delete(name: ModelName, here: Here, owner: Owner) -> None:
    """Delete the model with its versions and aliases; refused while a job that has not ended builds on one of them.

    Predictions that are under way are answered. The jobs that made it stay. If a model is later trained under the same
    name, its version numbers continue: no number is used twice.
    """
    await here.threads.writers.run(removals.delete_model, here.database, name, owner=owner)
    await _release(here)


@router.get(
    "/models/{name}/versions/{number}",
    operation_id="version_get",
    summary="Describe a version",
    responses=problems(404),
)
def get_version(name: ModelName, number: VersionNumber, here: Here, owner: Owner) -> Version:
    """Return the version with every variant's measured accuracy, latency, throughput and size."""
    return Version.of(registry.version(here.database, name, number, owner=owner))


@router.patch(
    "/models/{name}/versions/{number}",
    operation_id="version_update",
    summary="Change a version's description or tags",
    responses=problems(400, 404, 413, 415, 503, 507),
    openapi_extra=changes.documented(changes.DescriptionPatch),
)
async def update_version(name: ModelName, number: VersionNumber, here: Here, owner: Owner, request: Request) -> Version:
    """Set the version's description or tags by a JSON merge patch (RFC 7396), and return it.

    A missing key changes nothing; null clears. Files and figures never change.
    """
    given = await changes.changes_of(request, changes.DescriptionPatch)
    changed = await here.threads.writers.run(
        descriptions.change_version, here.database, name, number, given, owner=owner
    )
    return Version.of(changed)


@router.delete(
    "/models/{name}/versions/{number}",
    operation_id="version_delete",
    summary="Delete a version",
    status_code=204,
    responses=problems(404, 409, 503, 507),
)
async def delete_version(name: ModelName, number: VersionNumber, here: Here, owner: Owner) -> None:
    """Delete the version with its variants; refused while an alias points to it, or a job builds on it.

    A job builds on a version that it compresses, measures, starts from or learns from, until it has ended. Predictions
    that are under way are answered. Its number is never used again. The job that made it stays.
    """
    await here.threads.writers.run(removals.delete_version, here.database, name, number, owner=owner)
    await _release(here)


@router.get(
    "/models/{name}/versions/{number}/variants/{variant}/download",
    operation_id="variant_download",
    summary="Download a variant's ONNX file",
    response_class=Response,
    responses={
        200: {
            "description": "The file; its ETag is its SHA-256. `Range` is supported",
            "content": FILE,
        },
        206: {"description": "The part that `Range` requested", "content": FILE},
        304: {"description": "`If-None-Match` names this very file"},
        **problems(404, 416, 503, 507),
    },
)
def download(  # noqa: PLR0917  FastAPI passes them all by name
    name: ModelName, number: VersionNumber, variant: VariantName, here: Here, owner: Owner, request: Request
) -> Response:
    """Return the measured file; it runs in onnxruntime, on raw uint8 pixels."""
    found = registry.version(here.database, name, number, owner=owner)
    wanted = next((each for each in found.variants if each.name == variant), None)
    if wanted is None:
        there_are = ", ".join(each.name for each in found.variants)
        raise ModelNotFound(f"version {number} of {name!r} has no variant {variant!r}; it has {there_are}")
    headers = {"ETag": f'"{wanted.blob}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if is_named(request.headers.get("if-none-match", ""), headers["ETag"]):
        return unchanged(headers)
    try:
        path = here.blobs.local(wanted.blob)
    except BlobMissing as error:
        raise unusable(f"{name}:{number}/{variant}", "is missing or damaged") from error
    file_name = f"{name}-{number}-{variant}.onnx"
    return StoredFile(path, headers=headers, media_type="application/octet-stream", filename=file_name)


async def _release(here: Context) -> None:
    """Unload deleted models; other processes of the service do so within seconds."""
    here.references.forget()
    await release_deleted(here)
