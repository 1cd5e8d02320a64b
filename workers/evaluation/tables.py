"""Tables of a report's page. What goes into a cell is escaped already: by `text`, or by `cell` for any JSON."""

import html
from collections.abc import Collection, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int, long: Collection[str] = ()) -> str:
    """Return a table; the last `numbers` columns are flush right, those in `long` hold texts of several lines.

    The columns' names are escaped here.
    """
    first = len(columns) - numbers
    kinds = ["number" if place >= first else "text" if name in long else "" for place, name in enumerate(columns)]

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = (f' class="{kind}"' if kind else "" for kind in kinds)
        return (
            "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in zip(marks, cells, strict=True)) + "</tr>"
        )

    head = line("th", [text(column) for column in columns])
    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def cell(value: Any) -> str:  # noqa: ANN401  any JSON
    """Return a value as it stands in a cell; nothing for None."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return text("; ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value))


def text(plain: str) -> str:
    """Return a text without anything that a browser would take for a tag."""
    return html.escape(plain)
