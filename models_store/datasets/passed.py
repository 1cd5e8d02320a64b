"""What a dataset's checks have looked at and found in order, in words with counts: the other half of its report."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from models_store.datasets.checks import IMBALANCE, TINY_SIDE
from models_store.datasets.manifest import SPLITS, ManifestEntry
from models_store.spec.facts import Target

BALANCED = 1.5
"""images of the largest class or label to those of the smallest, up to which they count as balanced"""


def passed(
    entries: Sequence[ManifestEntry], classes: Sequence[str], target: Target, *, found: Collection[str]
) -> list[dict[str, Any]]:
    """Return each check that found nothing, with the number of things that it looked at; `found` are the others."""
    told = [*_of_files(entries, found), *_of_splits(entries, classes, target, found)]
    told += _of_values(entries, found) if target == "number" else _of_classes(entries, classes, target, found)
    return [{"check": check, "count": count, "message": message} for check, count, message in told]


Told = Iterator[tuple[str, int, str]]


def _of_files(entries: Sequence[ManifestEntry], found: Collection[str]) -> Told:
    count, sizes = len(entries), {(entry.width, entry.height) for entry in entries}
    if "undecodable" not in found:
        yield "undecodable", count, f"{count:,} images were read, and all of them can be decoded"
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        yield "mixed_sizes", count, f"all images are {width} x {height} pixels"
    if "tiny_images" not in found:
        yield "tiny_images", count, f"no image has a side below {TINY_SIDE} pixels"
    if "exact_duplicates" not in found:
        yield "exact_duplicates", count, "no image is in one split more than once, byte for byte"
    if "conflicting_labels" not in found:
        yield "conflicting_labels", count, "no image is labelled in more than one way"


def _of_splits(
    entries: Sequence[ManifestEntry], classes: Sequence[str], target: Target, found: Collection[str]
) -> Told:
    images = Counter(entry.split for entry in entries)
    counts = ", ".join(f"{images[split]:,} in {split}" for split in SPLITS if images[split])
    if "duplicates_across_splits" not in found:
        yield "duplicates_across_splits", len(entries), f"no image is in two splits ({counts})"
    groups = {entry.group for entry in entries if entry.group}
    if groups and "groups_across_splits" not in found:
        yield "groups_across_splits", len(groups), f"each of {len(groups):,} groups is in one split"
    if target != "number" and not any(name.startswith("class_missing_from_") for name in found):
        shown = [split for split in SPLITS if images[split]]
        message = f"each of {len(classes):,} {_noun(target)} has images in {', '.join(shown)}"
        yield "class_missing_from_split", len(classes), message


def _of_classes(
    entries: Sequence[ManifestEntry], classes: Sequence[str], target: Target, found: Collection[str]
) -> Told:
    counts = Counter(name for entry in entries for name in entry.names)
    if counts and "imbalance" not in found:
        most, least = max(counts.values()), min(counts.values())
        each = f"{least:,} to {most:,} images each" if most > least else f"{most:,} images each"
        is_balanced = most <= BALANCED * least
        told = f"{_noun(target)} are balanced" if is_balanced else f"none of the {_noun(target)} has {IMBALANCE} times "
        yield "imbalance", len(classes), f"{told}: {each}" if is_balanced else f"{told}the images of another: {each}"
    if "class_names_collide" not in found:
        yield "class_names_collide", len(classes), f"no two {_noun(target)} differ only by case or spaces"
    if target == "labels" and "label_on_every_image" not in found:
        yield "label_on_every_image", len(classes), "no label is on every image of the train split"


def _of_values(entries: Sequence[ManifestEntry], found: Collection[str]) -> Told:
    values = [entry.value for entry in entries if entry.value is not None]
    if values and "values_far_away" not in found:
        message = f"values lie between {min(values):g} and {max(values):g}, none far away from the others"
        yield "values_far_away", len(values), message


def _noun(target: Target) -> str:
    return "labels" if target == "labels" else "classes"
