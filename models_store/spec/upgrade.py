"""Specs that jobs keep, and that were resolved before the vocabulary grew: read as what they meant when they were queued."""

from typing import Any

from models_store.spec.train import ResolvedSpec

UNKNOWN_THEN: dict[str, Any] = {
    "transfer": {},
    "distillation": None,
    "evaluation": {},
    "validation": None,
    "search": None,
}
"""parts that a document may lack, with the values that change nothing; the keys of other parts have such defaults"""


def read_resolved(document: dict[str, Any]) -> ResolvedSpec:
    """Return a job's spec. No recipe is asked for what is absent: the job would train otherwise than it was to.

    Raises:
        pydantic.ValidationError: if the document was never a resolved spec.
    """
    return ResolvedSpec.model_validate(upgraded(document))


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Return a job's spec in the words of today, unchecked."""
    return UNKNOWN_THEN | document | {"compression": _compression(document.get("compression"))}


def _compression(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what once was one way to quantise as a list of them, and the recovery that stood in the pruning beside it."""
    if document is None or isinstance(document.get("quantize"), list):
        return document
    prune, quantize = document.get("prune"), document.get("quantize")
    changed = document | {"quantize": [] if quantize is None else [quantize]}
    if prune is not None and "recover_epochs" in prune:
        epochs = prune["recover_epochs"]
        changed["prune"] = {name: value for name, value in prune.items() if name != "recover_epochs"}
        changed["recover"] = {"epochs": epochs} if epochs else None
    return changed
