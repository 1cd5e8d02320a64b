"""`espalier jobs`: list, show, trials, cancel, retry, delete, logs, watch, report, predictions."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli import editing, families, predicting_datasets, reports
from service.cli.session import session_of

app = typer.Typer(no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="id of the job", metavar="JOB")]


class Level(StrEnum):
    """Severity of a line of a log."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="queued, running, waiting, succeeded, failed or canceled")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="train, search, k_fold, repeats, preview, compress or measure; left out: all except previews"
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="list the children of this search, cross-validation or repetition")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="largest number of jobs to list")] = 20,
) -> None:
    """List jobs, the newest first."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    jobs = session.client.items("/jobs", limit=limit, state=state, kind=kind, parent=parent)
    session.show(jobs, output.job_table(jobs))


@app.command()
def show(context: typer.Context, job: JobId) -> None:
    """Show one job: its state, its steps, its result."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get(f"/jobs/{job}")
    session.show(document, output.job_card(document))
    if document["problem"] and not session.as_json:
        output.print_problem(session.console, document["problem"])


@app.command()
def cancel(context: typer.Context, job: JobId) -> None:
    """Cancel a waiting or running job."""
    session = session_of(context)
    document = session.client.post(f"/jobs/{job}:cancel")
    stops = "canceled" if document["state"] == "canceled" else "will stop within seconds"
    session.show(document, f"{job}: {stops}")


@app.command()
def retry(context: typer.Context, job: JobId) -> None:
    """Queue a failed or canceled job again, as a new job."""
    session = session_of(context)
    document = session.client.post(f"/jobs/{job}:retry")
    session.show(document, f"queued again as {document['id']}")


@app.command()
def delete(context: typer.Context, job: JobId, *, yes: editing.Yes = False) -> None:
    """Delete a job that has ended, with its log, report and children; the version that it made stays."""
    session = session_of(context)
    editing.confirm(session, f"job {job}, with its log and its report", yes=yes)
    session.client.delete(f"/jobs/{job}")
    session.show({"deleted": job}, f"{job} is deleted")


@app.command()
def logs(
    context: typer.Context,
    job: JobId,
    attempt: Annotated[int | None, typer.Option(min=1, help="only lines of this attempt")] = None,
    level: Annotated[Level, typer.Option(help="only lines of this level or a more severe one")] = Level.INFO,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print new lines until the job ends")] = False,
) -> None:
    """Print a job's log: stages, epochs, decisions, warnings, of all attempts."""
    session = session_of(context)
    path, filters = f"/jobs/{job}/logs", {"attempt": attempt, "level": level.value}
    if not follow:
        accept = "application/x-ndjson" if session.as_json else "text/plain"
        typer.echo(session.client.text(path, accept=accept, **filters), nl=False)
        return
    for event in session.client.follow(path, filters | {"follow": "true"}):
        if event.kind == "log":
            typer.echo(json.dumps(event.data, ensure_ascii=False) if session.as_json else _plain(event.data))


@app.command()
def watch(context: typer.Context, job: JobId) -> None:
    """Follow a job to its end and show its result; exit code 1 unless it succeeds."""
    session = session_of(context)
    if session.as_json:
        state = ""
        for event in session.client.events(job):
            session.emit({"seq": event.seq, "kind": event.kind, "data": event.data})
            state = event.data["state"] if event.kind == "state" else state
    else:
        from service.cli.ending import see_end  # noqa: PLC0415  `--help` is spared rich

        state = see_end(session, job)["state"]
    if state != "succeeded":
        raise typer.Exit(1)


app.command()(reports.report)


@app.command()
def predictions(
    context: typer.Context,
    job: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write; left out: MODEL-VERSION-DATASET.FORMAT")
    ] = None,
) -> None:
    """Download the table that a job of `espalier predict-dataset` has made."""
    session = session_of(context)
    predicting_datasets.download(session, session.client.get(f"/jobs/{job}"), output)


app.command()(families.trials)


def _plain(line: dict[str, Any]) -> str:
    """Return a line as the service's plain text has it."""
    level = "" if line["level"] == "info" else f"{line['level']}: "
    stage = "" if line["stage"] is None else f"[{line['stage']}] "
    return f"{line['at']} {stage}{level}{line['message']}"
