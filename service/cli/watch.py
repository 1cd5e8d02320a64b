"""Events of a job as live progress bars (one per phase) on a terminal, otherwise as lines."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from service.cli.client import Client, Event
from service.cli.output import STATE_STYLES, duration, print_problem

Document = dict[str, Any]

BAR_WIDTH = 20
SEPARATOR = " · "
LEVEL_STYLES = {"info": "dim", "warning": "yellow", "error": "red"}
NOT_FACTS = ("event", "fraction", "phase_fraction", "phase", "children", "ended", "eta_s")


def watch(client: Client, job_id: str, *, console: Console, meanwhile: Callable[[], None] = lambda: None) -> Document:
    """Follow a job to its end, showing progress; return the ended job."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(BAR_WIDTH, table_column=Column(no_wrap=True)),
        TaskProgressColumn(),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        FactsColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = _Bars(progress)
        for event in client.events(job_id, meanwhile=meanwhile):
            bars.show(event)
    job = client.get(f"/jobs/{job_id}")
    console.print(f"job {job_id} [{STATE_STYLES[job['state']]}]{job['state']}[/]{_after(job)}")
    if job["problem"]:
        print_problem(console, job["problem"])
    return job


def _after(job: Document) -> str:
    """Return how long a job ran, from its first start; nothing where it never did."""
    if not job.get("started_at") or not job.get("finished_at"):
        return ""
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return f" after {duration((ended - began).total_seconds())}"


class FactsColumn(ProgressColumn):
    """As many of a task's facts as the rest of the line takes, each of them whole."""

    def render(self, task: Task) -> "WholeFacts":
        """Return the facts of the task."""
        return WholeFacts(task.fields["facts"])


class WholeFacts:
    """Facts separated by dots, of which the last are left out where the line is too short for them."""

    def __init__(self, text: str) -> None:
        self._facts = text.split(SEPARATOR)

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        """Return that any width will do, and which one takes all facts."""
        return Measurement(0, min(len(SEPARATOR.join(self._facts)), options.max_width))

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the facts that fit."""
        shown = list(self._facts)
        while shown and Text.from_markup(SEPARATOR.join(shown)).cell_len > options.max_width:
            shown.pop()
        yield Text.from_markup(SEPARATOR.join(shown), overflow="ignore")


class _Bars:
    """The whole job's bar, and one for each phase that it has entered."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._whole = progress.add_task("[bold]job", total=1.0, facts="queued")
        self._phase: TaskID | None = None
        self._is_parent = False

    def show(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "state":
                self._state(data)
            case "phase":
                self._finish_phase()
                if self._progress.disable:
                    self._progress.console.print(f"  {escape(data['phase'])}")
                self._phase = self._progress.add_task(f"  {escape(data['phase'])}", total=None, facts="")
            case "progress":
                self._advance(data)
            case "metrics":
                if self._phase is not None:
                    self._progress.update(self._phase, facts=_facts(data))
            case "child":
                self._progress.console.print(f"  {_child(data)}")
            case "log":
                self._line(data)

    def _line(self, data: Document) -> None:
        """Print a line of the log, but for what the bars show, or the line of the phase."""
        text, stage = str(data["text"]), data.get("stage")
        is_boundary = text == f"{stage} begins" or text.startswith(f"{stage} took ")
        if is_boundary and (not self._progress.disable or text.endswith("begins")):
            return
        style = LEVEL_STYLES.get(data.get("level", "info"), "dim")
        self._progress.console.print(f"  [{style}]{escape(text)}[/]")

    def _advance(self, data: Document) -> None:
        self._progress.update(self._whole, completed=data["fraction"])
        if data.get("eta_s") is not None:
            self._progress.update(self._whole, facts=f"about {duration(data['eta_s'])} left")
        if self._phase is not None and "children" in data:
            self._progress.update(self._phase, total=data["children"], completed=data["ended"], facts="")
        elif self._phase is not None:
            within = data.get("phase_fraction")
            total = 1.0 if within is not None else None
            self._progress.update(self._phase, total=total, completed=within, facts=_facts(data))

    def _state(self, data: Document) -> None:
        state = data["state"]
        if state == "succeeded":
            self._finish_phase()
            self._progress.update(self._whole, completed=1.0)
        elif state == "waiting":
            self._is_parent = True
        elif self._is_parent and state in {"queued", "running"}:
            return  # between two steps, for a moment
        elif state == "queued" and self._phase is not None:  # given back, or its worker was lost: it starts anew
            self._progress.remove_task(self._phase)
            self._phase = None
        facts = SEPARATOR.join([state, *(str(data[key]) for key in ("reason",) if data.get(key))])
        self._progress.update(self._whole, facts=escape(facts))

    def _finish_phase(self) -> None:
        if self._phase is not None:
            self._progress.update(self._phase, total=1.0, completed=1.0)
            self._progress.stop_task(self._phase)
            self._phase = None


def _child(data: Document) -> str:
    """Return one line on a child that has ended."""
    state = data["state"]
    value = f" {_short(data['value'])}" if data.get("value") is not None else ""
    early = ", stopped early" if data.get("pruned") else ""
    problem = f": {escape(str(data['problem']))}" if data.get("problem") else ""
    return f"{data['kind']} {data['number']} [{STATE_STYLES[state]}]{state}[/]{value}{early}{problem}"


def _facts(data: Document) -> str:
    facts = {name: value for name, value in data.items() if name not in NOT_FACTS and value is not None}
    if "epoch" in facts and "epochs" in facts:
        facts["epoch"] = f"{facts['epoch']:.0f}/{facts.pop('epochs'):.0f}"
    step = [str(facts.pop("step"))] if "step" in facts else []
    return escape(SEPARATOR.join([*step, *(f"{name} {_short(value)}" for name, value in facts.items())]))


def _short(value: Any) -> str:  # noqa: ANN401  any JSON
    return f"{value:.4g}" if isinstance(value, float) else str(value)
