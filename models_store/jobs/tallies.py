"""Tallies of rare events: counted in the transaction in which they happen, whichever process it is in."""

from typing import Literal

from sqlalchemy import Connection, select, update

from models_store.storage import tables

Name = Literal["crashes", "lease_expiries"]


def count(connection: Connection, name: Name) -> None:
    """Count an event in the caller's transaction."""
    tally = tables.tally
    connection.execute(update(tally).where(tally.c.name == name).values(count=tally.c.count + 1))


def counts(connection: Connection) -> dict[str, int]:
    """Return name → how many events there were since the tables were made."""
    return {name: int(number) for name, number in connection.execute(select(tables.tally.c.name, tables.tally.c.count))}
