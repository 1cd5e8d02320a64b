"""Parts of a spec that a trainer may change to keep to its budget."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from models_store.spec.training import Fitted

Document = dict[str, Any]

SMALLER = (0.75, 0.5)
"""sides of images that are made smaller to save time, as shares of the planned one"""
SMALLEST_SIDE = 64
"""smallest side to which images are reduced; smaller images stay as they are"""
LEFT_OUT: tuple[Fitted, ...] = ("transfer", "augmentation", "regularizers", "loss", "optimizer", "schedule")
"""parts that a trainer may replace when the spec leaves them out"""


def left_to_the_trainer(document: Document, *, size: int, fine_tunes: bool) -> list[Fitted]:
    """Return the paths that a trainer may change to keep to its budget: those that were asked for, or those that the spec leaves out.

    A resolved spec that is filled again, for a trial of a search, has its list. Parts that follow from the way are
    named where all of them are left out, for only then can the way become another.
    """
    training, backbone = document["training"], document["backbone"]
    if training.get("budget_minutes") is None:
        return []
    if training["fit_to_budget"] is not None:
        return list(training["fit_to_budget"])
    varied = (document["search"] or {}).get("space", {})
    is_free = {path: not any(_overlap(path, other) for other in varied) for path in get_args(Fitted)}
    paths: list[Fitted] = []
    if training["epochs"] is None and is_free["training.epochs"]:
        paths.append("training.epochs")
    if document["input"]["size"] is None and is_free["input.size"] and size * SMALLER[0] >= SMALLEST_SIDE:
        paths.append("input.size")
    is_frozen_by_choice = backbone is not None and backbone["freeze"] is not None
    if not fine_tunes or is_frozen_by_choice or not is_free["backbone.freeze"]:
        return [*paths, *_averages(document, paths, is_free)]
    paths.append("backbone.freeze")
    may_be_a_head = "training.epochs" in paths and all(document[name] is None and is_free[name] for name in LEFT_OUT)
    return [*paths, *(LEFT_OUT if may_be_a_head else _averages(document, paths, is_free))]


def _averages(document: Document, paths: Sequence[Fitted], is_free: Mapping[Fitted, bool]) -> list[Fitted]:
    """Return the part that follows the number of epochs, where that may change."""
    follows = document["regularizers"] is None and is_free["regularizers"] and "training.epochs" in paths
    return ["regularizers"] if follows else []


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.")
