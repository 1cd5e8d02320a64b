"""Intake of an archive of examples that are only to be predicted: no labels, no splits, no checks.

Its files are stored as a dataset's are: a zip with one member for each different content, and a manifest, in the order
of the archive. A file that can't be decoded stays in it: its row will say why.

NoExamples 422
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from models_store.archives.reader import read_archive
from models_store.archives.rules import Limits, Member
from models_store.archives.system_files import is_system
from models_store.archives.zip_names import NameEncoding, NameReading
from models_store.datasets.manifest import ManifestEntry, write_manifest
from models_store.errors import Invalid
from models_store.settings import Settings
from models_store.tasks.task import Contract
from models_store.wording import counted

TOO_LARGE = "too_large"
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
    archive: Path, staging: Path, contract: Contract, *, settings: Settings, names: NameEncoding = "auto"
) -> Unlabelled:
    """Read the archive into the folder `staging`. Links are passed over, as are files that are no examples.

    Raises:
        NotAnArchive, ArchiveRefused, UnpackedTooLarge: as `read_archive`.
        NoExamples: if nothing is left.
    """
    content, manifest = staging / "content.zip", staging / "manifest.jsonl"
    limits = Limits(files=settings.dataset_max_files, unpacked_bytes=settings.unpacked_max_bytes)
    most, known, others = contract.most_bytes(settings), set[str](), 0
    entries: list[ManifestEntry] = []
    with ZipFile(content, "w", ZIP_STORED) as stored:
        for member in read_archive(archive, limits, names=NameReading(names)):
            path = PurePosixPath(member.name)
            if member.is_folder or is_system(path):
                continue
            if member.link is not None or not contract.is_example(path, member.head):
                others += 1
            elif member.size_bytes > most:
                message = f"{member.size_bytes} bytes; at most {counted(most, 'is', 'are')} allowed"
                facts = {TOO_LARGE: f"{message} for one {contract.example}"}
                entries.append(ManifestEntry(member.name, "", "", "", "", facts))
            else:
                entries.append(_stored(member, stored, known))
    if not entries:
        raise NoExamples(
            f"none of the {counted(others, 'file')} in the archive is one of the {contract.examples} that this model "
            f"takes ({contract.formats})"
        )
    write_manifest(manifest, entries)
    return Unlabelled(content, manifest, len(entries), others)


def _stored(member: Member, stored: ZipFile, known: set[str]) -> ManifestEntry:
    data = member.content()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{sha256}.bin"
    if name not in known:
        known.add(name)
        stored.writestr(ZipInfo(name, ZIP_EPOCH), data)
    return ManifestEntry(member.name, name, "", "", sha256)
