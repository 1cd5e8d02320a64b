"""Selection of the epoch whose weights are kept, and of the moment to stop."""

import math
from collections.abc import Mapping

from torch import nn

from models_store.spec.training import FALLING, EarlyStopping, Monitor
from workers.training.checkpoint import Best, Position


def value(row: Mapping[str, float], metric: Monitor) -> float:
    """Return a metric of an epoch so that higher is better."""
    return -row[metric] if metric in FALLING else row[metric]


def values(history: list[dict[str, float]], metric: Monitor) -> list[float]:
    """Return a metric of all closed epochs so that higher is better; none without a validation split."""
    return [value(row, metric) for row in history if "val_loss" in row]


def keep_if_best(position: Position, row: Mapping[str, float], net: nn.Module, *, metric: Monitor) -> None:
    """Keep a copy of the net's weights if they are better; of an equal value, those of lower loss."""
    reached, loss, best = value(row, metric), row["val_loss"], position.best
    if best is None or (reached, -loss) > (best.value, -best.loss):
        weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in net.state_dict().items()}
        position.best = Best(value=reached, loss=loss, epoch=position.epoch + 1, weights=weights)


def count_gains(
    position: Position, row: Mapping[str, float], stopping: EarlyStopping | None, *, metric: Monitor
) -> None:
    """Count the epochs without a gain that early stopping would see."""
    watched = value(row, (stopping.metric if stopping else None) or metric)
    gain = math.inf if position.reference is None else watched - position.reference
    position.epochs_without_gain += 1
    if gain > (stopping.min_delta if stopping else 0.0):
        position.reference, position.epochs_without_gain = watched, 0
