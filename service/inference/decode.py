"""Decoding of one example of a request: a fault gets the example's place in the request."""

from dataclasses import dataclass, replace
from typing import Any

from models_store.errors import EspalierError, FieldError, Invalid, TooLarge
from models_store.tasks.codec import Codec, OverBudget

Example = Any
"""One example of a request: a file's bytes, a JSON value that the task takes, or `Ready`."""


@dataclass(frozen=True)
class Ready:
    """An example that is decoded already, as a row of a tensor is."""

    decoded: Any
    """what the codec's `decode` returns"""


class BadInput(Invalid):
    """An example of a prediction request can't be used; `errors` says which, and why."""

    code = "bad_input"
    title = "An input can't be used"


def decode(example: Example, codec: Codec[Any], *, pointer: str, budget: Any) -> Any:  # noqa: ANN401  the codec's own
    """Return the example decoded; `budget` is its request's, from the same codec.

    Raises:
        BadInput: with pointers below `pointer`, if it can't be decoded.
        TooLarge: the codec's own with `pointer`, if the example is larger than any may be.
        OverBudget: if the request's examples are too much together.
    """
    if isinstance(example, Ready):
        return example.decoded
    try:
        return codec.decode(example, budget=budget)
    except OverBudget:
        raise  # it is the whole request's, not this example's
    except TooLarge as error:
        fault = FieldError(pointer, error.code, error.detail)
        raise type(error)(f"{pointer}: {error.detail}", errors=[fault]) from error
    except EspalierError as error:
        errors = [replace(each, pointer=pointer + each.pointer) for each in error.errors]
        errors = errors or [FieldError(pointer, error.code, error.detail)]
        raise BadInput(f"{errors[0].pointer}: {errors[0].message}", errors=errors) from error
