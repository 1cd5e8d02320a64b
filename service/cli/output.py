"""Output of the service's documents as tables and text."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape

from models_store.wording import counted
from service.cli.tables import Sheet, facts, sheet

Document = dict[str, Any]

STATE_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "canceled": "yellow",
    "running": "cyan",
    "waiting": "cyan",
    "queued": "dim",
}
NOTHING = "-"

MOST_PLACES = 3
"""Largest number of places that are printed for one message; an archive may have one for each of its files."""
MOST_SECONDS, MOST_MINUTES = 90, 90  # reported as such


def print_problem(console: Console, problem: Document) -> None:
    """Print a problem document: the error, its place, and what is allowed."""
    code = f" ({problem['code']})" if problem.get("code") else ""
    console.print(f"[bold red]{escape(str(problem.get('title', 'refused')))}[/]{escape(code)}")
    errors = problem.get("errors", [])
    detail = str(problem.get("detail") or "")
    if detail and not any(str(error.get("message")) in detail for error in errors[:1]):
        console.print(escape(detail))
    for _, alike in groupby(errors, key=lambda error: (error.get("message"), error.get("allowed"))):
        error, *others = alike
        places = [str(each.get("pointer") or "/") for each in (error, *others)]
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        where = escape(", ".join(places[:MOST_PLACES]))
        console.print(f"  [bold]{where}[/]{more}: {escape(str(error.get('message', '')))}")
        if limits := allowed(error.get("allowed")):
            console.print(f"    allowed: {escape(limits)}")


def allowed(limits: Any) -> str:  # noqa: ANN401  any JSON
    """Return what a problem document allows, in one line; a pattern is left out, for the message says it in words."""
    if isinstance(limits, list):
        return ", ".join(str(one) for one in limits)
    if isinstance(limits, dict):
        return "" if "pattern" in limits else ", ".join(f"{name} {value}" for name, value in limits.items())
    return "" if limits is None else json.dumps(limits)


def job_table(jobs: Sequence[Document]) -> Sheet:
    """Return one line per job."""
    rows = [
        (
            job["id"],
            escape(job["name"]),
            job["kind"],
            styled_state(job["state"]),
            job.get("phase") or NOTHING if job["state"] in {"running", "waiting"} else NOTHING,
            f"{job['progress'].get('fraction', 0):.0%}",
            outcome(job),
            moment(job["created_at"]),
        )
        for job in jobs
    ]
    columns = ("id", "name", "kind", "state", "phase", "done", "outcome", "created")
    return sheet("Jobs", columns, rows, right=("done",))


def job_card(job: Document) -> RenderableType:
    """Return everything worth knowing of one job."""
    reported = [
        ("name", escape(job["name"])),
        ("kind", job["kind"]),
        *((("part of", f"{job['parent']}, number {job['number']}"),) if job["parent"] else ()),
        *((("dataset", job["dataset"]),) if job["dataset"] else ()),
        ("state", styled_state(job["state"])),
        ("outcome", outcome(job)),
        *(
            (("left", f"about {duration(job['progress']['eta_s'])}"),)
            if job["progress"].get("eta_s") is not None
            else ()
        ),
        *(
            (("children", ", ".join(f"{count} {name}" for name, count in job["children"].items() if count)),)
            if job["children"]
            else ()
        ),
        ("created", moment(job["created_at"])),
        ("started", moment(job["started_at"])),
        ("finished", moment(job["finished_at"])),
        ("attempts", f"{job['attempts']}, of which {job['crashes']} crashed"),
        *(("warning", escape(warning)) for warning in job["warnings"]),
    ]
    steps = [
        (step["name"], step["state"], moment(step["started_at"]), moment(step["ended_at"])) for step in job["steps"]
    ]
    return Group(facts(f"Job {job['id']}", reported), sheet("Steps", ("step", "state", "started", "ended"), steps))


def duration(seconds: float) -> str:
    """Return a time in the unit that people would say it in."""
    if seconds < MOST_SECONDS:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < MOST_MINUTES else f"{minutes / 60:.1f} h"


def styled_state(state: str) -> str:
    """Return a job's state in its colour."""
    return f"[{STATE_STYLES.get(state, 'default')}]{escape(state)}[/]"


