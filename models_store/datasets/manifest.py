"""The list of a dataset's images: who is who, as JSON lines, and the digest that names its content."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One image of a dataset: where it was in the archive, and what is known of it. Sizes in pixels, upright.

    It has a `label`, or `labels` (sorted; maybe none), or a `value`.
    """

    file: str
    member: str  # its name in the images' zip; files of one content share it
    label: str
    split: str  # one of SPLITS
    sha256: str
    width: int
    height: int
    group: str = ""  # images of one group stay in one split; "": the dataset has no groups
    labels: tuple[str, ...] = ()
    value: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the classes or labels that the image counts for."""
        return (self.label,) if self.label else self.labels

    @property
    def target(self) -> str | float | list[str]:
        """Return what is to be learned of the image: its class, its number, or its labels."""
        return self.label or (list(self.labels) if self.value is None else self.value)


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Return the images of a dataset from its manifest's file, sorted by split, target and content."""
    with path.open(encoding="utf-8") as file:
        return [entry_of(json.loads(line)) for line in file]


def write_manifest(path: Path, entries: Iterable[ManifestEntry]) -> None:
    """Write one line of JSON for each image; what an image has not is left out."""
    defaults = {field.name: field.default for field in fields(ManifestEntry) if field.default is not MISSING}
    with path.open("w", encoding="utf-8") as file:
        for entry in entries:
            given = {field.name: getattr(entry, field.name) for field in fields(ManifestEntry)}
            file.write(_line({name: value for name, value in given.items() if value != defaults.get(name, MISSING)}))


def order(entry: ManifestEntry) -> tuple[Any, ...]:
    """Return the key that a manifest is sorted by. Images that only their files' names tell apart are alike."""
    value = 0.0 if entry.value is None else entry.value
    return entry.split, entry.label, entry.labels, value, entry.group, entry.sha256, entry.file


def digest_of(entries: Sequence[ManifestEntry]) -> str:
    """Return the version: the SHA-256, in hexadecimal, over split, target, content and group of every image, sorted."""
    lines = sorted(
        _line([entry.split, entry.target, entry.sha256] + ([entry.group] if entry.group else [])) for entry in entries
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def counts(entries: Iterable[ManifestEntry], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return split → class or label → number of images; every split and class is there, with 0 if need be."""
    found = Counter((entry.split, name) for entry in entries for name in entry.names)
    return {split: {label: found[split, label] for label in classes} for split in SPLITS}


def entry_of(document: dict[str, Any]) -> ManifestEntry:
    """Return the image that a line of a manifest describes."""
    return ManifestEntry(**(document | {"labels": tuple(document.get("labels", ()))}))


def _line(document: Any) -> str:  # noqa: ANN401  any JSON
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
