"""Splits of a dataset: those that the archive gives, completed where some are missing.

Nothing that is reported as test may be trained on, or used to choose a model. So an archive with `train` and `val`
alone keeps its val apart: it becomes the test split, which is what its author held out and what published figures were
measured on, and a tenth of train becomes the val that chooses.

What is cut is chosen by content alone, so that the same examples are split alike in any archive, and copies and near
copies of one example never part; nor do examples of one group. An example that is labelled in two ways stays in train:
nothing is measured on a contradiction.
"""

# N examples of train, U contents

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models_store.datasets.entries_on_disk import changed
from models_store.datasets.manifest import SPLITS, ManifestEntry
from models_store.datasets.report import Check
from models_store.datasets.split_units import KEY_BYTES, SHARE, key_of, tenths_of_units
from models_store.tasks.task import Contract


@dataclass(frozen=True)
class Splits:
    """The examples with their final splits, and what was decided or missing."""

    entries: Sequence[ManifestEntry]
    origin: str  # "given": the archive said which examples are apart; "made": we did
    checks: list[Check]


def complete(entries: Sequence[ManifestEntry], contract: Contract) -> Splits:
    """Return the examples, each in one of `train`, `val` and `test`; an entry's split may be "" before.

    What is missing is cut from train: a tenth of each class, at least one example. Where examples have groups, labels
    or numbers, a tenth of them all is cut that comes near to a tenth of each class, label or range of numbers.
    """
    given = {entry.split for entry in entries}
    if given <= {"", "train"}:
        train = changed(entries, lambda _, entry: replace(entry, split="train"))
        return _cut(train, ("test", "val"), contract, origin="made", checks=[])
    if "train" not in given:
        apart = ", ".join(sorted(given))
        message = f"the archive has {contract.examples} to measure on ({apart}) and none to train on: add train"
        return Splits(entries, "given", [Check("no_train_split", "error", message)])
    if given == set(SPLITS):
        return Splits(entries, "given", [])
    if "test" in given:
        message = "the archive has train and test, and no val: a tenth of train became val, which chooses the model"
        return _cut(entries, ("val",), contract, origin="given", checks=[Check("split_completed", "info", message)])
    message = (
        "the archive has train and val, and no test: its val became test, which nothing is chosen by, "
        "and a tenth of train became val, which chooses the model"
    )
    moved = changed(entries, lambda _, entry: replace(entry, split="test") if entry.split == "val" else entry)
    return _cut(moved, ("val",), contract, origin="given", checks=[Check("split_completed", "info", message)])


def _cut(
    entries: Sequence[ManifestEntry], parts: tuple[str, ...], contract: Contract, *, origin: str, checks: list[Check]
) -> Splits:
    if all(entry.label and not entry.group for entry in entries if entry.split == "train"):
        part_N, too_few = _tenths_of_classes(entries, parts)
        needed = f"each class needs at least {len(parts) + 1} different {contract.examples}"
    else:
        found = tenths_of_units((entry for entry in entries if entry.split == "train"), parts)
        part_N, too_few = (found, None) if found is not None else ([], [])
        kind = "groups" if any(entry.group for entry in entries) else contract.examples
        needed = f"at least {len(parts) + 1} different {kind}, of all classes or labels, are needed"
    if too_few is not None:
        once = " (those that are nearly the same count as one)" if any(entry.kin for entry in entries) else ""
        message = (
            f"{needed}{once} to cut {' and '.join(parts)} from: "
            f"add {contract.examples}, or give the splits yourself ({', '.join(SPLITS)} folders)"
        )
        checks = [*checks, Check("too_few_images", "error", message, too_few)]
    splits = iter(part_N)

    def cut(_: int, entry: ManifestEntry) -> ManifestEntry:
        if entry.split == "train" and (part := next(splits, 0)):
            return replace(entry, split=parts[part - 1])
        return entry

    return Splits(changed(entries, cut), origin, checks)


Parts = Sequence[int]
"""of each example of train: which part it leaves for, from 1; 0: it stays"""


def _tenths_of_classes(entries: Sequence[ManifestEntry], parts: tuple[str, ...]) -> tuple[Parts, list[str] | None]:
    """Cut a tenth of each class; return the classes too small for it, if any."""
    numbers: dict[str, int] = {}
    keys, labels = bytearray(), array("i")
    for entry in entries:
        if entry.split == "train":
            keys += key_of(entry)
            labels.append(numbers.setdefault(entry.label, len(numbers)))
    unit_N = np.unique(np.frombuffer(keys, f"S{KEY_BYTES}"), return_inverse=True)[1]  # in the order of their keys
    label_N = np.frombuffer(labels, np.int32)
    count_U = int(unit_N.max(initial=-1)) + 1
    label_U = np.zeros(count_U, np.int32)
    label_U[unit_N] = label_N
    is_clear_U = np.ones(count_U, np.bool_)
    is_clear_U[unit_N[label_N != label_U[unit_N]]] = False
    part_U = np.zeros(count_U, np.int8)
    too_few = []
    for label, number in sorted(numbers.items()):
        units = np.unique(unit_N[label_N == number])
        clear = units[is_clear_U[units]]
        if len(clear) < len(parts) or len(units) <= len(parts):
            too_few.append(label)
            continue
        count = min(max(1, int(len(units) * SHARE + 0.5)), len(clear) // len(parts))
        for place in range(len(parts)):
            part_U[clear[place * count : (place + 1) * count]] = place + 1
    return part_U[unit_N].tolist(), too_few or None
