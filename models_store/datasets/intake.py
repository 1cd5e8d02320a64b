"""Intake of an archive: each example inspected once by its task, its bytes kept once, everything else named.

Which task the archive is of, its members decide: each is offered to every task, and `recognise` counts.

Memory: at most a few files at a time, and about half a kilobyte for each file's name and digest.
"""

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, ZipFile

from models_store.archives.links import Followed, follow, refused
from models_store.archives.reader import read_archive
from models_store.archives.rules import Limits, Link, Member, shown_name
from models_store.archives.system_files import is_hidden, is_system
from models_store.archives.zip_names import NameEncoding, NameReading
from models_store.datasets.auxiliary import TABLE_DEPTH, is_auxiliary
from models_store.datasets.content_zip import header_of
from models_store.datasets.example import Example, Inspected
from models_store.datasets.recognise import Claims, recognise, refuse_mixture
from models_store.datasets.row_intake import RowIntake, take_rows
from models_store.datasets.row_sources import Source, is_table, sources_of
from models_store.datasets.table import split_of_table
from models_store.datasets.table_lines import Encoding, TableRefused
from models_store.host import cores
from models_store.settings import Settings
from models_store.storage import disk, scratch
from models_store.tasks import rooms
from models_store.tasks.task import Contract
from models_store.wording import counted

WORTH_A_THREAD_BYTES = 1 << 14
MOST_WAITING = 16
MOST_WAITING_BYTES = 64 << 20


@dataclass
class Intake:
    """What came out of an archive; every path is relative to it."""

    content: Path
    """a stored zip: one member for each different content"""
    contract: Contract
    """of the task that the archive is of"""
    names: NameReading = field(default_factory=NameReading)
    examples: list[Example] = field(default_factory=list)
    undecodable: dict[str, str] = field(default_factory=dict)  # file → why
    ignored: list[str] = field(default_factory=list)
    of_systems: list[str] = field(default_factory=list)  # left by a system or a tool, see system_files
    folders: set[str] = field(default_factory=set)  # of any file, and those without one
    tables: dict[str, Path] = field(default_factory=dict)  # files named like tables → a copy
    links: Followed = field(default_factory=Followed)
    auxiliary: dict[str, Path] = field(default_factory=dict)  # name of an auxiliary file → a copy
    rows: RowIntake | None = None
    """the examples, where they are rows of tables"""


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Make a folder below `root` to unpack an archive in, and remove it at the end.

    Raises:
        StorageFull: if there is no room.
    """
    folder = None
    try:
        with disk.reported_full("the unpacked archive"):
            folder = scratch.new_folder(root, "dataset", pid=os.getpid())
            yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def take_in(
    archive: Path,
    staging: Path,
    settings: Settings,
    *,
    names: NameEncoding = "auto",
    encoding: Encoding = "utf-8",
) -> Intake:
    """Read the whole archive into the folder `staging`; `encoding` is that of tables and of examples that are texts.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: as `read_archive`.
        CompressionTooHigh: if its examples unpack to far more than it has bytes.
        DatasetUnusable: if it is of no task, or of several, or a table of examples can't be read.
    """
    claims = [Claims(contract, contract.budget(archive.stat().st_size)) for contract in rooms.TASKS]
    intake = Intake(staging / "content.zip", claims[0].contract, names=NameReading(names))
    limits = Limits(files=settings.dataset_max_files, unpacked_bytes=settings.unpacked_max_bytes)
    links: dict[str, Link] = {}
    with (
        ZipFile(intake.content, "w", ZIP_STORED) as content,
        ThreadPoolExecutor(max_workers=min(4, cores.usable())) as pool,
    ):
        inspection = _Inspection(content, pool, settings, encoding)
        for member in read_archive(archive, limits, names=intake.names):
            path = PurePosixPath(member.name)
            if not (member.link and is_system(path)):
                _note_folders(intake.folders, member.name, is_folder=member.is_folder)
            if member.is_folder:
                continue
            if is_system(path):
                intake.of_systems.append(shown_name(member.name))
            elif member.link is not None:
                links[member.name] = member.link
            elif is_auxiliary(path, rooms.TASKS) or _is_table(path):
                _keep_copy(intake, member, staging)
            elif claiming := [each for each in claims if each.contract.is_example(path, member.head)]:
                inspection.accept(member, claiming)
            else:
                intake.ignored.append(member.name)
        inspection.finish()
    found = sources_of(intake.tables, rooms.TASKS, encoding, has_files=any(each.count for each in claims))
    if found is None:
        _settle(intake, claims)
        if links:
            _copy_linked(intake, links, limits)
    else:
        _take_tables(intake, claims, *found, staging=staging, settings=settings, encoding=encoding)
        intake.ignored += links
    _pass_over_foreign(intake)
    return intake


def _pass_over_foreign(intake: Intake) -> None:
    """Take the auxiliary files of other tasks out."""
    for name in {*intake.auxiliary} - {*intake.contract.auxiliary}:
        intake.ignored.append(name)
        del intake.auxiliary[name]


def _keep_copy(intake: Intake, member: Member, staging: Path) -> None:
    name = PurePosixPath(member.name).name
    if is_auxiliary(PurePosixPath(member.name), rooms.TASKS) and name not in intake.auxiliary:
        intake.auxiliary[name] = copied(member, staging / name)
    else:
        intake.tables[member.name] = copied(member, staging / f"table-{len(intake.tables)}")


def take_table(name: str, source: Source, staging: Path, settings: Settings, *, encoding: Encoding = "utf-8") -> Intake:
    """Read a table whose rows are the examples, which came without an archive around it.

    Raises:
        DatasetUnusable: if it can't be read.
    """
    found = sources_of({name: source.path}, rooms.TASKS, encoding, has_files=False)
    contract = found[0] if found else next(each for each in rooms.TASKS if each.column is not None)
    rows = take_rows(contract, {name: source}, staging, settings=settings, encoding=encoding)
    return Intake(staging / "content.zip", contract, rows=rows)


def _take_tables(
    intake: Intake,
    claims: Sequence[Claims],
    contract: Contract,
    sources: dict[str, Source],
    *,
    staging: Path,
    settings: Settings,
    encoding: Encoding,
) -> None:
    """Take the rows of tables as the archive's examples; files beside them are passed over."""
    intake.contract = contract
    intake.rows = take_rows(contract, sources, staging, settings=settings, encoding=encoding)
    others = [each for each in claims if each.contract is not contract]
    refuse_mixture(contract, len(intake.rows.entries), others)
    intake.ignored += [file for each in claims for file in each.files]
    intake.ignored += [name for name in intake.tables if name not in sources]
    intake.tables = {}


