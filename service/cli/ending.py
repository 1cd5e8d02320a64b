"""End of a followed job: its progress, its result, and the next commands."""

from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group
from rich.markup import escape

from models_store.jobs import kinds
from models_store.wording import counted
from service.cli import output, variants
from service.cli.families import findings
from service.cli.session import Session
from service.cli.watch import watch

if TYPE_CHECKING:
    from rich.console import RenderableType

Document = dict[str, Any]

FIGURES = ("accuracy", "r2")
"""of which a version's card has one, by what it was trained for"""


def see_end(session: Session, job_id: str) -> Document:
    """Follow a job, print its result and the next commands, and return the ended job.

    Raises:
        typer.Exit: with 130 if the user stops following.
    """
    console = session.console
    try:
        ended = watch(session.client, job_id, console=console)
    except KeyboardInterrupt as error:
        console.print(f"{job_id} keeps running")
        session.next_commands([f"jobs watch {job_id}", f"jobs cancel {job_id}"])
        raise typer.Exit(130) from error
    for each in _came_of(session, ended):
        console.print(each)
    for warning in ended["warnings"]:
        console.print(f"[yellow]warning: {escape(warning)}")
    session.next_commands(next_commands(ended))
    return ended


def next_commands(job: Document) -> list[str]:
    """Return what is worth doing now that a job has ended."""
    result, job_id = job["result"] or {}, job["id"]
    if job["state"] == "canceled":
        return [f"jobs retry {job_id}"]
    if job["state"] == "failed":
        is_ours = (job["problem"] or {}).get("status", 500) >= 500  # noqa: PLR2004  HTTP's server errors
        return [f"jobs logs {job_id}", *([f"jobs retry {job_id}"] if is_ours else [])]
    trials = [f"jobs trials {job_id}"] if job["children"] else []
    if not result.get("model"):
        return trials or ([f"jobs trials {job['parent']}"] if job["parent"] else [])
    kind = kinds.of(job["kind"])
    reference = f"{result['model']}:{result['version']}"
    predict = [f"predict {reference} IMAGE_OR_FOLDER"] if kind.publishes or kind.is_parent else []
    report = [f"jobs report {job_id}"] if kind.publishes else []
    table = [f"jobs predictions {job_id}"] if result.get("rows") is not None else []
    return [*predict, *table, f"models show {reference}", *report, *trials]


def summary(version: Document) -> list[str]:
    """Return a version's figures in a line or two: how good it is, and what its default costs."""
    reported = []
    for split in ("test", "val"):
        figures = version["metrics"].get(split) or {}
        name = next((each for each in FIGURES if figures.get(each) is not None), None)
        if name is not None:
            reported.append(f"{name} {figures[name]:.4f} on {'test' if split == 'test' else 'validation'}")
    lines = [f"[bold]{escape(version['model'])}:{version['version']}[/] · {' · '.join(reported) or 'no figures'}"]
    named = {variant["name"]: variant for variant in version["variants"]}
    for provider, name in version["defaults"].items():
        measured = named[name]["measured"].get(provider) or {}
        latency, speedup = (measured.get("latency_ms") or {}).get("p50"), measured.get("speedup")
        facts = [
            f"default on {provider}: [bold]{name}[/]",
            *([] if latency is None else [f"{latency:.2f} ms each"]),
            *([] if name == "fp32" or speedup is None else [f"{speedup:.2f} times as fast as fp32"]),
            output.size(named[name]["size_bytes"]),
        ]
        lines.append(" · ".join(facts))
    return lines


def predicted(result: Document) -> str:
    """Return a line about a table of predictions."""
    metrics = result["metrics"].items()
    figures = [f"{name} {value:.4f} on {split}" for split, values in metrics for name, value in values.items()]
    failed = [f"{result['failed']} can't be decoded"] if result["failed"] else []
    facts = [counted(result["rows"], "row"), *failed, *figures, output.size(result["size_bytes"])]
    return f"[bold]{escape(result['model'])}:{result['version']}/{result['variant']}[/] · {' · '.join(facts)}"


def _came_of(session: Session, job: Document) -> "list[RenderableType]":
    result = job["result"]
    if not result:
        return []
    shown: list[RenderableType] = [findings(result)] if job["children"] else []
    if result.get("measured"):
        shown.append(variants.change_table(result))
    if result.get("rows") is not None:
        shown.append(predicted(result))
    elif result.get("model"):
        version = session.client.get(f"/models/{result['model']}/versions/{result['version']}")
        shown += [variants.version_card(version), Group(*summary(version))]
    elif result.get("value") is not None:
        monitor = job["spec"]["training"]["monitor"]
        shown.append(f"{monitor} {result['value']:.4f}" + (", stopped early" if result.get("pruned") else ""))
    return shown
