"""An archive's files, one at a time: each image decoded once, its bytes kept once, everything else named.

Memory: at most a few images at a time, and about half a kilobyte for each file's name and digest.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from models_store.archives.links import Followed, follow, refused
from models_store.archives.reader import read_archive
from models_store.archives.rules import CompressionTooHigh, Limits, Link, Member, shown_name
from models_store.archives.system_files import is_hidden, is_system
from models_store.archives.zip_names import NameEncoding, NameReading
from models_store.datasets.table import split_of_table
from models_store.host import cores
from models_store.settings import Settings
from models_store.tasks.image import codec
from models_store.tasks.image.formats import OTHER_SUFFIXES, SUFFIX, SUFFIXES, is_for_an_image
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels

TABLE_DEPTH = 2  # at the top, or in the one folder at the top
WORTH_A_THREAD_BYTES = 1 << 14
MOST_WAITING = 16
MOST_WAITING_BYTES = 64 << 20
FREE_PIXELS = 1_000_000_000
MOST_PIXELS_PER_BYTE = 400
"""Of an archive, beyond FREE_PIXELS: scanned pages in black and white have 200, and blank images thousands."""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that was decoded whole. Its size is in pixels, upright."""

    file: str
    member: str
    sha256: str
    width: int
    height: int
    size_bytes: int
    grey: bool
    peak: int | None = None  # largest value of 16 bits


@dataclass
class Intake:
    """What came out of an archive; every path is relative to it."""

    images: Path  # a stored zip: one member for each different content
    names: NameReading = field(default_factory=NameReading)
    pictures: list[Picture] = field(default_factory=list)
    undecodable: dict[str, str] = field(default_factory=dict)  # file → why
    ignored: list[str] = field(default_factory=list)
    of_systems: list[str] = field(default_factory=list)  # left by a system or a tool, see system_files
    folders: set[str] = field(default_factory=set)  # of any file, and those without one
    tables: dict[str, Path] = field(default_factory=dict)  # files named like tables of labels → a copy
    links: Followed = field(default_factory=Followed)


def take_in(archive: Path, staging: Path, settings: Settings, *, names: NameEncoding = "auto") -> Intake:
    """Read the whole archive into the folder `staging`.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: as `read_archive`.
        CompressionTooHigh: if its images have far more pixels than it has bytes.
    """
    archive_bytes = archive.stat().st_size
    budget = PixelBudget(FREE_PIXELS + MOST_PIXELS_PER_BYTE * archive_bytes)
    try:
        return _taken_in(archive, staging, settings, names=names, budget=budget)
    except TooManyPixels as error:
        raise CompressionTooHigh(
            f"{error.detail}: the archive has {archive_bytes} bytes, and each may hold {MOST_PIXELS_PER_BYTE} pixels"
        ) from error


def _taken_in(archive: Path, staging: Path, settings: Settings, *, names: NameEncoding, budget: PixelBudget) -> Intake:
    intake = Intake(staging / "images.zip", names=NameReading(names))
    limits = Limits(files=settings.dataset_max_files, unpacked_bytes=settings.unpacked_max_bytes)
    with (
        ZipFile(intake.images, "w", ZIP_STORED) as images,
        ThreadPoolExecutor(max_workers=min(4, cores.usable())) as pool,
    ):
        desk = _Desk(intake, images, pool, settings, budget=budget)
        links: dict[str, Link] = {}
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
            elif _is_table(path):
                intake.tables[member.name] = _copied(member, staging / f"table-{len(intake.tables)}.csv")
            elif not is_for_an_image(path, member.head):
                intake.ignored.append(member.name)
            elif member.size_bytes > settings.image_max_bytes:
                reason = f"{member.size_bytes} bytes; at most {settings.image_max_bytes} are allowed for an image"
                intake.undecodable[member.name] = reason
            else:
                desk.accept(member.name, member.content())
        desk.clear()
    if links:
        _copy_linked(intake, links, limits)
    return intake


def _copy_linked(intake: Intake, links: dict[str, Link], limits: Limits) -> None:
    """Add what links name, once more under each link's name."""
    pictures = {picture.file: picture for picture in intake.pictures}
    others = [*intake.undecodable, *intake.ignored, *intake.of_systems, *intake.tables]
    sizes = dict.fromkeys(others, 0) | {file: picture.size_bytes for file, picture in pictures.items()}
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
        if real in pictures:
            intake.pictures.append(replace(pictures[real], file=name))
        elif is_table and real in intake.tables:
            intake.tables[name] = intake.tables[real]
        else:
            _copy_no_picture(intake, name, real)


