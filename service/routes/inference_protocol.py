"""Calls of the Open Inference Protocol about the server and its models: health, metadata, repository, statistics.

A model is a reference as `/predict` takes it, `name`, `name@alias` or `name:version`, each with an optional `/variant`.
"""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service.answers.inference_protocol import (
    IndexedVersion,
    IndexRequest,
    ModelStatistics,
    ProtocolFault,
    RepositoryRequest,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.auth import Owner
from service.context import Here
from service.protocol import documents
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, NEEDS_NO_KEY, PROBLEMS
from service.routes import references_in_paths
from service.routes.health import is_usable

MOST_BODY_BYTES = 100_000
Shape = TypeVar("Shape", bound=BaseModel)

REFERENCE = "`name`, `name@alias` or `name:version`, each with an optional `/variant`"
ModelReference = Annotated[str, Path(description=REFERENCE)]

references_in_paths.register()
router = APIRouter(prefix="/v2", tags=["inference protocol"], dependencies=[KNOWN_QUERY])


def faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for these errors of the protocol; 400, 401 and 503 may always come."""
    return {
        status: {"model": ProtocolFault, "description": PROBLEMS[status]}
        for status in sorted({400, 401, 503, *statuses})
    }


def documented(body: str) -> dict[str, Any]:
    """Return the OpenAPI part for an optional body of JSON."""
    return {
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}},
        }
    }


@router.get(
    "",
    operation_id="v2_server_metadata",
    summary="Describe the server",
    responses={400: faults()[400]},
    openapi_extra=NEEDS_NO_KEY,
)
async def server_metadata() -> ServerMetadata:
    """Return the server's name and version, and the extensions of the protocol that it has."""
    return ServerMetadata.model_validate(documents.server())


@router.get(
    "/health/live",
    operation_id="v2_health_live",
    summary="Is it alive?",
    responses={400: faults()[400]},
    openapi_extra=NEEDS_NO_KEY,
)
async def live() -> ServerLive:
    """Answer as long as the process runs."""
    return ServerLive(live=True)


@router.get(
    "/health/ready",
    operation_id="v2_health_ready",
    summary="Is it ready?",
    response_model=ServerReady,
    responses={400: faults()[400], 503: {"model": ServerReady, "description": "It can't answer now"}},
    openapi_extra=NEEDS_NO_KEY,
)
async def ready(here: Here) -> Response:
    """Report whether models can be found and run."""
    usable = await run_in_threadpool(is_usable, here)
    return Response(ServerReady(ready=usable).model_dump_json(), 200 if usable else 503, media_type="application/json")


@router.get("/models/stats", operation_id="v2_statistics", summary="Read all statistics", responses=faults())
async def all_statistics(here: Here, owner: Owner) -> ModelStatistics:
    """Return the statistics of every version that was asked of this process."""
    return ModelStatistics.model_validate(await here.models.statistics(owner))


@router.post(
    "/repository/index",
    operation_id="v2_repository_index",
    summary="List all versions",
    responses=faults(408, 413, 415),
    openapi_extra=documented("IndexRequest"),
)
async def index(here: Here, owner: Owner, request: Request) -> list[IndexedVersion]:
    """Return every version of your models. Each is ready: one that is not in memory is loaded by its first request."""
    await _body(request, IndexRequest)
    return [IndexedVersion.model_validate(each) for each in await here.models.index(owner)]


@router.post(
    "/repository/models/{model:reference}/load",
    operation_id="v2_repository_load",
    summary="Load a model",
    response_class=Response,
    responses={200: {"description": "It is loaded", "content": {}}, **faults(404, 408, 409, 413, 415, 507)},
    openapi_extra=documented("RepositoryRequest"),
)
async def load(model: ModelReference, here: Here, owner: Owner, request: Request) -> Response:
    """Load a model now, rather than at its first request."""
    given = await _body(request, RepositoryRequest)
    await here.models.load(owner, model, given.named)
    return Response()


@router.post(
    "/repository/models/{model:reference}/unload",
    operation_id="v2_repository_unload",
    summary="Unload a model",
    response_class=Response,
    responses={200: {"description": "It is unloaded", "content": {}}, **faults(404, 408, 409, 413, 415)},
    openapi_extra=documented("RepositoryRequest"),
)
async def unload(model: ModelReference, here: Here, owner: Owner, request: Request) -> Response:
    """Take a model out of memory. What waits for it is answered first; the next request loads it again."""
    given = await _body(request, RepositoryRequest)
    await here.models.unload(owner, model, given.named)
    return Response()


async def _body(request: Request, shape: type[Shape]) -> Shape:
    """Return the body, which may be left out; clients of the protocol send it with or without a content type."""
    body = await bodies.read(request, max_bytes=MOST_BODY_BYTES)
    return bodies.check(shape, await bodies.parsed(request, body) if body else {})
