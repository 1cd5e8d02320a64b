"""A trial's weights on their way to a model: kept while its search lasts, and taken up by the job that publishes."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from workers.image.task import Classifier
from workers.training.loop import Trained


def take_up(classifier: Classifier, weights: Path, promoted: dict[str, Any]) -> Trained[Classifier]:
    """Return a search's winner as it was trained: its weights in a net of its spec, and its history.

    `promoted` is what the assignment says of it.
    """
    classifier.load_state_dict(load_file(weights))
    return Trained(
        classifier,
        history=promoted["history"],
        best_epoch=promoted["best_epoch"],
        precision=promoted["precision"],
        resumed_from=None,
        batch_size=promoted["batch_size"],
    )
