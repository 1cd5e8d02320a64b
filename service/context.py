"""Context of every route: the settings, the store, the loaded models, the counters."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from models_store.datasets.stored_examples import StoredExamples
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from service.inference.engine import Engine
from service.inference.explanations import Explaining
from service.inference.forwarding import Forwarding
from service.inference.links import Links
from service.inference.references import References
from service.inference.residence import Residence
from service.inference.sessions import Sessions
from service.inference.shadows import Shadows
from service.inference.swaps import Swaps
from service.metrics import Metrics
from service.observer import Observer
from service.processes.place import Place
from service.protocol.served_models import ServedModels
from service.requests.bodies_in_flight import BodiesInFlight
from service.requests.remote_files import RemoteFiles
from service.streams import Streams
from service.threads import Threads


@dataclass(frozen=True)
class Context:
    """One app's own things; made by `app.create_app`, opened and closed by its lifespan."""

    settings: Settings
    owners: dict[str, str]
    database: Database
    blobs: Blobs
    sessions: Sessions
    shadows: Shadows
    swaps: Swaps
    engine: Engine
    """answers for every protocol: the sessions of this process, or those of another"""
    explaining: Explaining
    """explains answers; what it runs is not counted as predictions"""
    residence: Residence
    models: ServedModels
    """those of the engine, as the Open Inference Protocol has them"""
    forwarding: Forwarding | None
    """the engine of a process that forwards what it does not run itself to the owner of large models"""
    links: Links
    """of the owner of large models, to the other API processes of the host"""
    references: References
    metrics: Metrics
    threads: Threads
    streams: Streams
    bodies: BodiesInFlight
    examples: StoredExamples
    files: RemoteFiles
    """of other hosts, which predictions name by URL"""
    place: Place
    observer: Observer


def context_of(request: Request) -> Context:
    """Return the app's context."""
    context: Context = request.app.state.context
    return context


async def _context(request: Request) -> Context:
    return context_of(request)


Here = Annotated[Context, Depends(_context)]
