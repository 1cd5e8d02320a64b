"""Loaded models: each once, however many ask at the same time; `residents` decides which leave."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from models_store.errors import Conflict, EspalierError
from models_store.host import cores
from models_store.models.golden import Golden
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.storage import disk
from models_store.storage.blobs import BlobMissing, Blobs, sha256_of
from models_store.tasks import rooms
from models_store.tasks.codec import Codec, Inputs, Tensor
from service.inference import devices, memory, optimized, tuning, warm_up
from service.inference.batcher import Batcher
from service.inference.batches import Batches
from service.inference.engine import Answer, ModelUnusable, PredictTimeout, Work
from service.inference.forwarded import Advice, InMemory
from service.inference.inline import Turns
from service.inference.nets import BoundNet, Net, SessionNet
from service.inference.residents import Resident, Residents
from service.inference.tuning import Tuning
from service.processes.place import Place

TYPES = {"float": "float32", "double": "float64"}
"""onnxruntime's names of types that are not numpy's"""
ALONE = Place()

log = structlog.get_logger(__name__)


class ModelPinned(Conflict):
    """The model is kept in memory by a pinned alias."""

    code = "model_pinned"
    title = "The model is pinned"


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer."""

    batcher: Batcher
    examples: str
    """the word for what it takes"""
    provider: str
    codec: Codec[Any]
    net: Net
    """for runs beside the batcher"""
    tuning: str
    """name of the provider's tuning"""

    async def close(self) -> None:
        """Finish what waits."""
        await self.batcher.close()


