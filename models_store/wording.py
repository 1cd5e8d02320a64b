"""Singular and plural of the words that follow a number in a message."""

from collections.abc import Sequence


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return the count before its words: "1 file is", "2 files are". Without `many` the plural is `one` with an s."""
    return f"{count} {inflected(count, one, many)}"


def inflected(count: float, one: str, many: str | None = None) -> str:
    """Return `one` for a count of 1, and else `many`, or `one` with an s: for numbers that are formatted elsewhere."""
    if count == 1:
        return one
    return f"{one}s" if many is None else many


def any_of(words: Sequence[str]) -> str:
    """Return words as alternatives: "images", "images or texts", "images, texts or rows"."""
    *before, last = words
    return f"{', '.join(before)} or {last}" if before else last
