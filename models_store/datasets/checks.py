"""Checks of a dataset that every task shares: its classes, splits, copies and groups."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from models_store.datasets.copies import check_copies
from models_store.datasets.manifest import SPLITS, ManifestEntry, counts
from models_store.datasets.report import Check
from models_store.spec.facts import Target
from models_store.tasks.task import Contract
from models_store.wording import counted

IMBALANCE = 10
FAR = 20  # interquartile ranges from the median
MOST_LABELS = 5000  # of a multi-label dataset: every example has a number for each


def check_classes(
    classes: Sequence[str], entries: Sequence[ManifestEntry], target: Target, contract: Contract
) -> list[Check]:
    """Look at the classes or labels by themselves: too few, too many, empty ones, two that differ only by case.

    `classes` are all that the archive names, `entries` the usable examples.
    """
    example, examples = contract.example, contract.examples
    filled = {name for entry in entries for name in entry.names}
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(classes):
        spellings[" ".join(label.casefold().split())].append(label)
    same: list[str | list[str]] = [group for group in spellings.values() if len(group) > 1]
    empty = sorted(set(classes) - filled)
    checks = []
    if not entries:
        message = f"there is no usable {example}; send class folders of {examples}: {contract.formats}"
        if contract.column:
            message += f"; or a table with a column `{contract.column}` and a row for each {example}"
        checks.append(Check("no_images", "error", message))
    elif target == "labels" and not filled:
        message = f"no {example} has a label; labels.csv needs {examples} with each label, and {examples} without it"
        checks.append(Check("no_labels", "error", message))
    elif target == "labels" and len(classes) > MOST_LABELS:
        message = f"there are {len(classes)} labels, and at most {MOST_LABELS} are allowed; keep the most frequent"
        checks.append(Check("too_many_labels", "error", message))
    elif target == "class" and len(filled) == 1:
        message = f"there is one class with {examples}; at least two are needed to tell them apart"
        checks.append(Check("one_class", "error", message, sorted(filled)))
    if empty:
        message = f"{_some(empty)} without any usable {example}: add {examples}, or remove the folder or label"
        checks.append(Check("empty_class", "error", message, empty))
    if same:
        message = f"classes whose names differ only by case or spaces ({_some(same[0])}): join them if they are one"
        checks.append(Check("class_names_collide", "warning", message, same))
    return checks


def check_entries(entries: Sequence[ManifestEntry], classes: Sequence[str], contract: Contract) -> list[Check]:
    """Look at the examples as they were split: copies, contradictions, leaks, balance or spread, the task's own."""
    return [
        *check_copies(entries, contract),
        *_check_groups(entries),
        *_check_balance(entries, classes, contract),
        *_check_labels(entries, classes, contract),
        *_check_values(entries),
        *contract.check_entries(entries),
    ]


def check_links(targets: Mapping[str, str], *, copies: int) -> Check:
    """Name the links of the archive that were followed; `targets` are link → what it leads to."""
    followed = counted(len(targets), "link was followed", "links were followed")
    as_copies = counted(copies, "file counts as a copy of another", "files count as copies of others")
    message = f"{followed}: {as_copies}"
    reasons = {link: f"a link to {target or 'the top'}" for link, target in targets.items()}
    return Check("links", "info", message, sorted(reasons), reasons)


def _check_groups(entries: Sequence[ManifestEntry]) -> list[Check]:
    places: dict[str, int] = {}  # group → its splits, a bit for each
    for entry in entries:
        if entry.group:
            places[entry.group] = places.get(entry.group, 0) | 1 << SPLITS.index(entry.split)
    leaks = sorted(group for group, splits in places.items() if splits.bit_count() > 1)
    if not leaks:
        return []
    message = f"{counted(len(leaks), 'group is', 'groups are')} in several splits: figures on them are too good"
    return [Check("groups_across_splits", "warning", message, leaks)]


def _check_labels(entries: Sequence[ManifestEntry], classes: Sequence[str], contract: Contract) -> list[Check]:
    """Look for labels that every example of the train split has."""
    shown = sum(entry.split == "train" for entry in entries)
    if not shown or any(entry.label for entry in entries if entry.split == "train"):
        return []
    train = counts(entries, classes)["train"]
    everywhere = [label for label, count in train.items() if count == shown]
    if not everywhere:
        return []
    message = f"{_some(everywhere)} on every {contract.example} of the train split: nothing shows what is not so"
    return [Check("label_on_every_image", "warning", message, everywhere)]


def _check_values(entries: Sequence[ManifestEntry]) -> list[Check]:
    """Look at numbers: all alike can't be learned; a few far away from all others are often no numbers, but codes."""
    train = sorted(entry.value for entry in entries if entry.value is not None and entry.split == "train")
    if not train:
        return []
    checks = []
    if train[0] == train[-1]:
        message = f"every value in the train split is {train[0]:g}: there is nothing to learn"
        checks.append(Check("values_all_equal", "error", message))
    median, quarter = train[len(train) // 2], len(train) // 4
    spread = train[-1 - quarter] - train[quarter]
    far = [entry.file for entry in entries if entry.value is not None and abs(entry.value - median) > FAR * spread]
    if spread > 0 and far:
        message = (
            f"{counted(len(far), 'value is', 'values are')} more than {FAR} times the middle half's spread "
            f"({spread:g}) away from the median ({median:g}): remove what stands for something unknown"
        )
        checks.append(Check("values_far_away", "warning", message, sorted(far)))
    return checks


def _check_balance(entries: Sequence[ManifestEntry], classes: Sequence[str], contract: Contract) -> list[Check]:
    checks, examples = [], contract.examples
    by_split = counts(entries, classes)
    for split in SPLITS:
        missing = [label for label in classes if not by_split[split][label]]
        if missing and split == "train":
            message = f"{_some(missing)} without {examples} in the train split: what is not shown can't be learned"
            checks.append(Check("class_missing_from_train", "error", message, missing))
        elif missing:
            message = (
                f"{_some(missing)} without {examples} in the {split} split: no figure will tell how well they are known"
            )
            checks.append(Check(f"class_missing_from_{split}", "warning", message, missing))
    totals = {label: sum(by_split[split][label] for split in SPLITS) for label in classes}
    filled = {label: count for label, count in totals.items() if count}
    if filled:
        most, least = max(filled, key=filled.__getitem__), min(filled, key=filled.__getitem__)
        ratio = filled[most] / filled[least]
        if ratio > IMBALANCE:
            message = (
                f"{filled[most]} {examples} of {most}, {filled[least]} of {least}: {ratio:.1f} to 1 favours {most}"
            )
            checks.append(Check("imbalance", "warning", message, [most, least]))
    return checks


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004  the five shown
    return ("class " if len(names) == 1 else "classes ") + shown + more
