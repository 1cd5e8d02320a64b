"""Cache of resolved references: what it reads, when, and how old its answers may be."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from models_store.models import aliases, changes, removals
from models_store.models.registry import ModelNotFound
from models_store.models.served import Served
from models_store.storage.database import Database
from service.inference.references import CHECKED_EVERY_S, LONGEST_UNCHECKED_S, References
from tests import samples
from tests.service.live_service import Service, running
from tests.service.onnx_files import write_colour_net


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with two versions of a model."""
    with running(samples.quick_settings(tmp_path / "home")) as live:
        for name in ("first", "second"):
            live.publish("leaves", write_colour_net(tmp_path / f"{name}.onnx", name=name))
        yield live


@pytest.fixture
def database(service: Service) -> Database:
    """The service's database as nobody else reads it: the service has rounds of its own."""
    settings = service.context.settings
    return Database(settings.database_url, patience_s=settings.database_wait_s)


class Reads:
    """Statements of the database's readers, from now on."""

    def __init__(self, database: Database) -> None:
        self.statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", self._note)

    def of(self, table: str) -> int:
        return sum(f"FROM {table}" in statement for statement in self.statements)

    def _note(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        self.statements.append(statement)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def references_of(service: Service, clock: Callable[[], float], *, database: Database | None = None) -> References:
    return References(database or service.context.database, provider=lambda: "cpu", clock=clock)


async def settled(references: References, version: int) -> Served:
    """Wait until the check beside the requests has replaced what was known."""
    for _ in range(3000):
        found = references.known("leaves", owner="local")
        if found is not None and found.version == version:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"version {version} was not seen")


def test_a_known_reference_is_not_read_again(service: Service, database: Database) -> None:
    clock = Clock()
    references = references_of(service, clock, database=database)

    async def ask() -> None:
        first = await references.served("leaves", owner="local")
        reads = Reads(database)
        clock.now_s += CHECKED_EVERY_S * 0.9

        assert first.version == 2
        assert references.known("leaves", owner="local") is first
        assert references.known("leaves", owner="ada") is None
        assert await references.served("leaves", owner="local") is first
        assert reads.statements == []

    asyncio.run(ask())


def test_many_that_ask_at_once_share_one_reading(service: Service, database: Database) -> None:
    references, reads = references_of(service, Clock(), database=database), Reads(database)

    async def ask() -> list[Served]:
        return await asyncio.gather(*(references.served("leaves", owner="local") for _ in range(50)))

    assert {served.version for served in asyncio.run(ask())} == {2}
    assert reads.of("registry_change") == 1
    assert reads.of("variant") == 1


def test_a_check_without_a_change_reads_no_model(service: Service, database: Database) -> None:
    clock = Clock()
    references = references_of(service, clock, database=database)

    async def ask() -> None:
        await references.served("leaves", owner="local")
        reads = Reads(database)
        clock.now_s += CHECKED_EVERY_S

        assert references.known("leaves", owner="local") is not None  # nobody waits for the check
        for _ in range(3000):
            await asyncio.sleep(0.01)
            if reads.of("registry_change"):
                break
        clock.now_s += CHECKED_EVERY_S * 0.9
        assert references.known("leaves", owner="local") is not None
        assert reads.of("version") == 0

    asyncio.run(ask())


def test_an_alias_moved_elsewhere_is_seen_beside_the_traffic(service: Service) -> None:
    clock = Clock()
    references = references_of(service, clock)

    async def ask() -> None:
        await references.served("leaves", owner="local")
        aliases.set_alias(
            service.context.database, "leaves", "default", owner="local", to=aliases.Alias((aliases.Target(1),))
        )
        clock.now_s += CHECKED_EVERY_S

        old = references.known("leaves", owner="local")

        assert old is not None
        assert old.version == 2
        assert (await settled(references, 1)).version == 1

    asyncio.run(ask())


def test_after_a_pause_the_first_request_sees_what_was_moved_elsewhere(service: Service) -> None:
    clock = Clock()
    references = references_of(service, clock)

    async def ask() -> None:
        await references.served("leaves", owner="local")
        aliases.set_alias(
            service.context.database, "leaves", "default", owner="local", to=aliases.Alias((aliases.Target(1),))
        )
        clock.now_s += LONGEST_UNCHECKED_S

        assert (await references.served("leaves", owner="local")).version == 1

    asyncio.run(ask())


def test_a_model_deleted_elsewhere_is_not_found_after_a_check(service: Service) -> None:
    clock = Clock()
    references = references_of(service, clock)

    async def ask() -> None:
        await references.served("leaves", owner="local")
        removals.delete_model(service.context.database, "leaves", owner="local")
        clock.now_s += LONGEST_UNCHECKED_S

        with pytest.raises(ModelNotFound):
            await references.served("leaves", owner="local")

    asyncio.run(ask())


def test_what_this_process_moved_is_forgotten_at_once(service: Service) -> None:
    references = references_of(service, Clock())

    async def ask() -> None:
        await references.served("leaves", owner="local")
        aliases.set_alias(
            service.context.database, "leaves", "default", owner="local", to=aliases.Alias((aliases.Target(1),))
        )
        references.forget()

        assert references.known("leaves", owner="local") is None
        assert (await references.served("leaves", owner="local")).version == 1

    asyncio.run(ask())


def test_what_was_read_before_a_move_is_not_remembered(service: Service) -> None:
    """The alias moves between the reading of a reference and its end."""
    references = References(service.context.database, provider=lambda: references.forget() or "cpu", clock=Clock())

    async def ask() -> None:
        assert (await references.served("leaves", owner="local")).version == 2
        assert references.known("leaves", owner="local") is None

    asyncio.run(ask())


def test_a_move_elsewhere_is_seen_though_this_process_moves_something_during_the_check(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, count, counted = Clock(), changes.count, threading.Event()
    references = references_of(service, clock)

    def amid_moves(database: Database) -> int:
        monkeypatch.setattr(changes, "count", count)
        references.forget()
        references.resolve("leaves", owner="local")
        aliases.set_alias(database, "leaves", "default", owner="local", to=aliases.Alias((aliases.Target(1),)))
        counted.set()
        return count(database)

    async def ask() -> None:
        await references.served("leaves", owner="local")
        clock.now_s += CHECKED_EVERY_S
        monkeypatch.setattr(changes, "count", amid_moves)
        references.known("leaves", owner="local")
        assert await asyncio.to_thread(counted.wait, 30)
        clock.now_s += CHECKED_EVERY_S

        assert (await settled(references, 1)).version == 1

    asyncio.run(ask())


def test_a_caller_in_a_thread_reads_what_is_not_known(service: Service) -> None:
    references = references_of(service, Clock())

    assert references.recent("leaves", owner="local").version == 2


def test_an_unknown_reference_is_not_remembered(service: Service, tmp_path: Path) -> None:
    references = references_of(service, Clock())

    async def ask() -> None:
        with pytest.raises(ModelNotFound):
            await references.served("roses", owner="local")
        service.publish("roses", write_colour_net(tmp_path / "roses.onnx", name="roses"))

        assert (await references.served("roses", owner="local")).version == 1

    asyncio.run(ask())
