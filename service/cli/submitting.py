"""Submission of specs: dry runs, warnings, and following the job to its end."""

import json
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_store.wording import counted
from service.cli.session import Session, own_name

if TYPE_CHECKING:
    from rich.console import Console

    from service.cli.tables import Sheet

Document = dict[str, Any]

Key = Annotated[str | None, typer.Option("--key", help="idempotency key: the same key makes the same job once")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="only show the resolved spec, with reasons and the expected time")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="follow the job to its end")]


def show_meaning(session: Session, answer: Document) -> None:
    """Print the answer of a dry run: the spec to standard output, and the rest to standard error."""
    typer.echo(json.dumps(answer if session.as_json else answer["spec"], indent=None if session.as_json else 2))
    if not session.as_json and answer["decisions"]:
        _screen().print(_decision_table(answer["decisions"]))
    if answer["estimate"] is not None:
        typer.secho(f"estimate: {answer['estimate']['summary']}", fg="cyan", err=True)
    if answer["budget"] is not None:
        typer.secho(f"budget: {answer['budget']['summary']}", fg="cyan", err=True)
        for plan in answer["budget"]["plans"]:
            least = "" if plan["least_epochs"] == plan["epochs"] else f"{plan['least_epochs']} to "
            frozen = f"backbone frozen: {plan['freeze']}"
            typer.secho(
                f"  {plan['size']} px, {frozen}, {least}{counted(plan['epochs'], 'epoch')}", fg="cyan", err=True
            )
    _warn(answer)


def _screen() -> "Console":
    from service.cli.screen import Screen  # noqa: PLC0415  `--help` is spared rich

    return Screen(stderr=True)


def _decision_table(decisions: list[Document]) -> "Sheet":
    """Return what the recipe has chosen, and why; values of one part with one reason share a line."""
    from rich.markup import escape  # noqa: PLC0415  `--help` is spared rich

    from service.cli.tables import sheet  # noqa: PLC0415  as above

    rows = []
    for (part, why), group in groupby(decisions, key=lambda each: (each["pointer"].rpartition("/")[0], each["why"])):
        chosen = [(each["pointer"].rpartition("/")[2], json.dumps(each["value"])) for each in group]
        path = part if len(chosen) > 1 else f"{part}/{chosen[0][0]}"
        values = [f"{name} {value}" for name, value in chosen] if len(chosen) > 1 else [chosen[0][1]]
        rows.append((path.strip("/").replace("/", "."), escape(", ".join(values)), escape(why)))
    return sheet("Values chosen by the recipe", ("field", "value", "why"), rows, prose=("value", "why"))


def see_through(session: Session, job: Document, *, wait: bool) -> None:
    """Report that a job is queued, or follow it and show its result.

    Raises:
        typer.Exit: with 1 if it is followed and does not succeed.
    """
    _warn(job)
    if not wait:
        session.show(job, f"{job['id']} is queued; `{own_name()} jobs watch {job['id']}` follows it")
    elif _follow(session, job)["state"] != "succeeded":
        raise typer.Exit(1)


def _follow(session: Session, job: Document) -> Document:
    if session.as_json:
        for _ in session.client.events(job["id"]):
            pass
        ended = session.client.get(f"/jobs/{job['id']}")
        session.emit(ended)
        return ended
    from service.cli.ending import see_end  # noqa: PLC0415  `--help` is spared rich

    return see_end(session, job["id"])


def _warn(answer: Document) -> None:
    for warning in answer["warnings"]:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
