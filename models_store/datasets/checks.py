"""What is looked at before any training, and the report of what was found, with the files' names."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from models_store.datasets.manifest import SPLITS, ManifestEntry, counts
from models_store.errors import FieldError, Invalid
from models_store.spec.facts import Target, fitting_white
from models_store.tasks.image.formats import ALLOWED

MOST_NAMES = 200  # in a report, for each check
MOST_ERRORS = 1000  # in a problem document
IMBALANCE = 10
TINY_SIDE = 16
FAR = 20  # interquartile ranges from the median
MOST_LABELS = 5000  # of a multi-label dataset: every image has a number for each
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Check:
    """One kind of finding: how bad, how many, and the names of files, of classes, or of groups of files."""

    check: str
    severity: Severity
    message: str
    files: Sequence[str | list[str]] = ()
    reasons: dict[str, str] = field(default_factory=dict)  # file → what is wrong with this one

    def as_json(self) -> dict[str, Any]:
        """Return the member of a report's `checks`; at most 200 names are listed, `count` counts all of them."""
        names = list(self.files[:MOST_NAMES])
        document = {
            "check": self.check,
            "severity": self.severity,
            "count": len(self.files),
            "message": self.message,
            "files": names,
        }
        if self.reasons:
            document["reasons"] = {name: self.reasons[name] for name in names if isinstance(name, str)}
        return document

    def as_errors(self) -> list[FieldError]:
        """Return one error for each file, or group of files, that was found."""
        names = [name if isinstance(name, str) else " = ".join(name) for name in self.files]
        return [FieldError(name, self.check, self.reasons.get(name, self.message)) for name in names or [""]]


class DatasetUnusable(Invalid):
    """The archive is sound, and what it holds can't be trained on; `errors` names each file, `report` all checks."""

    code = "dataset_unusable"
    title = "The dataset can't be used"

    def __init__(self, checks: Sequence[Check]) -> None:
        broken = [check for check in checks if check.severity == "error"]
        errors = [error for check in broken for error in check.as_errors()]
        super().__init__("; ".join(check.message for check in broken), errors=errors[:MOST_ERRORS])
        self.report = report(checks)

    def as_problem(self) -> dict[str, Any]:
        """Return the problem document, with the whole report beside the errors."""
        return super().as_problem() | {"report": self.report}


def report(checks: Iterable[Check]) -> dict[str, Any]:
    """Return the machine-readable report, the worst first."""
    order = {"error": 0, "warning": 1, "info": 2}
    return {"checks": [check.as_json() for check in sorted(checks, key=lambda check: order[check.severity])]}


def check_classes(classes: Sequence[str], entries: Sequence[ManifestEntry], target: Target) -> list[Check]:
    """Look at the classes or labels by themselves: too few, too many, empty ones, two that differ only by case.

    `classes` are all that the archive names, `entries` the usable images.
    """
    filled = {name for entry in entries for name in entry.names}
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(classes):
        spellings[" ".join(label.casefold().split())].append(label)
    same: list[str | list[str]] = [group for group in spellings.values() if len(group) > 1]
    empty = sorted(set(classes) - filled)
    checks = []
    if not entries:
        message = f"there is no usable image; send class folders of images: {ALLOWED}"
        checks.append(Check("no_images", "error", message))
    elif target == "labels" and not filled:
        message = "no image has a label; labels.csv needs images that bear each label, and images that don't"
        checks.append(Check("no_labels", "error", message))
    elif target == "labels" and len(classes) > MOST_LABELS:
        message = f"there are {len(classes)} labels, and at most {MOST_LABELS} are allowed; keep the most frequent"
        checks.append(Check("too_many_labels", "error", message))
    elif target == "class" and len(filled) == 1:
        message = "there is one class with images; at least two are needed to tell them apart"
        checks.append(Check("one_class", "error", message, sorted(filled)))
    if empty:
        message = f"{_some(empty)} without any usable image: add images, or remove the folder or label"
        checks.append(Check("empty_class", "error", message, empty))
    if same:
        message = f"classes whose names differ only by case or spaces ({_some(same[0])}): join them if they are one"
        checks.append(Check("class_names_collide", "warning", message, same))
    return checks


def check_entries(entries: Sequence[ManifestEntry], classes: Sequence[str]) -> list[Check]:
    """Look at the images as they were split: copies, contradictions, leaks, balance or spread, sizes."""
    checks = [*_check_copies(entries), *_check_groups(entries), *_check_balance(entries, classes)]
    checks += [*_check_labels(entries, classes), *_check_values(entries)]
    tiny = [entry.file for entry in entries if min(entry.width, entry.height) < TINY_SIDE]
    if tiny:
        message = f"{len(tiny)} images have a side below {TINY_SIDE} pixels; they are enlarged"
        checks.append(Check("tiny_images", "info", message, tiny))
    sizes = Counter((entry.width, entry.height) for entry in entries)
    if len(sizes) > 1:
        width, height = sizes.most_common(1)[0][0]
        message = f"the images have {len(sizes)} sizes, most often {width} x {height}; each is brought to the spec's"
        checks.append(Check("mixed_sizes", "info", message))
    return checks


