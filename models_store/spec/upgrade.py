"""Upgrade of specs that jobs keep, and that earlier releases resolved: to what they meant when they were queued."""

from typing import Any

UNKNOWN_THEN: dict[str, Any] = {
    "transfer": {},
    "distillation": None,
    "evaluation": {},
    "validation": None,
    "search": None,
}
"""parts that an old document may lack, with values that change nothing; the keys of other parts have such defaults"""


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Return a job's spec with the field names of today, unchecked."""
    return UNKNOWN_THEN | document | {"compression": _compression(document.get("compression"))}


def _compression(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the single quantisation of old specs as a list, and the recovery inside the pruning as a field beside it."""
    if document is None or isinstance(document.get("quantize"), list):
        return document
    prune, quantize = document.get("prune"), document.get("quantize")
    changed = document | {"quantize": [] if quantize is None else [quantize]}
    if prune is not None and "recover_epochs" in prune:
        epochs = prune["recover_epochs"]
        changed["prune"] = {name: value for name, value in prune.items() if name != "recover_epochs"}
        changed["recover"] = {"epochs": epochs} if epochs else None
    return changed
