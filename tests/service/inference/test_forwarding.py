"""Predictions that one API process forwards to another: over a real link, with an engine that does as it is told."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.errors import EspalierError, FieldError
from models_store.models.served import Served
from models_store.storage.blobs import Blobs
from service.inference.decode import BadInput, Ready
from service.inference.engine import Answer, Overloaded, PredictTimeout, Work
from service.inference.forwarded import Advice, InMemory, Order
from service.inference.forwarding import Forwarding, OwnerAway, OwnerSilent
from service.inference.links import Links
from service.inference.sessions import Sessions
from service.processes.board import Board, Column
from service.processes.inbox import Inbox, Kind
from service.processes.place import OWNER, Place
from tests import samples

SERVED = Served("local", "flowers", 1, "fp32", "0" * 64, {}, {}, {})
PATIENCE_S = 30

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Obedient:
    """An engine that answers with its first example, or does what it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Served, Work]] = []
        self.fails: EspalierError | None = None
        self.waits = False
        self.began, self.left = asyncio.Event(), asyncio.Event()

    async def infer(self, served: Served, work: Work) -> Answer:
        self.asked.append((served, work))
        self.began.set()
        if self.fails is not None:
            raise self.fails
        try:
            if self.waits:
                await asyncio.Future()
        finally:
            self.left.set()
        rows = [np.array([served.version, len(work.examples)], np.float32)]
        return Answer(rows, queue_s=0.1, decode_s=0.2, run_s=0.3, batch_size=4, provider="CPUExecutionProvider")


IN_MEMORY = InMemory("CPUExecutionProvider", "plain", 7, is_pinned=True)


class Pair:
    """A front and an owner in one event loop."""

    def __init__(self, home: Path) -> None:
        self.place = Place(1, Board(2), [Inbox(), Inbox()])
        self.engine = Obedient()
        self.orders: list[tuple[str, Served]] = []
        self.advice = Advice.FORWARD
        self.links = Links(
            self.engine,
            advise=lambda _served: self.advice,
            orders={Order.LOAD: self._load, Order.UNLOAD: self._unload, Order.FIND: self._find},
        )
        settings = samples.quick_settings(home)
        copies = Sessions(Blobs(settings.blobs_url, scratch=settings.scratch), settings=settings)
        order_s = {Order.LOAD: PATIENCE_S, Order.UNLOAD: PATIENCE_S, Order.FIND: 0.2}
        self.front = Forwarding(self.place, here=self.engine, copies=copies, timeout_s=PATIENCE_S, order_s=order_s)
        self.is_silent = False
        self.withdrawn = asyncio.Event()

    def read_inbox(self) -> None:
        message = self.place.inboxes[OWNER].receive()
        assert message is not None
        assert message.kind is Kind.LINK
        assert message.sent is not None
        self.links.serve(message.sent)

    async def _load(self, served: Served) -> InMemory:
        self.orders.append(("load", served))
        return IN_MEMORY

    async def _find(self, _served: Served) -> None:
        try:
            if self.is_silent:
                await asyncio.Future()
        except asyncio.CancelledError:
            self.withdrawn.set()
            raise

    async def _unload(self, _served: Served) -> None:
        raise Overloaded("not now", retry_after_s=7)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Pair]:
    pair = Pair(home)
    pair.place.board.write(OWNER, Column.PID, 1)
    loop = asyncio.get_running_loop()
    loop.add_reader(pair.place.inboxes[OWNER].fileno(), pair.read_inbox)
    yield pair
    loop.remove_reader(pair.place.inboxes[OWNER].fileno())
    pair.front.close()
    await pair.links.close()


def work(*examples: Any, **rest: Any) -> Work:
    return Work(examples, [f"/inputs/{index}" for index in range(len(examples))], **rest)


async def test_an_answer_says_whether_the_owner_had_better_have_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        before = await pair.front.infer(SERVED, work(b""))
        pair.advice = Advice.MOVE
        after = await pair.front.infer(SERVED, work(b""))

    assert (before.better_in_owner, after.better_in_owner) == (False, True)


async def test_examples_of_every_kind_and_the_answer_arrive_as_they_were(tmp_path: Path) -> None:
    decoded = Ready((np.arange(4, dtype=np.uint8), 3))
    asked = work(b"\xff\xd8 bytes", {"text": "a value"}, decoded, deadline_s=1e9, priority=2)
    async with running(tmp_path) as pair:
        answer = await pair.front.infer(SERVED, asked)

    (served, arrived), *_ = pair.engine.asked
    assert served == SERVED
    assert arrived.examples[:2] == asked.examples[:2]
    np.testing.assert_array_equal(arrived.examples[2].decoded[0], decoded.decoded[0])
    assert (arrived.pointers, arrived.deadline_s, arrived.priority) == (asked.pointers, 1e9, 2)
    assert (answer.batch_size, answer.provider, answer.run_s) == (4, "CPUExecutionProvider", 0.3)
    np.testing.assert_array_equal(answer.outputs[0], [1, 3])