def outcome(job: Document) -> str:
    """Return what came of a job: the version it made, the figure it reached, or what went wrong."""
    result = job.get("result")
    if result and result.get("model"):
        return f"{result['model']}:{result['version']}"
    if result and result.get("value") is not None:
        return f"{result['value']:.4f}" + (", stopped early" if result.get("pruned") else "")
    if result and result.get("runs"):
        return f"{sum(run['state'] == 'succeeded' for run in result['runs'])} of {counted(len(result['runs']), 'run')}"
    if job.get("problem"):
        return escape(str(job["problem"].get("code") or job["problem"].get("title")))
    return NOTHING


def words(title: str, document: Document) -> Sheet:
    """Return what is written about a thing: its name, description and tags."""
    reported = [("name", escape(document["name"]))] if "name" in document else []
    reported.append(("description", escape(document["description"] or NOTHING)))
    reported.append(("tags", escape(", ".join(document["tags"])) or NOTHING))
    return facts(escape(title), reported)


def with_words(card: RenderableType, document: Document) -> RenderableType:
    """Return a card with the description and the tags below it, where there are any."""
    if not (document["description"] or document["tags"]):
        return card
    reported = {"description": document["description"], "tags": document["tags"]}
    return Group(card, words("Description", reported))


def model_table(models: Sequence[Document]) -> Sheet:
    """Return one line per model."""
    rows = []
    for model in models:
        newest = max((version["version"] for version in model["versions"]), default=None)
        aliases = " ".join(f"@{name}={_pinned(target)}" for name, target in sorted(model["aliases"].items()))
        row = (model["name"], str(newest or NOTHING), str(len(model["versions"])), aliases or NOTHING)
        rows.append((*row, moment(model["created_at"])))
    columns = ("name", "newest", "versions", "aliases", "created")
    return sheet("Models", columns, rows, right=("newest", "versions"), prose=("aliases",))


def _pinned(target: Document) -> str:
    """Return what an alias stands for: a version, and the variant where it pins one."""
    return f"{target['version']}/{target['variant']}" if target.get("variant") else str(target["version"])


def alias_words(alias: str, model: str, document: Document) -> str:
    """Return what an alias means, and how its shadow compares."""
    targets = [
        f"{model}:{_pinned(each)}" + (f" for {each['share']:.0%} of the requests" if each["share"] < 1 else "")
        for each in document["targets"]
    ]
    words = f"{alias} is {' and '.join(targets)}" + (", pinned" if document["pinned"] else "")
    shadow = document["shadow"]
    if shadow is None:
        return words
    words += f"; {model}:{_pinned(shadow)} is its shadow for {shadow['share']:.0%}"
    if shadow["compared"]:
        words += (
            f": {shadow['agreement']:.1%} of {shadow['compared']} answers are the same, a run takes "
            f"{shadow['run_ms']:.2f} ms (target {shadow['target_run_ms']:.2f} ms)"
        )
    return words


def memory_words(document: Document) -> str:
    """Return whether a variant is in memory, and where it runs."""
    name = f"{document['model']}:{document['version']}/{document['variant']}"
    if not document["loaded"]:
        return f"{name} is not in memory"
    kept = ", pinned by an alias" if document["pinned"] else ""
    return (
        f"{name} runs on {document['provider']} ({document['tuning']}) and takes {size(document['memory_bytes'])}{kept}"
    )


def weights_table(files: Sequence[Document]) -> Sheet:
    """Return one line per file of weights."""
    rows = [
        (
            file["id"],
            escape(file["name"]),
            str(file["tensors"]),
            f"{file['parameters']:,}",
            " ".join(file["dtypes"]),
            size(file["size_bytes"]),
            moment(file["created_at"]),
        )
        for file in files
    ]
    columns = ("id", "name", "tensors", "parameters", "types", "size", "created")
    return sheet("Weights", columns, rows, right=("tensors", "parameters", "size"))


def size(size_bytes: int) -> str:
    """Return a size in MB, or kB below one."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"  # noqa: PLR2004  units


def moment(time: str | None) -> str:
    """Return an ISO 8601 time in this machine's zone, to the second."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else NOTHING
