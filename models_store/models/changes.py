"""Count of changes of the registry, by which a cache of references learns that it must read again.

Every transaction that changes what a reference means counts itself at its end: an alias moved, a version published,
deleted or measured again. The count is one row, so that looking at it costs one short query.
"""

from sqlalchemy import Connection, select, update

from models_store.storage import tables
from models_store.storage.database import Database


def count(database: Database) -> int:
    """Return how many changes there have been."""
    with database.read() as connection:
        return int(connection.execute(select(tables.registry_change.c.count)).scalar_one())


def add(connection: Connection) -> None:
    """Count the caller's transaction, as its last statement: others that change the registry wait for its end."""
    table = tables.registry_change
    connection.execute(update(table).values(count=table.c.count + 1))
