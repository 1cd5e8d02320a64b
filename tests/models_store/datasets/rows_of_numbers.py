"""A second task, beside images: its examples are rows of numbers, each in a JSON file of its own."""

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from models_store.datasets.example import Example, Inspected
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.settings import Settings
from models_store.tasks.task import Contract

FORMATS = "JSON"


class RowContract(Contract):
    """Rows of numbers, as datasets of them are made."""

    targets = {"row_classification": "class"}  # noqa: RUF012  one for everybody
    example, examples = "row", "rows"
    json_example = list[float]
    json_meaning = "rows of numbers"
    json_sample = (1.5, -2)
    formats = FORMATS
    findings = ("short_rows",)
    excerpt_characters = 10

    def is_example(self, path: PurePosixPath, head: bytes) -> bool:  # noqa: ARG002  by its name alone
        return path.suffix == ".json"

    def most_bytes(self, settings: Settings) -> int:  # noqa: ARG002  no setting
        return 1000

    def inspect(self, data: bytes, *, settings: Settings, budget: None) -> Inspected | str:  # noqa: ARG002  no limits
        try:
            row = [float(number) for number in json.loads(data)]
        except (TypeError, ValueError):
            return "it holds no list of numbers"
        return Inspected("json", facts={"length": len(row)}, passing={"largest": max(row)})

    def check_entries(self, entries: Sequence[ManifestEntry]) -> list[Check]:
        short = [entry.file for entry in entries if entry.facts["length"] < 2]
        return [Check("short_rows", "info", f"{len(short)} rows are short", short)] if short else []

    def card_facts(self, examples: Iterable[Example], entries: Sequence[ManifestEntry]) -> dict[str, Any]:  # noqa: ARG002  not needed
        return {"largest": max(example.passing["largest"] for example in examples)}


ROWS = RowContract()


def row_files(*classes: str, count: int = 10, length: int = 3) -> dict[str, bytes]:
    """Return files of rows in class folders, all of them different."""
    return {
        f"{name}/{number:02d}.json": json.dumps([place + 0.01 * number] * length).encode()
        for place, name in enumerate(classes)
        for number in range(count)
    }
