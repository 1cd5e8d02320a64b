"""Manifest of a dataset: its examples as JSON lines, and the digest that names its content."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_store.datasets.sorted_lines import sorted_lines

SPLITS = ("train", "val", "test")
ALWAYS = ("file", "member", "label", "split", "sha256")
OWN = (*ALWAYS, "group", "labels", "value", "alike", "kin", "leaked")
Facts = Mapping[str, Any]
"""what a task knows of one example: text, numbers or nulls by name; examples of which it knows the same share it"""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One example of a dataset: where it was in the archive, and what is known of it.

    It has a `label`, or `labels` (sorted; maybe none), or a `value`.
    """

    file: str
    member: str  # its name in the dataset's content; files of one content share it
    label: str
    split: str  # one of SPLITS
    sha256: str
    facts: Facts = field(default_factory=dict, hash=False)
    """what its task knows of it, as an image's size"""
    group: str = ""  # examples of one group stay in one split; "": the dataset has no groups
    labels: tuple[str, ...] = ()
    value: float | None = None
    alike: str = ""
    """examples that share it are copies for their task, though their bytes may differ; "": those of one SHA-256 are"""
    kin: str = ""
    """copies and near copies share it, and stay together in splits that are made; "": there are none"""
    leaked: bool = False
    """a copy of it is in the train split, and it is not"""

    @property
    def likeness(self) -> str:
        """Return what copies of the example share."""
        return self.alike or self.sha256

    @property
    def names(self) -> tuple[str, ...]:
        """Return the classes or labels that the example counts for."""
        return (self.label,) if self.label else self.labels

    @property
    def target(self) -> str | float | list[str]:
        """Return what is to be learned of the example: its class, its number, or its labels."""
        return self.label or (list(self.labels) if self.value is None else self.value)


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Return the examples of a dataset from its manifest's file, sorted by split, target and content."""
    return list(entries_of(path))


def entries_of(path: Path) -> Iterator[ManifestEntry]:
    """Yield what `read_manifest` returns, one at a time."""
    shared: dict[tuple[Any, ...], Facts] = {}  # a million images have some thousand sizes
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield entry_of(json.loads(line), shared)


def write_manifest(path: Path, entries: Iterable[ManifestEntry]) -> None:
    """Write one line of JSON for each example; what an example has not is left out."""
    with path.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(_line(document_of(entry)))


def order(entry: ManifestEntry) -> tuple[Any, ...]:
    """Return the key that a manifest is sorted by. Examples that differ in their files' names alone are alike."""
    value = 0.0 if entry.value is None else entry.value
    return entry.split, entry.label, entry.labels, value, entry.group, entry.sha256, entry.file


def digest_of(entries: Iterable[ManifestEntry], *, given: Sequence[str] = (), scratch: Path | None = None) -> str:
    """Return the version: SHA-256, in hexadecimal, over split, target, content and group of all examples, sorted.

    `given` are facts that an upload gives beside the content, so that they count as well. The examples are sorted in
    memory, or in files that are named after `scratch`.
    """
    lines = (_line(_identity(entry, given)) for entry in entries)
    digest = hashlib.sha256()
    for line in sorted(lines) if scratch is None else sorted_lines(lines, scratch):
        digest.update(line.encode())
    return digest.hexdigest()


def _identity(entry: ManifestEntry, given: Sequence[str]) -> list[Any]:
    known = {name: entry.facts[name] for name in given if name in entry.facts}
    return [entry.split, entry.target, entry.sha256, *filter(None, (entry.group, known))]


def counts(entries: Iterable[ManifestEntry], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return split → class or label → number of examples; every split and class is there, with 0 if need be."""
    found = Counter((entry.split, name) for entry in entries for name in entry.names)
    return {split: {label: found[split, label] for label in classes} for split in SPLITS}


def entry_of(document: dict[str, Any], shared: dict[tuple[Any, ...], Facts] | None = None) -> ManifestEntry:
    """Return the example that a line of a manifest describes; a key that no example has by itself is its task's.

    Of equal facts the first are kept in `shared`, and used for all.
    """
    own = {name: document.pop(name) for name in OWN if name in document}
    known = {} if shared is None else shared
    key = (*document.items(),)
    if (facts := known.get(key)) is None:
        facts = known[key] = dict(document)
    labels = tuple(own.pop("labels", ()))
    return ManifestEntry(**own, facts=facts, labels=labels)


def document_of(entry: ManifestEntry) -> dict[str, Any]:
    """Return what a line of a manifest holds; what an example has not is left out."""
    document: dict[str, Any] = {name: getattr(entry, name) for name in ALWAYS}
    document |= entry.facts
    if entry.group:
        document["group"] = entry.group
    if entry.labels:
        document["labels"] = entry.labels
    if entry.value is not None:
        document["value"] = entry.value
    return document | {name: getattr(entry, name) for name in ("alike", "kin", "leaked") if getattr(entry, name)}


_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _line(document: Any) -> str:  # noqa: ANN401  any JSON
    return f"{_encoded(document)}\n"
