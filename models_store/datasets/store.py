"""archive → checked, versioned dataset: its images kept once by content, a manifest of who is who, a report.

The version is a digest of the content: the SHA-256 over the sorted lines `["split",target,"sha256"]`, one for each
image, where the target is its label, its list of labels or its number; a group comes behind it. The archive's format,
the order of its files and their names don't enter, so the same content is the same dataset, and is stored once for
each owner.
"""

import os
import shutil
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import Row, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from models_store import names
from models_store.archives.zip_names import NameEncoding
from models_store.datasets.checks import (
    Check,
    DatasetUnusable,
    check_classes,
    check_depth,
    check_entries,
    check_links,
    report,
)
from models_store.datasets.folders import LayoutChoice
from models_store.datasets.intake import Intake, take_in, without_leftovers
from models_store.datasets.layout import arrange
from models_store.datasets.manifest import (
    SPLITS,
    ManifestEntry,
    counts,
    digest_of,
    order,
    read_manifest,
    write_manifest,
)
from models_store.datasets.passed import passed
from models_store.datasets.splits import complete
from models_store.errors import Conflict, Invalid, NotFound
from models_store.jobs.job import UNFINISHED
from models_store.settings import Settings
from models_store.spec.facts import DatasetFacts, Target
from models_store.storage import disk, scratch, tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id
from models_store.tags import has_tag

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


def ingest(
    archive: Path,
    *,
    owner: str,
    name: str,
    undecodable: Literal["refuse", "skip"],
    layout: LayoutChoice = "auto",
    names: NameEncoding = "auto",
    database: Database,
    blobs: Blobs,
    settings: Settings,
) -> tuple[Dataset, bool]:
    """Return the dataset that the archive holds, and whether it is new: the same content again is the earlier one.

    The archive is read once, in constant memory but for the files' names. Whatever happens, nothing half-made stays:
    the row comes last, and blobs without a row are swept.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: if the archive breaks a rule (`archives.py`).
        DatasetUnusable: if what it holds can't be trained on; unless `undecodable` is "skip", any unreadable image.
        StorageFull: if there is no room.
    """
    name = checked_name(name)
    with _staging(settings.scratch) as staging:
        intake = take_in(archive, staging, settings, names=names)
        judged = _judged(intake, undecodable, layout=layout)
        entries = judged.entries
        digest = digest_of(entries)
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
            "content_blob": blobs.put(without_leftovers(intake, {entry.member for entry in entries})).sha256,
            "manifest_blob": blobs.put(manifest).sha256,
            "card": _card(judged, intake),
            "report": report(judged.checks) | {"passed": _passed(judged)},
        }
    return _recorded(database, values)


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
    card = dataset.card
    counts = card["counts"]["train"]
    return DatasetFacts(
        train_count=card.get("train_count", sum(counts.values())),
        counts=counts,
        target=card.get("target", "class"),
        median_side=card["median_side"],
        grey=card.get("grey", False),
        grouped=card.get("grouped", False),
        validation_count=card.get("splits", {}).get("val"),
        largest_16_bit=card.get("largest_16_bit"),
    )


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


@dataclass(frozen=True)
class _Judged:
    """A dataset without errors: its images in their splits, its classes or labels, and all findings."""

    entries: list[ManifestEntry]
    classes: list[str]
    target: Target
    origin: str
    checks: list[Check]


def _passed(judged: _Judged) -> list[dict[str, Any]]:
    return passed(judged.entries, judged.classes, judged.target, found={check.check for check in judged.checks})


def _judged(intake: Intake, undecodable: Literal["refuse", "skip"], *, layout: LayoutChoice) -> _Judged:
    """Return what the archive holds and what was found; raise if one finding is an error."""
    arranged = arrange(intake, layout=layout)
    checks = [*arranged.checks]
    if arranged.undecodable:
        severity: Literal["error", "warning"] = "error" if undecodable == "refuse" else "warning"
        done = "repair or remove them, or ask for undecodable=skip" if undecodable == "refuse" else "they were left out"
        message = f"{len(arranged.undecodable)} images can't be decoded ({next(iter(arranged.undecodable))} …); {done}"
        checks.append(Check("undecodable", severity, message, sorted(arranged.undecodable), arranged.undecodable))
    if intake.ignored:
        message = f"{len(intake.ignored)} files are no images, and were passed over"
        checks.append(Check("ignored_files", "info", message, sorted(intake.ignored)))
    if intake.links.targets:
        checks.append(check_links(intake.links.targets, copies=len(intake.links.files)))
    if intake.names.guessed:
        message = (
            f"names in the zip are not UTF-8 and were read as {intake.names.guessed}, as in {intake.names.example!r}; "
            f"if that is wrong, send `names=` with another of {', '.join(get_args(NameEncoding)[1:])}"
        )
        checks.append(Check("names_guessed", "warning", message, [intake.names.example]))
    if intake.of_systems:
        message = f"{len(intake.of_systems)} files were left by a system or a tool, and were passed over"
        checks.append(Check("system_files", "info", message, sorted(intake.of_systems)))
    entries, origin = arranged.entries, "made"
    if entries or not any(check.severity == "error" for check in checks):
        checks += check_classes(arranged.classes, arranged.entries, arranged.target)
    if entries:
        splits = complete(entries)
        entries, origin = splits.entries, splits.origin
        filled = {name for entry in entries for name in entry.names}
        checks += check_depth({picture.file: picture.peak for picture in intake.pictures if picture.peak is not None})
        checks += [*splits.checks, *check_entries(entries, [label for label in arranged.classes if label in filled])]
    if any(check.severity == "error" for check in checks):
        raise DatasetUnusable(checks)
    return _Judged(sorted(entries, key=order), arranged.classes, arranged.target, origin, checks)


def _card(judged: _Judged, intake: Intake) -> dict[str, Any]:
    """Return what describes the dataset."""
    entries, pictures = judged.entries, {picture.sha256: picture for picture in intake.pictures}
    kept = [pictures[content] for content in {entry.sha256 for entry in entries}]
    by_split = Counter(entry.split for entry in entries)
    card: dict[str, Any] = {
        "target": judged.target,
        "classes": judged.classes,
        "counts": counts(entries, judged.classes),
        "images": len(entries),
        "splits": {split: by_split[split] for split in SPLITS},
        "train_count": by_split["train"],
        "size_bytes": sum(picture.size_bytes for picture in kept),
        "split": judged.origin,
        "grouped": any(entry.group for entry in entries),
        "grey": all(picture.grey for picture in kept),
        "largest_16_bit": max((picture.peak or 0 for picture in kept), default=0),
        "median_side": statistics.median_low(min(entry.width, entry.height) for entry in entries),
        "undecodable_skipped": sum(len(check.files) for check in judged.checks if check.check == "undecodable"),
    }
    values = [entry.value for entry in entries if entry.value is not None]
    if values:
        facts = {"minimum": min(values), "maximum": max(values), "mean": statistics.fmean(values)}
        card["values"] = facts | {"deviation": statistics.pstdev(values)}
    return card


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    folder = None
    try:
        with disk.reported_full("the unpacked archive"):
            folder = scratch.new_folder(root, "dataset", pid=os.getpid())
            yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


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
