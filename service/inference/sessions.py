"""loaded models: each once, however many ask at the same time; the least recently used leaves first."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from models_store.errors import EspalierError, Unavailable
from models_store.host import cores
from models_store.models.registry import Served
from models_store.settings import Settings
from models_store.storage import disk
from models_store.storage.blobs import BlobMissing, Blobs, sha256_of
from models_store.targets import ONE_CLASS, Target
from models_store.tasks.rooms import target_of
from service.inference import devices, optimized
from service.inference.batcher import Answer, Batcher, Closed, Images, Probabilities
from service.inference.decode import Encoded, Picture

log = structlog.get_logger(__name__)


class ModelUnusable(Unavailable):
    """The model is registered, and its file is missing, damaged, or not what its card says."""

    code = "model_unusable"
    title = "The model's file can't be used"


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer."""

    batcher: Batcher
    provider: str
    labels: tuple[str, ...]
    target: Target


class Sessions:
    """The models in memory, named by the SHA-256 of their file. All of it runs in one event loop."""

    def __init__(self, blobs: Blobs, *, settings: Settings) -> None:
        self._blobs = blobs
        self._settings = settings
        self._loading: OrderedDict[str, asyncio.Task[Loaded]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[Loaded]:
        """Return the models that are loaded now."""
        done = (task for task in self._loading.values() if task.done() and not task.cancelled())
        return [task.result() for task in done if task.exception() is None]

    def would_wait(self, served: Served, count: int) -> bool:
        """Tell whether so many images for this model would have to wait now: for the model, or for several batches."""
        task = self._loading.get(served.blob)
        if task is None or not task.done() or task.exception() is not None:
            return True
        return task.result().batcher.would_wait(count)

    async def predict(self, served: Served, images: list[Encoded], *, pointers: list[str]) -> tuple[Answer, Loaded]:
        """Load the model when it is not, and return what it says of the images.

        Raises:
            ModelUnusable: if its file can't be used.
            BadInput, Overloaded, InferenceFailed: as `Batcher.predict` does.
        """
        while True:
            loaded = await self.get(served)
            try:
                return await loaded.batcher.predict(images, pointers=pointers), loaded
            except Closed:  # it was unloaded between the two lines above
                continue

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
            session = optimized.open_model(
                served.blob,
                lambda: self._file(served.blob),
                folder=self._settings.scratch / "optimized",
                provider=provider,
                threads=1,
            )
            _check_shape(session, served.card)
        except EspalierError as error:
            if isinstance(error, BlobMissing):
                raise unusable(name, "is missing or damaged") from error
            raise
        except Exception as error:  # onnxruntime's errors share no base, a store's neither
            if disk.is_full(error):
                raise disk.no_room_for("the model's file") from error
            log.exception("a model did not load", model=name)
            raise unusable(name, "did not load") from error
        picture = Picture.of(served.card, self._settings)
        lanes = self._settings.inference_lanes or (1 if provider == devices.CUDA else cores.usable())
        batcher = Batcher(
            lambda images_BHWC: _run(session, images_BHWC),
            picture=picture,
            lanes=lanes,
            most_waiting=self._settings.predict_queue,
        )
        log.info("model loaded", model=name, provider=provider, lanes=lanes)
        return Loaded(batcher, provider, tuple(served.card["labels"]), _target_of(served.card))

    def _file(self, sha256: str) -> Path:
        path = self._blobs.local(sha256)
        _check_bytes(path, sha256)
        return path


async def _close(task: asyncio.Task[Loaded]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await asyncio.to_thread(task.result().batcher.close)


def _run(session: Any, images_BHWC: Images) -> Probabilities:  # noqa: ANN401  onnxruntime has no types
    probabilities_BK: Probabilities = session.run(["probabilities"], {"images": images_BHWC})[0]
    return probabilities_BK


def _target_of(card: dict[str, Any]) -> Target:
    """Return what the model answers; models of earlier releases answer classes."""
    return target_of(card["task"]) if "task" in card else ONE_CLASS


def _check_bytes(path: Path, sha256: str) -> None:
    if sha256_of(path) != sha256:
        raise BlobMissing(f"the stored file {sha256} is damaged")


def _check_shape(session: Any, card: dict[str, Any]) -> None:  # noqa: ANN401  onnxruntime has no types
    """Refuse a file whose input or outputs are not those of the card: it would answer with other labels."""
    size, channels = card["input"]["size"], card["input"]["channels"]
    outputs = _target_of(card).output_count(len(card["labels"]))
    given, made = session.get_inputs()[0], session.get_outputs()[0]
    expected = ("images", "tensor(uint8)", [size, size, channels], "probabilities", outputs)
    actual = (given.name, given.type, given.shape[1:], made.name, made.shape[-1])
    if actual != expected:
        raise ValueError(f"expected {expected}, the file has {actual}")


def unusable(name: str, what: str) -> ModelUnusable:
    """Return the error for a registered model whose file `what` (is missing, did not load, …)."""
    return ModelUnusable(f"the file of {name} {what}; choose another version or variant, or train it again")
