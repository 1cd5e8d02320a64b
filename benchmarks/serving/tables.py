"""Tables of 80 columns."""

import statistics

from rich.console import Console
from rich.table import Table

from benchmarks.serving.results import FORMS, LEVELS, Results


def show(results: Results) -> None:
    """Print a table for each net and form: medians of requests per second, p50 and p99, by connections."""
    console = Console(width=80)
    for net in results.nets:
        for form in FORMS:
            title = f"{results.mode}, {net}, {form}: requests/s p50/p99 ms"
            table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
            table.add_column("connections", no_wrap=True)
            for level in LEVELS:
                table.add_column(str(level), justify="right", no_wrap=True)
            for server in results.servers(net):
                table.add_row(server, *(_cell(results, net, form, level, server) for level in LEVELS))
            limit = statistics.median(results.limits[net, form])
            table.add_row("limit", f"{limit:,.0f}")
            console.print(table)
    for peer, why in results.unusable.items():
        console.print(f"{peer} could not be measured here: {why}")


def _cell(results: Results, net: str, form: str, level: int, server: str) -> str:
    loads = results.loads[net, form, level, server]
    if not loads:
        return "—"
    rps, p50, p99 = (
        statistics.median(values)
        for values in zip(*((load.rps, load.p50_ms, load.p99_ms) for load in loads), strict=True)
    )
    failed = sum(load.failed for load in loads)
    return f"{rps:,.0f} {_ms(p50)}/{_ms(p99)}" + (f" {failed} failed" if failed else "")


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
