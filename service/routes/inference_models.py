"""Calls of the Open Inference Protocol about one model: ready, metadata, configuration, statistics; and inference.

Each has two paths, without and with a version. Inference takes the bare request, as `/predict` does.
"""

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.models.served import Served
from models_store.tasks import rooms
from service.answers.inference_protocol import (
    InferenceAnswer,
    ModelConfiguration,
    ModelMetadata,
    ModelReady,
    ModelStatistics,
)
from service.auth import Owner, owner_of
from service.context import Context, Here, context_of
from service.hot.routes import JSON, Answering, HotRoute, Reply, server_timing
from service.inference.engine import Answer
from service.protocol import rest
from service.protocol.inference import InferRequest
from service.protocol.served_models import within
from service.protocol.signatures import Signature
from service.requests import bodies, predictions, stickiness, urgency
from service.requests.parameters import KNOWN_QUERY, refuse_query_besides
from service.requests.stickiness import sticky_key_of
from service.requests.urgency import Arrival, limit_in
from service.routes.inference_protocol import REFERENCE, ModelReference, faults
from service.routes.predict import BareRoute, unless_left

VERSION = "number of the version; the model is then a name, with an optional `/variant`"
VersionText = Annotated[str, Path(description=VERSION)]
OCTETS = (b"content-type", predictions.OCTETS.encode())
TENSORS = {"", "application/json", predictions.OCTETS}
"""content types of a body with tensors; public clients send none"""
BINARY: dict[str, Any] = {
    "type": "string",
    "format": "binary",
    "description": "the same JSON, of the length in `Inference-Header-Content-Length`, then the data of tensors",
}
LENGTH: dict[str, Any] = {"type": "integer", "minimum": 0}
MODEL_IN_PATH: dict[str, Any] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": REFERENCE,
    "schema": {"type": "string"},
}
VERSION_IN_PATH: dict[str, Any] = MODEL_IN_PATH | {"name": "version", "description": VERSION}
LENGTH_IN_HEADER: dict[str, Any] = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "length of the JSON in bytes, if data follows it; 0: the body is the data of one tensor, or, with "
    "the content type of a file, one file",
    "schema": LENGTH,
}
IN_HEADERS = [LENGTH_IN_HEADER, urgency.PARAMETER, stickiness.PARAMETER]
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}},
        "application/octet-stream": {"schema": BINARY},
    },
}
INFER: dict[str, Any] = {
    "response_model": InferenceAnswer,
    "responses": {
        200: {
            "content": {"application/octet-stream": {"schema": BINARY}},
            "headers": {
                "Inference-Header-Content-Length": {
                    "description": "length of the JSON in bytes, if data follows it",
                    "schema": LENGTH,
                },
                "Server-Timing": {
                    "description": "decode, queue and run, in milliseconds",
                    "schema": {"type": "string"},
                },
            },
        },
        **faults(404, 408, 409, 413, 415, 429, 504, 507),
    },
    "description": f"""
Return what a model answers for tensors, as the Open Inference Protocol has it.

The inputs are the model's own, as its metadata has them, each with its examples along the first axis; or encoded
{rooms.examples()} as one input of BYTES, of any name and shape [N] or [N, 1]. The output is FP32, or named classes with
`classification`.
""",
}

described = APIRouter(prefix="/v2/models", tags=["inference protocol"], dependencies=[KNOWN_QUERY])
inferring = APIRouter(prefix="/v2/models", tags=["inference protocol"], route_class=BareRoute)


@described.get(
    "/{model:reference}/versions/{version}/ready",
    operation_id="v2_version_ready",
    summary="Would this version answer?",
    responses=faults(404, 409),
)
async def version_ready(model: ModelReference, version: VersionText, here: Here, owner: Owner) -> ModelReady:
    """Report a version that would answer now; for one that would not, the error says why."""
    served, _ = await here.models.find(owner, model, version)
    return ModelReady(name=served.model, ready=True)


@described.get(
    "/{model:reference}/ready",
    operation_id="v2_model_ready",
    summary="Would this model answer?",
    responses=faults(404, 409),
)
async def model_ready(model: ModelReference, here: Here, owner: Owner) -> ModelReady:
    """Report a model that would answer now; for one that would not, the error says why."""
    served, _ = await here.models.find(owner, model)
    return ModelReady(name=served.model, ready=True)


@described.get(
    "/{model:reference}/versions/{version}/config",
    operation_id="v2_version_config",
    summary="Read a version's configuration",
    responses=faults(404, 409),
)
async def version_config(model: ModelReference, version: VersionText, here: Here, owner: Owner) -> ModelConfiguration:
    """Return the configuration in the members of Triton's that have a meaning here."""
    return ModelConfiguration.model_validate(await here.models.config(owner, model, version))


@described.get(
    "/{model:reference}/config",
    operation_id="v2_model_config",
    summary="Read a model's configuration",
    responses=faults(404, 409),
)
async def model_config(model: ModelReference, here: Here, owner: Owner) -> ModelConfiguration:
    """Return the configuration in the members of Triton's that have a meaning here."""
    return ModelConfiguration.model_validate(await here.models.config(owner, model))


@described.get(
    "/{model:reference}/versions/{version}/stats",
    operation_id="v2_version_statistics",
    summary="Read a version's statistics",
    responses=faults(404, 409),
)
async def version_statistics(model: ModelReference, version: VersionText, here: Here, owner: Owner) -> ModelStatistics:
    """Return what the version has answered in this process."""
    return ModelStatistics.model_validate(await here.models.statistics(owner, model, version))


