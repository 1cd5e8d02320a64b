"""Health of the service: alive, ready, and counters, for its operators and load balancers."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from models_store.jobs import queue
from models_store.models.providers import EXECUTION_PROVIDERS
from models_store.storage.database import Database, now
from service.answers.documents import Alive, Readiness
from service.auth import require_metrics_key
from service.context import Context, Here
from service.inference import devices
from service.requests.parameters import KNOWN_QUERY, NEEDS_NO_KEY, answer, public_problems

router = APIRouter(tags=["health"], dependencies=[KNOWN_QUERY])


@router.get(
    "/health/live",
    operation_id="health_live",
    summary="Is it alive?",
    responses=public_problems(),
    openapi_extra=NEEDS_NO_KEY,
)
async def live() -> Alive:
    """Answer as long as the process runs; a failure means that it should be restarted."""
    return Alive(status="ok")


@router.get(
    "/health/ready",
    operation_id="health_ready",
    summary="Is it ready?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "It can't serve now"}, **public_problems()},
    openapi_extra=NEEDS_NO_KEY,
)
def ready(here: Here) -> Response:
    """Report the state of the services that this one needs.

    Without the broker it is `degraded`: jobs are accepted, and start a little later.
    """
    database = _database_answers(here.database)
    broker = queue.reachable(here.settings)
    try:
        provider = devices.provider(here.settings.device)
    except devices.DeviceUnavailable:
        provider = None
    usable = database and provider is not None and here.place.owner_is_there
    readiness = Readiness(
        status="unavailable" if not usable else "ok" if broker else "degraded",
        database="ok" if database else "unavailable",
        broker="ok" if broker else "unavailable",
        providers=[] if provider is None else [provider, *devices.BEHIND[provider]],
        device="unavailable" if provider is None else EXECUTION_PROVIDERS[provider],
    )
    return answer(readiness, status=200 if usable else 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Read the counters",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **public_problems(401),
    },
)
async def metrics(here: Here, request: Request) -> Response:
    """Return the counters and timings of all API processes on this host, in Prometheus's text format.

    With METRICS_KEY it asks for that key as a bearer token. With API_KEYS and without METRICS_KEY, series have no
    names of owners and models.
    """
    require_metrics_key(request, here.settings)
    here.metrics.refresh()
    text = await run_in_threadpool(here.metrics.exposition)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def is_usable(here: Context) -> bool:
    """Return whether models can be found and run."""
    try:
        devices.provider(here.settings.device)
    except devices.DeviceUnavailable:
        return False
    return here.place.owner_is_there and _database_answers(here.database)


def _database_answers(database: Database) -> bool:
    try:
        with database.read() as connection:
            connection.execute(select(now())).scalar_one()
    except SQLAlchemyError:
        return False
    return True
