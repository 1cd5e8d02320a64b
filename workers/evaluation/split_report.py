"""Report of one split: every figure of its target, the intervals, the worst answers, and the pictures of it all."""

# N examples, K classes or labels (1 for a number), H height, W width, C channel

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.spec.evaluation import Evaluation
from models_store.targets import LABELS, NUMBER, ONE_CLASS, Target
from workers.evaluation import bootstrap, calibration, figures, metrics, multilabel, ranking, regression
from workers.evaluation.calibration import Scores
from workers.evaluation.input_facts import Lengths, by_length
from workers.evaluation.pictures import classes as class_pictures
from workers.evaluation.pictures import mistakes as contact_sheet
from workers.evaluation.pictures import values
from workers.evaluation.pictures.canvas import Picture, short

Section = dict[str, Any]
Members = npt.NDArray[np.bool_]
Shown = npt.NDArray[np.uint8] | str | None
"""an example as a picture (H, W, C), or as text; None where there is nothing to see"""

LARGEST_MATRIX = 200  # classes: 40,000 numbers
MOST_SHOWN = 500
"""characters of a text that a report shows"""
CURVES = {
    "roc": ("roc_auc", ranking.roc_curve),
    "precision_recall": ("average_precision", ranking.precision_recall_curve),
}


@dataclass(frozen=True)
class Split:
    """What a file answered to the examples of one split, in their order, and what is true.

    `targets` are int64 (N,) classes, float (N, K) of 0 and 1 for labels, or float (N, 1) numbers. `averaged_NK` are the
    means over changed copies of each example, where those were asked for.
    """

    name: str
    outputs_NK: Scores  # noqa: N815  the shape is part of the name
    targets: npt.NDArray[Any]
    files: Sequence[str]
    show: Callable[[int], Shown]
    """place in the split → the example for a reader"""
    lengths: Lengths | None = None
    """of the examples, where they have one"""
    notes: Mapping[str, float] = field(default_factory=dict)
    """what serving notes about the examples, as means"""
    averaged_NK: Scores | None = None  # noqa: N815  as above
    leaked_N: Members | None = None  # noqa: N815  as above
    """which examples have a copy in train"""


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: where in the split it is, what the report says of it, and the two lines below its thumbnail."""

    place: int
    reported: Section
    caption: tuple[str, str]


@dataclass(frozen=True)
class SplitReport:
    """A split's part of the report: what is JSON, and its pictures."""

    section: Section
    pictures: list[Picture]


def report_on(
    split: Split, *, target: Target, classes: list[str], evaluation: Evaluation, temperature: float, seed: int
) -> SplitReport:
    """Return everything that there is to say of a split; `temperature` is what the file divides its logits by."""
    of = {"class": _of_classes, "labels": _of_labels, "number": _of_numbers}[target.name]
    return of(split, classes, evaluation, temperature, seed)


def for_card(section: Section) -> Section:
    """Return what a version's card keeps of a section: the headline with its intervals, and the figures per class."""
    kept = ("images", *section["headline"], "intervals", "undefined", "test_time_augmentation", "leaks")
    return {name: section[name] for name in (*kept, "per_class", "confusion_matrix") if name in section}


def _of_classes(split: Split, classes: list[str], evaluation: Evaluation, temperature: float, seed: int) -> SplitReport:
    outputs_NK, labels_N = split.outputs_NK, split.targets
    found = bootstrap.classification(outputs_NK, labels_N, samples=evaluation.bootstrap_samples, seed=seed)
    section = _section(split, ONE_CLASS, classes, found, evaluation)
    unscaled_NK = calibration.before_scaling(outputs_NK, temperature=temperature, activation="softmax")
    section["before_scaling"] = metrics.calibrated(unscaled_NK, labels_N)
    matrix, rows = section["confusion_matrix"], section["per_class"]
    section["confusions"] = class_pictures.confusions(matrix, rows)
    section["curves"] = _curves(rows, outputs_NK, labels_N[:, None] == np.arange(len(classes)))
    pictures = [
        class_pictures.confusion(matrix, rows, split=split.name),
        *_pictures_of_rows(section, temperature=temperature, split=split.name),
    ]
    if len(classes) > LARGEST_MATRIX:
        section["confusion_matrix"] = None
    return _with_mistakes(split, section, pictures, _wrong_classes(split, classes, most=evaluation.mistakes))