def _copy_no_picture(intake: Intake, name: str, real: str) -> None:
    path = PurePosixPath(name)
    if is_system(path):
        intake.of_systems.append(shown_name(name))
    elif real in intake.undecodable:
        intake.undecodable[name] = intake.undecodable[real]
    elif path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES:
        intake.undecodable[name] = f"it is a link to {shown_name(real)}, which is no image"
    else:
        intake.ignored.append(name)


def _is_table(path: PurePosixPath) -> bool:
    return split_of_table(path.name) is not None and len(path.parts) <= TABLE_DEPTH


def without_leftovers(intake: Intake, kept: set[str]) -> Path:
    """Return a zip of the images whose members are in `kept` alone; the same one when that is all of them."""
    with ZipFile(intake.images) as images:
        if len(images.namelist()) == len(kept):
            return intake.images
        target = intake.images.with_name("kept.zip")
        with ZipFile(target, "w", ZIP_STORED) as slimmer:
            for member in images.namelist():
                if member in kept:
                    slimmer.writestr(_entry(member), images.read(member))
    return target


@dataclass
class _Waiting:
    name: str
    sha256: str
    data: bytes
    outcome: Callable[[], codec.ImageFacts | str] | None  # None: an earlier file has the same content


class _Desk:
    """Images between their arrival and their place in the zip: decoded in threads, put down in order of arrival."""

    def __init__(
        self, intake: Intake, images: ZipFile, pool: ThreadPoolExecutor, settings: Settings, *, budget: PixelBudget
    ) -> None:
        self._intake = intake
        self._images = images
        self._pool = pool
        self._max_pixels = settings.image_max_pixels
        self._budget = budget
        self._known: dict[str, Picture | str | None] = {}  # content → what it is, or why not; None: still waiting
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0

    def accept(self, name: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        outcome = None
        if sha256 not in self._known:
            self._known[sha256] = None
            outcome = self._started(data)
        self._waiting.append(_Waiting(name, sha256, data, outcome))
        self._waiting_bytes += len(data)
        while len(self._waiting) > MOST_WAITING or self._waiting_bytes > MOST_WAITING_BYTES:
            self._put_down()

    def clear(self) -> None:
        while self._waiting:
            self._put_down()

    def _started(self, data: bytes) -> Callable[[], codec.ImageFacts | str]:
        if len(data) < WORTH_A_THREAD_BYTES:
            facts = _inspected(data, self._max_pixels, self._budget)
            return lambda: facts
        return self._pool.submit(_inspected, data, self._max_pixels, self._budget).result

    def _put_down(self) -> None:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= len(waiting.data)
        known = self._known[waiting.sha256]
        if waiting.outcome is not None:
            facts = waiting.outcome()
            if isinstance(facts, str):
                known = facts
            else:
                member = f"{waiting.sha256}.{SUFFIX[facts.format]}"
                known = Picture(
                    waiting.name,
                    member,
                    waiting.sha256,
                    facts.width,
                    facts.height,
                    size_bytes=len(waiting.data),
                    grey=facts.grey,
                    peak=facts.peak,
                )
                self._images.writestr(_entry(member), waiting.data)
            self._known[waiting.sha256] = known
        assert known is not None, "the first file of a content is put down before its copies"
        if isinstance(known, str):
            self._intake.undecodable[waiting.name] = known
        else:
            self._intake.pictures.append(known if known.file == waiting.name else replace(known, file=waiting.name))


def _inspected(data: bytes, max_pixels: int, budget: PixelBudget) -> codec.ImageFacts | str:
    try:
        return codec.inspect(data, max_pixels=max_pixels, budget=budget)
    except codec.UndecodableImage as error:
        return error.detail


def _entry(member: str) -> ZipInfo:
    """Return a header that is the same whenever it is written."""
    return ZipInfo(member, ZIP_EPOCH)


def _copied(member: Member, target: Path) -> Path:
    with target.open("wb") as file:
        for chunk in member:
            file.write(chunk)
    return target


def _note_folders(folders: set[str], name: str, *, is_folder: bool) -> None:
    folder = name if is_folder else name.rpartition("/")[0]
    if is_hidden(PurePosixPath(folder)):
        return  # a class where it holds images, and not an empty one where it holds something else
    while folder and folder not in folders and not is_system(PurePosixPath(folder)):
        folders.add(folder)
        folder = folder.rpartition("/")[0]
