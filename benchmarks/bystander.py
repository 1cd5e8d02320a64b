"""Reporter of a run that nobody watches and that needs no checkpoints."""

from typing import Any


class Bystander:
    """A reporter that prints one line per epoch and never asks to stop."""

    def phase(self, name: str) -> None:
        """Do nothing."""

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Do nothing."""

    def metrics(self, **values: float) -> None:
        """Print them."""
        print("  ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)

    def log(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def warn_owner(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def warn(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def stop_requested(self) -> bool:
        """Return False."""
        return False


class MemoryCheckpoints:
    """Checkpoints that last as long as the process."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state."""
        self.state = state

    def load(self) -> dict[str, Any] | None:
        """Return the last state."""
        return self.state
