"""POST /predict: images in (JSON, form, or one raw file), classes, labels or numbers out, and which file answered.

The hottest route: it takes the bare request, past FastAPI's own reading of parameters.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from models_store.errors import FieldError
from models_store.registry import Served
from models_store.settings import Settings
from service import bodies, multipart
from service.auth import owner_of
from service.context import context_of
from service.inference.batcher import Answer
from service.inference.decode import Encoded
from service.inference.sessions import Loaded
from service.predictions import Predictions, PredictRequest, prediction
from service.problems import MalformedRequest, nearest
from service.routes.requests import problems, refuse_query_besides


class BareRoute(APIRoute):
    """A route whose endpoint takes the request as it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


router = APIRouter(tags=["predict"], route_class=BareRoute)

MODEL_FIELD: dict[str, Any] = {
    "type": "string",
    "description": "`name`, `name@alias` or `name:version`, each with an optional `/variant`",
}
TOP_K_FIELD: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 10_000,
    "description": "classes or labels to name, cut to as many as there are; left out: 5 classes, or all labels",
}
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": MODEL_FIELD,
        "top_k": TOP_K_FIELD,
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "image files"},
    },
    "required": ["model", "files"],
}
FILE: dict[str, Any] = {"type": "string", "format": "binary", "description": "one image file"}
DOCUMENTED: dict[str, Any] = {
    "parameters": [
        {
            "name": "model",
            "in": "query",
            "required": False,
            "description": "with a raw image body: " + MODEL_FIELD["description"],
            "schema": {"type": "string"},
        },
        {
            "name": "top_k",
            "in": "query",
            "required": False,
            "description": "with a raw image body: " + TOP_K_FIELD["description"],
            "schema": {"type": "integer", "minimum": 1, "maximum": 10_000},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/PredictForm"}},
            "application/octet-stream": {"schema": FILE},
            "image/*": {"schema": FILE},
        },
    },
}