def _settle(intake: Intake, claims: Sequence[Claims]) -> None:
    """Take the files of the archive's own task as its examples; what others have claimed is passed over."""
    own = recognise(claims)
    intake.ignored += [name for name in intake.tables if split_of_table(PurePosixPath(name).name) is None]
    intake.tables = {name: path for name, path in intake.tables.items() if name not in set(intake.ignored)}
    intake.contract, intake.examples, intake.undecodable = own.contract, own.examples, own.undecodable
    others = [each for each in claims if each is not own]
    if others:
        known = {*own.files}
        intake.ignored += {file for each in others for file in each.files if file not in known}


def _copy_linked(intake: Intake, links: dict[str, Link], limits: Limits) -> None:
    """Add what links name, once more under each link's name."""
    examples = {example.file: example for example in intake.examples}
    others = [*intake.undecodable, *intake.ignored, *intake.of_systems, *intake.tables]
    sizes = dict.fromkeys(others, 0) | {file: example.size_bytes for file, example in examples.items()}
    intake.links = follow(links, sizes, intake.folders, limits)
    for folder in intake.links.folders:
        _note_folders(intake.folders, folder, is_folder=True)
    passed_over = set(intake.of_systems)
    for name, real in intake.links.files.items():
        _note_folders(intake.folders, name, is_folder=False)
        is_table = _is_table(PurePosixPath(name))
        if name in links and real in passed_over:
            raise refused(name, links[name], "among the files of a system or a tool, which are passed over")
        if name in links and is_table and real not in intake.tables:
            raise refused(name, links[name], "and a table of labels has to be a file itself")
        if real in examples:
            intake.examples.append(replace(examples[real], file=name))
        elif is_table and real in intake.tables:
            intake.tables[name] = intake.tables[real]
        else:
            _copy_no_example(intake, name, real)