def _of_labels(split: Split, labels: list[str], evaluation: Evaluation, temperature: float, seed: int) -> SplitReport:
    outputs_NK, members_NK = split.outputs_NK, LABELS.as_answers(split.targets)
    found = multilabel.intervals(outputs_NK, members_NK, samples=evaluation.bootstrap_samples, seed=seed)
    section = _section(split, LABELS, labels, found, evaluation)
    unscaled_NK = calibration.before_scaling(outputs_NK, temperature=temperature, activation="sigmoid")
    section["before_scaling"] = multilabel.calibrated(unscaled_NK, members_NK)
    section["curves"] = _curves(section["per_class"], outputs_NK, members_NK)
    pictures = _pictures_of_rows(section, temperature=temperature, split=split.name)
    return _with_mistakes(split, section, pictures, _wrong_labels(split, members_NK, labels, most=evaluation.mistakes))


def _of_numbers(split: Split, _: list[str], evaluation: Evaluation, __: float, seed: int) -> SplitReport:
    answers_N, true_N = NUMBER.answers(split.outputs_NK), NUMBER.as_answers(split.targets)
    found = regression.intervals(answers_N, true_N, samples=evaluation.bootstrap_samples, seed=seed)
    section = _section(split, NUMBER, [], found, evaluation)
    pictures = [
        values.scatter(answers_N, true_N, split=split.name),
        values.errors(answers_N, true_N, split=split.name),
    ]
    return _with_mistakes(split, section, pictures, _far_off(split, answers_N, true_N, most=evaluation.mistakes))


def _section(
    split: Split,
    target: Target,
    names: list[str],
    intervals: bootstrap.Intervals,
    evaluation: Evaluation,
) -> Section:
    section = figures.evaluate(target, split.outputs_NK, split.targets, names) | {
        "headline": list(target.headline),
        "intervals": {name: interval for name, interval in intervals.items() if interval},
        "test_time_augmentation": None,
        "input_notes": dict(split.notes) or None,
        "by_length": None
        if split.lengths is None
        else by_length(split.lengths, target.answers(split.outputs_NK), split.targets, target=target),
    }
    section["leaks"] = _leaks(split, target, names)
    if split.averaged_NK is not None and evaluation.views:
        averaged = figures.evaluate(target, split.averaged_NK, split.targets, names)
        defined = [name for name in target.headline if averaged[name] is not None and section[name] is not None]
        section["test_time_augmentation"] = {
            "views": evaluation.views,
            "figures": {name: averaged[name] for name in target.headline},
            "gain": {name: averaged[name] - section[name] for name in defined},
        }
    return section


def _leaks(split: Split, target: Target, names: list[str]) -> Section | None:
    """Return the headline of the examples without a copy in train, and of those with one; None: there is no such."""
    if split.leaked_N is None or not split.leaked_N.any():
        return None
    found: Section = {}
    for name, rows_N in (("clean", ~split.leaked_N), ("leaked", split.leaked_N)):
        count = int(rows_N.sum())
        measured = figures.evaluate(target, split.outputs_NK[rows_N], split.targets[rows_N], names) if count else {}
        found[name] = {"images": count, "figures": {each: measured.get(each) for each in target.headline}}
    return found


def _curves(rows: list[Section], outputs_NK: Scores, members_NK: Members) -> Section:
    """Return the curves of the worst classes, by label; a report of all would be megabytes of points."""
    found: Section = {}
    for kind, (figure, curve) in CURVES.items():
        worst = class_pictures.worst(rows, figure)
        curves = {rows[number]["label"]: curve(members_NK[:, number], outputs_NK[:, number]) for number in worst}
        found[kind] = {label: points for label, points in curves.items() if points is not None}
    return found


