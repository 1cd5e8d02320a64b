"""Log of a job: lines for people through all its attempts, read from its events.

A line is a `log` event, which a trainer or its supervisor has written, or tells of a change of the job's state or of
the end of a child. A job keeps its first and its newest lines; one between them says how many were left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, literal_column, select, update

from models_store.jobs import events, families, kinds
from models_store.storage import tables
from models_store.storage.database import Database
from models_store.wording import counted, inflected

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error")

MOST_CHARACTERS = 2000
"""of one line"""
MOST_LINES, MOST_KEPT = 10_000, 1_000_000
"""Lines of one job, and their characters; where there are more, the middle is left out."""
FIRST_LINES, FIRST_KEPT = 2000, 200_000
NEWEST_LINES, NEWEST_KEPT = 6000, 600_000
"""what is kept then: less than the most, so that it is not done at every line"""

READ_AT_ONCE = 1000
ESCAPE = re.compile(
    r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])?"
)
UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
PASSWORD = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One line of a job's log; `attempt` is counted from 1, `stage` is the phase that it was written in."""

    seq: int
    at: float
    attempt: int | None
    level: Level
    stage: str | None
    message: str


@dataclass(frozen=True)
class Page:
    """Lines, and the number to go on after; None: that was the last line so far."""

    lines: list[Line]
    following: int | None


def clean(text: str) -> list[str]:
    """Return the lines of a text as they are kept: of printable characters, each of bounded length, no password.

    Of a line that was written over and over, as progress bars are, its last state stays.
    """
    lines = []
    for raw in re.split(r"\r?\n", ESCAPE.sub("", text)):
        last = raw.rstrip("\r").rpartition("\r")[2].replace("\t", "    ")
        line = PASSWORD.sub(r"\g<scheme>…@", UNSHOWN.sub("", last)).rstrip()
        if len(line) > MOST_CHARACTERS:
            line = f"{line[:MOST_CHARACTERS]} … ({counted(len(line) - MOST_CHARACTERS, 'more character')})"
        if line:
            lines.append(line)
    return lines


class Lines:
    """Turns a job's events, in their order, into lines. `attempt` is that under way before the first of them."""

    def __init__(self, *, kind: str, attempt: int | None = None) -> None:
        self._is_parent = kinds.of(kind).is_parent
        self._attempt = attempt

    def of(self, event: events.Event) -> Line | None:
        """Return the line of an event; None: it has none."""
        data = event.data
        if event.kind == "state" and data["state"] == "running" and "attempt" in data:
            self._attempt = data["attempt"]
        match event.kind:
            case "log":
                attempt = data.get("attempt", self._attempt)
                level = data.get("level", "info")
                return Line(event.seq, event.created_at, attempt, level, data.get("stage"), data["text"])
            case "state":
                line = _of_state(data, attempt=self._attempt, is_parent=self._is_parent)
            case "child":
                line = _of_child(data)
            case _:
                line = None
        return None if line is None else Line(event.seq, event.created_at, self._attempt, line[0], None, line[1])


def lines_after(database: Database, job_id: str, seq: int, *, kind: str) -> Lines:
    """Return what turns the events after this one into lines."""
    event = tables.job_event
    query = select(event.c.data).where(event.c.job_id == job_id, _has_line(), event.c.kind == "state")
    query = query.where(event.c.seq <= seq).order_by(event.c.seq.desc())
    with database.read() as connection:
        states = connection.execute(query).scalars()
        attempt = next((data["attempt"] for data in states if "attempt" in data), None)
    return Lines(kind=kind, attempt=attempt)


def page(
    database: Database,
    job_id: str,
    *,
    kind: str,
    after: int,
    limit: int,
    attempt: int | None = None,
    level: Level = "info",
) -> Page:
    """Return up to `limit` lines numbered above `after`, oldest first: of one attempt, of this level and worse."""
    rendering = lines_after(database, job_id, after, kind=kind)
    found: list[Line] = []
    while read := _read(database, job_id, after):
        for each in read:
            line = rendering.of(each)
            if line is not None and is_wanted(line, attempt=attempt, level=level):
                if len(found) == limit:
                    return Page(found, found[-1].seq)
                found.append(line)
        after = read[-1].seq
    return Page(found, None)


def is_wanted(line: Line, *, attempt: int | None, level: Level) -> bool:
    """Tell whether a line is of the attempt, where one is given, and of the level or worse."""
    return (attempt is None or line.attempt == attempt) and LEVELS.index(line.level) >= LEVELS.index(level)


