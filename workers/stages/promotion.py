"""Trained weights on their way to another job: a trial's to the one that publishes, a version's to its compression."""

from typing import Any

from workers.training.learner import Learner
from workers.training.loop import Trained


def take_up(learner: Learner, promoted: dict[str, Any], *, freeze: str) -> Trained:
    """Return a trained net with its history, as its training returned it; the assignment says `promoted` of it."""
    learner.freeze(freeze)
    return Trained(
        learner,
        history=promoted["history"],
        best_epoch=promoted["best_epoch"],
        precision=promoted["precision"],
        resumed_from=None,
        batch_size=promoted["batch_size"],
    )