def _pictures_of_rows(section: Section, *, temperature: float, split: str) -> list[Picture | None]:
    rows, before = section["per_class"], section["before_scaling"]
    pictures = [
        class_pictures.per_class(rows, split=split),
        *(class_pictures.curves(kind, section["curves"][kind], rows, split=split) for kind in CURVES),
    ]
    if section["reliability"] is not None:
        errors = (before["expected_calibration_error"], section["expected_calibration_error"])
        bins = before["reliability"], section["reliability"]
        pictures.append(class_pictures.reliability(*bins, errors=errors, temperature=temperature, split=split))
    return pictures


def _with_mistakes(
    split: Split, section: Section, pictures: list[Picture | None], mistakes: list[Mistake]
) -> SplitReport:
    shown = [split.show(each.place) for each in mistakes]
    section["mistakes"] = [_with_text(each.reported, example) for each, example in zip(mistakes, shown, strict=True)]
    pairs = zip(shown, mistakes, strict=True)
    seen = [(example, each.caption) for example, each in pairs if isinstance(example, np.ndarray)]
    sheet = contact_sheet.sheet([picture for picture, _ in seen], [caption for _, caption in seen], split=split.name)
    return SplitReport(section, [picture for picture in (*pictures, sheet) if picture is not None])


def _with_text(reported: Section, example: Shown) -> Section:
    """Return what is reported of a mistake, with the example behind its file if it is a text."""
    if not isinstance(example, str):
        return reported
    cut = example if len(example) <= MOST_SHOWN else example[: MOST_SHOWN - 1] + "…"
    return {"file": reported["file"], "text": cut} | reported


def _wrong_classes(split: Split, classes: list[str], *, most: int) -> list[Mistake]:
    """Return the wrong answers of highest confidence, highest first."""
    sure_N, answers_N = split.outputs_NK.max(axis=1), ONE_CLASS.answers(split.outputs_NK)
    wrong = np.flatnonzero((answers_N != split.targets) & np.isfinite(sure_N))
    found = []
    for place in wrong[np.argsort(-sure_N[wrong], kind="stable")][:most].tolist():
        label, answer, confidence = classes[split.targets[place]], classes[answers_N[place]], float(sure_N[place])
        reported = {"file": split.files[place], "label": label, "answer": answer, "confidence": confidence}
        found.append(Mistake(place, reported, (f"{short(label)} →", f"{short(answer)} {confidence:.0%}")))
    return found


def _wrong_labels(split: Split, members_NK: Members, labels: list[str], *, most: int) -> list[Mistake]:
    """Return the wrong yes and no of highest confidence, highest first."""
    outputs_NK = split.outputs_NK
    sure_NK = np.maximum(outputs_NK, 1 - outputs_NK)
    wrong_NK = (LABELS.answers(outputs_NK) != members_NK) & np.isfinite(outputs_NK)
    order = np.argsort(np.where(wrong_NK, -sure_NK, 0), axis=None, kind="stable")[: min(most, int(wrong_NK.sum()))]
    found = []
    for place, number in zip(*(axis.tolist() for axis in np.unravel_index(order, wrong_NK.shape)), strict=True):
        is_there, confidence = bool(members_NK[place, number]), float(sure_NK[place, number])
        answer = "no" if is_there else "yes"
        reported = {"file": split.files[place], "label": labels[number], "answer": answer, "confidence": confidence}
        caption = (short(labels[number]), f"{'is there' if is_there else 'is not'}: {answer} {confidence:.0%}")
        found.append(Mistake(place, reported, caption))
    return found


def _far_off(
    split: Split, answers_N: npt.NDArray[np.float64], true_N: npt.NDArray[np.float64], *, most: int
) -> list[Mistake]:
    """Return the answers farthest off, farthest first."""
    errors_N = answers_N - true_N
    finite = np.flatnonzero(np.isfinite(errors_N))
    found = []
    for place in finite[np.argsort(-np.abs(errors_N[finite]), kind="stable")][:most].tolist():
        true, answer, error = float(true_N[place]), float(answers_N[place]), float(errors_N[place])
        reported = {"file": split.files[place], "true": true, "answer": answer, "error": error}
        found.append(Mistake(place, reported, (f"{true:.4g} →", f"{answer:.4g} ({error:+.3g})")))
    return found
