"""Table of predictions: what is answered about each example, how sure that is, and what is noted of it."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.markup import escape

from models_store.tasks import rooms
from service.cli.tables import Sheet, sheet

Document = dict[str, Any]

NOTHING = "-"
MOST_TEXT_CELLS = 100
"""width of the beginning of a text that is shown on a terminal"""
MOST_PARTS = 3
"""parts of an example that are shown as reasons of an answer"""


def prediction_table(
    answer: Document,
    examples: Sequence[str],
    samples: Sequence[Document] | None = None,
    *,
    title: str | None = None,
    column: str = "file",
) -> Sheet:
    """Return one line per example, named in the first column; with `samples`, whether what is said is so."""
    predictions: Sequence[Document] = answer["predictions"]
    said = [*map(_said, predictions)]
    columns: dict[str, Sequence[str]] = {column: [*map(escape, examples)], "answer": [each[0] for each in said]}
    if samples is not None:
        columns["judged"] = [_judged(each, sample) for each, sample in zip(predictions, samples, strict=True)]
    columns |= {"probability": [each[1] for each in said], "next": [each[2] for each in said]}
    if "calibration" in answer:
        columns["set"] = [*map(_held, predictions)]
    if any("weights" in each.get("explanation", {}) for each in predictions):
        columns["because"] = [*map(_because, predictions)]
    if any(notes := [*map(_notes, predictions)]):
        columns["notes"] = notes
    heading = title or f"{answer['model']}:{answer['version']}/{answer['variant']} · {answer['provider']}"
    rows = zip(*columns.values(), strict=True)
    prose = ("next", "set", "because", "notes")
    return sheet(heading, [*columns], rows, right=("probability",), prose=prose, folded=("text",))


def text_cell(text: str, *, whole: bool) -> str:
    """Return a text in one line without control characters; unless it is to be whole, its beginning."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if whole or cell_len(line) <= MOST_TEXT_CELLS:
        return line
    return f"{set_cell_size(line, MOST_TEXT_CELLS - 1).rstrip()}…"


def _said(prediction: Document) -> tuple[str, str, str]:
    """Return what is said of an example, how sure that is, and what else may be."""
    if "value" in prediction:
        return f"{prediction['value']:g}", NOTHING, ""
    if "abstained" in prediction:
        rest = " · ".join(f"{escape(top['label'])} {top['probability']:.3f}" for top in prediction["top"])
        return "[yellow]none[/]", f"{prediction['probability']:.3f}", rest
    said = prediction.get("labels", [prediction.get("label")])
    likely = [f"{top['probability']:.3f}" for top in prediction["top"] if top["label"] in said]
    others = [top for top in prediction["top"] if top["label"] not in said]
    rest = " · ".join(f"{escape(top['label'])} {top['probability']:.3f}" for top in others)
    return escape(", ".join(said)) or NOTHING, ", ".join(likely) or NOTHING, rest


def _held(prediction: Document) -> str:
    """Return the conformal set or interval, if there is one."""
    if "interval" in prediction:
        low, high = prediction["interval"]
        return f"{low:g} to {high:g}"
    return escape(", ".join(prediction.get("set", []))) or NOTHING


def _because(prediction: Document) -> str:
    """Return the parts of the example that the answer depends on most."""
    weights = prediction.get("explanation", {}).get("weights", [])
    weighing = [part for part in weights if round(part["weight"], 3)]
    most = sorted(weighing, key=lambda part: -abs(part["weight"]))[:MOST_PARTS]
    return " · ".join(f"{escape(text_cell(part['text'], whole=False))} {part['weight']:+.3f}" for part in most)


def _notes(prediction: Document) -> str:
    """Return what is noted of the example, where that is more than usual."""
    found = []
    for name in {name for contract in rooms.TASKS for name in contract.notes}:
        value = prediction.get(name)
        if value is True:
            found.append(name)
        elif value and round(value, 2):
            found.append(f"{name.replace('_', ' ')} {value:.2f}")
    return ", ".join(sorted(found))


def _judged(prediction: Document, sample: Document) -> str:
    """Return whether the prediction is right; of a number, what is true."""
    if sample["value"] is not None:
        return f"true: {sample['value']:g}"
    if sample["labels"] is not None:
        right, true = set(prediction["labels"]) == set(sample["labels"]), ", ".join(sample["labels"]) or NOTHING
    else:
        right, true = prediction["label"] == sample["label"], sample["label"]
    return "[green]right[/]" if right else f"[red]wrong: {escape(true)}[/]"
