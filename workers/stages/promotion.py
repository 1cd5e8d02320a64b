"""Trained weights on their way to another job: a trial's to the one that publishes, a version's to its compression."""

from typing import Any

from workers.tasks.image.net import Classifier
from workers.training.loop import Trained


def take_up(classifier: Classifier, promoted: dict[str, Any], *, freeze: str) -> Trained[Classifier]:
    """Return a trained net with its history, as its training returned it; the assignment says `promoted` of it."""
    classifier.freeze(freeze)
    return Trained(
        classifier,
        history=promoted["history"],
        best_epoch=promoted["best_epoch"],
        precision=promoted["precision"],
        resumed_from=None,
        batch_size=promoted["batch_size"],
    )
