"""Changes of names, descriptions and tags of datasets, models and versions.

The content never changes: a dataset is its examples, a version is its files.
"""

from typing import Any, TypedDict

from sqlalchemy import Table, update

from models_store.datasets import store as datasets
from models_store.models import registry
from models_store.storage import tables
from models_store.storage.database import Database


class Changes(TypedDict, total=False):
    """The fields to set; one that is left out stays. A description of None is none. Only datasets take a name."""

    name: str
    description: str | None
    tags: list[str]


def change_dataset(database: Database, dataset_id: str, changes: Changes, *, owner: str) -> datasets.Dataset:
    """Change a dataset's name, description or tags, and return it.

    Raises:
        DatasetNotFound: if there is none of this id.
        DatasetNameInvalid: if nothing may be called so.
    """
    if "name" in changes:
        changes = {**changes, "name": datasets.checked_name(changes["name"])}
    _set(database, tables.dataset, changes, owner=owner, id=dataset_id)
    return datasets.find(database, dataset_id, owner=owner)


def change_model(database: Database, name: str, changes: Changes, *, owner: str) -> registry.Model:
    """Change a model's description or tags, and return it.

    Raises:
        ModelNotFound: if there is none of this name.
    """
    _set(database, tables.model, changes, owner=owner, name=name)
    return registry.model(database, name, owner=owner)


def change_version(database: Database, model: str, number: int, changes: Changes, *, owner: str) -> registry.Version:
    """Change a version's description or tags, and return it.

    Raises:
        ModelNotFound: if there is no such version.
    """
    _set(database, tables.version, changes, owner=owner, model=model, number=number)
    return registry.version(database, model, number, owner=owner)


def _set(database: Database, table: Table, changes: Changes, **where: Any) -> None:  # noqa: ANN401  a column's value
    if not changes:
        return
    rows = (table.c[column] == value for column, value in where.items())
    with database.write() as connection:
        connection.execute(update(table).where(*rows).values(**changes))
