"""ASGI application: `create_app(settings)` returns the whole service.

Importing this module imports only FastAPI. Making an app imports the store (SQLAlchemy), the routes and the drivers;
the first model imports onnxruntime; torch is never imported.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

if TYPE_CHECKING:
    from models_store.settings import Settings
    from service.context import Context
    from service.processes.place import Place

DESCRIPTION = """
Espalier trains, shrinks and serves deep-learning models. Upload labelled images or texts (`POST /datasets`), post a
spec (`POST /train`), follow the job (`GET /jobs/{id}/events`), and ask the model (`POST /predict`).

Every error is a problem document (RFC 9457) with a stable `code`, and below `/v2` an object with the one key `error`;
ids are opaque; lists come in pages (`limit`, `cursor`, `next`); times are ISO 8601 in UTC.

A body may have a `Content-Encoding` of gzip, deflate, br or zstd; the limits of the call apply to the unpacked body.
Text answers above 1 KB are compressed if `Accept-Encoding` asks for it; events, model files and parts of files never
are. Every path with `GET` answers `HEAD`, and every path answers `OPTIONS`. `Accept` is ignored, except at `/`. No path
ends in a slash.

Every call may be refused early: 400 for a `Host` that is not in ALLOWED_HOSTS, 403 for a web page whose origin is not
in CORS_ORIGINS, 406 if `Accept-Encoding` accepts no available coding, 408 for an incomplete request, 414 and 431 for a
head over 64 KB or 100 headers. 500 is an error of the service itself.
"""


def create_app(settings: "Settings | None" = None, place: "Place | None" = None) -> FastAPI:
    """Return the application; `settings` are read from the environment when left out.

    `place` is this process's among the API processes of the host; left out, it is alone.

    Raises:
        DeviceUnavailable: at start-up, if DEVICE=cuda and there is no CUDA device.
    """
    from models_store.settings import Settings as FromEnvironment  # noqa: PLC0415  see the module's docstring
    from service import docs_page, logs, openapi, origins, problems  # noqa: PLC0415  the same
    from service.answers.compressed import CompressAnswers  # noqa: PLC0415  the same
    from service.hot.lane import HotLane  # noqa: PLC0415  the same
    from service.methods import HeadAndOptions  # noqa: PLC0415  the same
    from service.observer import ObserveRequests  # noqa: PLC0415  the same
    from service.paths import Paths  # noqa: PLC0415  the same
    from service.processes.place import Place  # noqa: PLC0415  the same
    from service.requests.bodies_in_flight import ReleaseBodies  # noqa: PLC0415  the same
    from service.requests.content_encoding import UnpackBodies  # noqa: PLC0415  the same
    from service.routes import (  # noqa: PLC0415  the same
        aliases,
        dataset_predictions,
        datasets,
        health,
        images,
        inference_models,
        inference_protocol,
        job_logs,
        jobs,
        memory,
        models,
        predict,
        previews,
        reports,
        root,
        schema,
        train,
        trials,
        versions,
        weights,
        workers,
    )

    settings = settings or FromEnvironment()
    logs.configure(settings)
    context = _context(settings, place or Place())
    app = FastAPI(
        title="Espalier",
        version=openapi.VERSION,
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,  # docs_page has it, without a content network
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    # predict first: FastAPI tries routes in their order, at 5 µs each, and this one is asked most
    routers = [
        predict.router,
        inference_models.inferring,
        images.router,  # before datasets: `GET /datasets/{id}` would match `GET /datasets/{id}:export`
        datasets.router,
        previews.router,
        train.router,
        jobs.router,
        job_logs.router,
        trials.router,
        reports.router,
        models.router,
        memory.router,
        aliases.router,
        versions.router,
        dataset_predictions.router,
        dataset_predictions.of_jobs,
        weights.router,
        workers.router,
        schema.router,
        health.router,
        inference_protocol.router,
        inference_models.described,  # after it: its paths take any model, `stats` too
        root.router,
    ]
    for router in routers:
        app.include_router(router)
    routers.append(docs_page.router)
    app.include_router(docs_page.router)
    app.state.paths = Paths(routers, app.routes)
    openapi.install(app)
    app.add_middleware(CompressAnswers)
    problems.install(app)
    app.add_middleware(UnpackBodies)
    app.add_middleware(ReleaseBodies, bodies=context.bodies)
    app.add_middleware(HeadAndOptions, paths=app.state.paths)
    origins.install(app, context.settings)
    app.add_middleware(ObserveRequests, observer=context.observer)  # outermost: it sees every answer
    app.state.hot_lane = HotLane(app, context, [predict.HOT, *inference_models.HOT])
    return app


def _context(settings: "Settings", place: "Place") -> "Context":
    from models_store.datasets.stored_examples import StoredExamples  # noqa: PLC0415  the same
    from models_store.storage.blobs import Blobs  # noqa: PLC0415  see the module's docstring
    from models_store.storage.database import Database  # noqa: PLC0415  the same
    from models_store.traces import tracer  # noqa: PLC0415  the same
    from service.context import Context  # noqa: PLC0415  the same
    from service.inference import devices  # noqa: PLC0415  the same
    from service.inference.counted import CountedEngine  # noqa: PLC0415  the same
    from service.inference.explanations import Explaining  # noqa: PLC0415  the same
    from service.inference.forwarded import Order  # noqa: PLC0415  the same
    from service.inference.forwarding import Forwarding  # noqa: PLC0415  the same
    from service.inference.links import Links  # noqa: PLC0415  the same
    from service.inference.references import References  # noqa: PLC0415  the same
    from service.inference.residence import OwnersResidence, OwnResidence  # noqa: PLC0415  the same
    from service.inference.sessions import Sessions  # noqa: PLC0415  the same
    from service.inference.shadows import Shadows  # noqa: PLC0415  the same
    from service.inference.swaps import Swaps  # noqa: PLC0415  the same
    from service.logs import AccessLog  # noqa: PLC0415  the same
    from service.metrics import Metrics  # noqa: PLC0415  the same
    from service.observer import Observer  # noqa: PLC0415  the same
    from service.processes.inbox import Kind  # noqa: PLC0415  the same
    from service.protocol.served_models import ServedModels  # noqa: PLC0415  the same
    from service.protocol.signatures import Signatures  # noqa: PLC0415  the same
    from service.protocol.statistics import StatisticsEngine  # noqa: PLC0415  the same
    from service.requests.bodies_in_flight import BodiesInFlight  # noqa: PLC0415  the same
    from service.requests.remote_files import RemoteFiles  # noqa: PLC0415  the same
    from service.stored_figures import StoredFigures  # noqa: PLC0415  the same
    from service.streams import Streams  # noqa: PLC0415  the same
    from service.threads import threads  # noqa: PLC0415  the same

    database = Database(settings.database_url, patience_s=settings.database_wait_s)
    blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
    sessions = Sessions(blobs, settings=settings, place=place)
    metrics = Metrics(settings, place)
    for examples in metrics.predicted:
        meaning = f"{examples.capitalize()} that wait for a lane"
        metrics.watch_gauge(f"espalier_waiting_{examples}", meaning, partial(sessions.waiting, examples))
    metrics.watch_gauge("espalier_waiting_bytes", "Bytes of requests that wait for a lane", sessions.waiting_bytes)
    metrics.watch_gauges(
        "espalier_loaded_models",
        "Models in memory, by the execution provider that runs them",
        "provider",
        lambda: Counter(loaded.provider for loaded in sessions.loaded),
    )
    metrics.watch_counter(
        "espalier_provider_fallbacks_total",
        "Times that models run on the CPU although a GPU's driver is there",
        devices.fallbacks,
    )
    metrics.read_when_asked(StoredFigures(database, beat_s=settings.beat_s, shows_hosts=metrics.shows_names))
    metrics.watch_gauge(
        "espalier_loaded_models_bytes",
        "Memory of the loaded models, as measured",
        lambda: sessions.residents.size_bytes,
    )
    metrics.watch_counter(
        "espalier_model_evictions_total",
        "Models that were unloaded to make room",
        lambda: sessions.residents.evictions,
    )
    shadows = Shadows(sessions, database, metrics=metrics)
    forwarding = (
        None
        if place.is_owner
        else Forwarding(place, here=shadows, copies=sessions, timeout_s=settings.predict_timeout_s)
    )
    references = References(database, provider=lambda: devices.serving(settings.device), place=place)

    own = OwnResidence(sessions, tell_others=partial(place.tell_others, Kind.RELEASE))
    residence = OwnersResidence(forwarding) if forwarding else own
    links = Links(
        shadows,
        advise=sessions.advice,
        orders={Order.LOAD: own.load, Order.UNLOAD: own.unload, Order.FIND: own.find},
    )
    engine = StatisticsEngine(CountedEngine(forwarding or shadows, metrics), place)
    models = ServedModels(
        engine,
        references=references,
        signatures=Signatures(blobs, settings=settings),
        residence=residence,
        provider=lambda: devices.provider(settings.device),
        database=database,
        settings=settings,
    )
    grouped = threads(wait_s=settings.database_wait_s)
    bodies = BodiesInFlight(settings.bodies_max_bytes // place.board.processes)
    return Context(
        settings,
        settings.owners,
        database,
        blobs,
        sessions,
        shadows,
        Swaps(
            database,
            blobs,
            settings=settings,
            engine=forwarding or shadows,
            references=references,
            threads=grouped,
        ),
        engine,
        Explaining(forwarding or shadows, model_file=blobs.local, metrics=metrics),
        residence,
        models,
        forwarding,
        links,
        references,
        metrics,
        grouped,
        Streams(database, grouped.stream_readers, most_per_owner=settings.event_streams_per_owner),
        bodies,
        StoredExamples(blobs),
        RemoteFiles(settings, bodies=bodies),
        place,
        Observer(metrics, access_log=AccessLog() if settings.access_log else None, tracer=tracer("espalier-api")),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415  see the module's docstring

    from models_store.jobs.housekeeping import Housekeeper  # noqa: PLC0415  the same
    from service.inference import devices  # noqa: PLC0415  the same
    from service.inference.releasing import keep_releasing  # noqa: PLC0415  the same

    context: Context = app.state.context
    housekeeper = Housekeeper(context.database, context.blobs, settings=context.settings, is_idle=lambda: False)
    if context.place.is_owner:
        if context.place.inboxes or context.settings.device not in {"auto", "cpu"}:
            # the other processes want to know; and a device that is not there is refused now, not at the first request
            found = await run_in_threadpool(devices.provider, context.settings.device)
            context.place.tell_provider(devices.NUMBERED.index(found))
        await run_in_threadpool(context.database.migrate)
        housekeeper.start()
    if context.forwarding is not None:
        devices.adopt(context.settings.device, context.place.owners_provider)
        await context.forwarding.open()
    releasing = asyncio.create_task(keep_releasing(context))
    try:
        async with _grpc(context):
            yield
    finally:
        releasing.cancel()
        await context.streams.close()
        await run_in_threadpool(housekeeper.stop)
        await context.links.close()
        if context.forwarding is not None:
            context.forwarding.close()
        await context.shadows.close()
        await context.sessions.close()
        await context.files.close()
        context.database.close()
        await run_in_threadpool(context.observer.close)


@asynccontextmanager
async def _grpc(context: "Context") -> AsyncIterator[None]:
    """Serve gRPC too, if it has a port; of several API processes, the owner does."""
    if not context.settings.grpc_port or not context.place.is_owner:
        yield
        return
    from service.protocol.grpc_server import GrpcServer  # noqa: PLC0415  grpc takes a while to import

    server = GrpcServer(context)
    await server.start(context.settings.grpc_host, context.settings.grpc_port)
    try:
        yield
    finally:
        await server.stop()