@described.get(
    "/{model:reference}/stats",
    operation_id="v2_model_statistics",
    summary="Read a model's statistics",
    responses=faults(404, 409),
)
async def model_statistics(model: ModelReference, here: Here, owner: Owner) -> ModelStatistics:
    """Return what the version that a reference means has answered in this process."""
    return ModelStatistics.model_validate(await here.models.statistics(owner, model))


@described.get(
    "/{model:reference}/versions/{version}",
    operation_id="v2_version_metadata",
    summary="Describe a version",
    responses=faults(404, 409),
)
async def version_metadata(model: ModelReference, version: VersionText, here: Here, owner: Owner) -> ModelMetadata:
    """Return the model's versions, and the tensors of this one."""
    return ModelMetadata.model_validate(await here.models.metadata(owner, model, version))


@described.get(
    "/{model:reference}",
    operation_id="v2_model_metadata",
    summary="Describe a model",
    responses=faults(404, 409),
)
async def model_metadata(model: ModelReference, here: Here, owner: Owner) -> ModelMetadata:
    """Return the model's versions, and its tensors."""
    return ModelMetadata.model_validate(await here.models.metadata(owner, model))


@inferring.post(
    "/{model:reference}/versions/{version}/infer",  # noqa: FAST003  it takes the bare request
    operation_id="v2_version_infer",
    summary="Ask a version",
    openapi_extra={"parameters": [MODEL_IN_PATH, VERSION_IN_PATH, *IN_HEADERS], "requestBody": BODY},
    **INFER,
)
async def version_infer(request: Request) -> Response:
    """Answer an inference request."""
    return await _infer(request)


@inferring.post(
    "/{model:reference}/infer",  # noqa: FAST003  the same
    operation_id="v2_model_infer",
    summary="Ask a model",
    openapi_extra={"parameters": [MODEL_IN_PATH, *IN_HEADERS], "requestBody": BODY},
    **INFER,
)
async def model_infer(request: Request) -> Response:
    """Answer an inference request."""
    return await _infer(request)


@dataclass(frozen=True)
class _Head:
    """What the head of a request says."""

    owner: str
    model: str
    version: str | None
    length: bytes | None
    is_file: bool
    limit_s: float | None
    sticky_key: str | None


def prepare(request: Request) -> Answering:
    """Return what answers the bodies behind a request's head."""
    here, head = context_of(request), _head_of(request)

    async def answer(body: bytes) -> Reply:
        arrival = Arrival(time.monotonic(), head.limit_s)
        served, signature = await _found(here, head)
        asked = within(await _read(body, head, signature), arrival.deadline_s())
        return _reply(asked, served, signature, await here.models.infer(served, signature, asked))

    return answer


HOT = (
    HotRoute(re.compile("/v2/models/(?P<model>[^/]+(/[^/]+)?)/infer"), "/v2/models/{model:reference}/infer", prepare),
    HotRoute(
        re.compile("/v2/models/(?P<model>[^/]+(/[^/]+)?)/versions/(?P<version>[^/]+)/infer"),
        "/v2/models/{model:reference}/versions/{version}/infer",
        prepare,
    ),
)


async def _infer(request: Request) -> Response:
    here, head = context_of(request), _head_of(request)
    arrival = Arrival(time.monotonic(), head.limit_s)
    served, signature = await _found(here, head)  # before a large body is read
    body = await bodies.read(request, max_bytes=here.settings.predict_max_bytes)
    asked = within(await _read(body, head, signature), arrival.deadline_s())
    inferring = here.models.infer(served, signature, asked)
    if here.sessions.may_leave(served):
        inferring = unless_left(request, inferring)
    return _reply(asked, served, signature, await inferring).as_response()


async def _found(here: Context, head: _Head) -> tuple[Served, Signature]:
    return await here.models.find(head.owner, head.model, head.version, sticky_key=head.sticky_key)


def _head_of(request: Request) -> _Head:
    owner = owner_of(request)
    refuse_query_besides(request, set())
    kind = bodies.content_type(request)
    is_file = kind not in TENSORS and predictions.is_one_example(kind)
    if not is_file and kind not in TENSORS:
        raise bodies.WrongContentType(f"{bodies.what_came(kind)}; send application/json or {predictions.OCTETS}")
    length = request.headers.get("inference-header-content-length")
    model, version = request.path_params["model"], request.path_params.get("version")
    given = None if length is None else length.encode("latin-1")
    return _Head(owner, model, version, given, is_file, limit_in(request), sticky_key_of(request.headers))


async def _read(body: bytes, head: _Head, signature: Signature) -> InferRequest:
    """Return the request of a body; much JSON is parsed in a thread."""
    length = rest.header_length(head.length, len(body))
    if length == 0 or head.is_file:
        return rest.read_raw(body, signature, is_file=head.is_file)
    if (len(body) if length is None else length) > bodies.LARGE_BYTES:
        return await run_in_threadpool(rest.read, body, length)
    return rest.read(body, length)


def _reply(asked: InferRequest, served: Served, signature: Signature, answer: Answer) -> Reply:
    body, length = rest.write(asked, served, signature, answer)
    headers = [JSON if length is None else OCTETS, (b"server-timing", server_timing(answer))]
    if length is not None:
        headers.append((rest.LENGTH_HEADER, str(length).encode()))
    return Reply(HTTPStatus.OK, headers, body)
