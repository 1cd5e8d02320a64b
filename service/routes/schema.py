"""JSON Schema of the spec: default, limits and description of every field, for user interfaces and editors."""

import operator
from functools import lru_cache, reduce
from typing import Any

from fastapi import APIRouter
from pydantic import TypeAdapter

from models_store.tasks.rooms import TASKS
from service.requests.parameters import KNOWN_QUERY, NEEDS_NO_KEY, public_problems

router = APIRouter(tags=["train"], dependencies=[KNOWN_QUERY])


@router.get(
    "/schema/train",
    operation_id="schema_train",
    summary="Read the spec's JSON Schema",
    responses=public_problems(),
    openapi_extra=NEEDS_NO_KEY,
)
def train() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a train spec."""
    return _schema()


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    any_spec: Any = reduce(operator.or_, [task.Spec for task in TASKS])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(any_spec).json_schema()}