def _copy_no_example(intake: Intake, name: str, real: str) -> None:
    path = PurePosixPath(name)
    if is_system(path):
        intake.of_systems.append(shown_name(name))
    elif real in intake.undecodable:
        intake.undecodable[name] = intake.undecodable[real]
    elif intake.contract.is_example(path, b""):
        intake.undecodable[name] = f"it is a link to {shown_name(real)}, which is no {intake.contract.example}"
    else:
        intake.ignored.append(name)


def _is_table(path: PurePosixPath) -> bool:
    is_named = split_of_table(path.name) is not None or is_table(path, rooms.TASKS)
    return is_named and len(path.parts) <= TABLE_DEPTH


Outcome = Callable[[], Inspected | str]


@dataclass
class _Waiting:
    """A file between its arrival and its place in the content."""

    name: str
    sha256: str
    data: bytes
    claims: Claims
    outcome: Outcome | None  # None: an earlier file has the same content


class _Inspection:
    """Files are inspected in threads, and written to the content in the order of their arrival."""

    def __init__(self, content: ZipFile, pool: ThreadPoolExecutor, settings: Settings, encoding: Encoding) -> None:
        self._content = content
        self._pool = pool
        self._settings = settings
        self._encoding = encoding
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._members: set[str] = set()

    def accept(self, member: Member, claiming: Sequence[Claims]) -> None:
        """Inspect a file for each task that claims it."""
        fitting = []
        for claims in claiming:
            most = claims.contract.most_bytes(self._settings)
            if member.size_bytes > most:
                allowed = f"at most {counted(most, 'is', 'are')} allowed for one {claims.contract.example}"
                excess = f"{member.size_bytes} bytes; {allowed}"
                claims.undecodable[member.name] = excess
            else:
                fitting.append(claims)
        if not fitting:
            return
        whole = member.content()
        for claims in fitting:
            try:
                data = claims.contract.stored(whole, self._encoding)
            except TableRefused as error:
                claims.undecodable[member.name] = str(error)
                continue
            outcome, sha256 = None, hashlib.sha256(data).hexdigest()
            if sha256 not in claims.known:
                claims.known[sha256] = None
                outcome = self._started(data, claims)
            self._waiting.append(_Waiting(member.name, sha256, data, claims, outcome))
            self._waiting_bytes += len(data)
        while len(self._waiting) > MOST_WAITING or self._waiting_bytes > MOST_WAITING_BYTES:
            self._write()

    def finish(self) -> None:
        """Wait for all files."""
        while self._waiting:
            self._write()

    def _started(self, data: bytes, claims: Claims) -> Outcome:
        if len(data) < WORTH_A_THREAD_BYTES:
            inspected = claims.contract.inspect(data, settings=self._settings, budget=claims.budget)
            return lambda: inspected
        return self._pool.submit(claims.contract.inspect, data, settings=self._settings, budget=claims.budget).result

    def _write(self) -> None:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= len(waiting.data)
        known = waiting.claims.known[waiting.sha256]
        if waiting.outcome is not None:
            inspected = waiting.outcome()
            known = inspected if isinstance(inspected, str) else self._written(waiting, inspected)
            waiting.claims.known[waiting.sha256] = known
        assert known is not None, "the first file of a content is written before its copies"
        if isinstance(known, str):
            waiting.claims.undecodable[waiting.name] = known
        else:
            example = known if known.file == waiting.name else replace(known, file=waiting.name)
            waiting.claims.examples.append(example)

    def _written(self, waiting: _Waiting, inspected: Inspected) -> Example:
        member = f"{waiting.sha256}.{inspected.suffix}"
        if member not in self._members:
            self._members.add(member)
            self._content.writestr(header_of(member), waiting.data)
        return Example(
            waiting.name,
            member,
            waiting.sha256,
            size_bytes=len(waiting.data),
            facts=inspected.facts,
            passing=inspected.passing,
            alike=inspected.alike,
            sketch=inspected.sketch,
        )


def copied(member: Member, target: Path) -> Path:
    """Copy a member's bytes to the file `target`, and return it."""
    with target.open("wb") as file:
        for chunk in member:
            file.write(chunk)
    return target


def _note_folders(folders: set[str], name: str, *, is_folder: bool) -> None:
    folder = name if is_folder else name.rpartition("/")[0]
    if is_hidden(PurePosixPath(folder)):
        return  # a class where it holds examples, and not an empty one where it holds something else
    while folder and folder not in folders and not is_system(PurePosixPath(folder)):
        folders.add(folder)
        folder = folder.rpartition("/")[0]
