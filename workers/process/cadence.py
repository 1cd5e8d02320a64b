"""Cadence of a job's checkpoints: how often one is due, by the time that saving takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAVING_SHARE = 0.05  # saving takes at most about this share of the time, however large the state


class Cadence:
    """Times of checkpoints: every `every_s` seconds, and less often where saving takes long."""

    def __init__(self, every_s: float, *, clock: Callable[[], float]) -> None:
        self._every_s, self._clock = every_s, clock
        self._saved_at = self._saving_s = 0.0

    def begin(self) -> None:
        """Count the time to the next checkpoint from now."""
        self._saved_at = self._clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return self._clock() - self._saved_at >= max(self._every_s, self._saving_s / SAVING_SHARE)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Take the time of what is saved within this block."""
        began_at = self._clock()
        yield
        self._saved_at = self._clock()
        self._saving_s = self._saved_at - began_at
