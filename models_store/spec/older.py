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
    return ResolvedSpec.model_validate(UNKNOWN_THEN | document)
