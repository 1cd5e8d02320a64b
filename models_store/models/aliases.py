"""Aliases of a model: names that point at a version or a variant, or at several by weight, with or without a shadow.

ModelNotFound 404
"""

from typing import Any

from sqlalchemy import select, update

from models_store.models import alias_rows, changes, registry
from models_store.models.alias_rows import SHADOW, Alias, Comparison, Shadow, Target
from models_store.models.registry import ModelNotFound, of_model
from models_store.storage import tables
from models_store.storage.database import Database

__all__ = ["Alias", "Comparison", "Shadow", "Target", "alias_of", "count", "pinned", "remove_alias", "set_alias"]


def set_alias(database: Database, name: str, alias: str, *, owner: str, to: Alias) -> None:
    """Point an alias at its targets, at once for everybody; what was counted of its shadow starts anew.

    Raises:
        ModelNotFound: if a version or a variant does not exist.
    """
    named: list[Target | Shadow] = [*to.targets]
    if to.shadow is not None:
        named.append(to.shadow)
    for each in named:
        registry.find(database, f"{name}:{each.version}" + (f"/{each.variant}" if each.variant else ""), owner=owner)
    table = tables.version
    numbers = {each.version for each in named}
    with database.write() as connection:
        counter = tables.version_counter.c
        of_this = select(counter.last).where(counter.owner == owner, counter.model == name)
        connection.execute(of_this.with_for_update())  # one alias of a model is set at a time
        kept = select(table.c.id, table.c.number).where(of_model(table, owner, name), table.c.number.in_(numbers))
        rows = connection.execute(kept.with_for_update(read=True)).all()  # nobody deletes them until the alias stands
        version_ids = {row.number: row.id for row in rows}
        for gone in numbers - version_ids.keys():
            registry.version_of(connection, name, gone, owner=owner)
        alias_rows.write(connection, owner, name, alias, to, version_ids)
        changes.add(connection)


def alias_of(database: Database, name: str, alias: str, *, owner: str) -> Alias:
    """Return what an alias points to.

    Raises:
        ModelNotFound: if it does not exist.
    """
    with database.read() as connection:
        found = alias_rows.read(connection, owner, name, name=alias)
    if not found:
        raise _no_alias(name, alias)
    return found[alias]


def remove_alias(database: Database, name: str, alias: str, *, owner: str) -> None:
    """Remove an alias.

    Raises:
        ModelNotFound: if it does not exist.
    """
    with database.write() as connection:
        gone = alias_rows.remove(connection, owner, name, alias)
        changes.add(connection)
    if not gone:
        raise _no_alias(name, alias)


def pinned(database: Database) -> list[tuple[str, str]]:
    """Return owner and reference of every alias whose files stay in memory."""
    table = tables.alias.c
    with database.read() as connection:
        rows = connection.execute(select(table.owner, table.model, table.name).where(table.pinned))
        return [(row.owner, f"{row.model}@{row.name}") for row in rows]


def count(database: Database, name: str, alias: str, *, owner: str, version: int, more: Comparison) -> None:
    """Add to what was counted of an alias's shadow; nothing if the shadow is another version by now."""
    table = tables.alias_target.c
    number = tables.version
    shadowed = select(number.c.id).where(of_model(number, owner, name), number.c.number == version).scalar_subquery()
    which = (table.owner == owner, table.model == name, table.alias == alias, table.role == SHADOW)
    values: dict[Any, Any] = {
        table[counted]: table[counted] + getattr(more, counted)
        for counted in ("compared", "agreed", "failed", "dropped", "live_s", "shadow_s")
    }
    with database.write() as connection:
        connection.execute(update(tables.alias_target).where(*which, table.version_id == shadowed).values(values))


def _no_alias(name: str, alias: str) -> ModelNotFound:
    return ModelNotFound(f"{name!r} has no alias {alias!r}; GET /models/{name} lists its aliases")
