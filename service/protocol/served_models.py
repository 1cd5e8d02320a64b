"""Models as the protocol serves them, whatever carries it: described, asked, listed, loaded and unloaded."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from models_store.errors import EspalierError
from models_store.models import registry
from models_store.models.registry import Model
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.storage.database import Database
from service.inference.engine import Answer, Work
from service.inference.forwarding import OwnerAway
from service.inference.references import References
from service.inference.residence import Residence
from service.protocol import documents
from service.protocol.errors import ProtocolError
from service.protocol.inference import InferRequest
from service.protocol.names import reference_of
from service.protocol.outputs import check_outputs
from service.protocol.signatures import Signature, Signatures
from service.protocol.statistics import StatisticsEngine

PAGE = 100
OF_UNLOAD = {"unload_dependents"}
"""no model here depends on another when it answers, so either value means the same"""


class ServedModels:
    """The models of all owners; each call names the owner that asks."""

    def __init__(
        self,
        engine: StatisticsEngine,
        *,
        references: References,
        signatures: Signatures,
        residence: Residence,
        provider: Callable[[], str],
        database: Database,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._references = references
        self._signatures = signatures
        self._residence = residence
        self._provider = provider
        self._database = database
        self._settings = settings

    async def find(
        self, owner: str, model: str, version: str | None = None, *, sticky_key: str | None = None
    ) -> tuple[Served, Signature]:
        """Return the variant that a name and a version mean now, and its signature; for `sticky_key` see `References`.

        Raises:
            ProtocolError: if both name a version.
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        reference = reference_of(model, version)
        served = await self._references.served(reference, owner=owner, sticky_key=sticky_key)
        return served, await self.signature_of(served)

    async def signature_of(self, served: Served) -> Signature:
        """Return what a variant takes and gives."""
        known = self._signatures.known(served)
        return known if known is not None else await run_in_threadpool(self._signatures.make, served)

    async def infer(self, served: Served, signature: Signature, request: InferRequest) -> Answer:
        """Return what the model answers.

        Raises:
            ProtocolError: if the request does not fit the model.
            EspalierError: as `Engine.infer` does.
        """
        check_outputs(request, signature)
        examples, names = signature.examples(request.inputs, most=self._settings.predict_max_inputs)
        work = Work(examples, names, deadline_s=request.deadline_s, priority=request.priority)
        return await self._engine.infer(served, work)

    async def is_ready(self, owner: str, model: str, version: str | None = None) -> bool:
        """Return whether the model would answer now; one that is not loaded is loaded by its first request."""
        try:
            await self.find(owner, model, version)
        except EspalierError:
            return False
        return True

    async def metadata(self, owner: str, model: str, version: str | None = None) -> dict[str, Any]:
        """Return the metadata of a model."""
        served, signature = await self.find(owner, model, version)
        found = await run_in_threadpool(registry.model, self._database, served.model, owner=owner)
        numbers = sorted(each.number for each in found.versions)
        return documents.metadata(served, signature, versions=numbers, running=await self._running(served))

    async def config(self, owner: str, model: str, version: str | None = None) -> dict[str, Any]:
        """Return the configuration of a model."""
        served, signature = await self.find(owner, model, version)
        return documents.config(served, signature, running=await self._running(served))

    async def index(self, owner: str) -> list[dict[str, str]]:
        """Return every version of the owner's models."""
        models = await run_in_threadpool(lambda: list(self._all(owner)))
        return documents.index(models)

    async def load(self, owner: str, model: str, parameters: Collection[str] = ()) -> None:
        """Load a model now, rather than at its first request.

        Raises:
            ProtocolError: if it is asked to be another model than it is.
            ModelNotFound, NotServedHere, ModelUnusable: if it can't be loaded.
        """
        _refuse_parameters(parameters, set())
        served, _ = await self.find(owner, model)
        await self._residence.load(served)

    async def unload(self, owner: str, model: str, parameters: Collection[str] = ()) -> None:
        """Take a model out of memory; what waits for it is answered first, and the next request loads it again.

        Raises:
            ProtocolError: if a parameter is unknown.
            ModelNotFound, NotServedHere: as `find` does.
        """
        _refuse_parameters(parameters, OF_UNLOAD)
        served, _ = await self.find(owner, model)
        await self._residence.unload(served)

    async def statistics(self, owner: str, model: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Return the statistics of one version, or of all that were asked."""
        if not model:
            if version:
                raise ProtocolError("a version was given without a model; name the model too")
            return {"model_stats": await self._engine.of_owner(owner)}
        served, _ = await self.find(owner, model, version)
        found = await self._engine.of_version(owner, served.model, served.version)
        return {"model_stats": [found]}

    async def _running(self, served: Served) -> documents.Running:
        """Return where a file runs, or will run when it is loaded."""
        with suppress(OwnerAway):
            found = await self._residence.find(served)
            if found is not None:
                return documents.Running(found.provider, found.tuning)
        return documents.Running(await run_in_threadpool(self._provider), None)

    def share_statistics(self) -> None:
        """Let the other API processes of this host read what this one has counted."""
        self._engine.share()

    def _all(self, owner: str) -> Iterator[Model]:
        cursor: str | None = None
        while True:
            found, cursor = registry.models(self._database, owner=owner, limit=PAGE, cursor=cursor)
            yield from found
            if cursor is None:
                return


def within(request: InferRequest, deadline_s: float | None) -> InferRequest:
    """Return the request with the earlier of two deadlines: its own, and that of the call that carries it."""
    if deadline_s is None or (request.deadline_s is not None and request.deadline_s <= deadline_s):
        return request
    return replace(request, deadline_s=deadline_s)


def _refuse_parameters(given: Collection[str], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise ProtocolError(f"there is no parameter {name[:100]!r} here: a model is what it was published as")