class Target(BaseModel):
    """What a form's fields or a query ask for, beside the images; numbers come as text there."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200)
    top_k: int | None = Field(None, ge=1, le=10_000)


@dataclass(frozen=True)
class Asked:
    """A prediction request, whatever it came as; `pointers` name the images in it."""

    model: str
    top_k: int | None
    images: list[Encoded]
    pointers: list[str]


@router.post(
    "/predict",
    operation_id="predict_create",
    summary="Classify images, or estimate numbers",
    response_model=Predictions,
    responses={
        200: {
            "headers": {
                "Server-Timing": {
                    "description": "decode, queue and run, in milliseconds",
                    "schema": {"type": "string"},
                }
            }
        },
        **problems(400, 404, 409, 413, 415, 503),
    },
    openapi_extra=DOCUMENTED,
)
async def create(request: Request) -> Response:
    """Return what a model says of each image: JSON with base64, a form with files, or one raw image body.

    Where no variant is named, the version's default for the provider that serves answers; one that was never measured
    on it is refused. The answer names the version and variant that answered and the execution provider that ran it.
    Images that wait for the same model are run together, and nobody waits for a batch to fill.
    """
    here = context_of(request)
    owner = owner_of(request)
    asked = await _read(request, settings=here.settings)
    served = here.references.known(asked.model, owner=owner)
    if served is None:
        served = await run_in_threadpool(here.references.resolve, asked.model, owner=owner)
    predicting = here.sessions.predict(served, asked.images, pointers=asked.pointers)
    if here.sessions.would_wait(served, len(asked.images)):  # else the next batch takes it: too soon to withdraw
        predicting = _unless_left(request, predicting)
    answer, loaded = await predicting
    here.metrics.images.labels(loaded.provider).inc(len(asked.images))
    return _answer(served, answer, loaded, top_k=asked.top_k)


async def _read(request: Request, *, settings: Settings) -> Asked:
    given = bodies.content_type(request)
    most = settings.predict_max_bytes
    if given == "application/json":
        refuse_query_besides(request, set())
        asked = _from_json(await bodies.read(request, max_bytes=most), most_images=settings.predict_max_inputs)
    elif given == "multipart/form-data":
        refuse_query_besides(request, set())
        bodies.check_length(request, max_bytes=most)
        asked = await _from_form(request, max_bytes=most, most_images=settings.predict_max_inputs)
    elif given.startswith("image/") or given == "application/octet-stream":
        refuse_query_besides(request, {"model", "top_k"})
        target = bodies.check(Target, dict(request.query_params))
        asked = Asked(target.model, target.top_k, [await bodies.read(request, max_bytes=most)], ["body"])
    else:
        kinds = "application/json, multipart/form-data, image/* or application/octet-stream"
        raise bodies.WrongContentType(f"{given!r} is not read here; send {kinds}")
    return asked


def _from_json(body: bytes, *, most_images: int) -> Asked:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    inputs = given.get("inputs") if isinstance(given, dict) else None
    if isinstance(inputs, list) and len(inputs) > most_images:  # before each of a million is looked at
        raise _too_many("/inputs", most_images)
    wanted = bodies.check(PredictRequest, given)
    images: list[Encoded] = list(wanted.inputs)
    return Asked(wanted.model, wanted.top_k, images, [f"/inputs/{index}" for index in range(len(images))])


def _too_many(pointer: str, most: int) -> bodies.InvalidBody:
    message = f"at most {most} images may come at once; send the others in another request"
    return bodies.InvalidBody(message, errors=[FieldError(pointer, "too_many_inputs", message, {"maxItems": most})])


async def _from_form(request: Request, *, max_bytes: int, most_images: int) -> Asked:
    fields: dict[str, multipart.TextField] = {}
    files: list[bytearray] = []

    def opener(name: str, _file_name: str | None) -> multipart.Sink:
        if name in {"files", "file"}:
            if len(files) == most_images:
                raise _too_many("/files", most_images)
            files.append(bytearray())
            return _FileField(files[-1])
        if name not in {"model", "top_k"}:
            raise multipart.BadMultipart(f"the form has a field {name!r}; {nearest(name, ['model', 'top_k', 'files'])}")
        if name in fields:
            raise multipart.BadMultipart(f"the form has two fields {name!r}; keep one")
        return fields.setdefault(name, multipart.TextField(name))

    async def capped() -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise bodies.too_large(max_bytes)
            yield chunk

    await multipart.receive(capped(), content_type=request.headers["content-type"], opener=opener)
    target = bodies.check(Target, {name: field.text for name, field in fields.items()})
    if not files:
        message = "no image came; send one or many fields `files`"
        raise bodies.InvalidBody(message, errors=[FieldError("/files", "missing", message)])
    return Asked(
        target.model, target.top_k, [bytes(file) for file in files], [f"/files/{n}" for n in range(len(files))]
    )


@dataclass(frozen=True)
class _FileField:
    data: bytearray

    def write(self, data: bytes) -> None:
        self.data.extend(data)


async def _unless_left(
    request: Request, predicting: Coroutine[Any, Any, tuple[Answer, Loaded]]
) -> tuple[Answer, Loaded]:
    """Withdraw the images when the client hangs up before its turn has come."""
    work = asyncio.create_task(predicting)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        leaving.cancel()
        work.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(served: Served, answer: Answer, loaded: Loaded, *, top_k: int | None) -> Response:
    body = {
        "model": served.model,
        "version": served.version,
        "variant": served.variant,
        "provider": loaded.provider,
        "predictions": [
            prediction(row_K, loaded.labels, task=loaded.task, top_k=top_k) for row_K in answer.probabilities_BK
        ],
    }
    timing = (
        f"decode;dur={answer.decode_s * 1000:.2f}, queue;dur={answer.queue_s * 1000:.2f}, "
        f"run;dur={answer.run_s * 1000:.2f}"
    )
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
        headers={"Server-Timing": timing},
        media_type="application/json",
    )
