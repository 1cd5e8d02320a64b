"""Progress of a running job: the interface between the trainer's work and the process around it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")


class Reporter(Protocol):
    """Where a job's progress goes, and where a wish to stop comes from."""

    def phase(self, name: str) -> None:
        """Enter a phase of the job, such as `training` or `evaluating`."""
        ...

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Tell how much of the phase is done, from 0 to 1, and what goes with it (epoch, loss, …).

        `eta_s` are the seconds left of it, where they are known.
        """
        ...

    def metrics(self, **values: float) -> None:
        """Tell measured values that stay: one call per epoch."""
        ...

    def log(self, text: str) -> None:
        """Log a line: what was decided, or done."""
        ...

    def warn_owner(self, text: str) -> None:
        """Warn the owner of the job of a result that is likely to be bad; kept with the job, and logged."""
        ...

    def warn(self, text: str) -> None:
        """Log a line of level `warning`: something did not go as it was meant to."""
        ...

    def stop_requested(self) -> bool:
        """Return whether the work should be saved and left; cheap enough to ask at every step."""
        ...


class Stretch:
    """A reporter for a part of a phase: progress goes from `start` to `end` of it, and metrics get a prefix.

    `after_s` are the seconds that the rest of the phase takes after this part; None: not known.
    """

    def __init__(
        self, reporter: Reporter, *, start: float, end: float, prefix: str = "", after_s: float | None = None
    ) -> None:
        self._reporter = reporter
        self._start, self._end, self._prefix, self._after_s = start, end, prefix, after_s

    def phase(self, name: str) -> None:
        """Enter a phase of the job."""
        self._reporter.phase(name)

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Tell how much of the part is done; to `eta_s` the rest of the phase is added, where that is known."""
        if self._end < 1 and "eta_s" in facts:
            own_s = float(facts.pop("eta_s"))
            facts |= {} if self._after_s is None else {"eta_s": own_s + self._after_s}
        self._reporter.progress(self._start + (self._end - self._start) * fraction, **facts)

    def metrics(self, **values: float) -> None:
        """Tell measured values, by names of the part's own."""
        self._reporter.metrics(**{f"{self._prefix}{name}": value for name, value in values.items()})

    def log(self, text: str) -> None:
        """Log a line."""
        self._reporter.log(text)

    def warn_owner(self, text: str) -> None:
        """Warn the owner of the job."""
        self._reporter.warn_owner(text)

    def warn(self, text: str) -> None:
        """Log a line of level `warning`."""
        self._reporter.warn(text)

    def stop_requested(self) -> bool:
        """Return whether the work should be saved and left."""
        return self._reporter.stop_requested()


class Checkpoints(Protocol):
    """Where one training run keeps its state. What is loaded is what was saved last and whole."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state on durable storage. Values are tensors, numbers, strings, and lists and dicts of them."""
        ...

    def load(self) -> dict[str, Any] | None:
        """Return the last state, on the CPU; None when there is none."""
        ...


class Drained(Exception):
    """The run saved a checkpoint and left, because `Reporter.stop_requested` said so."""


def part_of(progress: Callable[[float], None], done: int, parts: int) -> Callable[[float], None]:
    """Return what takes the progress of one of several equal parts of a phase, of which `done` are behind it."""
    return lambda fraction: progress((done + fraction) / parts)


def each_reported(items: Iterable[Item], count: int, report: Callable[[float], None]) -> Iterator[Item]:
    """Yield the items, of which there are `count`, and report the share done before each: silence would be a stall."""
    for done, item in enumerate(items):
        report(done / count)
        yield item
