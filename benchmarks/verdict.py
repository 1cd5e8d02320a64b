"""End of every benchmark: a table, one line of JSON, and an exit code."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Goal:
    """What a figure must reach (`at least`) or stay within (`at most`)."""

    figure: str
    bound: Literal["at least", "at most"]
    value: float

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Return whether the figure is on the right side."""
        reached = figures[self.figure]
        return reached >= self.value if self.bound == "at least" else reached <= self.value


def interleaved(runs: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Measure each run once a round, in the opposite order every other round, so that drift hits all alike."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        names = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in names:
            measured[name].append(runs[name]())
    return measured


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios: a slow moment spoils one of them, not the result."""
    return statistics.median(above / below for above, below in zip(over, under, strict=True))


def machine() -> dict[str, str | int]:
    """Return where this was measured."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  a kernel's file, not one of ours
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


def conclude(
    benchmark: str,
    figures: Mapping[str, float],
    *,
    goals: Sequence[Goal],
    binding: bool = True,
) -> NoReturn:
    """Print the table and, as the last line, the JSON; exit 1 when a goal is missed.

    With `binding` off (a quick run) missed goals are printed, and the exit code is 0.
    """
    table = Table(title=benchmark, title_justify="left")
    for column, justify in (("figure", "left"), ("measured", "right"), ("goal", "right"), ("", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    by_figure = {goal.figure: goal for goal in goals}
    for name, value in figures.items():
        goal = by_figure.get(name)
        wanted = f"{goal.bound} {goal.value:g}" if goal else ""
        verdict = ("met" if goal.is_met(figures) else "MISSED") if goal else ""
        table.add_row(name, f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}", wanted, verdict)
    Console(width=100).print(table)
    met = all(goal.is_met(figures) for goal in goals)
    document = {
        "benchmark": benchmark,
        "figures": dict(figures),
        "goals": [{"figure": goal.figure, "bound": goal.bound, "value": goal.value} for goal in goals],
        "met": met,
        "machine": machine(),
    }
    print(json.dumps(document), flush=True)
    sys.exit(1 if binding and not met else 0)
