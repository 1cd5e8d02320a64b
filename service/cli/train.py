"""`espalier train SPEC.json`: read, override, post, and follow."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.session import existing, refuse, session_of

Document = dict[str, Any]


def train(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="the training spec, a JSON file; `-` reads standard input")],
    dataset: Annotated[str | None, typer.Option(help="id of the dataset, instead of the spec's")] = None,
    name: Annotated[str | None, typer.Option(help="name of the model, instead of the spec's")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="e.g. optimizer.lr=0.01, augmentation.0.degrees=10"),
    ] = None,
    *,
    key: Annotated[
        str | None, typer.Option("--key", help="idempotency key: the same key makes the same job once")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show the spec with every default decided")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="follow the job to its end")] = True,
) -> None:
    """Train a model; exit code 1 unless the job succeeds (with --no-wait: unless it is queued)."""
    session = session_of(context)
    document = _read(spec)
    document |= {field: value for field, value in (("dataset", dataset), ("name", name)) if value is not None}
    for override in overrides or []:
        _override(document, override)
    if dry_run:
        answer = session.client.post("/train", document, dry_run="true")
        typer.echo(json.dumps(answer if session.as_json else answer["spec"], indent=None if session.as_json else 2))
        for warning in answer["warnings"]:
            typer.secho(f"warning: {warning}", fg="yellow", err=True)
        return
    job = session.client.post("/train", document, key=key)
    for warning in job["warnings"]:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
    if not wait:
        session.show(job, f"{job['id']} is queued; `espalier jobs watch {job['id']}` follows it")
        return
    job = _follow(context, job)
    if job["state"] != "succeeded":
        raise typer.Exit(1)


def _follow(context: typer.Context, job: Document) -> Document:
    session = session_of(context)
    if session.as_json:
        for _ in session.client.events(job["id"]):
            pass
        ended = session.client.get(f"/jobs/{job['id']}")
        session.emit(ended)
        return ended
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich
    from service.cli.watch import watch  # noqa: PLC0415  as above

    ended = watch(session.client, job["id"], console=session.console)
    if ended["result"] and ended["children"]:
        from service.cli.families import findings  # noqa: PLC0415  as above

        session.console.print(findings(ended["result"]))
    if ended["result"] and ended["result"]["model"]:
        version = session.client.get(f"/models/{ended['result']['model']}/versions/{ended['result']['version']}")
        session.console.print(output.variant_table(version))
    return ended


def _read(path: Path) -> Document:
    text = sys.stdin.read() if str(path) == "-" else existing(path).read_text()
    try:
        document = json.loads(text)
    except ValueError as error:
        raise refuse(f"{path}: this is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise refuse(f"{path}: a spec is a JSON object")
    return document


def _override(document: Document, override: str) -> None:
    """Set one value; a path goes through objects by key and through lists by position, a value is JSON or else text."""
    path, equals, text = override.partition("=")
    *above, last = path.split(".")
    if not equals or not all([*above, last]):
        raise refuse(f"--set {override}: give PATH=VALUE, such as optimizer.lr=0.01")
    here: Any = document
    try:
        for step in above:
            here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
        here[int(last) if isinstance(here, list) else last] = _value(text)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise refuse(f"--set {override}: there is no such place in the spec") from error


def _value(text: str) -> Any:  # noqa: ANN401  any JSON
    try:
        return json.loads(text)
    except ValueError:
        return text
