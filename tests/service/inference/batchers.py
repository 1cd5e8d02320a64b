"""Batchers before nets that a test controls."""

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from models_store.tasks.codec import Codec, Inputs
from models_store.tasks.image.codec import ImageCodec
from service.inference.admission import Limits
from service.inference.batcher import Batcher
from service.inference.engine import Answer, Outputs, Work
from service.inference.nets import RunOptions

LIMITS_OF_IMAGES: dict[str, Any] = {
    "size": 8,
    "channels": 3,
    "fit": "crop",
    "white_level": None,
    "max_bytes": 1 << 20,
    "max_pixels": 1 << 20,
    "max_request_pixels": 1 << 30,
}


class LargeImages(ImageCodec):
    """Images of which none is decoded in the event loop."""

    def decodes_quickly(self, given: bytes | str) -> bool:  # noqa: ARG002  whatever it is
        return False


IN_LOOP, IN_LANES = ImageCodec(**LIMITS_OF_IMAGES), LargeImages(**LIMITS_OF_IMAGES)
POISON = 255
LIMITS = Limits(rows=1000, size_bytes=1 << 30, timeout_s=60)
QUICK_S = 1e-5
"""what a test says that one example takes to run"""


def mean_colour(inputs: Inputs) -> Outputs:
    """Stand for a net: its answer tells which image it saw; an image of pure poison breaks the run."""
    means_BC: Outputs = inputs["images"].mean(axis=(1, 2), dtype=np.float32)
    if (means_BC == POISON).all(axis=1).any():
        raise RuntimeError("poisoned")
    return means_BC


class PlainNet:
    """A net that is a function; it can't be stopped."""

    def __init__(self, function: Callable[[Inputs], Outputs] = mean_colour) -> None:
        self.function = function
        self.sizes: list[int] = []

    def options(self) -> RunOptions:
        return SimpleNamespace(terminate=False)

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:  # noqa: ARG002  it can't be stopped
        self.sizes.append(len(next(iter(inputs.values()))))
        return self.function(inputs)


class Gate(PlainNet):
    """A net that waits until it is told to go on, or to stop, and notes the batches that it saw."""

    def __init__(self, function: Callable[[Inputs], Outputs] = mean_colour) -> None:
        super().__init__(function)
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.stopped = 0

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:
        self.sizes.append(len(inputs["images"]))
        self.entered.release()
        for _ in range(2000):
            if self.open.wait(0.01):
                return self.function(inputs)
            if options is not None and options.terminate:
                self.stopped += 1
                raise RuntimeError("stopped")
        raise AssertionError("nobody opened the gate")

    async def wait_until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=20)


def a_batcher(
    net: PlainNet | None = None,
    *,
    codec: Codec[Any] = IN_LANES,
    lanes: int = 2,
    limits: Limits = LIMITS,
    run_s: float = QUICK_S,
    **more: Any,
) -> Batcher:
    """Return a batcher of a quick net; the codec decides where its examples run."""
    return Batcher(
        net or PlainNet(),
        codec=codec,
        provider="CPUExecutionProvider",
        examples="images",
        lanes=lanes,
        limits=limits,
        run_s=run_s,
        **more,
    )


async def ask(batcher: Batcher, *images: bytes | str, **work: Any) -> Answer:
    return await batcher.infer(Work(images, [f"/inputs/{index}" for index in range(len(images))], **work))


def answers_of(answer: Answer) -> list[list[float]]:
    return [row_K.tolist() for row_K in answer.outputs]


def close(batcher: Batcher) -> None:
    asyncio.run(batcher.close())
