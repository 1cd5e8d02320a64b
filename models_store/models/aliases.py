"""Aliases of a model: names that point at a version, or at one variant of it.

ModelNotFound 404
"""

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from models_store.models import changes, registry
from models_store.models.registry import ModelNotFound, of_model, version_of
from models_store.storage import tables
from models_store.storage.database import Database, now


def set_alias(
    database: Database, name: str, alias: str, *, owner: str, number: int, variant: str | None = None
) -> None:
    """Point an alias at a version, or at one variant of it, at once for everybody.

    Raises:
        ModelNotFound: if the version or the variant does not exist.
    """
    registry.find(database, f"{name}:{number}" + (f"/{variant}" if variant else ""), owner=owner)
    table = tables.version
    with database.write() as connection:
        kept = select(table.c.id).where(of_model(table, owner, name), table.c.number == number)
        connection.execute(kept.with_for_update(read=True))  # nobody deletes it until the alias stands
        found = version_of(connection, name, number, owner=owner)
        values = {"version_id": found.id, "variant": variant, "updated_at": now()}
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(tables.alias).values(owner=owner, model=name, name=alias, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["owner", "model", "name"], set_=values))
        changes.add(connection)


def remove_alias(database: Database, name: str, alias: str, *, owner: str) -> None:
    """Remove an alias.

    Raises:
        ModelNotFound: if it does not exist.
    """
    with database.write() as connection:
        gone = connection.execute(
            delete(tables.alias).where(of_model(tables.alias, owner, name), tables.alias.c.name == alias)
        ).rowcount
        changes.add(connection)
    if not gone:
        raise ModelNotFound(f"{name!r} has no alias {alias!r}; GET /models/{name} lists its aliases")
