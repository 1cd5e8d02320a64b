"""specs on their way to jobs: what they mean, what they are warned of, and the job followed to its end."""

import json
from typing import Annotated, Any

import typer

from service.cli.session import Session, own_name

Document = dict[str, Any]

Key = Annotated[str | None, typer.Option("--key", help="idempotency key: the same key makes the same job once")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show the spec with every default decided")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="follow the job to its end")]


def show_meaning(session: Session, answer: Document) -> None:
    """Print what a dry run has answered."""
    typer.echo(json.dumps(answer if session.as_json else answer["spec"], indent=None if session.as_json else 2))
    if answer["budget"] is not None:
        typer.secho(f"budget: {answer['budget']['summary']}", fg="cyan", err=True)
        for plan in answer["budget"]["plans"]:
            least = "" if plan["least_epochs"] == plan["epochs"] else f"{plan['least_epochs']} to "
            frozen = f"backbone frozen: {plan['freeze']}"
            typer.secho(f"  {plan['size']} px, {frozen}, {least}{plan['epochs']} epochs", fg="cyan", err=True)
    _warn(answer)


def see_through(session: Session, job: Document, *, wait: bool) -> None:
    """Say that a job is queued, or follow it and show what came of it.

    Raises:
        typer.Exit: with 1 when it is followed and does not succeed.
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
