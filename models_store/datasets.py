"""archive → checked, versioned dataset: its images kept once by content, a manifest of who is who, a report.

The version is a digest of the content: the SHA-256 over the sorted lines `["split","label","sha256"]`, one for each
image. The archive's format, the order of its files and their names don't enter, so the same content is the same
dataset, and is stored once for each owner.
"""

import errno
import hashlib
import json
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Row, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from models_store import scratch, tables
from models_store.blobs import Blobs
from models_store.database import Database, now
from models_store.dataset_checks import (
    Check,
    DatasetUnusable,
    ManifestEntry,
    check_classes,
    check_entries,
    counts,
    report,
)
from models_store.dataset_intake import Intake, take_in, without_leftovers
from models_store.dataset_layout import arrange
from models_store.dataset_splits import complete
from models_store.errors import Conflict, Invalid, NotFound, StorageFull
from models_store.ids import new_id
from models_store.jobs import TERMINAL
from models_store.settings import Settings
from models_store.spec.facts import DatasetFacts

LONGEST_NAME = 200
__all__ = [
    "Dataset",
    "DatasetInUse",
    "DatasetNameInvalid",
    "DatasetNotFound",
    "DatasetUnusable",
    "ManifestEntry",
    "delete",
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
    """The dataset's name is empty, too long or not printable."""

    code = "dataset_name_invalid"


@dataclass(frozen=True)
class Dataset:
    """A stored dataset. `card` describes it, `report` lists what the checks found; `created_at` is in seconds."""

    id: str
    owner: str
    name: str
    digest: str
    images_blob: str  # a stored zip: one member for each different content
    manifest_blob: str  # JSON lines, one ManifestEntry each
    card: dict[str, Any]
    report: dict[str, Any]
    created_at: float


def ingest(
    archive: Path,
    *,
    owner: str,
    name: str,
    undecodable: Literal["refuse", "skip"],
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
    name = _checked_name(name)
    with _staging(settings.scratch) as staging:
        intake = take_in(archive, staging, settings)
        entries, classes, origin, checks = _judged(intake, undecodable)
        digest = digest_of(entries)
        earlier = _by_digest(database, digest, owner=owner)
        if earlier is not None and all(map(blobs.exists, (earlier.images_blob, earlier.manifest_blob))):
            return earlier, False
        manifest = staging / "manifest.jsonl"
        _write_manifest(manifest, entries)
        sizes = {picture.sha256: picture.size_bytes for picture in intake.pictures}
        values = {
            "id": new_id("ds"),
            "owner": owner,
            "name": name,
            "digest": digest,
            "images_blob": blobs.put(without_leftovers(intake, {entry.member for entry in entries})).sha256,
            "manifest_blob": blobs.put(manifest).sha256,
            "card": {
                "classes": classes,
                "counts": counts(entries, classes),
                "images": len(entries),
                "size_bytes": sum(sizes[content] for content in {entry.sha256 for entry in entries}),
                "split": origin,
                "median_side": statistics.median_low(min(entry.width, entry.height) for entry in entries),
                "undecodable_skipped": sum(len(check.files) for check in checks if check.check == "undecodable"),
            },
            "report": report(checks),
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


def facts(dataset: Dataset) -> DatasetFacts:
    """Return what a spec is resolved against."""
    card = dataset.card
    counts = card["counts"]["train"]
    return DatasetFacts(
        train_count=card.get("train_count", sum(counts.values())),
        counts=counts,
        target=card.get("target", "class"),
        median_side=card["median_side"],
        grey=card.get("grey", False),
        grouped=card.get("grouped", False),
    )


def listing(
    database: Database, *, owner: str, limit: int = 20, cursor: str | None = None
) -> tuple[list[Dataset], str | None]:
    """Return up to `limit` datasets, newest first, and the cursor of the next page."""
    table = tables.dataset
    query = _columns().where(table.c.owner == owner).order_by(table.c.id.desc()).limit(limit + 1)
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
    using = select(job.c.id).where(job.c.dataset_id == dataset_id, job.c.state.not_in(TERMINAL)).order_by(job.c.id)
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


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Return the images of a dataset from its manifest's file, sorted by split, label and content."""
    with path.open(encoding="utf-8") as file:
        return [ManifestEntry(**json.loads(line)) for line in file]


def digest_of(entries: Sequence[ManifestEntry]) -> str:
    """Return the version: the SHA-256, in hexadecimal, of split, label and content of every image, sorted."""
    lines = sorted(_line([entry.split, entry.label, entry.sha256]) for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _judged(
    intake: Intake, undecodable: Literal["refuse", "skip"]
) -> tuple[list[ManifestEntry], list[str], str, list[Check]]:
    """Return the images in their splits, the classes, who split them, and all findings; raise if one is an error."""
    layout = arrange(intake)
    checks = [*layout.checks]
    if layout.undecodable:
        severity: Literal["error", "warning"] = "error" if undecodable == "refuse" else "warning"
        done = "repair or remove them, or ask for undecodable=skip" if undecodable == "refuse" else "they were left out"
        message = f"{len(layout.undecodable)} images can't be decoded ({next(iter(layout.undecodable))} …); {done}"
        checks.append(Check("undecodable", severity, message, sorted(layout.undecodable), layout.undecodable))
    if intake.ignored:
        message = f"{len(intake.ignored)} files are no images, and were passed over"
        checks.append(Check("ignored_files", "info", message, sorted(intake.ignored)))
    entries, origin = layout.entries, "made"
    if entries or not any(check.severity == "error" for check in checks):
        checks += check_classes(layout.classes, (entry.label for entry in layout.entries))
    if entries:
        splits = complete(entries)
        entries, origin = splits.entries, splits.origin
        filled = {entry.label for entry in entries}
        checks += [*splits.checks, *check_entries(entries, [label for label in layout.classes if label in filled])]
    if any(check.severity == "error" for check in checks):
        raise DatasetUnusable(checks)
    entries.sort(key=lambda entry: (entry.split, entry.label, entry.sha256, entry.file))
    return entries, layout.classes, origin, checks


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    folder = None
    try:
        folder = scratch.new_folder(root, "dataset", pid=os.getpid())
        yield folder
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFull("there is no room left to unpack the archive; free some and send it again") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise DatasetNameInvalid(f"the name {name[:50]!r} won't do; give 1 to {LONGEST_NAME} printable characters")
    return name


def _write_manifest(path: Path, entries: Sequence[ManifestEntry]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_line(asdict(entry)) for entry in entries)


def _line(document: Any) -> str:  # noqa: ANN401  any JSON
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _by_digest(database: Database, digest: str, *, owner: str) -> Dataset | None:
    table = tables.dataset
    with database.read() as connection:
        row = connection.execute(_columns().where(table.c.owner == owner, table.c.digest == digest)).one_or_none()
    return None if row is None else _dataset_of(row)


def _recorded(database: Database, values: dict[str, Any]) -> tuple[Dataset, bool]:
    try:
        with database.write() as connection:
            connection.execute(insert(tables.dataset).values(**values, created_at=now()))
    except IntegrityError:  # the same content came at the same time, or its stored files were lost and are here again
        table = tables.dataset
        same = (table.c.owner == values["owner"], table.c.digest == values["digest"])
        stored = {name: values[name] for name in ("images_blob", "manifest_blob")}
        with database.write() as connection:
            connection.execute(update(table).where(*same).values(**stored))
        earlier = _by_digest(database, values["digest"], owner=values["owner"])
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
