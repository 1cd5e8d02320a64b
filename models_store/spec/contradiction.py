"""The error of a spec that contradicts itself or does not fit."""

from typing import Any

from pydantic_core import PydanticCustomError


def contradiction(pointer: str, message: str, allowed: Any) -> PydanticCustomError:  # noqa: ANN401  any JSON
    """Return the error, with a pointer to the place to correct and what is allowed there."""
    return PydanticCustomError(
        "contradiction", "{message}", {"message": message, "pointer": pointer, "allowed": allowed}
    )
