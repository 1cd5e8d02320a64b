"""Formats of tables whose rows are examples, by the endings of files and by content types."""

from typing import Literal

Format = Literal["csv", "tsv", "jsonl", "fasttext"]
ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".ft.txt": "fasttext",
}
MEDIA_TYPES: dict[str, Format] = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "text/plain": "fasttext",
}


def format_of(name: str) -> Format | None:
    """Return the format of a file of this name; None if it is no table's."""
    folded = name.lower()
    return next((format_ for ending, format_ in ENDINGS.items() if folded.endswith(ending)), None)


def media_type_of(name: str) -> str | None:
    """Return the content type that a table of this name is sent as; None if it is no table's."""
    format_ = format_of(name)
    return next((media for media, kind in MEDIA_TYPES.items() if kind == format_), None)
