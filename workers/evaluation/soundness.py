"""Soundness of a trained model: warnings that it has learned nothing, from its figures, each with advice.

A figure within one standard deviation of guessing counts as guessing: on few examples it may be better than it seems.
"""

import math
from collections.abc import Mapping
from typing import Any

from models_store.targets import NUMBER, ONE_CLASS, Target
from models_store.wording import counted, inflected

Section = Mapping[str, Any]

NAMES = {"val": "validation", "test": "test"}
MOST_NAMED = 5
HALF = 0.5
LOOK = "Look at the labels and the training curve; a lower `optimizer.lr`, more epochs or another backbone may help"

MORE_EXAMPLES = "Add examples of it to the validation split, or let the service split the dataset"


def of_sections(sections: Mapping[str, Section], *, target: Target) -> list[str]:
    """Return the warnings about a model's answers to the val and test splits; `sections` are those of its report."""
    split = "test" if "test" in sections else "val"
    found = _of_answers(sections[split], target=target, name=NAMES[split]) if split in sections else []
    return [*found, *_absent(sections.get("val", {}))]


def _of_answers(section: Section, *, target: Target, name: str) -> list[str]:
    count = section["images"]
    if target is NUMBER:
        r2 = section.get("r2")
        if r2 is None or r2 > 0:
            return []
        return [
            f"on the {counted(count, f'{name} example')} the model is no better than their mean (R² {r2:.3g}). {LOOK}"
        ]
    rows = [row for row in section["per_class"] or () if row["support"]]
    recalls = [row["recall"] for row in rows if row["recall"] is not None]
    if len(recalls) > 1 and all(recall in {0, 1} for recall in recalls):
        constant = _constant(rows, target=target)
        if constant is not None:
            whole = inflected(count, f"the only {name} example", f"all {count} {name} examples")
            return [f"the model answers {constant} to {whole}. {LOOK}"]
    chance, reached, figure = _against_chance(section, rows, target=target)
    if reached is None or reached > chance + math.sqrt(chance * (1 - chance) / count):
        return []
    compared = f"{figure} {reached:.3g}, guessing {chance:.3g}"
    return [f"on the {counted(count, f'{name} example')} the model is no better than guessing ({compared}). {LOOK}"]


def _constant(rows: list[dict[str, Any]], *, target: Target) -> str | None:
    """Return what a model answers to every example, when that is the same; None when it differs."""
    answered = [row["label"] for row in rows if row["recall"] == 1]
    if target is ONE_CLASS:
        return repr(answered[0]) if len(answered) == 1 else None
    never = all(row["precision"] == 0 for row in rows if row["recall"] == 0)
    if not answered:
        return "no label" if never else None
    return None


def _against_chance(section: Section, rows: list[dict[str, Any]], *, target: Target) -> tuple[float, float | None, str]:
    if target is ONE_CLASS:
        return 1 / max(len(rows), 2), section.get("balanced_accuracy") if len(rows) > 1 else None, "balanced accuracy"
    return HALF, section.get("roc_auc_macro"), "area under the ROC curve"


def _absent(section: Section) -> list[str]:
    names = [str(row["label"]) for row in section.get("per_class") or () if not row["support"]]
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    shown = ", ".join(map(repr, names[:MOST_NAMED]))
    return [f"no validation example has {shown}{more}, so the model's accuracy for it is unknown. {MORE_EXAMPLES}"]