async def test_many_references_are_never_mistaken_for_one_another(tmp_path: Path) -> None:
    references = [replace(SERVED, version=number) for number in range(700)]
    async with running(tmp_path) as pair:
        answers = await asyncio.gather(*(pair.front.infer(each, work(b"")) for each in references))
        again = await asyncio.gather(*(pair.front.infer(each, work(b"")) for each in reversed(references)))

    assert [answer.outputs[0][0] for answer in answers] == list(range(700))
    assert [answer.outputs[0][0] for answer in again] == list(range(699, -1, -1))


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("too much waits", retry_after_s=3),
        BadInput("no image", errors=[FieldError("/inputs/0", "bad_image", "it is no image", ["jpeg"])]),
    ],
)
async def test_an_error_is_the_same_for_the_front(tmp_path: Path, error: EspalierError) -> None:
    async with running(tmp_path) as pair:
        pair.engine.fails = error
        with pytest.raises(type(error)) as raised:
            await pair.front.infer(SERVED, work(b""))

    assert raised.value.as_problem() == error.as_problem()
    assert vars(raised.value) == vars(error)


async def test_a_client_that_leaves_withdraws_its_examples_from_the_owner(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        pair.engine.waits = True
        asking = asyncio.create_task(pair.front.infer(SERVED, work(b"")))
        await asyncio.wait_for(pair.engine.began.wait(), PATIENCE_S)

        asking.cancel()

        await asyncio.wait_for(pair.engine.left.wait(), PATIENCE_S)


async def test_a_request_that_is_withdrawn_before_it_began_leaves_nothing_behind(tmp_path: Path) -> None:
    """Both messages arrive at once; a coroutine that never begins is reported when its memory is freed."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with running(tmp_path) as pair:
            await pair.front.infer(SERVED, work(b""))
            asking = asyncio.create_task(pair.front.infer(SERVED, work(b"")))
            await asyncio.sleep(0)
            asking.cancel()
            answer = await pair.front.infer(replace(SERVED, version=2), work(b""))
        asked = [served.version for served, _ in pair.engine.asked]
        del pair
        gc.collect()

    assert answer.outputs[0][0] == 2
    assert asked == [1, 2]
    assert [each for each in warned if "never awaited" in str(each.message)] == []


async def test_a_request_that_the_owner_never_answers_ends_at_its_deadline(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        pair.engine.waits = True
        with pytest.raises(PredictTimeout):
            await pair.front.infer(SERVED, work(b"", deadline_s=time.monotonic() + 0.2))

        await asyncio.wait_for(pair.engine.left.wait(), PATIENCE_S)


async def test_an_owner_that_goes_fails_what_waits_and_the_next_one_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        pair.engine.waits = True
        asking = asyncio.create_task(pair.front.infer(SERVED, work(b"")))
        await asyncio.wait_for(pair.engine.began.wait(), PATIENCE_S)

        pair.links.end()  # as the kernel does for a process that dies
        with pytest.raises(OwnerAway):
            await asyncio.wait_for(asking, PATIENCE_S)
        pair.engine.waits = False

        assert (await pair.front.infer(SERVED, work(b""))).batch_size == 4


async def test_what_waits_for_room_when_the_owner_goes_names_nothing_on_the_next_link(tmp_path: Path) -> None:
    """What waits wakes up after another request has begun to open the next link."""
    async with running(tmp_path) as pair:
        inbox = pair.place.inboxes[OWNER]
        asyncio.get_running_loop().remove_reader(inbox.fileno())
        asking = [asyncio.create_task(pair.front.infer(SERVED, work(bytes(20 << 20))))]
        await asyncio.sleep(0.1)  # the link is full now: nobody reads it
        asking.append(asyncio.create_task(pair.front.infer(SERVED, work(b""))))
        await asyncio.sleep(0.1)
        first = inbox.receive()
        assert first is not None
        assert first.sent is not None

        first.sent.close()
        for _ in range(20):
            asking.append(asyncio.create_task(pair.front.infer(SERVED, work(b""))))
            await asyncio.sleep(0)
        asyncio.get_running_loop().add_reader(inbox.fileno(), pair.read_inbox)
        async with asyncio.timeout(PATIENCE_S):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(outcomes[1], OwnerAway)
    assert isinstance(outcomes[-1], Answer)


async def test_without_an_owner_a_request_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        pair.place.board.write(OWNER, Column.PID, 0)
        with pytest.raises(OwnerAway):
            await pair.front.infer(SERVED, work(b""))


async def test_an_order_that_the_owner_does_not_obey_in_time_is_refused_and_withdrawn(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        pair.is_silent = True
        with pytest.raises(OwnerSilent, match=r"did not find this one within 0\.2 s"):
            await pair.front.order(Order.FIND, SERVED)
        async with asyncio.timeout(PATIENCE_S):
            await pair.withdrawn.wait()


async def test_orders_are_obeyed_or_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as pair:
        assert await pair.front.order(Order.LOAD, SERVED) == IN_MEMORY
        assert await pair.front.order(Order.FIND, SERVED) is None
        with pytest.raises(Overloaded, match="not now"):
            await pair.front.order(Order.UNLOAD, SERVED)

    assert pair.orders == [("load", SERVED)]
