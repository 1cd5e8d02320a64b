"""Progress of a run: a fraction that never decreases, reported at most twice a second."""

import math
from collections.abc import Callable

from workers.process.progress import Drained, Reporter
from workers.training.checkpoint import Position

REPORT_S = 0.5
FOLLOWED_S = 60.0
"""the pace of about this long, or of a quarter of the run, says how long the rest takes"""
EXPECTED_WEIGHT = 0.1
"""epochs that an epoch's expected time counts for, beside those that were timed"""


class RunProgress:
    """Tells a reporter how far a run is. What comes before the first step has a share of the whole, none at first.

    `epoch_s` is what an epoch is expected to take; None: nothing is known.
    """

    def __init__(
        self, reporter: Reporter, *, clock: Callable[[], float], epochs: int, epoch_s: float | None = None
    ) -> None:
        self.reporter, self.clock, self.epochs = reporter, clock, epochs
        self.share_before = 0.0
        self.expected_s = epoch_s
        self.pace_s, self.pace_epochs = (0.0, 0.0) if epoch_s is None else (EXPECTED_WEIGHT * epoch_s, EXPECTED_WEIGHT)
        self.timed: tuple[float, float] | None = None  # when the pace was last looked at, and the epochs done then
        self.reported_at = clock()
        self.seen = 0
        self.has_reported = False
        self.began = self.reported_at

    def begin(self) -> None:
        """Start to count time and examples."""
        self.reported_at, self.seen = self.clock(), 0
        self.began = self.reported_at

    def a_pass(self, step: str, *, of: int, share: float) -> Callable[[int], None]:
        """Return what takes the rows done, of so many, in a pass before the first step; a wish to stop ends it."""
        began = self.clock()
        reported = -math.inf

        def each(done: int) -> None:
            nonlocal reported
            if self.reporter.stop_requested():
                raise Drained
            now = self.clock()
            if now - reported >= REPORT_S:
                reported = now
                images_per_s = done / max(now - began, 1e-9)
                eta = {} if self.expected_s is None else {"eta_s": (of - done) / images_per_s + self._all_epochs_s()}
                self.reporter.progress(share * done / of, step=step, images_per_s=images_per_s, **eta)

        return each

    def is_due(self, *, images: int) -> bool:
        """Count the examples of a step; return whether it is time to tell of the steps, as it is after the first."""
        self.seen += images
        return not self.has_reported or self.clock() - self.reported_at >= REPORT_S

    def of_steps(self, position: Position, *, steps: int) -> None:
        """Tell of the epoch under way, which has so many steps."""
        now = self.clock()
        self.has_reported = True
        loss_sum, _, seen = position.sums.tolist()
        self.reporter.progress(
            self._fraction(position.epoch + position.step / steps),
            step="steps",
            epoch=position.epoch + 1,
            epochs=self.epochs,
            loss=loss_sum / seen,
            lr=position.rate,
            images_per_s=self.seen / max(now - self.reported_at, 1e-9),
            **self._eta(position.epoch + position.step / steps, now=now),
        )
        self.reported_at, self.seen = now, 0

    def of_close(self, step: str, position: Position) -> None:
        """Tell that something is done at the end of the epoch under way."""
        epoch = position.epoch + 1
        eta = self._eta(epoch, now=self.clock())
        self.reporter.progress(self._fraction(epoch), step=step, epoch=epoch, epochs=self.epochs, **eta)

    def of_end(self, position: Position) -> None:
        """Tell that all is done."""
        self.reporter.progress(1.0, epoch=position.epoch, epochs=self.epochs)

    def _eta(self, epochs_done: float, *, now: float) -> dict[str, float]:
        """Return the seconds left by the pace of late, once there is one."""
        if self.timed is not None and epochs_done >= self.timed[1]:
            spent_s = now - self.timed[0]
            kept = math.exp(-spent_s / max(FOLLOWED_S, (now - self.began) / 4))
            self.pace_s = kept * self.pace_s + spent_s
            self.pace_epochs = kept * self.pace_epochs + epochs_done - self.timed[1]
        self.timed = (now, epochs_done)
        if self.pace_epochs <= 0:
            return {}
        return {"eta_s": max(0.0, self.epochs - epochs_done) * self.pace_s / self.pace_epochs}

    def _all_epochs_s(self) -> float:
        return self.epochs * (self.expected_s or 0.0)

    def _fraction(self, epochs_done: float) -> float:
        return self.share_before + (1 - self.share_before) * epochs_done / self.epochs
