"""Loaded models: each once, however many ask at the same time; the least recently used leaves first."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from models_store.errors import EspalierError
from models_store.host import cores
from models_store.models.registry import Served
from models_store.settings import Settings
from models_store.storage import disk
from models_store.storage.blobs import BlobMissing, Blobs, sha256_of
from models_store.tasks import rooms
from models_store.tasks.codec import Tensor
from service.inference import devices, optimized, warm_up
from service.inference.batcher import Batcher, Closed
from service.inference.engine import Answer, ModelUnusable, PredictTimeout, Work
from service.inference.inline import Turns
from service.inference.nets import SessionNet

TYPES = {"float": "float32", "double": "float64"}
"""onnxruntime's names of types that are not numpy's"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer."""

    batcher: Batcher
    examples: str
    """the word for what it takes"""
    provider: str


class Sessions:
    """The models in memory, named by the SHA-256 of their file. All of it runs in one event loop."""

    def __init__(self, blobs: Blobs, *, settings: Settings) -> None:
        self._blobs = blobs
        self._settings = settings
        self._turns = Turns()
        self._loading: OrderedDict[str, asyncio.Task[Loaded]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[Loaded]:
        """Return the models that are loaded now."""
        done = (task for task in self._loading.values() if task.done() and not task.cancelled())
        return [task.result() for task in done if task.exception() is None]

    def waiting(self, examples: str) -> int:
        """Return how many examples of one kind wait for a lane."""
        return sum(loaded.batcher.waiting for loaded in self.loaded if loaded.examples == examples)

    def may_leave(self, served: Served) -> bool:
        """Return whether a client may leave before its answer: small requests of quick models are over before that."""
        loaded = self._loaded_now(served)
        return loaded is None or not loaded.batcher.is_inline

    async def infer(self, served: Served, work: Work) -> Answer:
        """Load the model when it is not, and return its outputs for the examples: see `Engine`."""
        while True:
            loaded = self._loaded_now(served) or await self._in_time(served, work)
            try:
                return await loaded.batcher.infer(work)
            except Closed:  # it was unloaded between the two lines above
                continue

    def _loaded_now(self, served: Served) -> Loaded | None:
        task = self._loading.get(served.blob)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        self._loading.move_to_end(served.blob)
        return task.result()

    async def _in_time(self, served: Served, work: Work) -> Loaded:
        """Load the model, as long as the request may wait."""
        now_s = time.monotonic()
        wait_s = self._settings.predict_timeout_s if work.deadline_s is None else work.deadline_s - now_s
        try:
            async with asyncio.timeout(wait_s) as deadline:
                return await self.get(served)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise PredictTimeout(f"the model was not loaded within {wait_s:.3g} s; try again") from error

    async def get(self, served: Served) -> Loaded:
        """Return the model, loaded now or before. A load that failed is tried again by the next request.

        Raises:
            ModelUnusable: if its file can't be used.
        """
        task = self._loading.get(served.blob)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._load, served))
            self._loading[served.blob] = task
            task.add_done_callback(lambda done: self._forget_failed(served.blob, done))
        self._loading.move_to_end(served.blob)
        self._evict()
        return await asyncio.shield(task)  # whoever leaves first does not stop it for the others

    @property
    def files(self) -> set[str]:
        """Return the digests of the models that are loaded, or on their way in."""
        return set(self._loading)

    def release(self, files: Iterable[str]) -> None:
        """Unload models; what waits for them is answered first."""
        for blob in self.files.intersection(files):
            self._unload(self._loading.pop(blob))

    async def close(self) -> None:
        """Finish what waits, then unload everything."""
        while self._loading:
            self._unload(self._loading.popitem(last=False)[1])
        while self._closing:
            await asyncio.gather(*self._closing)

    def _evict(self) -> None:
        while len(self._loading) > self._settings.loaded_models:
            self._unload(self._loading.popitem(last=False)[1])

    def _unload(self, task: asyncio.Task[Loaded]) -> None:
        closing = asyncio.create_task(_close(task))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _forget_failed(self, blob: str, task: asyncio.Task[Loaded]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._loading.get(blob) is task:
            del self._loading[blob]

    def _load(self, served: Served) -> Loaded:
        provider = devices.provider(self._settings.device)
        name = f"{served.model}:{served.version}/{served.variant}"
        try:
            task, labels = rooms.task_of(served.card), tuple(served.card["labels"])
            contract, target = rooms.contract_of(task), rooms.target_of(task)
            files = {name: self._file(sha256) for name, sha256 in served.auxiliary_blobs.items()}
            codec = contract.codec(served.card, files=files, settings=self._settings)
            session = self._open(served.blob, provider=provider, threads=1)
            _check_shape(session, codec.describe(), outputs=target.output_count(len(labels)))
            batcher = warm_up.batcher_of(
                SessionNet(session),
                open_wide=lambda: SessionNet(self._open(served.blob, provider=provider, threads=cores.usable())),
                codec=codec,
                provider=provider,
                examples=contract.examples,
                settings=self._settings,
                turns=self._turns,
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
        log.info("model loaded", model=name, provider=provider)
        return Loaded(batcher, contract.examples, provider)

    def _open(self, blob: str, *, provider: str, threads: int) -> Any:  # noqa: ANN401  onnxruntime has no types
        return optimized.open_model(
            blob,
            lambda: self._file(blob),
            folder=self._settings.scratch / "optimized",
            provider=provider,
            threads=threads,
        )

    def _file(self, sha256: str) -> Path:
        path = self._blobs.local(sha256)
        _check_bytes(path, sha256)
        return path


async def _close(task: asyncio.Task[Loaded]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await task.result().batcher.close()


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
