"""Tables of workers and of the queue."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape

from models_store.wording import counted
from service.cli.output import NOTHING, Document, duration
from service.cli.tables import Sheet, sheet

STYLES = {"idle": "green", "busy": "cyan", "lost": "red"}


def worker_table(workers: Sequence[Document]) -> Sheet:
    """Return one line per worker."""
    rows = [
        (
            escape(f"{each['host']}/{each['pid']}"),
            f"[{STYLES[each['state']]}]{each['state']}[/]",
            f"{duration(each['last_beat_age_s'])} ago",
            escape("; ".join(map(_job, each["jobs"]))) or NOTHING,
            escape(", ".join(map(_device, each["devices"]))),
        )
        for each in workers
    ]
    return sheet("Workers", ("worker", "state", "beat", "at", "devices"), rows, prose=("at", "devices"))


def queue_table(queue: Document) -> RenderableType:
    """Return what is under way in one line, and one line for each job that waits."""
    rows = [
        (
            str(each["ahead"] + 1),
            each["id"],
            escape(each["name"]),
            duration(each["age_s"]),
            _from_now(each["expected_start_at"]),
            escape(each["why"]),
        )
        for each in queue["items"]
    ]
    summary = ", ".join(
        [
            f"{queue['queued']} queued",
            f"{queue['running']} running",
            f"{queue['waiting']} waiting for their parts",
            counted(queue["workers"], "worker"),
        ]
    )
    columns = ("place", "id", "name", "age", "starts", "why")
    table = sheet("Queue", columns, rows, right=("place", "age"), prose=("name", "why"), keys=2)
    return Group(table, f"{summary}; {len(rows)} of yours are shown")


def _job(job: Document) -> str:
    """Return what a worker is at, in a few words."""
    if job["id"] is None:
        return f"{job['kind']} of another owner"
    left = f", {duration(job['eta_s'])} left" if job["eta_s"] is not None else ""
    return f"{job['id']} {job['phase'] or 'starting'} {job['fraction']:.0%}{left}"


def _device(device: Document) -> str:
    size = f"{device['memory_bytes'] / (1 << 30):.0f} GiB"
    return (
        f"{device['name']} ({counted(device['cores'], 'core')}, {size})"
        if device["cores"]
        else (f"{device['name']} ({size})")
    )


def _from_now(time: str | None) -> str:
    if time is None:
        return NOTHING
    seconds = (datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds()
    return "now" if seconds < 1 else f"in {duration(seconds)}"
