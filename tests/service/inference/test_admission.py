"""Admission: what would come too late is refused at once, the urgent is served first, and no more waits than may."""

import asyncio
import pickle
import time

import pytest

from models_store.tasks.codec import Inputs
from service.inference.admission import BURST_S, REST_S, SHORT_WAIT_S, USUAL_REQUESTS, Admission, Backlog, Limits
from service.inference.engine import Answer, DeadlineTooShort, Outputs, Overloaded
from service.inference.estimates import RunningMean
from service.inference.tickets import Ticket
from service.inference.waiting import Waiting
from tests.service.inference.batchers import Gate, PlainNet, a_batcher, answers_of, ask, close, mean_colour
from tests.service.live_service import a_plain_image

LIMITS = Limits(rows=1000, size_bytes=10_000, timeout_s=30)
ROW_S = 0.01
NOW_S = 50.0


def a_ticket(*, rows: int = 1, at_s: float = NOW_S, within_s: float = 30, size_bytes: int = 1) -> Ticket:
    loop = asyncio.new_event_loop()
    loop.close()
    return Ticket(
        examples=[b"x"] * rows,
        pointers=[""] * rows,
        future=asyncio.Future(loop=loop),
        loop=loop,
        budget=None,
        provider="",
        submitted_s=at_s,
        deadline_s=at_s + within_s,
        priority=5,
        size_bytes=size_bytes,
        left=rows,
        is_inline=False,
    )


def a_backlog(rows: int, *, requests: int | None = None, running: int = 1, size_bytes: int = 0) -> Backlog:
    return Backlog(
        requests=rows if requests is None else requests,
        rows=rows,
        size_bytes=size_bytes,
        running=running,
        row_s=ROW_S,
        batch_s=ROW_S,
    )


def is_admitted(
    ticket: Ticket, backlog: Backlog, *, admission: Admission | None = None, states_deadline: bool = False
) -> bool:
    try:
        (admission or Admission(LIMITS, examples="images")).check(
            ticket, backlog, ahead=lambda _: backlog.rows, states_deadline=states_deadline
        )
    except Overloaded:
        return False
    return True


def test_a_deadline_that_can_be_met_is_admitted_and_one_that_cannot_is_refused() -> None:
    assert is_admitted(a_ticket(within_s=1.03), a_backlog(100), states_deadline=True)
    with pytest.raises(DeadlineTooShort) as caught:
        Admission(LIMITS, examples="images").check(
            a_ticket(within_s=3), a_backlog(500), ahead=lambda _: 500, states_deadline=True
        )

    assert caught.value.headers == {"Retry-After": "6"}
    assert (caught.value.status, caught.value.code) == (429, "deadline_too_short")


def test_a_deadline_that_has_passed_is_refused_even_with_nothing_ahead() -> None:
    assert not is_admitted(a_ticket(within_s=0), a_backlog(0, running=0), states_deadline=True)


def test_the_batch_that_a_request_would_be_in_counts_as_its_own_time() -> None:
    backlog = a_backlog(1)._replace(batch_s=5 * ROW_S)

    assert is_admitted(a_ticket(within_s=7.1 * ROW_S), backlog, states_deadline=True)
    assert not is_admitted(a_ticket(within_s=6.9 * ROW_S), backlog, states_deadline=True)


@pytest.mark.parametrize(("measured", "most"), [((0.01,) * 40, 0.0101), ((0.005, 0.015) * 20, 0.02)])
def test_an_estimate_is_above_most_measurements(measured: tuple[float, ...], most: float) -> None:
    mean = RunningMean()
    for each in measured:
        mean.add(each)

    assert max(measured) <= mean.high + 0.001
    assert mean.high < most


def test_with_nothing_ahead_an_estimate_refuses_nobody() -> None:
    assert is_admitted(a_ticket(within_s=ROW_S / 2), a_backlog(0, running=0), states_deadline=True)


def test_a_request_that_states_a_deadline_may_wait_longer_than_others() -> None:
    backlog = a_backlog(900)

    assert is_admitted(a_ticket(), backlog, states_deadline=True)
    assert not is_admitted(a_ticket(), backlog)


def test_more_rows_or_bytes_than_may_wait_are_refused_whatever_the_deadline() -> None:
    assert not is_admitted(a_ticket(rows=2), a_backlog(999), states_deadline=True)
    assert not is_admitted(a_ticket(size_bytes=2), a_backlog(1, size_bytes=9_999), states_deadline=True)
    assert is_admitted(a_ticket(size_bytes=20_000), a_backlog(0, running=0))


def test_a_burst_may_wait_and_a_queue_that_stands_is_cut_until_it_has_rested() -> None:
    admission = Admission(LIMITS, examples="images")
    over, under = a_backlog(USUAL_REQUESTS + 20), a_backlog(USUAL_REQUESTS - 20)

    def admitted(backlog: Backlog, at_s: float) -> bool:
        return is_admitted(a_ticket(at_s=at_s), backlog, admission=admission)

    assert admitted(over, NOW_S)
    assert admitted(over, NOW_S + BURST_S / 2)
    assert not admitted(over, NOW_S + 1.1 * BURST_S)
    assert admitted(under, NOW_S + 1.2 * BURST_S)
    assert not admitted(over, NOW_S + REST_S)
    assert not admitted(over, NOW_S + 1.9 * REST_S)
    assert admitted(over, NOW_S + 3 * REST_S)


