"""Base of every object in a spec: frozen, and strict about keys."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from models_store.spec.synonyms import GENERAL
from models_store.spec.words import Words


def _require_kind(schema: dict[str, Any]) -> None:
    """Mark `kind` as required: a part is found by it, so a request that leaves it out is refused."""
    kind = schema.get("properties", {}).get("kind")
    if kind is not None:
        kind.pop("default", None)
        schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]


class Part(BaseModel):
    """One object of a spec. Unknown keys are refused; `explain` names the nearest valid key."""

    words: ClassVar[Words] = GENERAL
    """what other libraries call its fields, kinds and values"""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, json_schema_extra=_require_kind
    )


def words_of(model: type[BaseModel]) -> Words:
    """Return what other libraries call the fields, kinds and values of a body."""
    return model.words if issubclass(model, Part) else GENERAL
