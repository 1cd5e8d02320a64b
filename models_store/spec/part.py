"""Base of every object in a spec: frozen, and strict about keys."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict

from models_store.spec.synonyms import GENERAL
from models_store.spec.vocabulary import Words


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
    places: ClassVar[Mapping[str, str]] = {}
    """a field of a task's own → the inherited field that it stands before; others come last"""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, json_schema_extra=_require_kind
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:  # noqa: ANN401  as pydantic has it
        """Put fields in their places: a run's checkpoint is recognised by its spec's JSON, with the keys in order."""
        if not cls.places:
            return
        fields = cls.__pydantic_fields__
        before = {name: [own for own, place in cls.places.items() if place == name] for name in fields}
        ordered = [each for name in fields if name not in cls.places for each in [*before[name], name]]
        assert len(ordered) == len(fields), "each place is an inherited field"
        cls.__pydantic_fields__ = {name: fields[name] for name in ordered}
        cls.model_rebuild(force=True)


def words_of(model: type[BaseModel]) -> Words:
    """Return what other libraries call the fields, kinds and values of a body."""
    return model.words if issubclass(model, Part) else GENERAL


def has_path(model: type[BaseModel], path: str) -> bool:
    """Return whether there is a field at a dotted path, in any kind of a part."""
    name, _, below = path.partition(".")
    if name not in model.model_fields:
        return False
    return not below or any(has_path(each, below) for each in _models_in(model.model_fields[name].annotation))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  any type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
