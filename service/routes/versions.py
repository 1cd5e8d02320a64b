"""Rework of versions: compressing one into a new version without training, and measuring one again."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models_store.errors import FieldError
from models_store.jobs import idempotency, submissions
from models_store.models import rework
from models_store.spec.compression import Compression
from models_store.spec.train import ResolvedSpec
from service.answers.documents import Job
from service.answers.meanings import DryRun
from service.auth import Owner
from service.context import Context, Here
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, IdempotencyKey, ModelName, VersionNumber, answer, problems
from service.requests.strict_json import parse
from service.routes.jobs import accepted

MOST_SPEC_BYTES = 1 << 20

router = APIRouter(tags=["models"], dependencies=[KNOWN_QUERY])

EXAMPLES: dict[str, Any] = {
    "smallest": {"summary": "Static int8, the default of POST /train", "value": {}},
    "whole": {
        "summary": "Pruned to three times the speed, recovered by distillation from fp32, and quantised",
        "value": {
            "prune": {"kind": "structured", "target_speedup": 3.0},
            "recover": {"epochs": 5, "distillation": {}},
            "quantize": [{"kind": "static_int8"}, {"kind": "fp16"}],
            "max_accuracy_drop": 0.01,
        },
    },
}


@router.post(
    "/models/{name}/versions/{number}:compress",
    operation_id="version_compress",
    summary="Compress a version without training it again",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": DryRun, "description": "With `dry_run=true`: the resolved spec; nothing was queued"},
        **problems(400, 404, 409, 410, 413, 415, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Compression"}, "examples": EXAMPLES}
            },
        }
    },
)
async def compress(
    request: Request,
    name: ModelName,
    number: VersionNumber,
    here: Here,
    owner: Owner,
    *,
    dry_run: Annotated[bool, Query(description="only return the resolved spec")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job that makes a new version of the model from the version's trained weights and dataset.

    The body is the content of `compression` in a training spec. All other settings are those of the version's training,
    also for the recovery of a pruned net. The version itself does not change.
    """
    body = await bodies.read_json(request, max_bytes=MOST_SPEC_BYTES)
    if dry_run:
        _, spec, warnings = await run_in_threadpool(_compressed, here, body, model=name, number=number, owner=owner)
        meant = DryRun(spec=spec.model_dump(mode="json"), kind="compress", children=0, warnings=warnings)
        return answer(meant, status=200)
    key = _key(f"{name}:{number}:compress", idempotency_key, body, owner=owner)
    return await here.threads.writers.run(_submit_compress, here, body, model=name, number=number, owner=owner, key=key)


@router.post(
    "/models/{name}/versions/{number}:measure",
    operation_id="version_measure",
    summary="Measure a version again",
    status_code=202,
    response_model=Job,
    responses=problems(400, 404, 409, 410, 413, 415, 503, 507),
)
async def measure(
    request: Request,
    name: ModelName,
    number: VersionNumber,
    here: Here,
    owner: Owner,
    *,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job that measures every variant's file on the worker's host, and judges it again by the version's spec.

    It replaces the figures and the default of each provider that this host has; files do not change. The job's result
    lists the changes. There are no options: the body is empty, or an empty object.
    """
    body = await bodies.read_optional_json(request, max_bytes=MOST_SPEC_BYTES)
    key = _key(f"{name}:{number}:measure", idempotency_key, body, owner=owner)
    return await here.threads.writers.run(_submit_measure, here, body, model=name, number=number, owner=owner, key=key)


def _submit_measure(
    here: Context, body: bytes, *, model: str, number: int, owner: str, key: idempotency.Key | None
) -> Response:
    earlier = submissions.submitted(here.database, key) if key else None
    if earlier is not None:
        return accepted(here, earlier, replayed=True)
    given = parse(body) if body.strip() else {}
    if given != {}:
        message = "measuring takes no options: send no body, or {}"
        raise bodies.InvalidBody(message, errors=[FieldError("", bodies.InvalidBody.code, message)])
    taken = rework.take_up(here.database, model, number, owner=owner)
    return _submit(here, taken, taken.spec, kind="measure", warnings=[], key=key)


def _submit_compress(
    here: Context, body: bytes, *, model: str, number: int, owner: str, key: idempotency.Key | None
) -> Response:
    earlier = submissions.submitted(here.database, key) if key else None
    if earlier is not None:
        return accepted(here, earlier, replayed=True)
    taken, spec, warnings = _compressed(here, body, model=model, number=number, owner=owner)
    return _submit(here, taken, spec, kind="compress", warnings=warnings, key=key)


def _submit(
    here: Context,
    taken: rework.TakenUp,
    spec: ResolvedSpec,
    *,
    kind: str,
    warnings: list[str],
    key: idempotency.Key | None,
) -> Response:
    job, replayed = submissions.submit(
        here.database,
        owner=taken.version.owner,
        spec=spec,
        settings=here.settings,
        warnings=warnings,
        key=key,
        action=taken.action(kind),
    )
    return accepted(here, job, replayed=replayed)


def _compressed(
    here: Context, body: bytes, *, model: str, number: int, owner: str
) -> tuple[rework.TakenUp, ResolvedSpec, list[str]]:
    given = parse(body)
    compression = bodies.check(Compression, given)
    taken = rework.take_up(here.database, model, number, owner=owner)
    with bodies.reporting_faults(type(taken.spec), {"compression": given}, below="/compression"):
        spec, warnings = rework.compressed(taken, compression)
    return taken, spec, warnings


def _key(route: str, given: str | None, body: bytes, *, owner: str) -> idempotency.Key | None:
    return idempotency.Key(owner, route, given, hashlib.sha256(body).hexdigest()) if given else None
