"""Findings about the rows of tables: how many there are, and the first of them with their places."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from models_store.datasets.report import MOST_ERRORS, Check, Severity
from models_store.datasets.table_lines import Encoding, starts_of
from models_store.wording import inflected


class RowFindings:
    """What is wrong with rows, by the name of the check."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._rows: defaultdict[str, list[tuple[str, int, str]]] = defaultdict(list)

    def add(self, check: str, table: str, line: int, reason: str) -> None:
        """Note a row."""
        self.counts[check] += 1
        if len(self._rows[check]) < MOST_ERRORS:
            self._rows[check].append((table, line, reason))

    def files(self, check: str) -> list[str]:
        """Return the names of the first rows of a check."""
        return [f"{table}:{line}" for table, line, _ in self._rows[check]]

    def reasons(self, check: str, tables: Mapping[str, Path], encoding: Encoding) -> dict[str, str]:
        """Return the row's name → its line, the byte that it begins at, and what is wrong with it."""
        rows = self._rows[check]
        starts = {
            table: starts_of(path, {line for name, line, _ in rows if name == table}, encoding)
            for table, path in tables.items()
        }
        return {
            f"{table}:{line}": f"{place_of(line, starts[table].get(line))}: {reason}" for table, line, reason in rows
        }

    def checks(
        self, meanings: Mapping[str, tuple[Severity, str, str]], tables: Mapping[str, Path], encoding: Encoding
    ) -> Iterator[Check]:
        """Yield a check for each of `meanings` that was found: its severity, and what one row, or several, are."""
        for check, (severity, one, many) in meanings.items():
            if count := self.counts[check]:
                reasons = self.reasons(check, tables, encoding)
                message = f"{count} {inflected(count, one, many)} ({next(iter(reasons.values()))})"
                yield Check(check, severity, message, self.files(check), reasons, total=count)


def place_of(line: int, start: int | None) -> str:
    """Return where a row is, for people."""
    return f"line {line}" if start is None else f"line {line}, byte {start}"
