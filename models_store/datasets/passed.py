"""Checks of a dataset that found nothing, as sentences with counts: the second half of its report."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from models_store.datasets.checks import IMBALANCE
from models_store.datasets.manifest import SPLITS, ManifestEntry
from models_store.spec.facts import Target
from models_store.tasks.task import Contract, Passed
from models_store.wording import inflected

BALANCED = 1.5
"""examples of the largest class or label to those of the smallest, up to which they count as balanced"""


def passed(
    entries: Sequence[ManifestEntry],
    classes: Sequence[str],
    target: Target,
    contract: Contract,
    *,
    found: Collection[str],
) -> list[dict[str, Any]]:
    """Return each check that found nothing, with the number of things that it looked at; `found` are the others."""
    documents = [*_of_files(entries, contract, found), *_of_splits(entries, classes, target, contract, found)]
    if target == "number":
        documents += _of_values(entries, found)
    else:
        documents += _of_classes(entries, classes, target, contract, found)
    return [{"check": check, "count": count, "message": message} for check, count, message in documents]


def _of_files(entries: Sequence[ManifestEntry], contract: Contract, found: Collection[str]) -> Passed:
    count, example = len(entries), contract.example
    read = inflected(count, f"{example} was read, and it", f"{contract.examples} were read, and all of them")
    if "undecodable" not in found:
        yield "undecodable", count, f"{count:,} {read} can be decoded"
    yield from contract.passed(entries, found)
    if "exact_duplicates" not in found:
        yield "exact_duplicates", count, f"no {example} is in one split more than once, {contract.copies_are}"
    if "conflicting_labels" not in found:
        yield "conflicting_labels", count, f"no {example} is labelled in more than one way"


def _of_splits(
    entries: Sequence[ManifestEntry],
    classes: Sequence[str],
    target: Target,
    contract: Contract,
    found: Collection[str],
) -> Passed:
    sizes = Counter(entry.split for entry in entries)
    counts = ", ".join(f"{sizes[split]:,} in {split}" for split in SPLITS if sizes[split])
    if "duplicates_across_splits" not in found:
        yield "duplicates_across_splits", len(entries), f"no {contract.example} is in two splits ({counts})"
    groups = {entry.group for entry in entries if entry.group}
    if groups and "groups_across_splits" not in found:
        yield "groups_across_splits", len(groups), f"{_each_of(len(groups), 'group', 'groups')} is in one split"
    if target != "number" and not any(name.startswith("class_missing_from_") for name in found):
        shown = [split for split in SPLITS if sizes[split]]
        nouns = ("label", "labels") if target == "labels" else ("class", "classes")
        message = f"{_each_of(len(classes), *nouns)} has {contract.examples} in {', '.join(shown)}"
        yield "class_missing_from_split", len(classes), message


def _of_classes(
    entries: Sequence[ManifestEntry],
    classes: Sequence[str],
    target: Target,
    contract: Contract,
    found: Collection[str],
) -> Passed:
    examples = contract.examples
    counts = Counter(name for entry in entries for name in entry.names)
    if counts and "imbalance" not in found:
        most, least = max(counts.values()), min(counts.values())
        each = (
            f"{least:,} to {most:,} {examples} each"
            if most > least
            else f"{most:,} {inflected(most, contract.example, examples)} each"
        )
        is_balanced = most <= BALANCED * least
        reported = (
            f"{_noun(target)} are balanced" if is_balanced else f"none of the {_noun(target)} has {IMBALANCE} times "
        )
        yield (
            "imbalance",
            len(classes),
            f"{reported}: {each}" if is_balanced else f"{reported}the {examples} of another: {each}",
        )
    if "class_names_collide" not in found:
        yield "class_names_collide", len(classes), f"no two {_noun(target)} differ only by case or spaces"
    if target == "labels" and "label_on_every_image" not in found:
        yield "label_on_every_image", len(classes), f"no label is on every {contract.example} of the train split"


def _of_values(entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:
    values = [entry.value for entry in entries if entry.value is not None]
    if values and "values_far_away" not in found:
        message = f"values lie between {min(values):g} and {max(values):g}, none far away from the others"
        yield "values_far_away", len(values), message


def _each_of(count: int, one: str, many: str) -> str:
    return inflected(count, f"the only {one}", f"each of {count:,} {many}")


def _noun(target: Target) -> str:
    return "labels" if target == "labels" else "classes"
