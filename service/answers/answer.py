"""Base of every answer, with the format of times and the types of stored documents."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, TypeAdapter, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from models_store.tasks.rooms import TASKS


def moment(seconds: float | None) -> datetime | None:
    """Return the database's seconds since the epoch as a time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True)


TaskName = Annotated[str, WithJsonSchema({"type": "string", "enum": [name for task in TASKS for name in task.targets]})]
"""a spec's `task`; documented with those that there are"""


class ShapeOf:
    """Document a field by a type without validating its value, which was validated when it was stored.

    `input: Annotated[dict[str, Any], ShapeOf(InputTaken)]` is a dict here, and an InputTaken in the OpenAPI document.
    """

    def __init__(self, shape: Any) -> None:  # noqa: ANN401  a class, a union, or an annotated type
        self._shape = shape

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of the type."""
        return handler(TypeAdapter(self._shape).core_schema)


class ComponentOf:
    """Document a field by a schema of the OpenAPI document that `service.openapi` makes: a union over all tasks."""

    KEY = "x-component"

    def __init__(self, name: str) -> None:
        self._name = name

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return what `service.openapi` makes a reference of; pydantic refuses one that leads elsewhere."""
        return {self.KEY: self._name}