class Sessions:
    """The models in memory, named by the SHA-256 of their file. All of it runs in one event loop."""

    def __init__(self, blobs: Blobs, *, settings: Settings, place: Place = ALONE) -> None:
        self._blobs = blobs
        self._settings = settings
        self._turns = Turns()
        self._place = place
        self.residents: Residents[Loaded] = Residents(
            budget_bytes=self._budget,
            in_use=lambda: memory.in_use(self._provider()),
        )

    @property
    def loaded(self) -> list[Loaded]:
        """Return the models that are loaded now."""
        return [each.kept for each in self.residents.all if each.kept is not None]

    def waiting_bytes(self) -> int:
        """Return how many bytes of requests wait for a lane."""
        return sum(loaded.batcher.waiting_bytes for loaded in self.loaded)

    def waiting(self, examples: str) -> int:
        """Return how many examples of one kind wait for a lane."""
        return sum(loaded.batcher.waiting for loaded in self.loaded if loaded.examples == examples)

    def is_loaded(self, served: Served) -> bool:
        """Return whether the model is in memory."""
        resident = self.residents.find(served.blob)
        return resident is not None and resident.kept is not None

    async def has_room(self, served: Served) -> bool:
        """Return whether the model's file fits beside those that are in memory."""
        return self.residents.size_bytes + served.size_bytes <= await self.residents.budget_bytes()

    @property
    def is_busy(self) -> bool:
        """Return whether any example waits."""
        return any(loaded.batcher.waiting for loaded in self.loaded)

    def may_leave(self, served: Served) -> bool:
        """Return whether a client may leave before its answer: small requests of quick models are over before that."""
        resident = self.residents.find(served.blob)
        return resident is None or resident.kept is None or not resident.kept.batcher.is_inline

    def advice(self, served: Served) -> Advice:
        """Return what a front had better do with the next requests for a model that has answered here."""
        resident = self.residents.find(served.blob)
        if resident is None or resident.kept is None or self._provider() != devices.CPU:
            return Advice.FORWARD
        if resident.kept.batcher.is_inline:
            return Advice.COPY
        return Advice.MOVE if resident.kept.batcher.leaves_loop_idle else Advice.FORWARD

    async def infer(self, served: Served, work: Work) -> Answer:
        """Load the model when it is not, and return its outputs for the examples: see `Engine`."""
        resident = self._use(served)
        try:
            loaded = resident.kept or await self._in_time(resident, work)
            return await loaded.batcher.infer(work)
        finally:
            self.residents.done(resident)

    async def _in_time(self, resident: Resident[Loaded], work: Work) -> Loaded:
        """Load the model, as long as the request may wait."""
        now_s = time.monotonic()
        wait_s = self._settings.predict_timeout_s if work.deadline_s is None else work.deadline_s - now_s
        try:
            async with asyncio.timeout(wait_s) as deadline:
                return await self.residents.ready(resident)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise PredictTimeout(f"the model was not loaded within {wait_s:.3g} s; try again") from error

    async def get(self, served: Served) -> Loaded:
        """Return the model, loaded now or before. A load that failed is tried again by the next request.

        Raises:
            ModelUnusable: if its file can't be used.
            NoRoom: if it is larger than the memory that is left for models.
        """
        resident = self._use(served)
        try:
            return await self.residents.ready(resident)
        finally:
            self.residents.done(resident)

    @asynccontextmanager
    async def held(self, served: Served) -> AsyncIterator[Loaded]:
        """Return the model, which does not leave meanwhile; raises what `get` raises."""
        resident = self._use(served)
        try:
            yield await self.residents.ready(resident)
        finally:
            self.residents.done(resident)

    async def unload(self, served: Served) -> bool:
        """Unload the model when its last request is answered; return whether it was loaded.

        Raises:
            ModelPinned: if an alias keeps it in memory.
        """
        if served.blob in self.residents.pinned:
            raise ModelPinned(
                f"{served.name} is kept in memory by a pinned alias; set the alias without `pinned` first"
            )
        leaving = self.residents.release([served.blob])
        if leaving:
            await asyncio.wait(leaving)
        return bool(leaving)

    def in_memory(self, served: Served) -> InMemory | None:
        """Return where the model runs; None if it is not loaded."""
        resident = self.residents.find(served.blob)
        if resident is None or resident.kept is None:
            return None
        loaded, is_pinned = resident.kept, served.blob in self.residents.pinned
        return InMemory(loaded.provider, loaded.tuning, resident.size_bytes, is_pinned)

    @property
    def files(self) -> set[str]:
        """Return the digests of the models that are loaded, or on their way in."""
        return {each.key for each in self.residents.all}

    def release(self, files: Iterable[str]) -> None:
        """Unload models; what waits for them is answered first."""
        self.residents.release(files)

    async def close(self) -> None:
        """Finish what waits, then unload everything."""
        await self.residents.close()

    def _use(self, served: Served) -> Resident[Loaded]:
        return self.residents.use(served.blob, partial(self._load, served), least_bytes=served.size_bytes)

    def _budget(self) -> int:
        return memory.budget(
            self._settings.loaded_models_max_bytes, provider=self._provider(), share=self._place.share_of_models
        )

    def _provider(self) -> str:
        return devices.provider(self._settings.device)

    def _load(self, served: Served) -> Loaded:
        provider = self._provider()
        name = served.name
        try:
            task, labels = rooms.task_of(served.card), tuple(served.card["labels"])
            contract, target = rooms.contract_of(task), rooms.target_of(task)
            files = {name: self._file(sha256) for name, sha256 in served.auxiliary_blobs.items()}
            codec = contract.codec(served.card, files=files, settings=self._settings)
            outputs = target.output_count(len(labels))
            chosen, net = self._tuned(served, codec, provider=provider, outputs=outputs)
            batcher = warm_up.batcher_of(
                net,
                open_wide=lambda: SessionNet(self._open(served.blob, provider=provider, threads=cores.usable())),
                codec=codec,
                provider=provider,
                pads=chosen.pads,
                examples=contract.examples,
                settings=self._settings,
                turns=self._turns,
                beside_others=self._place.board.processes > 1,
            )
        except EspalierError as error:
            if isinstance(error, BlobMissing):
                raise unusable(name, "is missing or damaged") from error
            raise
        except Exception as error:  # onnxruntime's errors share no base, a store's neither
            if disk.is_full(error):
                raise disk.no_room_for("the model's file") from error
            log.exception("a model did not load", model=name)
            raise unusable(name, "did not load") from error
        log.info("model loaded", model=name, provider=provider, tuning=chosen.name)
        return Loaded(batcher, contract.examples, provider, codec, net, chosen.name)

    def _tuned(self, served: Served, codec: Codec[Any], *, provider: str, outputs: int) -> tuple[Tuning, Net]:
        """Return how the file runs fastest on this device, and its net."""
        shapes = Batches(codec).shapes(warm_up.sizes_on(provider, codec))

        def open_net(each: Tuning) -> Net:
            session = self._open(served.blob, provider=provider, threads=1, options=each.options)
            _check_shape(session, codec.describe(), outputs=outputs)
            if each.buffers:
                return BoundNet(session, shapes, device=devices.DEVICE_OF[provider], graphs=each.graphs)
            return SessionNet(session)

        def samples() -> list[Inputs]:
            given = () if served.golden_blob is None else Golden.read(self._file(served.golden_blob)).examples
            return tuning.samples_of(shapes, [codec.collate([codec.decode(each)]) for each in given])

        candidates = tuning.TUNINGS[provider]
        return tuning.choose(
            candidates if self._settings.tune_device else candidates[:1],
            open_net,
            samples=samples,
            kept=self._folder / f"{optimized.name_of(served.blob, provider)}.tuning",
        )

    def _open(
        self,
        blob: str,
        *,
        provider: str,
        threads: int,
        options: Mapping[str, str] = tuning.PLAIN.options,
    ) -> Any:  # noqa: ANN401  onnxruntime has no types
        limits = {"gpu_mem_limit": str(self._budget())} if provider == devices.CUDA else {}
        return optimized.open_model(
            blob,
            lambda: self._file(blob),
            folder=self._folder,
            provider=provider,
            threads=threads,
            of_provider={**options, **limits},
        )

    @property
    def _folder(self) -> Path:
        return self._settings.scratch / "optimized"

    def _file(self, sha256: str) -> Path:
        path = self._blobs.local(sha256)
        _check_bytes(path, sha256)
        return path


def _check_bytes(path: Path, sha256: str) -> None:
    if sha256_of(path) != sha256:
        raise BlobMissing(f"the stored file {sha256} is damaged")


def _check_shape(session: Any, tensors: Sequence[Tensor], *, outputs: int) -> None:  # noqa: ANN401  onnxruntime has no types
    """Refuse a file whose inputs or outputs are not those of the card: it would answer with other labels."""
    expected = sorted((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors), outputs
    actual = sorted(_tensor_of(each) for each in session.get_inputs()), session.get_outputs()[0].shape[-1]
    if actual != expected:
        raise ValueError(f"expected {expected}, the file has {actual}")


def _tensor_of(given: Any) -> tuple[str, str, tuple[int | None, ...]]:  # noqa: ANN401  onnxruntime has no types
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    return given.name, TYPES.get(kind, kind), tuple(each if isinstance(each, int) else None for each in given.shape[1:])


def unusable(name: str, what: str) -> ModelUnusable:
    """Return the error for a registered model whose file `what` (is missing, did not load, …)."""
    return ModelUnusable(f"the file of {name} {what}; choose another version or variant, or train it again")
