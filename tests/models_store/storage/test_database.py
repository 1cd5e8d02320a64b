import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select, text

from models_store.storage import tables
from models_store.storage.database import UNAVAILABLE, Database, now
from tests.database_locks import write_lock


def test_the_migrations_make_the_tables_of_this_version(database: Database) -> None:
    with database.read() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), tables.metadata)

    assert difference == []


def test_migrating_twice_at_the_same_time_does_no_harm(database: Database) -> None:
    threads = [threading.Thread(target=database.migrate) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


def test_the_databases_clock_gives_seconds_since_the_epoch(database: Database) -> None:
    with database.read() as connection:
        moment = connection.execute(select(now())).scalar_one()

    assert moment == pytest.approx(time.time(), abs=5)


def test_writers_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 20):
            with database.write() as connection:
                count = connection.execute(select(func.count()).select_from(tables.model)).scalar_one()
                row = {"owner": "ada", "name": f"model-{number}", "created_at": float(count)}
                connection.execute(insert(tables.model).values(**row))

    threads = [threading.Thread(target=write, args=(20 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.model)).scalar_one() == 80


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(insert(tables.model).values(owner="ada", name="half", created_at=0.0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.model)).scalar_one() == 0


def test_readers_are_answered_while_more_writers_wait_than_there_are_connections(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    impatient = Database(url, patience_s=3)
    refused, stranded = [], []
    begun = threading.Barrier(61)

    def write() -> None:
        begun.wait(30)
        try:
            with impatient.write() as connection:
                connection.execute(insert(tables.model).values(owner="ada", name="late", created_at=0.0))
        except UNAVAILABLE as error:
            refused.append(error)
        except BaseException as error:  # noqa: BLE001  whatever else: the test fails by it
            stranded.append(error)

    threads = [threading.Thread(target=write) for _ in range(60)]
    with write_lock(url):
        for thread in threads:
            thread.start()
        begun.wait(30)
        for _ in range(5):
            with impatient.read() as connection:
                connection.execute(select(func.count()).select_from(tables.model)).scalar_one()
        were_waiting = sum(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join()
    impatient.close()

    assert were_waiting > 0
    assert (len(refused), stranded) == (60, [])


def test_a_writer_that_was_refused_writes_when_the_lock_is_free(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    impatient = Database(url, patience_s=0.3)

    def write() -> None:
        with impatient.write() as connection:
            connection.execute(insert(tables.model).values(owner="ada", name="late", created_at=0.0))

    with write_lock(url), pytest.raises(UNAVAILABLE):
        write()
    write()

    with impatient.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.model)).scalar_one() == 1
    impatient.close()
