"""Base of every answer, with the format of times and the types of stored documents."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


def moment(seconds: float | None) -> datetime | None:
    """Return the database's seconds since the epoch as a time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True)


class ShapeOf:
    """Document a field by a type without validating its value, which was validated when it was stored.

    `spec: Annotated[dict[str, Any], ShapeOf(ResolvedSpec)]` is a dict here, and a ResolvedSpec in the OpenAPI document.
    """

    def __init__(self, shape: Any) -> None:  # noqa: ANN401  a class, a union, or an annotated type
        self._shape = shape

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of the type."""
        return handler(TypeAdapter(self._shape).core_schema)
