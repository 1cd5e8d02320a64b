"""Store of datasets: an archive becomes a checked, versioned one; they are found, listed and deleted.

The version is a digest of the content: the SHA-256 over the sorted lines `["split",target,"sha256"]`, one for each
example, where the target is its label, its list of labels or its number; a group comes behind it. The archive's format,
the order of its files and their names don't enter, so the same content is the same dataset, and is stored once for
each owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from models_store import names
from models_store.archives.zip_names import NameEncoding
from models_store.datasets import content_zip
from models_store.datasets.assemble import Undecodable, assemble, card_of
from models_store.datasets.auxiliary import digest_with, members_of
from models_store.datasets.content_zip import without_leftovers
from models_store.datasets.folders import LayoutChoice
from models_store.datasets.intake import Intake, staging_folder, take_in, take_table
from models_store.datasets.manifest import ManifestEntry, digest_of, read_manifest, write_manifest
from models_store.datasets.report import DatasetUnusable
from models_store.datasets.row_sources import Source, Table
from models_store.datasets.table_lines import Encoding
from models_store.errors import Conflict, Invalid, NotFound
from models_store.jobs.job import UNFINISHED
from models_store.settings import Settings
from models_store.spec.facts import DatasetFacts
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id
from models_store.tags import has_tag
from models_store.tasks.rooms import of_dataset
from models_store.tasks.task import Contract

__all__ = [
    "Dataset",
    "DatasetInUse",
    "DatasetNameInvalid",
    "DatasetNotFound",
    "DatasetUnusable",
    "ManifestEntry",
    "delete",
    "digest_of",
    "facts",
    "find",
    "ingest",
    "listing",
    "read_manifest",
]


class DatasetNotFound(NotFound):
    """There is no dataset of this id here, or it belongs to somebody else."""

    code = "dataset_not_found"
    title = "No such dataset"


class DatasetInUse(Conflict):
    """A job that has not ended trains on the dataset."""

    code = "dataset_in_use"
    title = "The dataset is in use"


class DatasetNameInvalid(Invalid):
    """The dataset's name is none that may be given."""

    code = "dataset_name_invalid"


@dataclass(frozen=True)
class Dataset:
    """A stored dataset. `card` describes it, `report` lists what the checks found; `created_at` is in seconds."""

    id: str
    owner: str
    name: str
    digest: str
    content_blob: str  # a stored zip: one member for each different content
    manifest_blob: str  # JSON lines, one ManifestEntry each
    card: dict[str, Any]
    report: dict[str, Any]
    description: str | None
    tags: list[str]
    created_at: float

    @property
    def contract(self) -> Contract:
        """Return the contract of the task that it is of."""
        return of_dataset(self.card)


def ingest(
    archive: Path,
    *,
    owner: str,
    name: str,
    undecodable: Undecodable,
    layout: LayoutChoice = "auto",
    names: NameEncoding = "auto",
    encoding: Encoding = "utf-8",
    table: Table | None = None,
    database: Database,
    blobs: Blobs,
    settings: Settings,
) -> tuple[Dataset, bool]:
    """Return the dataset that the archive holds, and whether it is new: the same content again is the earlier one.

    A `table` says that the upload is no archive, but a single table whose rows are the examples; `encoding` is that of
    tables, and of examples that are texts.

    The archive is read once, in constant memory but for the files' names. Whatever happens, nothing half-made stays:
    the row comes last, and blobs without a row are swept.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: if the archive breaks a rule (`archives.py`).
        DatasetUnusable: if what it holds can't be trained on; unless `undecodable` is "skip", any unreadable example.
        StorageFull: if there is no room.
    """
    name = checked_name(name)
    with staging_folder(settings.scratch) as staging:
        if table is None:
            intake = take_in(archive, staging, settings, names=names, encoding=encoding)
        else:
            source = Source(archive, table.format)
            intake = take_table(table.name, source, staging, settings, encoding=encoding)
        assembled = assemble(intake, undecodable=undecodable, layout=layout)
        entries = assembled.entries
        of_examples = digest_of(entries, given=intake.contract.fact_columns, scratch=staging / "lines")
        digest = digest_with(of_examples, members_of(intake.auxiliary))
        earlier = with_digest(database, digest, owner=owner)
        if earlier is not None and all(map(blobs.exists, (earlier.content_blob, earlier.manifest_blob))):
            return earlier, False
        manifest = staging / "manifest.jsonl"
        write_manifest(manifest, entries)
        values = {
            "id": new_id("ds"),
            "owner": owner,
            "name": name,
            "digest": digest,
            "content_blob": blobs.put(_content(intake, entries)).sha256,
            "manifest_blob": blobs.put(manifest).sha256,
            "card": card_of(assembled, intake),
            "report": assembled.report(),
        }
    return _recorded(database, values)


