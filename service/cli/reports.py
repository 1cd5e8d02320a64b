"""`espalier jobs report`: the figures of a finished job, and its report as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_store.wording import counted
from service.cli.session import session_of

if TYPE_CHECKING:
    from service.cli.tables import Sheet

SPLITS = {"val": "validation", "test": "test"}


def report(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="id of the job", metavar="JOB")],
    html: Annotated[Path | None, typer.Option(help="file for the page; left out: report-JOB.html")] = None,
    *,
    show: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
) -> None:
    """Print the figures of a job's fp32 file with 95 % intervals, and save the whole report as one HTML page."""
    session = session_of(context)
    document = session.client.get(f"/jobs/{job}/report")
    target = html or Path(f"report-{job}.html")
    target.write_text(session.client.text(f"/jobs/{job}/report.html"), encoding="utf-8")
    if session.as_json:
        session.emit(document | {"page": str(target)})
    else:
        session.console.print(headline_table(document))
        session.console.print(f"the page, with its pictures: {target}")
    if show:
        typer.launch(target.resolve().as_uri())


def headline_table(document: dict[str, Any]) -> "Sheet":
    """Return one line per figure, a column per split; below each the reason where there is none."""
    from rich.markup import escape  # noqa: PLC0415  `--help` is spared rich

    from service.cli.tables import sheet  # noqa: PLC0415  as above

    splits = document["splits"]
    names = list(dict.fromkeys(name for section in splits.values() for name in section["headline"]))
    rows = [
        (name.replace("_", " "), *(escape(_with_interval(section, name)) for section in splits.values()))
        for name in names
    ]
    counts = (f"{SPLITS.get(split, split)}, {counted(each['images'], 'example')}" for split, each in splits.items())
    title = f"{escape(document['model'])} · {document['job']} · the fp32 file · with 95 % intervals"
    return sheet(title, ("figure", *counts), rows)


def _with_interval(section: dict[str, Any], name: str) -> str:
    value = section.get(name)
    if value is None:
        return f"none: {section['undefined'].get(name, 'not measured')}"
    found = section["intervals"].get(name)
    return f"{value:.4f}" + (f" [{found['low']:.4f}, {found['high']:.4f}]" if found else "")
