"""The batcher alone: every answer belongs to its image, and no fault reaches a neighbour."""

import asyncio
import contextlib
import gc
import random
import threading
import time
import weakref

import pytest

from models_store.tasks.image.codec import ImageCodec
from service.inference.admission import Limits
from service.inference.batcher import Closed
from service.inference.decode import BadInput
from service.inference.engine import Answer, InferenceFailed, Overloaded, Work
from service.inference.lanes import BATCH_S
from tests.service.inference.batchers import (
    IN_LANES,
    IN_LOOP,
    POISON,
    Gate,
    PlainNet,
    a_batcher,
    answers_of,
    ask,
    close,
)
from tests.service.live_service import a_plain_image

BOTH = pytest.mark.parametrize("codec", [IN_LOOP, IN_LANES], ids=["loop", "lanes"])


class Kept(list[bytes]):
    """Images whose end can be seen."""


@BOTH
def test_among_a_hundred_concurrent_mixed_requests_every_answer_belongs_to_its_image(codec: ImageCodec) -> None:
    chance = random.Random(7)
    batcher = a_batcher(lanes=3, codec=codec)

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
    close(batcher)


@BOTH
def test_a_run_that_fails_fails_its_batch_and_the_lane_lives_on(codec: ImageCodec) -> None:
    batcher = a_batcher(lanes=1, codec=codec)

    async def story() -> Answer:
        with pytest.raises(InferenceFailed):
            await ask(batcher, a_plain_image((POISON, POISON, POISON)))
        return await ask(batcher, a_plain_image((1, 2, 3)))

    answer = asyncio.run(story())

    assert answers_of(answer) == [[1, 2, 3]]
    close(batcher)


def test_a_free_lane_takes_its_share_and_leaves_the_rest_to_its_neighbour() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=2)

    async def story() -> None:
        asking = asyncio.create_task(ask(batcher, *[a_plain_image((n, 0, 0)) for n in range(8)]))
        await gate.wait_until_entered()
        await gate.wait_until_entered()
        gate.open.set()
        await asking

    asyncio.run(story())

    assert sorted(gate.sizes) == [4, 4]
    close(batcher)


def test_what_queues_while_the_lane_is_busy_runs_as_one_batch() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)

    async def story() -> None:
        first = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await gate.wait_until_entered()
        others = [asyncio.create_task(ask(batcher, a_plain_image((n, 0, 0)))) for n in range(1, 6)]
        await asyncio.sleep(0)
        assert batcher.waiting == 5
        gate.open.set()
        await asyncio.gather(first, *others)

    asyncio.run(story())

    assert gate.sizes == [1, 5]
    close(batcher)


def test_a_full_queue_refuses_the_whole_request() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1, limits=Limits(rows=2, size_bytes=1 << 30, timeout_s=60))

    async def story() -> None:
        running = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await gate.wait_until_entered()
        waiting = asyncio.create_task(ask(batcher, a_plain_image((1, 0, 0))))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await ask(batcher, a_plain_image((2, 0, 0)), a_plain_image((3, 0, 0)))
        gate.open.set()
        await asyncio.gather(running, waiting)

    asyncio.run(story())

    assert sum(gate.sizes) == 2
    close(batcher)


@pytest.mark.parametrize("started", [0, 1])
def test_a_host_without_threads_delays_requests_and_loses_no_lane(
    monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    batcher, start, starts = a_batcher(lanes=2), threading.Thread.start, 0

    def failing(thread: threading.Thread) -> None:
        nonlocal starts
        if thread.name == "lane":
            starts += 1
            if starts == started + 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    async def story() -> list[Answer]:
        if not started:
            with pytest.raises(RuntimeError, match="thread"):
                await ask(batcher, a_plain_image((1, 0, 0)))
        return await asyncio.wait_for(
            asyncio.gather(*(ask(batcher, a_plain_image((2, 0, 0))) for _ in range(20))), timeout=20
        )

    monkeypatch.setattr(threading.Thread, "start", failing)

    assert [answers_of(answer) for answer in asyncio.run(story())] == [[[2, 0, 0]]] * 20
    assert batcher.waiting == 0
    close(batcher)


def test_a_withdrawn_request_never_reaches_the_net() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)

    async def story() -> None:
        running = asyncio.create_task(ask(batcher, a_plain_image((0, 0, 0))))
        await gate.wait_until_entered()
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
    close(batcher)


def test_closing_finishes_what_waits_and_then_refuses() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)

    async def story() -> list[list[float]]:
        asking = [asyncio.create_task(ask(batcher, a_plain_image((n, 0, 0)))) for n in range(3)]
        await gate.wait_until_entered()
        gate.open.set()
        await batcher.close()
        with pytest.raises(Closed):
            await ask(batcher, a_plain_image((9, 0, 0)))
        return [answers_of(answer)[0] for answer in await asyncio.gather(*asking)]

    assert asyncio.run(story()) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]


@BOTH
def test_every_bad_image_of_a_request_is_named(codec: ImageCodec) -> None:
    batcher = a_batcher(codec=codec)

    with pytest.raises(BadInput) as caught:
        asyncio.run(ask(batcher, b"", a_plain_image((1, 1, 1)), "!!!", "data:text/plain,hello"))

    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/inputs/0", "empty_image"),
        ("/inputs/2", "bad_base64"),
        ("/inputs/3", "bad_base64"),
    ]
    close(batcher)


@BOTH
@pytest.mark.parametrize("colour", [(1, 1, 1), None])
def test_a_lane_that_waits_keeps_no_images(colour: tuple[int, int, int] | None, codec: ImageCodec) -> None:
    batcher = a_batcher(lanes=1, codec=codec)

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
    close(batcher)


def test_a_batch_of_a_slow_net_is_small_so_that_its_first_row_is_answered_soon() -> None:
    net = PlainNet()
    batcher = a_batcher(net, lanes=1, run_s=BATCH_S / 2.5)

    answer = asyncio.run(ask(batcher, *[a_plain_image((n, 0, 0)) for n in range(8)]))

    assert answers_of(answer) == [[n, 0, 0] for n in range(8)]
    assert net.sizes[0] == 2
    close(batcher)
