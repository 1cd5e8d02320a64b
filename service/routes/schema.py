"""JSON Schema of the spec: default, limits and description of every field, for user interfaces and editors."""

from functools import lru_cache
from typing import Any

from fastapi import APIRouter

from models_store.spec.train import TrainSpec
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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrainSpec.model_json_schema()}
