"""Parts of a spec that a trainer may change to keep to its budget."""

from collections.abc import Sequence
from typing import Any

from models_store.spec.training import Fitted

Document = dict[str, Any]


def left_to_the_trainer(document: Document, *, others: Sequence[Fitted] = ()) -> list[Fitted]:
    """Return what a trainer may change: what was asked for, or the epochs, `others` and the average of the weights.

    Each is one that the spec leaves out. A resolved spec that is filled again, for a trial of a search, has its list.
    """
    if document["training"].get("budget_minutes") is None:
        return []
    if document["training"]["fit_to_budget"] is not None:
        return list(document["training"]["fit_to_budget"])
    epochs: list[Fitted] = ["training.epochs"] if is_left_out(document, "training.epochs") else []
    follows = epochs and "regularizers" not in others and is_left_out(document, "regularizers")
    averages: list[Fitted] = ["regularizers"] if follows else []  # an average is over a share of the epochs
    return [*epochs, *others, *averages]


def is_left_out(document: Document, path: str) -> bool:
    """Tell whether a spec leaves a value out, and no search varies it."""
    value: Any = document
    for step in path.split("."):
        value = value if value is None else value[step]
    varied = (document["search"] or {}).get("space", {})
    return value is None and not any(_overlap(path, other) for other in varied)


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.")