def kept(database: Database, job_id: str) -> tuple[int, int]:
    """Return how many lines and characters trainers and their supervisors have left in a job's log."""
    with database.read() as connection:
        sizes = [len(row.data["text"]) for row in _written(connection, job_id)]
    return len(sizes), sum(sizes)


def trim(database: Database, job_id: str) -> tuple[int, int]:
    """Leave out the middle of a job's log; return how many lines and characters stay."""
    event = tables.job_event
    with database.write() as connection:
        rows = _written(connection, job_id)
        cut = next((place for place, row in enumerate(rows) if "left_out" in row.data), len(rows))  # by an earlier trim
        first = min(cut, _fitting(rows, most=FIRST_LINES, characters=FIRST_KEPT))
        newest = _fitting(rows[::-1], most=min(NEWEST_LINES, len(rows) - first), characters=NEWEST_KEPT)
        middle = rows[first : len(rows) - newest]
        if middle:
            left_out = sum(row.data.get("left_out", 1) for row in middle)
            last = middle[-1]
            lines = f"{left_out:,} {inflected(left_out, 'line is', 'lines are')}"
            text = f"{lines} left out here: a job keeps its first and its newest lines"
            data = {**last.data, "text": text, "level": "warning", "left_out": left_out}
            mine = (event.c.job_id == job_id, event.c.kind == "log")
            between = event.c.seq.between(middle[0].seq, last.seq - 1)
            connection.execute(delete(event).where(*mine, between))
            connection.execute(update(event).where(*mine, event.c.seq == last.seq).values(data=data))
        rest = [*rows[:first], *rows[len(rows) - newest :]]
    return len(rest) + bool(middle), sum(len(row.data["text"]) for row in rest)


def _of_state(data: dict[str, Any], *, attempt: int | None, is_parent: bool) -> tuple[Level, str] | None:
    state, reason, result = data["state"], data.get("reason"), data.get("result") or {}
    is_between_children = state in {"running", "waiting"} or reason == families.A_CHILD_ENDED
    level: Level = "info"
    if data.get("cancel_requested"):
        level, text = "warning", "the owner asked to cancel the job"
    elif is_parent and is_between_children:
        return None
    elif state == "failed":
        level, text = "error", f"failed: {data['problem'].get('detail') or data['problem'].get('title')}"
    elif state == "succeeded" and result.get("model"):
        text = f"succeeded: {result['model']}:{result['version']}"
    elif state == "running":
        text = f"attempt {attempt} begins"
    elif state == "queued" and reason is not None:
        wait_s = data.get("retry_in_s")
        again = "" if wait_s is None else f"; it will be tried again in {wait_s:g} s"
        level, text = "warning", f"attempt {attempt} ended: {reason}{again}"
    else:
        level, text = "warning" if state == "canceled" else "info", state
    return level, text


def _of_child(data: dict[str, Any]) -> tuple[Level, str]:
    value = f": {data['value']:.4g}" if data.get("value") is not None else ""
    early = ", stopped early" if data.get("pruned") else ""
    problem = f": {data['problem']}" if data.get("problem") else ""
    level: Level = "info" if data["state"] == "succeeded" else "warning"
    return level, f"{data['kind']} {data['number']} {data['state']}{value}{early}{problem}"


def _fitting(rows: Sequence[Any], *, most: int, characters: int) -> int:
    """Return how many of the first rows keep to both limits."""
    total = 0
    for count, row in enumerate(rows[:most]):
        total += len(row.data["text"])
        if total > characters:
            return count
    return min(most, len(rows))


def _read(database: Database, job_id: str, after: int) -> list[events.Event]:
    event = tables.job_event
    query = select(event.c.seq, event.c.kind, event.c.data, event.c.created_at)
    query = query.where(event.c.job_id == job_id, _has_line(), event.c.seq > after)
    with database.read() as connection:
        rows = connection.execute(query.order_by(event.c.seq).limit(READ_AT_ONCE)).all()
    return [events.Event(*row) for row in rows]


def _written(connection: Connection, job_id: str) -> Sequence[Any]:
    event = tables.job_event
    query = select(event.c.seq, event.c.data).where(event.c.job_id == job_id, _has_line(), event.c.kind == "log")
    return connection.execute(query.order_by(event.c.seq)).all()


def _has_line() -> Any:  # noqa: ANN401  SQLAlchemy's own
    return literal_column(tables.HAS_LINE)  # as the partial index has it, or that is not used
