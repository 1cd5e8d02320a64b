"""`espalier train SPEC.json`: read, override, post, and follow."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli import specs, submitting
from service.cli.session import refuse, session_of


def train(
    context: typer.Context,
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="JSON file of the training spec; `-` reads standard input; left out: the recipe decides everything"
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="id of the dataset, instead of the spec's")] = None,
    name: Annotated[str | None, typer.Option(help="name of the model, instead of the spec's")] = None,
    overrides: specs.Overrides = None,
    *,
    key: submitting.Key = None,
    dry_run: submitting.DryRun = False,
    wait: submitting.Wait = True,
) -> None:
    """Train a model; exit code 1 unless the job succeeds (with --no-wait: unless it is queued)."""
    session = session_of(context)
    if spec is None and (dataset is None or name is None):
        raise refuse("give the file of a training spec, or --dataset and --name to let the recipe decide everything")
    document = {} if spec is None else specs.read(spec)
    document |= {field: value for field, value in (("dataset", dataset), ("name", name)) if value is not None}
    for each in overrides or []:
        specs.override(document, each)
    if dry_run:
        submitting.show_meaning(session, session.client.post("/train", document, dry_run="true"))
    else:
        submitting.see_through(session, session.client.post("/train", document, key=key), wait=wait)
