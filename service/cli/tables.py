"""Tables without truncation: in columns if they fit, otherwise in blocks of columns; in a pipe, one line per row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

LEAST_PROSE = 24
"""smallest width of wrapped text, in characters, so that it stays readable"""


@dataclass(frozen=True)
class Sheet:
    """Rows of cells, each in rich's markup.

    On a terminal too narrow for all columns they are split into blocks, each of which repeats the first `keys` columns;
    only the columns in `prose` wrap, between words, and those in `folded`, between any characters. In a pipe each row
    is one line, its cells separated by tabs.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str] = ()
    prose: Sequence[str] = ()
    folded: Sequence[str] = ()
    keys: int = 1
    has_header: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title and the rows, as wide as the console allows."""
        if not console.is_terminal:
            yield from self._lines()
            return
        yield Text.from_markup(f"[bold]{self.title}", overflow="ignore")
        for start, end in pairwise(self._block_ends(console, options)):
            block = self._block([*range(min(self.keys, start)), *range(start, end)])
            width = max(options.max_width, _least_width(block, console, options))
            yield from console.render(block, options.update(width=width))

    def _lines(self) -> Iterator[Segment]:
        if self.title:
            yield _line(f"# {_plain(self.title)}")
        for row in [self.columns, *self.rows] if self.has_header else self.rows:
            yield _line("\t".join(map(_plain, row)))

    def _block_ends(self, console: Console, options: ConsoleOptions) -> list[int]:
        """Return where blocks begin and end: each has as many columns as fit, and one at least."""
        ends, keys = [0], range(self.keys)
        for end in range(self.keys + 1, len(self.columns) + 1):
            first = ends[-1]
            shown = [*(keys if first else ()), *range(first, end)]
            has_another = end - 1 > max(first, self.keys)
            if has_another and _least_width(self._block(shown), console, options) > options.max_width:
                ends.append(end - 1)
        return [*ends, len(self.columns)]

    def _block(self, numbers: Sequence[int]) -> Table:
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_header=self.has_header)
        for number in numbers:
            name = self.columns[number]
            cells = [line for row in [self.columns, *self.rows] for line in _shown(row[number]).splitlines()]
            wraps = name in self.prose or name in self.folded
            longest = _longest(cells)
            words = (word for cell in cells for word in cell.split()) if name in self.prose else ()
            least = max(min(longest, LEAST_PROSE), _longest(words)) if wraps else longest
            made.add_column(
                name,
                justify="right" if name in self.right else "left",
                no_wrap=not wraps,
                overflow="fold",
                min_width=least,
            )
        for row in self.rows:
            cells_of_row = ((self.columns[number], row[number]) for number in numbers)
            made.add_row(*(_Folded(cell) if name in self.folded else cell for name, cell in cells_of_row))
        return made


@dataclass(frozen=True)
class _Folded:
    """A cell that may break between any two characters, as texts without spaces do."""

    markup: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = _longest(_shown(self.markup).splitlines())
        return Measurement(min(longest, LEAST_PROSE), longest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text.from_markup(self.markup, overflow="fold")


def sheet(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    prose: Sequence[str] = (),
    folded: Sequence[str] = (),
    keys: int = 1,
) -> Sheet:
    """Return a table; the columns named in `right` are set flush right, those in `prose` and `folded` wrap."""
    return Sheet(title, columns, [*map(tuple, rows)], right=right, prose=prose, folded=folded, keys=keys)


def facts(title: str, rows: Iterable[tuple[str, str]]) -> Sheet:
    """Return names and what stands for each, the second in words that wrap."""
    return Sheet(title, ("name", "value"), [*rows], prose=("value",), has_header=False)


def _least_width(block: Table, console: Console, options: ConsoleOptions) -> int:
    return Measurement.get(console, options.update(max_width=100_000), block).minimum


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _shown(markup: str) -> str:
    return Text.from_markup(markup).plain


def _plain(markup: str) -> str:
    """Return what a cell shows, in one line without tabs."""
    return "; ".join(_shown(markup).replace("\t", " ").splitlines())


def _line(text: str) -> Segment:
    """Return a line as it is: a Text would have its tabs expanded."""
    return Segment(f"{text}\n")
