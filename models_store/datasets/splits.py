"""Splits of a dataset: those that the archive gives, completed where some are missing.

Nothing that is reported as test may be trained on, or used to choose a model. So an archive with `train` and `val`
alone keeps its val apart: it becomes the test split, which is what its author held out and what published figures were
measured on, and a tenth of train becomes the val that chooses.

What is cut is chosen by content alone, so that the same examples are split alike in any archive, and copies and near
copies of one example never part; nor do examples of one group. An example that is labelled in two ways stays in train:
nothing is measured on a contradiction.
"""

# N examples of train, U contents

import json
from array import array
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models_store.datasets.entries_on_disk import changed
from models_store.datasets.manifest import SPLITS, ManifestEntry
from models_store.datasets.report import Check
from models_store.tasks.task import Contract

SHARE = 0.1
KEY_BYTES = 16  # of what names a unit
MOST_RANGES = 10  # of values
EXAMPLES_OF_A_RANGE = 10  # at least, so that a tenth of it is an example

NamesOf = Callable[[ManifestEntry], tuple[str, ...]]
"""an example → the classes, labels or ranges that it counts for"""


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
        part_N, too_few = _tenths_of_units([entry for entry in entries if entry.split == "train"], parts)
        kind = "groups" if any(entry.group for entry in entries) else contract.examples
        needed = f"at least {len(parts) + 1} different {kind}, of all classes or labels, are needed"
    if too_few is not None:
        message = (
            f"{needed} to cut {' and '.join(parts)} from: "
            f"add {contract.examples}, or give the splits yourself ({', '.join(SPLITS)} folders)"
        )
        checks = [*checks, Check("too_few_images", "error", message, too_few)]
    splits = iter(part_N)

    def cut(_: int, entry: ManifestEntry) -> ManifestEntry:
        if entry.split == "train" and (part := next(splits)):
            return replace(entry, split=parts[part - 1])
        return entry

    return Splits(changed(entries, cut), origin, checks)


Parts = Sequence[int]
"""of each example of train: which part it leaves for, from 1; 0: it stays"""


def _unit_of(entry: ManifestEntry) -> str:
    """Return what no cut may part: the name of the example's copies, or of those and its near copies."""
    return entry.kin or entry.likeness


def _tenths_of_classes(entries: Sequence[ManifestEntry], parts: tuple[str, ...]) -> tuple[Parts, list[str] | None]:
    """Cut a tenth of each class; return the classes too small for it, if any."""
    numbers: dict[str, int] = {}
    keys, labels = bytearray(), array("i")
    for entry in entries:
        if entry.split == "train":
            keys += bytes.fromhex(_unit_of(entry)[: 2 * KEY_BYTES]).ljust(KEY_BYTES, b"\0")
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


@dataclass(frozen=True, eq=False)
class _Unit:
    """Examples that stay together; `counts` are of its classes, labels or ranges, and of its examples under ""."""

    contents: list[str]
    counts: Counter[str]


def _tenths_of_units(train: Sequence[ManifestEntry], parts: tuple[str, ...]) -> tuple[Parts, list[str] | None]:
    """Cut whole units, near to a tenth of everything; return [] when a part would stay empty.

    Rare labels choose first, as in iterative stratification (Sechidis et al. 2011).
    """
    units, left = _units(train)
    bearing: defaultdict[str, list[_Unit]] = defaultdict(list)
    for unit in units:
        for name in unit.counts:
            bearing[name].append(unit)
    wanted = {name: max(1, int(count * SHARE + 0.5)) for name, count in left.items()}
    taken: set[_Unit] = set()
    moved: dict[str, int] = {}
    for place in range(len(parts)):
        missing = Counter(wanted)
        chosen = []
        for name in sorted(wanted, key=lambda name: (wanted[name], name)):
            for unit in _chosen(bearing[name], name, missing=missing, left=left, taken=taken):
                taken.add(unit)
                chosen.append(unit)
                missing.subtract(unit.counts)
                left.subtract(unit.counts)
        if not chosen:
            return [0] * len(train), []
        moved.update({content: place + 1 for unit in chosen for content in unit.contents})
    return [moved.get(_unit_of(entry), 0) for entry in train], None


def _chosen(
    units: Sequence[_Unit], name: str, *, missing: Counter[str], left: Counter[str], taken: set[_Unit]
) -> Iterator[_Unit]:
    """Yield units while some of `name` is missing: those that help, or if none does, the one that harms least."""
    wanted = missing[name]
    for unit in units:
        if missing[name] <= 0:
            return
        if unit not in taken and _leaves_some(unit, left) and _gain(unit, missing) > 0:
            yield unit
    able = [unit for unit in units if unit not in taken and _leaves_some(unit, left)]
    if missing[name] == wanted > 0 and able:
        yield max(able, key=lambda unit: _gain(unit, missing))


def _gain(unit: _Unit, missing: Counter[str]) -> int:
    """Return how much nearer the unit brings what is missing to none."""
    return sum(abs(missing[name]) - abs(missing[name] - count) for name, count in unit.counts.items())


def _leaves_some(unit: _Unit, left: Counter[str]) -> bool:
    return all(left[name] > count for name, count in unit.counts.items())


def _units(train: Sequence[ManifestEntry]) -> tuple[list[_Unit], Counter[str]]:
    """Return what may be cut, in the order of its contents, and the counts of everything."""
    together = _joined([(_unit_of(entry), f"group {entry.group}") for entry in train if entry.group])
    members: defaultdict[str, list[ManifestEntry]] = defaultdict(list)
    targets: defaultdict[str, set[str]] = defaultdict(set)
    for entry in train:
        content = _unit_of(entry)
        members[together.get(content, content)].append(entry)
        targets[content].add(json.dumps(entry.target))
    names_of = _ranges(train) or (lambda entry: entry.names)
    units = [
        _Unit(sorted({_unit_of(entry) for entry in entries}), _counted(entries, names_of))
        for entries in members.values()
        if all(len(targets[_unit_of(entry)]) == 1 for entry in entries)
    ]
    return sorted(units, key=lambda unit: unit.contents), _counted(train, names_of)


def _counted(entries: Iterable[ManifestEntry], names_of: NamesOf) -> Counter[str]:
    return Counter(name for entry in entries for name in ("", *names_of(entry)))


def _ranges(train: Sequence[ManifestEntry]) -> NamesOf | None:
    """Return what names the range of an example's value, one of up to ten of like size; None: there are too few."""
    values = sorted(entry.value for entry in train if entry.value is not None)
    count = min(MOST_RANGES, len(values) // EXAMPLES_OF_A_RANGE)
    if count == 0:
        return None
    bounds = [values[len(values) * place // count] for place in range(1, count)]
    return lambda entry: (str(bisect(bounds, entry.value or 0.0)),)


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs' members, each with one name for all that hang together (union-find)."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for left, right in pairs:
        parents[root(left)] = root(right)
    return {name: root(name) for name in list(parents)}
