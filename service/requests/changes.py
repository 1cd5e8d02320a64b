"""Bodies of PATCH: JSON merge patches (RFC 7396) of names, descriptions and tags.

A missing key changes nothing, and null clears. No field declares a default, because a client that sends declared
defaults must not clear a field by accident.
"""

from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from models_store import names
from models_store.descriptions import Changes
from models_store.tags import LONGEST_DESCRIPTION, LONGEST_TAG, MOST_TAGS
from service.requests import bodies

MOST_BYTES = 64 << 10
Patch = TypeVar("Patch", bound=BaseModel)
LINE_ENDS = str.maketrans("", "", "\r\n\t")


def _text(text: str) -> str:
    """Refuse characters that no name may have, except line ends and tabs."""
    for character in text.translate(LINE_ENDS):
        if (kind := names.refused_kind(character)) is not None:
            raise PydanticCustomError(
                "text_refused",
                "the text has U+{code}, {kind}; leave it out",
                {"code": f"{ord(character):04X}", "kind": kind},
            )
    return text


def _name(name: str) -> str:
    if (fault := names.fault(name.strip())) is not None:
        raise PydanticCustomError("name_refused", "{shown} {fault}", {"shown": ascii(name[:50]), "fault": fault})
    return name.strip()


def _all_different(tags: list[str]) -> list[str]:
    twice = next((tag for position, tag in enumerate(tags) if tag in tags[:position]), None)
    if twice is not None:
        raise PydanticCustomError("tag_twice", "the tag {shown} comes twice; give it once", {"shown": repr(twice)})
    return tags


Tag = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG), AfterValidator(_name)]
Tags = Annotated[
    list[Tag],
    Field(max_length=MOST_TAGS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_all_different),
]


def _none() -> Any:  # noqa: ANN401  a default that is no part of the schema
    return None


class WeightsPatch(BaseModel):
    """Name of a file of weights. A missing key changes nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": {"name": "leaves, 40 epochs"}})

    name: Annotated[str, Field(min_length=1, max_length=names.LONGEST), AfterValidator(_name)] = Field(
        default_factory=_none, description="a name for people; several files may have the same"
    )


class DescriptionPatch(BaseModel):
    """Description and tags of a model or a version. A missing key changes nothing."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"description": "trained on the photographs of May", "tags": ["may", "field"]}},
    )

    description: Annotated[str, Field(max_length=LONGEST_DESCRIPTION), AfterValidator(_text)] | None = Field(
        default_factory=_none, description="any text; null removes it"
    )
    tags: Tags | None = Field(
        default_factory=_none, description="all tags, which replace the previous ones; null removes them"
    )

    @property
    def changes(self) -> Changes:
        """Return what to set."""
        given: Changes = {}
        if "tags" in self.model_fields_set:
            given["tags"] = self.tags or []
        if "description" in self.model_fields_set:
            given["description"] = self.description or None
        return given


class DatasetPatch(DescriptionPatch):
    """Name, description and tags of a dataset. A missing key changes nothing."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "flowers of May", "tags": ["may", "field"]}})

    name: Annotated[str, Field(min_length=1, max_length=names.LONGEST), AfterValidator(_name)] = Field(
        default_factory=_none, description="a name for people; several datasets may have the same"
    )

    @property
    def changes(self) -> Changes:
        """Return what to set."""
        return {**super().changes, "name": self.name} if "name" in self.model_fields_set else super().changes


async def changes_of(request: Request, patch: type[DescriptionPatch]) -> Changes:
    """Return what a request's body sets; raise as `patch_of` does."""
    return (await patch_of(request, patch)).changes


async def patch_of(request: Request, patch: type[Patch]) -> Patch:
    """Return the patch that a request's body is.

    Raises:
        WrongContentType, BodyTooLarge, MalformedRequest, InvalidBody: if it is no such patch.
    """
    body = await bodies.read_json(request, max_bytes=MOST_BYTES, types=("application/json", MERGE_PATCH))
    return bodies.check(patch, await bodies.parsed(request, body))


MERGE_PATCH = "application/merge-patch+json"


def documented(patch: type[BaseModel]) -> dict[str, Any]:
    """Return a call's `openapi_extra` for such a body."""
    content = {"schema": {"$ref": f"#/components/schemas/{patch.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": content, MERGE_PATCH: content}}}