def check_depth(peaks: Mapping[str, int]) -> list[Check]:
    """Look at images of 16 bits that use a small part of them; `peaks` are file → largest value."""
    largest = max(peaks.values(), default=0)
    if largest == 0 or (white := fitting_white(largest)) is None:
        return []
    message = (
        f"{len(peaks)} images of 16 bits use only 0 to {largest} of 65535, and would be shown nearly black; if their "
        f"values have {white.bit_length()} bits, train with `input.white_level` {white}"
    )
    reasons = {file: f"0 to {peak}" for file, peak in peaks.items()}
    return [Check("narrow_16_bit", "warning", message, sorted(peaks), reasons)]


def check_links(targets: Mapping[str, str], *, copies: int) -> Check:
    """Name the links of the archive that were followed; `targets` are link → what it leads to."""
    message = f"{len(targets)} links were followed: {copies} files count as copies of those they name"
    reasons = {link: f"a link to {target or 'the top'}" for link, target in targets.items()}
    return Check("links", "info", message, sorted(reasons), reasons)


def _check_copies(entries: Sequence[ManifestEntry]) -> list[Check]:
    by_content: defaultdict[str, list[ManifestEntry]] = defaultdict(list)
    for entry in entries:
        by_content[entry.sha256].append(entry)
    copies: list[str | list[str]] = []
    leaks: list[str | list[str]] = []
    conflicts: list[str | list[str]] = []
    for group in by_content.values():
        if len(group) == 1:
            continue
        files = sorted(entry.file for entry in group)
        if len({entry.split for entry in group}) > 1:
            leaks.append(files)
        if len({json.dumps(entry.target) for entry in group}) > 1:
            conflicts.append(files)
        for split in SPLITS:
            within = sorted(entry.file for entry in group if entry.split == split)
            if len(within) > 1:
                copies.append(within)
    found = [
        ("exact_duplicates", "{} images are in one split more than once, byte for byte; each copy counts", copies),
        ("duplicates_across_splits", "{} images are in several splits: figures on them are too good", leaks),
        ("conflicting_labels", "{} images are labelled in more than one way: decide which is right", conflicts),
    ]
    return [Check(name, "warning", message.format(len(groups)), groups) for name, message, groups in found if groups]


def _check_groups(entries: Sequence[ManifestEntry]) -> list[Check]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.group:
            splits[entry.group].add(entry.split)
    leaks = sorted(group for group, found in splits.items() if len(found) > 1)
    if not leaks:
        return []
    message = f"{len(leaks)} groups are in several splits: figures on them are too good"
    return [Check("groups_across_splits", "warning", message, leaks)]


def _check_labels(entries: Sequence[ManifestEntry], classes: Sequence[str]) -> list[Check]:
    """Look for labels that all images of the train split bear."""
    shown = [entry for entry in entries if entry.split == "train"]
    if not shown or any(entry.label for entry in shown):
        return []
    train = counts(shown, classes)["train"]
    everywhere = [label for label, count in train.items() if count == len(shown)]
    if not everywhere:
        return []
    message = f"{_some(everywhere)} on every image of the train split: nothing shows what is not so"
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
            f"{len(far)} values are more than {FAR} times the middle half's spread ({spread:g}) away from the median "
            f"({median:g}): if they stand for something unknown, remove them"
        )
        checks.append(Check("values_far_away", "warning", message, sorted(far)))
    return checks


def _check_balance(entries: Sequence[ManifestEntry], classes: Sequence[str]) -> list[Check]:
    checks = []
    by_split = counts(entries, classes)
    for split in SPLITS:
        missing = [label for label in classes if not by_split[split][label]]
        if missing and split == "train":
            message = f"{_some(missing)} without images in the train split: what is not shown can't be learned"
            checks.append(Check("class_missing_from_train", "error", message, missing))
        elif missing:
            message = (
                f"{_some(missing)} without images in the {split} split: no figure will tell how well they are known"
            )
            checks.append(Check(f"class_missing_from_{split}", "warning", message, missing))
    totals = {label: sum(by_split[split][label] for split in SPLITS) for label in classes}
    filled = {label: count for label, count in totals.items() if count}
    if filled:
        most, least = max(filled, key=filled.__getitem__), min(filled, key=filled.__getitem__)
        ratio = filled[most] / filled[least]
        if ratio > IMBALANCE:
            message = f"{filled[most]} images of {most}, {filled[least]} of {least}: {ratio:.1f} to 1 favours {most}"
            checks.append(Check("imbalance", "warning", message, [most, least]))
    return checks


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004  the five shown
    return ("class " if len(names) == 1 else "classes ") + shown + more
