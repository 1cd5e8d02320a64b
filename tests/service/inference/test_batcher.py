"""The batcher alone: every answer belongs to its image, and no fault reaches a neighbour."""

import asyncio
import contextlib
import gc
import random
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from models_store.tasks.codec import Inputs
from models_store.tasks.image.codec import ImageCodec
from service.inference.batcher import Batcher, Closed
from service.inference.decode import BadInput
from service.inference.engine import Answer, InferenceFailed, Outputs, Overloaded, Work
from tests.service.live_service import a_plain_image

CODEC = ImageCodec(
    size=8,
    channels=3,
    fit="crop",
    white_level=None,
    max_bytes=1 << 20,
    max_pixels=1 << 20,
    max_request_pixels=1 << 30,
)
POISON = 255


def mean_colour(inputs: Inputs) -> Outputs:
    """Stand for a net: its answer tells which image it saw; an image of pure poison breaks the run."""
    means_BC: Outputs = inputs["images"].mean(axis=(1, 2), dtype=np.float32)
    if (means_BC == POISON).all(axis=1).any():
        raise RuntimeError("poisoned")
    return means_BC


class Kept(list[bytes]):
    """Images whose end can be seen."""


class Gate:
    """A net that waits until it is told to go on, and notes the batches that it saw."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.sizes: list[int] = []

    def run(self, inputs: Inputs) -> Outputs:
        self.sizes.append(len(inputs["images"]))
        self.entered.release()
        assert self.open.wait(20)
        return mean_colour(inputs)


def a_batcher(run: Callable[[Inputs], Outputs], *, lanes: int = 2, most_waiting: int = 1000) -> Batcher:
    return Batcher(
        run, codec=CODEC, provider="CPUExecutionProvider", examples="images", lanes=lanes, most_waiting=most_waiting
    )


async def ask(batcher: Batcher, *images: bytes | str) -> Answer:
    return await batcher.infer(Work(images, [f"/inputs/{index}" for index in range(len(images))]))


def answers_of(answer: Answer) -> list[list[float]]:
    return [row_K.tolist() for row_K in answer.outputs]


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.acquire, timeout=20)


def test_among_a_hundred_concurrent_mixed_requests_every_answer_belongs_to_its_image() -> None:
    chance = random.Random(7)
    batcher = a_batcher(mean_colour, lanes=3)

    async def one(number: int) -> None:
        colours = [(chance.randrange(250), number, index) for index in range(chance.randint(1, 5))]
        images: list[bytes | str] = [a_plain_image(colour) for colour in colours]
        broken = number % 4 == 0
        if broken:
            images.insert(chance.randrange(len(images) + 1), b"not an image")
            at = images.index(b"not an image")
            with pytest.raises(BadInput) as caught:
                await ask(batcher, *images)
            assert [error.pointer for error in caught.value.errors] == [f"/inputs/{at}"]
            return
        answer = await ask(batcher, *images)
        assert answers_of(answer) == [list(colour) for colour in colours]

    async def all_at_once() -> None:
        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(all_at_once())
    batcher.close()


def test_a_run_that_fails_fails_its_batch_and_the_lane_lives_on() -> None:
    batcher = a_batcher(mean_colour, lanes=1)

    async def story() -> Answer:
        with pytest.raises(InferenceFailed):
            await ask(batcher, a_plain_image((POISON, POISON, POISON)))
        return await ask(batcher, a_plain_image((1, 2, 3)))

    answer = asyncio.run(story())

    assert answers_of(answer) == [[1, 2, 3]]
    batcher.close()


def test_a_free_lane_takes_its_share_and_leaves_the_rest_to_its_neighbour() -> None:
    gate = Gate()
    batcher = a_batcher(gate.run, lanes=2)

    async def story() -> None:
        asking = asyncio.create_task(ask(batcher, *[a_plain_image((n, 0, 0)) for n in range(8)]))
        await entered(gate)
        await entered(gate)
        gate.open.set()
        await asking

    asyncio.run(story())

    assert sorted(gate.sizes) == [4, 4]
    batcher.close()


def test_what_queues_while_the_lane_is_busy_runs_as_one_batch() -> None:
    gate = Gate()
    batcher = a_batcher(gate.run, lanes=1)

    async def story() -> None:
        first = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await entered(gate)
        others = [asyncio.create_task(ask(batcher, a_plain_image((n, 0, 0)))) for n in range(1, 6)]
        await asyncio.sleep(0)
        assert batcher.waiting == 5
        gate.open.set()
        await asyncio.gather(first, *others)

    asyncio.run(story())

    assert gate.sizes == [1, 5]
    batcher.close()


def test_a_full_queue_refuses_the_whole_request() -> None:
    gate = Gate()
    batcher = a_batcher(gate.run, lanes=1, most_waiting=2)

    async def story() -> None:
        running = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await entered(gate)
        waiting = asyncio.create_task(ask(batcher, a_plain_image((1, 0, 0))))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await ask(batcher, a_plain_image((2, 0, 0)), a_plain_image((3, 0, 0)))
        gate.open.set()
        await asyncio.gather(running, waiting)

    asyncio.run(story())

    assert sum(gate.sizes) == 2
    batcher.close()


def test_a_withdrawn_request_never_reaches_the_net() -> None:
    gate = Gate()
    batcher = a_batcher(gate.run, lanes=1)

    async def story() -> None:
        running = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await entered(gate)
        leaving = asyncio.create_task(ask(batcher, a_plain_image((1, 0, 0))))
        staying = asyncio.create_task(ask(batcher, a_plain_image((2, 0, 0))))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        gate.open.set()
        await asyncio.gather(running, staying)

    asyncio.run(story())

    assert gate.sizes == [1, 1]
    batcher.close()


def test_closing_finishes_what_waits_and_then_refuses() -> None:
    gate = Gate()
    batcher = a_batcher(gate.run, lanes=1)

    async def story() -> list[list[float]]:
        asking = [asyncio.create_task(ask(batcher, a_plain_image((n, 0, 0)))) for n in range(3)]
        await entered(gate)
        gate.open.set()
        await asyncio.to_thread(batcher.close)
        with pytest.raises(Closed):
            await ask(batcher, a_plain_image((9, 0, 0)))
        return [answers_of(answer)[0] for answer in await asyncio.gather(*asking)]

    assert asyncio.run(story()) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]


def test_every_bad_image_of_a_request_is_named() -> None:
    batcher = a_batcher(mean_colour)

    with pytest.raises(BadInput) as caught:
        asyncio.run(ask(batcher, b"", a_plain_image((1, 1, 1)), "!!!", "data:text/plain,hello"))

    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/inputs/0", "empty_image"),
        ("/inputs/2", "bad_base64"),
        ("/inputs/3", "bad_base64"),
    ]
    batcher.close()


@pytest.mark.parametrize("colour", [(1, 1, 1), None])
def test_a_lane_that_waits_keeps_no_images(colour: tuple[int, int, int] | None) -> None:
    batcher = a_batcher(mean_colour, lanes=1)

    def asked() -> weakref.ref[Kept]:
        images = Kept([b"broken" if colour is None else a_plain_image(colour)])
        with contextlib.suppress(BadInput):
            asyncio.run(batcher.infer(Work(images, ["/inputs/0"])))
        return weakref.ref(images)

    kept = asked()
    deadline_s = time.monotonic() + 20
    while kept() is not None and time.monotonic() < deadline_s:  # the lane settles before it lets go
        time.sleep(0.01)
        gc.collect()

    assert kept() is None
    batcher.close()