def _content(intake: Intake, entries: Sequence[ManifestEntry]) -> Path:
    """Return the file with the content of the entries."""
    if intake.rows is None:
        content = without_leftovers(intake.content, {entry.member for entry in entries})
    else:
        content = intake.rows.write_content(intake.content)
    content_zip.add(content, {member: intake.auxiliary[name] for name, member in members_of(intake.auxiliary).items()})
    return content


def find(database: Database, dataset_id: str, *, owner: str) -> Dataset:
    """Return the owner's dataset.

    Raises:
        DatasetNotFound: if there is none of this id.
    """
    with database.read() as connection:
        row = connection.execute(_columns().where(_is(dataset_id, owner))).one_or_none()
    if row is None:
        raise _not_found(dataset_id)
    return _dataset_of(row)


def with_digest(database: Database, digest: str, *, owner: str) -> Dataset | None:
    """Return the dataset that has this very content, if there is one."""
    table = tables.dataset
    with database.read() as connection:
        row = connection.execute(_columns().where(table.c.owner == owner, table.c.digest == digest)).one_or_none()
    return None if row is None else _dataset_of(row)


def facts(dataset: Dataset | None) -> DatasetFacts:
    """Return what a spec is resolved against; None: its task has no data."""
    if dataset is None:
        return DatasetFacts(train_count=0)
    return dataset.contract.facts(dataset.card)


def listing(
    database: Database, *, owner: str, tag: str | None = None, limit: int = 20, cursor: str | None = None
) -> tuple[list[Dataset], str | None]:
    """Return up to `limit` datasets, newest first, and the cursor of the next page."""
    table = tables.dataset
    query = _columns().where(table.c.owner == owner).order_by(table.c.id.desc()).limit(limit + 1)
    if tag is not None:
        query = query.where(has_tag(table.c.tags, tag, dialect=database.dialect))
    if cursor:
        query = query.where(table.c.id < cursor)
    with database.read() as connection:
        found = [_dataset_of(row) for row in connection.execute(query)]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def delete(database: Database, dataset_id: str, *, owner: str) -> None:
    """Forget the dataset; its blobs are swept when no other names them. Models made from it stay.

    Raises:
        DatasetNotFound: if there is none of this id.
        DatasetInUse: if a job that has not ended trains on it.
    """
    job = tables.job
    using = select(job.c.id).where(job.c.dataset_id == dataset_id, job.c.state.in_(UNFINISHED))
    with database.write() as connection:
        locked = select(tables.dataset.c.id).where(_is(dataset_id, owner)).with_for_update()
        if connection.execute(locked).one_or_none() is None:
            raise _not_found(dataset_id)
        jobs = connection.scalars(using.limit(5)).all()
        if jobs:
            raise DatasetInUse(
                f"dataset {dataset_id} is used by {', '.join(jobs)}; wait until they end, or cancel them"
            )
        connection.execute(delete_from(tables.dataset).where(_is(dataset_id, owner)))


def checked_name(name: str) -> str:
    """Return the name as it is kept, or raise DatasetNameInvalid."""
    name = name.strip()
    if (fault := names.fault(name)) is not None:
        raise DatasetNameInvalid(f"the dataset's name {name[:50]!a} {fault}")
    return name


def _recorded(database: Database, values: dict[str, Any]) -> tuple[Dataset, bool]:
    try:
        with database.write() as connection:
            connection.execute(insert(tables.dataset).values(**values, created_at=now()))
    except IntegrityError:  # the same content came at the same time, or its stored files were lost and are here again
        table = tables.dataset
        same = (table.c.owner == values["owner"], table.c.digest == values["digest"])
        stored = {name: values[name] for name in ("content_blob", "manifest_blob")}
        with database.write() as connection:
            connection.execute(update(table).where(*same).values(**stored))
        earlier = with_digest(database, values["digest"], owner=values["owner"])
        if earlier is None:
            raise
        return earlier, False
    return find(database, values["id"], owner=values["owner"]), True


def _columns() -> Any:  # noqa: ANN401  a select of as many columns as Dataset has fields
    return select(*(tables.dataset.c[field.name] for field in fields(Dataset)))


def _dataset_of(row: Row[Any] | tuple[Any, ...]) -> Dataset:
    return Dataset(*row)


def _is(dataset_id: str, owner: str) -> Any:  # noqa: ANN401  SQLAlchemy's own type
    return (tables.dataset.c.id == dataset_id) & (tables.dataset.c.owner == owner)


def _not_found(dataset_id: str) -> DatasetNotFound:
    return DatasetNotFound(f"there is no dataset {dataset_id}; GET /datasets lists yours")
