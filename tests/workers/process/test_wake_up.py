"""What a worker that is told to leave waits for."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker import state

from workers.process import wake_up

CHILDREN = [7, 8]


class Request:
    """Stands in for Celery's, which is made of a broker's message."""

    id, name = "1", "wake_up"
    worker_pid: int | None = None


@pytest.fixture
def request_at_hand() -> Iterator[Any]:
    """A request that the worker has taken and no child has begun."""
    request = Request()
    state.task_reserved(request)
    yield request
    state.reset_state()


def test_idle_children_are_not_waited_for() -> None:
    assert wake_up.at_work(CHILDREN) == []


def test_any_child_may_be_the_one_that_begins(request_at_hand: Any) -> None:
    assert request_at_hand.worker_pid is None
    assert wake_up.at_work(CHILDREN) == CHILDREN


def test_only_the_child_that_has_begun_is_waited_for(request_at_hand: Any) -> None:
    request_at_hand.worker_pid = CHILDREN[1]
    state.task_accepted(request_at_hand)

    assert wake_up.at_work(CHILDREN) == CHILDREN[1:]