def test_a_few_large_requests_are_no_queue_that_stands() -> None:
    admission = Admission(LIMITS, examples="images")

    assert is_admitted(a_ticket(), a_backlog(512, requests=2), admission=admission)
    assert is_admitted(a_ticket(at_s=NOW_S + REST_S), a_backlog(512, requests=2), admission=admission)


def test_a_large_batch_that_runs_is_no_queue() -> None:
    assert is_admitted(a_ticket(), a_backlog(0, running=500))


def test_the_wait_may_be_bounded_by_a_setting() -> None:
    admission = Admission(Limits(rows=1000, size_bytes=1000, timeout_s=30, wait_s=0.2), examples="images")

    assert is_admitted(a_ticket(), a_backlog(15), admission=admission)
    is_admitted(a_ticket(), a_backlog(25), admission=admission)
    assert not is_admitted(a_ticket(at_s=NOW_S + 2 * BURST_S), a_backlog(25), admission=admission)


def test_a_short_wait_is_no_reason_to_refuse() -> None:
    quick = Backlog(
        requests=900, rows=900, size_bytes=0, running=1, row_s=SHORT_WAIT_S / 1000, batch_s=SHORT_WAIT_S / 1000
    )

    assert is_admitted(a_ticket(), quick)


def test_the_urgent_is_served_first_and_equals_in_their_order() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)
    order: list[int] = []

    async def one(number: int, priority: int) -> None:
        await ask(batcher, a_plain_image((number, 0, 0)), priority=priority)
        order.append(number)

    async def story() -> None:
        running = asyncio.create_task(ask(batcher, a_plain_image((9, 9, 9))))
        await gate.wait_until_entered()
        waiting = [asyncio.create_task(one(number, priority)) for number, priority in enumerate((9, 5, 5, 1))]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(running, *waiting)

    asyncio.run(story())

    assert order == [3, 1, 2, 0]
    close(batcher)


def test_a_crowd_of_all_priorities_that_waits_long_is_answered_in_full() -> None:
    batcher = a_batcher(lanes=3, run_s=0.05)

    async def one(number: int) -> list[list[float]]:
        image = a_plain_image((number % 250, 0, 0))
        return answers_of(await ask(batcher, image, priority=number % 9 + 1, deadline_s=time.monotonic() + 1000))

    async def story() -> list[list[list[float]]]:
        return await asyncio.gather(*(one(number) for number in range(600)))

    assert asyncio.run(story()) == [[[number % 250, 0, 0]] for number in range(600)]
    close(batcher)


def test_a_row_whose_deadline_has_passed_is_never_decoded() -> None:
    gate = Gate()
    batcher = a_batcher(gate, lanes=1)

    async def story() -> Answer:
        running = asyncio.create_task(ask(batcher, a_plain_image((1, 0, 0))))
        await gate.wait_until_entered()
        late = asyncio.create_task(ask(batcher, b"would be a fault", deadline_s=time.monotonic() + 0.1))
        with pytest.raises(DeadlineTooShort, match="others were served first"):
            await late
        assert batcher.waiting == 0
        gate.open.set()
        return await running

    answer = asyncio.run(story())

    assert answers_of(answer) == [[1, 0, 0]]
    assert gate.sizes == [1]
    close(batcher)


def test_who_has_waited_leaves_when_its_batch_would_end_too_late() -> None:
    waiting = Waiting()
    too_late, in_time = (a_ticket(at_s=NOW_S - 5, within_s=5 + left_s) for left_s in (0.5, 1.5))
    for each in (too_late, in_time):
        waiting.add(each)

    rows, expired = waiting.take(1, now_s=NOW_S, batch_s=1.0)

    assert (rows, expired) == ([(in_time, 0)], [too_late])


def test_who_has_not_waited_is_served_though_its_batch_may_end_too_late() -> None:
    waiting, ticket = Waiting(), a_ticket(within_s=0.5)
    waiting.add(ticket)

    rows, expired = waiting.take(1, now_s=NOW_S + 0.001, batch_s=1.0)

    assert (rows, expired) == ([(ticket, 0)], [])


def test_a_slow_time_that_has_passed_refuses_nobody() -> None:
    """What is refused does not wait, and only with rows that wait is the throughput measured."""
    pause_s, deadline_s = 0.2, 0.12

    def net(inputs: Inputs) -> Outputs:
        time.sleep(pause_s)
        return mean_colour(inputs)

    batcher = a_batcher(PlainNet(net), lanes=2, run_s=pause_s)

    async def two() -> list[Answer | BaseException]:
        image = a_plain_image((1, 0, 0))
        deadlines = (time.monotonic() + deadline_s for _ in range(2))
        return await asyncio.gather(
            *(ask(batcher, image, deadline_s=each) for each in deadlines), return_exceptions=True
        )

    async def story() -> bool:
        nonlocal pause_s
        await asyncio.gather(*(ask(batcher, a_plain_image((1, 0, 0))) for _ in range(8)))
        pause_s = 0.01
        for _ in range(150):
            if all(isinstance(each, Answer) for each in await two()):
                return True
        return False

    assert asyncio.run(story())
    close(batcher)


def test_a_refusal_survives_the_way_to_another_process() -> None:
    refused = DeadlineTooShort("too late", retry_after_s=6.2)

    arrived = pickle.loads(pickle.dumps(refused))  # noqa: S301  our own

    assert (arrived.detail, arrived.headers) == ("too late", {"Retry-After": "7"})
