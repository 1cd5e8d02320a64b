"""What is in memory under a budget: loaded once, drained before it leaves, and never over what it may take."""

import asyncio
from collections.abc import Callable

import pytest

from service.inference.residents import NoRoom, Resident, Residents


class Host:
    """A host whose memory is what the things in it take."""

    def __init__(self, *, budget: int) -> None:
        self.loads: list[str] = []
        self.closed: list[str] = []
        self.used = 0
        self.most_used = 0
        self.users_at_close: list[int] = []
        self.residents: Residents[Thing] = Residents(budget_bytes=lambda: budget, in_use=lambda: self.used)

    def thing(self, name: str, *, takes: int = 1) -> Callable[[], "Thing"]:
        def load() -> Thing:
            self.loads.append(name)
            self.used += takes
            self.most_used = max(self.most_used, self.used)
            return Thing(self, name, takes)

        return load

    async def ask(self, name: str, *, takes: int = 1, least: int = 1) -> Resident["Thing"]:
        resident = self.residents.use(name, self.thing(name, takes=takes), least_bytes=least)
        await self.residents.ready(resident)
        return resident

    async def visit(self, *names: str, takes: int = 1) -> None:
        for name in names:
            self.residents.done(await self.ask(name, takes=takes))

    @property
    def names(self) -> list[str]:
        return [each.key for each in self.residents.all]


class Thing:
    def __init__(self, host: Host, name: str, takes: int) -> None:
        self.host, self.name, self.takes, self.users = host, name, takes, 0

    async def close(self) -> None:
        self.host.users_at_close.append(self.users)
        self.host.closed.append(self.name)
        self.host.used -= self.takes


def test_many_who_ask_at_once_wait_for_one_load() -> None:
    async def crowd() -> Host:
        host = Host(budget=10)
        await asyncio.gather(*(host.visit("one") for _ in range(20)))
        return host

    assert asyncio.run(crowd()).loads == ["one"]


def test_the_least_recently_used_leaves_first_and_is_counted() -> None:
    async def crowd() -> Host:
        host = Host(budget=3)
        await host.visit("one", "two", "three", "one", "four", "one", "five")
        return host

    host = asyncio.run(crowd())

    assert (host.closed, host.names, host.residents.evictions) == (["two", "three"], ["four", "one", "five"], 2)
    assert host.most_used == 3


def test_what_is_in_use_is_drained_before_it_leaves_and_takes_no_new_user() -> None:
    async def crowd() -> tuple[list[str], list[str], list[str]]:
        host = Host(budget=1)
        in_use = await host.ask("one")
        coming = asyncio.create_task(host.visit("two"))
        await asyncio.sleep(0.05)
        before = [*host.closed]
        again = asyncio.create_task(host.visit("one"))
        await asyncio.sleep(0)
        host.residents.done(in_use)
        await asyncio.gather(coming, again)
        return before, host.closed, host.loads

    before, closed, loads = asyncio.run(crowd())

    assert before == []
    assert (closed, loads) == (["one", "two"], ["one", "two", "one"])


def test_what_is_pinned_stays_and_what_no_longer_fits_is_refused() -> None:
    async def crowd() -> Host:
        host = Host(budget=4)
        host.residents.pinned = frozenset({"pinned"})
        await host.visit("pinned", takes=3)
        await host.visit("one", "two", "three")
        with pytest.raises(NoRoom, match="pinned"):
            await host.ask("large", least=2)
        return host

    host = asyncio.run(crowd())

    assert (host.closed, host.names) == (["one", "two"], ["pinned", "three"])


def test_what_takes_more_than_was_expected_makes_others_leave_and_is_remembered() -> None:
    async def crowd() -> Host:
        host = Host(budget=4)
        await host.visit("one", "two", "three")
        await host.visit("large", takes=4)
        await host.visit("one")
        await host.visit("large", takes=4)
        await host.residents.close()
        return host

    host = asyncio.run(crowd())

    assert host.closed == ["one", "two", "three", "large", "one", "large"]
    assert host.used == 0
    assert host.most_used == 7  # once, before it was known


def test_a_load_that_fails_fails_for_all_and_is_tried_again() -> None:
    async def crowd() -> list[str]:
        host = Host(budget=1)

        def broken() -> Thing:
            host.loads.append("broken")
            raise ValueError

        first, second = (host.residents.use("one", broken, least_bytes=0) for _ in range(2))
        for resident in (first, second):
            with pytest.raises(ValueError):  # noqa: PT011  the load's own
                await host.residents.ready(resident)
            host.residents.done(resident)
        await host.visit("one")
        return host.loads

    assert asyncio.run(crowd()) == ["broken", "one"]


def test_whoever_leaves_first_does_not_stop_a_load_for_the_others() -> None:
    async def crowd() -> list[str]:
        host = Host(budget=1)
        impatient = asyncio.create_task(host.visit("one"))
        patient = asyncio.create_task(host.visit("one"))
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        return host.loads

    assert asyncio.run(crowd()) == ["one"]


def test_fifty_that_are_asked_at_once_under_a_budget_for_ten_are_all_there_for_their_users() -> None:
    async def crowd() -> Host:
        host = Host(budget=10)

        async def use(name: str) -> None:
            resident = await host.ask(name)
            assert resident.kept is not None
            resident.kept.users += 1
            await asyncio.sleep(0.001)
            assert resident.kept is not None
            resident.kept.users -= 1
            host.residents.done(resident)

        await asyncio.gather(*(use(f"{turn % 50}") for turn in range(400)))
        return host

    host = asyncio.run(crowd())

    assert host.most_used <= 10
    assert host.residents.evictions >= 40
    assert set(host.users_at_close) == {0}


def test_what_is_released_is_closed_after_its_last_user() -> None:
    async def crowd() -> tuple[list[str], list[str]]:
        host = Host(budget=10)
        resident = await host.ask("one")
        leaving = host.residents.release(["one", "unknown"])
        await asyncio.sleep(0.02)
        before = [*host.closed]
        host.residents.done(resident)
        await asyncio.gather(*leaving)
        return before, host.closed

    assert asyncio.run(crowd()) == ([], ["one"])
