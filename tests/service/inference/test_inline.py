"""Inline batches: what one turn of the event loop has read runs together, and slow nets leave the loop."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np

from models_store.tasks.codec import Inputs
from service.inference.batches import Batches
from service.inference.decode import Ready
from service.inference.engine import Answer, Outputs
from service.inference.inline import TURN_S, Turns
from tests.service.inference.batchers import IN_LANES, IN_LOOP, PlainNet, a_batcher, answers_of, ask, close, mean_colour
from tests.service.live_service import a_plain_image


class Clock:
    """Time that passes when a test says so."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Threads(PlainNet):
    """A net that notes in which threads it ran, and takes `row_s` for each example by the test's clock."""

    def __init__(self, clock: Clock, row_s: float = 0.0) -> None:
        super().__init__()
        self.clock = clock
        self.row_s = row_s
        self.threads: list[str] = []

    def run(self, inputs: Inputs, options: object = None) -> Outputs:  # noqa: ARG002  it can't be stopped
        self.threads.append("loop" if threading.current_thread() is threading.main_thread() else "lane")
        self.sizes.append(len(inputs["images"]))
        self.clock.now_s += self.row_s * len(inputs["images"])
        return mean_colour(inputs)


async def together(count: int, asked: Callable[[int], "asyncio.Future[Answer]"]) -> list[Answer]:
    return await asyncio.gather(*(asked(number) for number in range(count)))


def test_requests_that_one_turn_has_read_run_as_one_batch_in_the_loop() -> None:
    net = Threads(Clock())
    batcher = a_batcher(net, codec=IN_LOOP)

    async def story() -> list[Answer]:
        return await asyncio.gather(*(ask(batcher, a_plain_image((n, 0, 0))) for n in range(12)))

    answers = asyncio.run(story())

    assert net.sizes == [12]
    assert net.threads == ["loop"]
    assert [answers_of(answer) for answer in answers] == [[[n, 0, 0]] for n in range(12)]
    assert {answer.batch_size for answer in answers} == {12}
    close(batcher)


def test_an_example_that_is_decoded_already_runs_in_the_loop() -> None:
    net = Threads(Clock())
    batcher = a_batcher(net, codec=IN_LANES)
    pixels = np.full((8, 8, 3), 7, np.uint8)

    answer = asyncio.run(ask(batcher, Ready(pixels), Ready(pixels + 1)))  # type: ignore[arg-type]

    assert answers_of(answer) == [[7, 7, 7], [8, 8, 8]]
    assert net.threads == ["loop"]
    close(batcher)


def test_a_turn_takes_no_more_than_its_time_and_models_take_turns() -> None:
    clock = Clock()
    turns = Turns(clock)
    row_s = TURN_S / 15.5
    nets = [Threads(clock, row_s), Threads(clock, row_s)]
    batchers = [
        a_batcher(
            net,
            codec=IN_LOOP,
            run_s=row_s,
            turns=turns,
            clock=clock,
            batches=Batches(IN_LOOP, clock=clock, effort=clock),
        )
        for net in nets
    ]

    async def story() -> None:
        images = [a_plain_image((n, 0, 0)) for n in range(20)]
        await asyncio.gather(*(ask(batcher, image) for batcher in batchers for image in images))

    asyncio.run(story())

    first, second = [net.sizes for net in nets]
    assert first == [15, 5]  # the second model has had its row in the first turn, and shares the second one
    assert second[:2] == [1, 10]
    assert sum(second) == 20
    for batcher in batchers:
        close(batcher)


def test_a_net_that_becomes_slow_leaves_the_loop_with_what_waits_and_comes_back() -> None:
    clock = Clock()
    net = Threads(clock, row_s=0.0001)
    batcher = a_batcher(net, codec=IN_LOOP, clock=clock, batches=Batches(IN_LOOP, clock=clock, effort=clock))

    async def one_by_one(count: int) -> None:
        for number in range(count):
            await ask(batcher, a_plain_image((number, 0, 0)))

    asyncio.run(one_by_one(3))
    in_loop, net.row_s = batcher.is_inline, 0.01
    asyncio.run(one_by_one(10))
    slow, net.row_s = batcher.is_inline, 0.0001
    asyncio.run(one_by_one(40))

    assert (in_loop, slow, batcher.is_inline) == (True, False, True)
    assert net.threads[:3] == ["loop"] * 3
    assert net.threads[12] == "lane"
    assert net.threads[-1] == "loop"
    close(batcher)


def test_a_single_pause_does_not_make_a_net_slow() -> None:
    clock = Clock()
    net = Threads(clock, row_s=0.0001)
    batcher = a_batcher(net, codec=IN_LOOP, clock=clock, batches=Batches(IN_LOOP, clock=clock, effort=clock))
    asyncio.run(ask(batcher, a_plain_image((1, 2, 3))))

    net.row_s = 5.0
    asyncio.run(ask(batcher, a_plain_image((1, 2, 3))))

    assert batcher.is_inline
    close(batcher)


def test_a_large_image_of_a_quick_net_is_decoded_in_a_lane() -> None:
    net = Threads(Clock())
    batcher = a_batcher(net, codec=IN_LOOP)

    answer = asyncio.run(ask(batcher, a_plain_image((5, 6, 7), size=(1000, 1000))))

    assert answers_of(answer) == [[5, 6, 7]]
    assert net.threads == ["lane"]
    close(batcher)
