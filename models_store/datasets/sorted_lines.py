"""Lines of text in order, sorted on disk: memory for some thousands of them at a time."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

SORTED_AT_ONCE = 20_000


def sorted_lines(lines: Iterable[str], scratch: Path) -> Iterator[str]:
    """Yield the lines in order; runs of them are kept in files that are named after `scratch`, and removed."""
    remaining, runs = iter(lines), list[Path]()
    while run := sorted(islice(remaining, SORTED_AT_ONCE)):
        path = scratch.with_name(f"{scratch.name}-{len(runs)}")
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(run)
        runs.append(path)
    try:
        yield from heapq.merge(*map(_lines_of, runs))
    finally:
        for path in runs:
            path.unlink()


def _lines_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from file
