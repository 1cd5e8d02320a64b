"""`espalier jobs trials`: results of searches, cross-validations and repetitions, in words and tables."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_store.wording import counted
from service.cli.session import session_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from service.cli.tables import Sheet

Document = dict[str, Any]

MOST = 1001  # of a search's trials, and its last job


def trials(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="id of a search, a cross-validation or a repetition", metavar="JOB")],
) -> None:
    """List the values and results of a job's children, and the overall result."""
    session = session_of(context)
    items = session.client.items(f"/jobs/{job}/trials", limit=MOST)
    if session.as_json:
        session.emit(items)
        return
    parent = session.client.get(f"/jobs/{job}")
    if not items and not parent["children"]:
        session.console.print(f"{parent['id']} is a job of kind {parent['kind']}: it has no trials")
        return
    session.console.print(trial_table(items, parent))
    if parent["result"]:
        session.console.print(findings(parent["result"]))


def trial_table(items: list[Document], parent: Document) -> "Sheet":
    """Return one line per child, the best one marked."""
    from rich.markup import escape  # noqa: PLC0415  `--help` is spared rich

    from service.cli.output import NOTHING, styled_state  # noqa: PLC0415  as above
    from service.cli.tables import sheet  # noqa: PLC0415  as above

    best = ((parent["result"] or {}).get("best") or {}).get("number")
    rows = [
        (
            f"{child['number']}{' best' if child['number'] == best else ''}",
            child["kind"],
            styled_state(child["state"]) + (", stopped early" if child["pruned"] else ""),
            NOTHING if child["value"] is None else f"{child['value']:.4f}",
            NOTHING if child["epochs"] is None else str(child["epochs"]),
            escape(", ".join(f"{path}={_short(value)}" for path, value in (child["parameters"] or {}).items())),
            escape(child["problem"] or ""),
            child["job"],
        )
        for child in items
    ]
    watched = parent["spec"]["training"]["monitor"]
    columns = ("number", "kind", "state", watched, "epochs", "parameters", "problem", "job")
    title, right = f"{parent['kind']} {parent['id']}", ("number", watched, "epochs")
    return sheet(title, columns, rows, right=right, prose=("parameters", "problem"))


def findings(result: Document) -> "RenderableType":
    """Return what a parent has found: the winner and its gain, or the spread of the runs; and how sure it is."""
    from rich.console import Group  # noqa: PLC0415  `--help` is spared rich
    from rich.markup import escape  # noqa: PLC0415  as above

    parts: list[RenderableType] = []
    if result.get("best"):
        best = result["best"]
        chosen = ", ".join(f"{path}={_short(value)}" for path, value in best["parameters"].items())
        parts.append(escape(f"best: trial {best['number']}, {result['monitor']} {best['value']:.4f}, {chosen}"))
    if result.get("gain"):
        gain = result["gain"]
        parts.append(
            f"gain over trial 0 on {counted(gain['images'], 'test example')}: {gain['metric']} "
            f"{gain['baseline']:.4f} → {gain['best']:.4f}, by {gain['gain']:+.4f} "
            f"({gain['low']:+.4f} to {gain['high']:+.4f}), p = {gain['p_value']:.3g} ({gain['test'].replace('_', ' ')})"
        )
    if result.get("summary"):
        parts.append(spread_table(result["summary"]))
    parts += [f"note: {escape(note)}" for note in result.get("notes", [])]
    return Group(*parts)


def spread_table(summary: Document) -> "Sheet":
    """Return one line per figure of several runs: mean, standard deviation, interval."""
    from service.cli.output import NOTHING  # noqa: PLC0415  `--help` is spared rich
    from service.cli.tables import sheet  # noqa: PLC0415  as above

    rows = [
        (
            f"{split.replace('_', ' ')} {name.replace('_', ' ')}",
            f"{spread['mean']:.4f}",
            NOTHING if spread["standard_deviation"] is None else f"{spread['standard_deviation']:.4f}",
            NOTHING if spread["low"] is None else f"{spread['low']:.4f} to {spread['high']:.4f}",
            str(spread["runs"]),
        )
        for split, figures in summary.items()
        for name, spread in figures.items()
    ]
    columns = ("figure", "mean", "standard deviation", "95 % interval of the mean", "runs")
    return sheet("Over all runs", columns, rows, right=columns[1:])


def _short(value: Any) -> str:  # noqa: ANN401  any JSON
    if isinstance(value, dict):
        return str(value.get("kind", "…"))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
