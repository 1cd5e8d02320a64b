"""Auxiliary files of a dataset: what its training may use beside the examples. They are members of its content.

A contract names them, and a dataset's card has `auxiliary`: name → member.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from models_store.tasks.task import Contract

TABLE_DEPTH = 2  # at the top, or in the one folder at the top


def is_auxiliary(path: PurePosixPath, contracts: Iterable[Contract]) -> bool:
    """Return whether a file at the top of an archive, or in the one folder there, is one for any task."""
    return len(path.parts) <= TABLE_DEPTH and any(path.name in each.auxiliary for each in contracts)


def members_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Return name → member of the content, in the order of the names."""
    return {name: f"{_sha256(path)}{path.suffix}" for name, path in sorted(files.items())}


def digest_with(digest: str, members: Mapping[str, str]) -> str:
    """Return the version of a dataset whose examples have a digest, and which has these auxiliary files."""
    if not members:
        return digest
    lines = [digest, *(f"{name} {member}" for name, member in members.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
