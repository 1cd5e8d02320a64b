"""POST /predict: takes examples (JSON, form, one raw file, or rows).

Returns classes, labels or numbers, and the file that answered.

This route is called most often, so it takes the bare request and bypasses FastAPI's parsing of parameters.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, get_args

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from models_store.tasks import rooms
from models_store.tasks.explanation import Method
from service.answers.predictions import EXPLAIN_MEANING, METHOD_MEANING, Predictions
from service.auth import owner_of
from service.context import Context, context_of
from service.hot.routes import JSON, Answering, HotRoute, Reply, server_timing
from service.inference.engine import Answer
from service.inference.explanations import Explanation, Question
from service.requests import certainty, example_rows, predictions, stickiness, urgency
from service.requests.certainty import NOTHING
from service.requests.parameters import problems
from service.requests.predictions import Asked, Resolver
from service.requests.stickiness import sticky_key_of

T = TypeVar("T")


class BareRoute(APIRoute):
    """A route whose endpoint takes the bare request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


router = APIRouter(tags=["predict"], route_class=BareRoute)

EXAMPLE = rooms.example()
FILES = ", ".join(f"{contract.example} files" for contract in rooms.TASKS if contract.formats)
ONE_FILE = "; or ".join(
    f"one {contract.example} file: {contract.formats}" for contract in rooms.TASKS if contract.formats
)
RAW = f"with a raw {EXAMPLE} body, rows or a form: "
MODEL_FIELD: dict[str, Any] = {
    "type": "string",
    "description": "`name`, `name@alias` or `name:version`, each with an optional `/variant`",
}
TOP_K_FIELD: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 10_000,
    "description": (
        "number of classes or labels to list, at most as many as there are; left out: 5 classes, or all labels"
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "top_k": TOP_K_FIELD,
    "timeout": urgency.TIMEOUT | {"description": urgency.TIMEOUT_MEANING},
    "priority": urgency.PRIORITY | {"description": urgency.PRIORITY_MEANING},
    "min_confidence": certainty.MIN_CONFIDENCE | {"description": certainty.MIN_CONFIDENCE_MEANING},
    "coverage": certainty.COVERAGE | {"description": certainty.COVERAGE_MEANING},
    "explain": {"type": "boolean", "description": EXPLAIN_MEANING},
    "explanation_method": {"type": "string", "enum": list(get_args(Method)), "description": METHOD_MEANING},
}
"""what a form or a query may have beside the model and the examples"""
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": MODEL_FIELD,
        **OPTIONS,
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": FILES},
    },
    "required": ["model", "files"],
    "additionalProperties": False,
}
TABLES = " or ".join(f"{each.examples} (column `{each.column}`)" for each in rooms.TASKS if each.column is not None)
ROWS = "Rows are lines of JSON, each an example as `inputs` has it" + (
    f"; or a table (CSV, TSV) of {TABLES}, whose columns may also be keys of objects in the lines." if TABLES else "."
)
FILE: dict[str, Any] = {"type": "string", "format": "binary", "description": ONE_FILE}
DOCUMENTED: dict[str, Any] = {
    "parameters": [
        *(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": RAW + field["description"],
                "schema": {key: value for key, value in field.items() if key != "description"},
            }
            for name, field in {"model": MODEL_FIELD, **OPTIONS}.items()
        ),
        urgency.PARAMETER,
        stickiness.PARAMETER,
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/PredictForm"}},
            **{each: {"schema": FILE} for each in (predictions.OCTETS, *predictions.media_types())},
            **{each: {"schema": {"type": "string", "description": ROWS}} for each in example_rows.MEDIA_TYPES},
        },
    },
}
DESCRIPTION = f"""
Return what a model answers for each {EXAMPLE}: JSON, a form with files, one raw {EXAMPLE} body, or rows.
{ROWS}

Where no variant is named, the version's default for the provider that serves answers; one that was never measured
on it is refused. The answer names the version and variant that answered and the execution provider that ran the file.
{rooms.examples().capitalize()} that wait for the same model are run together, and nobody waits for a batch to fill.
"""


@router.post(
    "/predict",
    operation_id="predict_create",
    summary=f"Classify {rooms.examples()}, or estimate numbers",
    description=DESCRIPTION,
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
        **problems(400, 404, 408, 409, 413, 415, 422, 429, 503, 504, 507),
    },
    openapi_extra=DOCUMENTED,
)
async def create(request: Request) -> Response:
    """Answer a prediction request."""
    here = context_of(request)
    owner = owner_of(request)
    asked = await predictions.read(request, _resolver(here, owner, request), settings=here.settings)
    if asked.explain:
        return (await unless_left(request, _explained(here, asked))).as_response()
    inferring = here.engine.infer(asked.served, asked.work)
    if here.sessions.may_leave(asked.served):
        inferring = unless_left(request, inferring)
    return _reply(asked, await inferring).as_response()


def prepare(request: Request) -> Answering | None:
    """Return what answers the bodies behind a request's head; a form's head is never the same twice."""
    here, owner = context_of(request), owner_of(request)
    resolver = _resolver(here, owner, request)
    asking = predictions.prepare(request, resolver, settings=here.settings)
    if asking is None:
        return None

    async def answer(body: bytes) -> Reply:
        asked = await asking(body)
        if asked.explain:
            return await _explained(here, asked)
        return _reply(asked, await here.engine.infer(asked.served, asked.work))

    return answer


HOT = HotRoute(re.compile("/predict"), "/predict", prepare)


def _resolver(here: Context, owner: str, request: Request) -> Resolver:
    return Resolver(here.references, files=here.files, owner=owner, sticky_key=sticky_key_of(request.headers))


async def unless_left(request: Request, inferring: Coroutine[Any, Any, T]) -> T:
    """Withdraw the examples if the client disconnects."""
    work = asyncio.create_task(inferring)
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


async def _explained(here: Context, asked: Asked) -> Reply:
    """Answer a request, and explain each answer."""
    signature = await here.models.signature_of(asked.served)
    answer = await here.engine.infer(asked.served, asked.work)
    method = asked.explanation_method
    question = Question(asked.served, asked.work, answer, signature.codec, signature.target, method)
    explained = await here.explaining.explain(question)
    return _reply(asked, answer, explained)


def _reply(asked: Asked, answer: Answer, explained: Sequence[Explanation] = ()) -> Reply:
    served = asked.served
    predicted = _predictions(asked, answer)
    if explained:
        predicted = [each | {"explanation": why.as_json()} for each, why in zip(predicted, explained, strict=True)]
    body = {
        "model": served.model,
        "version": served.version,
        "variant": served.variant,
        "provider": answer.provider,
        "predictions": predicted,
        **asked.certainty.calibration,
    }
    headers = [JSON, (b"server-timing", server_timing(answer))]
    return Reply(HTTPStatus.OK, headers, orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


def _predictions(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    task, labels = rooms.task_of(asked.served.card), asked.served.card["labels"]
    target = rooms.target_of(task)
    found = [target.prediction(row_K, labels, top_k=asked.top_k) for row_K in answer.outputs]
    if asked.certainty is not NOTHING:
        rows = zip(found, answer.outputs, strict=True)
        found = [asked.certainty.applied(each, row_K, labels, target=target) for each, row_K in rows]
    if answer.notes:
        found = [each | notes for each, notes in zip(found, answer.notes, strict=True)]
    return found
