"""What a running job tells and is told: the seam between the trainer's work and the process around it."""

from typing import Any, Protocol


class Reporter(Protocol):
    """Where a job's progress goes, and where a wish to stop comes from."""

    def phase(self, name: str) -> None:
        """Enter a phase of the job, such as `training` or `evaluating`."""
        ...

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Tell how much of the phase is done, from 0 to 1, and what goes with it (epoch, loss, …)."""
        ...

    def metrics(self, **values: float) -> None:
        """Tell measured values that stay: one call per epoch."""
        ...

    def log(self, text: str) -> None:
        """Tell one line for people."""
        ...

    def stop_requested(self) -> bool:
        """Return whether the work should be saved and left; cheap enough to ask at every step."""
        ...


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
