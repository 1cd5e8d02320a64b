"""Intake of an archive of examples that are only to be predicted: no labels, no splits, no checks.

Its files are stored as a dataset's are: a zip with one member for each different content, and a manifest, in the order
of the archive. A file that can't be decoded stays in it: its row will say why. Where a task's examples may be rows of
tables, a table is taken alone, or the tables of an archive; columns beside that of the examples are passed over.

NoExamples 422
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from models_store.archives.reader import read_archive
from models_store.archives.rules import Limits, Member, too_many
from models_store.archives.system_files import is_system
from models_store.archives.zip_names import NameEncoding, NameReading
from models_store.datasets import example_tables
from models_store.datasets.auxiliary import TABLE_DEPTH
from models_store.datasets.example_tables import ExampleRow
from models_store.datasets.intake import copied
from models_store.datasets.manifest import ManifestEntry, entries_of, write_manifest
from models_store.datasets.row_sources import Source, is_table, refusal
from models_store.datasets.row_spool import RowSpool
from models_store.datasets.table_formats import Format, format_of
from models_store.datasets.table_lines import Encoding, TableRefused
from models_store.errors import Invalid
from models_store.settings import Settings
from models_store.tasks.task import Contract
from models_store.wording import counted

NOT_STORED = "too_large"  # as the first releases named it, when nothing else kept a file away
"""key of a manifest's line: why the file is not stored"""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class NoExamples(Invalid):
    """The archive has no file that the task takes."""

    code = "no_examples"
    title = "The archive holds no examples"


@dataclass(frozen=True)
class Unlabelled:
    """An archive's examples as stored files, and how many other files it has."""

    content: Path
    manifest: Path
    rows: int
    others: int


def take_in(
    archive: Path,
    staging: Path,
    contract: Contract,
    *,
    settings: Settings,
    names: NameEncoding = "auto",
    encoding: Encoding = "utf-8",
) -> Unlabelled:
    """Read the archive into the folder `staging`. Links are passed over, as are files that are no examples.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: as `read_archive`.
        NoExamples: if nothing is left.
        DatasetUnusable: if a table can't be read.
    """
    content, manifest = staging / "content.zip", staging / "manifest.jsonl"
    limits = Limits(files=settings.dataset_max_files, unpacked_bytes=settings.unpacked_max_bytes)
    most, known, others = contract.most_bytes(settings), set[str](), 0
    entries: list[ManifestEntry] = []
    tables: dict[str, Source] = {}
    with ZipFile(content, "w", ZIP_STORED) as stored:
        for member in read_archive(archive, limits, names=NameReading(names)):
            path = PurePosixPath(member.name)
            if member.is_folder or is_system(path):
                continue
            if member.link is None and is_table(path, (contract,)) and len(path.parts) <= TABLE_DEPTH:
                tables[member.name] = Source(copied(member, staging / f"table-{len(tables)}"), _format_of(path))
            elif member.link is not None or not contract.is_example(path, member.head):
                others += 1
            elif member.size_bytes > most:
                message = f"{member.size_bytes} bytes; at most {counted(most, 'is', 'are')} allowed"
                entries.append(_not_stored(member.name, f"{message} for one {contract.example}"))
            else:
                entries.append(_stored(member, stored, known, contract, encoding))
    if tables:
        return take_tables(
            tables, staging, contract, settings=settings, encoding=encoding, others=others + len(entries)
        )
    if not entries:
        raise NoExamples(
            f"none of the {counted(others, 'file')} in the archive is one of the {contract.examples} that this model "
            f"takes ({contract.formats})"
        )
    write_manifest(manifest, entries)
    return Unlabelled(content, manifest, len(entries), others)


def take_tables(
    tables: Mapping[str, Source],
    staging: Path,
    contract: Contract,
    *,
    settings: Settings,
    encoding: Encoding,
    others: int = 0,
) -> Unlabelled:
    """Read the rows of tables into the folder `staging`.

    Raises:
        DatasetUnusable: if a table can't be read.
        TooManyMembers: if there are more rows than a dataset may have examples.
        NoExamples: if there is no row.
    """
    content, manifest, rows = staging / "content.zip", staging / "manifest.jsonl", 0
    with RowSpool(staging / "rows.bin") as spool:

        def entries() -> Iterator[ManifestEntry]:
            nonlocal rows
            for name, row in _rows(tables, contract, encoding):
                rows += 1
                if rows > settings.dataset_max_files:
                    raise too_many(Limits(settings.dataset_max_files, settings.unpacked_max_bytes))
                yield _of_row(name, row, spool, most=contract.most_bytes(settings))

        write_manifest(manifest, entries())
    if not rows:
        raise NoExamples(f"there is no row in {', '.join(tables)}")
    spool.write_content(content, (entry.member for entry in entries_of(manifest) if entry.member))
    return Unlabelled(content, manifest, rows, others)


def _rows(tables: Mapping[str, Source], contract: Contract, encoding: Encoding) -> Iterator[tuple[str, ExampleRow]]:
    for name, source in tables.items():
        try:
            table = example_tables.read(source.path, source.format, contract, encoding=encoding, targets="ignored")
            yield from ((name, row) for row in table.rows)
        except TableRefused as error:
            raise refusal(error, name, source, encoding) from error


def _of_row(name: str, row: ExampleRow, spool: RowSpool, *, most: int) -> ManifestEntry:
    file = f"{name}:{row.line}"
    try:
        data = row.example.encode()
    except UnicodeEncodeError as error:
        return _not_stored(file, f"character {error.start + 1} is half of a surrogate pair, which stands for nothing")
    if len(data) > most:
        return _not_stored(file, f"{len(data)} bytes; at most {counted(most, 'is', 'are')} allowed")
    sha256 = spool.add(data)
    return ManifestEntry(file, f"{sha256}.bin", "", "", sha256)


def _not_stored(file: str, why: str) -> ManifestEntry:
    return ManifestEntry(file, "", "", "", "", {NOT_STORED: why})


def _format_of(path: PurePosixPath) -> Format:
    format_ = format_of(path.name)
    assert format_ is not None, "a table has a format"
    return format_


def _stored(member: Member, stored: ZipFile, known: set[str], contract: Contract, encoding: Encoding) -> ManifestEntry:
    try:
        data = contract.stored(member.content(), encoding)
    except TableRefused as error:
        return _not_stored(member.name, str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{sha256}.bin"
    if name not in known:
        known.add(name)
        stored.writestr(ZipInfo(name, ZIP_EPOCH), data)
    return ManifestEntry(member.name, name, "", "", sha256)
