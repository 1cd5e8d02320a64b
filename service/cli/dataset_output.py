"""Output about datasets as tables: what they hold, what was checked, and their examples."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from service.cli.output import NOTHING, Document, moment, size
from service.cli.tables import Sheet, facts, sheet

MOST_CHARACTERS = 60
"""of a text in a table"""


def dataset_table(datasets: Sequence[Document]) -> Sheet:
    """Return one line per dataset."""
    rows = [
        (
            dataset["id"],
            escape(dataset["name"]),
            f"{dataset['images']} {dataset['examples']}",
            "numbers" if dataset["target"] == "number" else str(len(dataset["classes"])),
            size(dataset["size_bytes"]),
            str(dataset["warnings"]),
            moment(dataset["created_at"]),
        )
        for dataset in datasets
    ]
    columns = ("id", "name", "examples", "classes", "size", "warnings", "created")
    return sheet("Datasets", columns, rows, right=("examples", "classes", "size", "warnings"))


def dataset_card(dataset: Document) -> Sheet:
    """Return one dataset: how many examples of each class or label are in each split; of numbers, where they lie."""
    counts = dataset["counts"]
    rows = [(escape(label), *(str(counts[split].get(label, 0)) for split in counts)) for label in dataset["classes"]]
    rows.append(("[bold]all", *(f"[bold]{count}" for count in dataset["splits"].values())))
    split = "split given by the archive" if dataset["split"] == "given" else "split made by the service"
    title = f"{escape(dataset['name'])} · {dataset['id']} · {dataset['images']} {dataset['examples']} · {split}"
    values = dataset["values"]
    if values is not None:
        title += f" · {values['minimum']:g} to {values['maximum']:g}, mean {values['mean']:g}"
    return sheet(title, ({"labels": "label"}.get(dataset["target"], "class"), *counts), rows, right=tuple(counts))


def dataset_report(report: Document) -> Group:
    """Return what a dataset's checks have found, and what they found in order."""
    parts: list[RenderableType] = [report_table(report)] if report["checks"] else ["no findings"]
    if report["passed"]:
        parts.append(
            facts("Checks without findings", [(each["check"], escape(each["message"])) for each in report["passed"]])
        )
    return Group(*parts)


def example_table(examples: Sequence[Document]) -> Sheet:
    """Return one line per example of a dataset: a text with its beginning, an image with its sides."""
    rows = [
        (
            example["id"],
            escape(example["file"]),
            example["split"],
            escape(_learned(example)),
            escape(_beginning(example)),
            size(example["size_bytes"]),
            ", ".join(example["findings"]) or NOTHING,
        )
        for example in examples
    ]
    content = "text" if any(example["text"] is not None for example in examples) else "pixels"
    columns = ("id", "file", "split", "label", content, "size", "findings")
    right, prose = (("size",), ("text", "findings")) if content == "text" else (("pixels", "size"), ("findings",))
    return sheet("Examples", columns, rows, right=right, prose=prose)


def preview_table(found: Document) -> Sheet:
    """Return examples, each with its changed copies below it."""
    rows = []
    for example in found["items"]:
        rows.append((escape(example["file"]), "", escape(_in_one_line(example["text"]))))
        for change in (*example["parts"], *example["views"]):
            mixed = change["mixed_with"]
            other = "" if mixed is None else f" + {change['share']:.0%} of: {_in_one_line(mixed)}"
            rows.append(("", change["part"] or "all parts", escape(_in_one_line(change["text"]) + other)))
    return sheet("Augmentation", ("file", "changed by", "text"), rows, folded=("text",), keys=2)


def _in_one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _learned(example: Document) -> str:
    """Return an example's class, labels or number."""
    if example["value"] is not None:
        return f"{example['value']:g}"
    return str(example["label"]) if example["label"] is not None else ", ".join(example["labels"]) or NOTHING


def _beginning(example: Document) -> str:
    """Return an example's beginning in one line, or its sides."""
    if example["text"] is not None:
        line = _in_one_line(example["text"])
        return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
    return NOTHING if example["width"] is None else f"{example['width']} x {example['height']}"


def report_table(report: Document) -> Sheet:
    """Return one line per finding of a dataset's checks."""
    rows = [
        (check["severity"], check["check"], str(check["count"]), escape(check["message"]), _some(check["files"]))
        for check in report["checks"]
    ]
    columns = ("severity", "check", "count", "finding", "files")
    return sheet("Checks", columns, rows, right=("count",), prose=("finding",), keys=2)


def _some(files: Sequence[Any]) -> str:
    shown = [" = ".join(file) if isinstance(file, list) else str(file) for file in files[:3]]
    return escape("\n".join(shown) + (f"\n… {len(files) - 3} more" if len(files) > 3 else ""))  # noqa: PLR2004  as cut above
