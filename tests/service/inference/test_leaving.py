"""Requests whose client leaves: their rows leave the queue, and a run that nobody waits for is stopped."""

import asyncio
import gc
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from models_store.tasks.codec import Inputs
from service.inference import devices
from service.inference.batcher import Batcher
from service.inference.engine import Answer, Outputs, PredictTimeout, Work
from service.inference.nets import RunOptions, SessionNet
from tests.service.inference.batchers import LIMITS_OF_IMAGES, Gate, LargeImages, a_batcher, answers_of, ask, close
from tests.service.live_service import a_plain_image
from tests.service.onnx_files import expected_probabilities, write_colour_net


class Kept(list[bytes]):
    """Images whose end can be seen."""


async def running_and(gate: Gate, batcher: Batcher, count: int) -> tuple["asyncio.Task[Answer]", list[Kept]]:
    """Return a request that runs, and the images of so many that wait."""
    running = asyncio.create_task(ask(batcher, a_plain_image((1, 0, 0))))
    await gate.wait_until_entered()
    image = a_plain_image((2, 0, 0))
    return running, [Kept([image]) for _ in range(count)]


def asked(batcher: Batcher, images: Kept) -> "asyncio.Task[Answer]":
    return asyncio.create_task(batcher.infer(Work(images, [""], deadline_s=time.monotonic() + 1000)))


def test_a_thousand_that_leave_cost_no_run_and_no_memory() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)
    seen: list[weakref.ref[Kept]] = []

    async def story() -> Answer:
        running, images = await running_and(gate, batcher, 999)
        seen.extend(map(weakref.ref, images))
        waiting = [asked(batcher, each) for each in images]
        await asyncio.sleep(0)
        assert (batcher.waiting, batcher.running) == (999, 1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (batcher.waiting, batcher.waiting_bytes) == (0, 0)
        del images, waiting, task
        await asyncio.sleep(0)  # until then, the loop holds what `gather` gave
        gc.collect()
        assert [reference() for reference in seen] == [None] * 999
        gate.open.set()
        return await running

    answer = asyncio.run(story())

    assert answers_of(answer) == [[1, 0, 0]]
    assert gate.sizes == [1]
    close(batcher)


def test_a_run_is_stopped_when_all_of_its_requests_are_gone_and_not_before() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)

    async def story() -> Answer:
        first, images = await running_and(gate, batcher, 2)
        second, third = (asked(batcher, each) for each in images)
        await asyncio.sleep(0)
        first.cancel()
        await gate.wait_until_entered()  # the lane was stopped, and has taken the others
        assert gate.stopped == 1
        second.cancel()
        await asyncio.sleep(0.1)
        gate.open.set()
        return await third

    answer = asyncio.run(story())

    assert answers_of(answer) == [[2, 0, 0]]
    assert (gate.sizes, gate.stopped) == ([1, 2], 1)
    close(batcher)


class Counted(SessionNet):
    """A session that counts the runs that came to their end, and those that were stopped."""

    ended = stopped = 0

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.entered = threading.Semaphore(0)

    def run(self, inputs: Inputs, options: RunOptions | None = None) -> Outputs:
        self.entered.release()
        try:
            outputs_BK = super().run(inputs, options)
        except Exception:
            self.stopped += 1
            raise
        self.ended += 1
        return outputs_BK


@pytest.mark.parametrize("leaves", ["client", "deadline"])
def test_a_real_run_is_stopped_midway_and_its_session_serves_the_next(tmp_path: Path, leaves: str) -> None:
    net = write_colour_net(tmp_path / "slow.onnx", size=512, rounds=1500)
    counted = Counted(devices.open_session(net, provider=devices.CPU, threads=1))
    codec = LargeImages(**LIMITS_OF_IMAGES | {"size": 512})
    batcher = a_batcher(counted, codec=codec, lanes=1)  # type: ignore[arg-type]
    image = a_plain_image((200, 10, 10), size=(512, 512))

    async def story() -> Answer:
        deadline_s = time.monotonic() + 1.5 if leaves == "deadline" else None
        leaving = asyncio.create_task(ask(batcher, *[image] * 8, deadline_s=deadline_s))
        assert await asyncio.to_thread(counted.entered.acquire, timeout=20)
        if leaves == "client":
            leaving.cancel()
        (outcome,) = await asyncio.gather(leaving, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError if leaves == "client" else PredictTimeout)
        return await ask(batcher, image)

    answer = asyncio.run(story())

    assert answers_of(answer)[0] == pytest.approx(expected_probabilities((200, 10, 10)), abs=1e-4)
    assert (counted.ended, counted.stopped) == (1, 1)
    close(batcher)
