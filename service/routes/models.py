"""models, their versions and measured variants, the files themselves, and the aliases that move between them."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store import registry
from models_store.blobs import BlobMissing
from models_store.registry import ModelNotFound
from service import bodies
from service.auth import Owner
from service.context import Here
from service.inference.sessions import unusable
from service.model_answers import Alias, AliasTarget, Model, ModelList, Version
from service.routes.requests import (
    KNOWN_QUERY,
    AliasName,
    Cursor,
    Limit,
    ModelName,
    VariantName,
    VersionNumber,
    problems,
)
from service.stored_files import StoredFile, is_named, unchanged
from service.threads import writes

MOST_ALIAS_BYTES = 10_000

router = APIRouter(tags=["models"], dependencies=[KNOWN_QUERY])


@router.get("/models", operation_id="model_list", summary="List models", responses=problems())
def listing(here: Here, owner: Owner, limit: Limit = 20, cursor: Cursor = None) -> ModelList:
    """Return your models, by name."""
    found, following = registry.models(here.database, owner=owner, limit=limit, cursor=cursor)
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


@router.get(
    "/models/{name}/versions/{number}",
    operation_id="version_get",
    summary="Describe a version",
    responses=problems(404),
)
def get_version(name: ModelName, number: VersionNumber, here: Here, owner: Owner) -> Version:
    """Return the version with every variant's measured accuracy, latency, throughput and size."""
    return Version.of(registry.version(here.database, name, number, owner=owner))


@router.get(
    "/models/{name}/versions/{number}/variants/{variant}/download",
    operation_id="variant_download",
    summary="Download a variant's ONNX file",
    response_class=Response,
    responses={
        200: {
            "description": "The file; its ETag is its SHA-256. `Range` is understood",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part that `Range` asked for"},
        304: {"description": "`If-None-Match` names this very file"},
        **problems(404, 416, 503, 507),
    },
)
def download(  # noqa: PLR0917  FastAPI passes them all by name
    name: ModelName, number: VersionNumber, variant: VariantName, here: Here, owner: Owner, request: Request
) -> Response:
    """Return the file as it was measured; it runs anywhere that onnxruntime does, on raw uint8 pixels."""
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


@router.put(
    "/models/{name}/aliases/{alias}",
    operation_id="alias_set",
    summary="Point an alias at a version",
    responses=problems(400, 404, 409, 413, 415, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AliasTarget"}}},
        }
    },
)
async def set_alias(name: ModelName, alias: AliasName, here: Here, owner: Owner, request: Request) -> Alias:
    """Point an alias at a version, or at one of its variants. `default` is what a bare name means.

    The file is loaded before the alias moves, so that the first prediction finds it warm; the one before finishes.
    """
    body = await bodies.read_json(request, max_bytes=MOST_ALIAS_BYTES)
    target = bodies.check(AliasTarget, bodies.parse(body))
    reference = f"{name}:{target.version}" + (f"/{target.variant}" if target.variant else "")
    await here.sessions.get(await run_in_threadpool(here.references.resolve, reference, owner=owner))
    await here.threads.writers.run(
        registry.set_alias,
        here.database,
        name,
        alias,
        owner=owner,
        number=target.version,
        variant=target.variant,
    )
    here.references.forget()
    return Alias(version=target.version, variant=target.variant)


@router.delete(
    "/models/{name}/aliases/{alias}",
    operation_id="alias_delete",
    summary="Remove an alias",
    status_code=204,
    responses=problems(404, 507),
)
@writes
def delete_alias(name: ModelName, alias: AliasName, here: Here, owner: Owner) -> None:
    """Remove an alias; the version stays."""
    registry.remove_alias(here.database, name, alias, owner=owner)
    here.references.forget()
