import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select, text

from models_store import tables
from models_store.database import Database, now


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
