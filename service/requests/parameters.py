"""Parameters that routes share: ids, pages, and the refusal of unknown query parameters."""

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError

from models_store import names
from models_store.spec import patterns
from models_store.tags import LONGEST_TAG
from service.answers.documents import Problem
from service.problems import MEDIA_TYPE, UnknownQuery, nearest

DatasetId = Annotated[str, Path(pattern=patterns.DATASET_ID, description="id of the dataset")]
WeightsId = Annotated[str, Path(pattern=patterns.WEIGHTS_ID, description="id of the file of weights")]
JobId = Annotated[str, Path(pattern=patterns.JOB_ID, description="id of the job")]
ModelName = Annotated[str, Path(pattern=patterns.NAME, description="name of the model")]
VersionNumber = Annotated[int, Path(ge=1, le=999_999_999, description="number of the version")]
VariantName = Annotated[str, Path(pattern=patterns.VARIANT, description="name of the variant")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=patterns.KEY,
        description="a repeated request with the same key and body makes no second job",
    ),
]
AliasName = Annotated[str, Path(pattern=patterns.ALIAS, description="name of the alias")]


def _given_name(name: str) -> str:
    fault = "is not UTF-8 text" if "\ufffd" in name else names.fault(name)
    if fault is not None:
        raise PydanticCustomError(
            "name_refused", "the name {shown} {fault}", {"shown": ascii(name[:50]), "fault": fault}
        )
    return name


GivenName = Annotated[str, Query(min_length=1, max_length=names.LONGEST), AfterValidator(_given_name)]
"""A name for people, of letters of any language"""

TagFilter = Annotated[
    str | None,
    Query(alias="tag", min_length=1, max_length=LONGEST_TAG, description="only items with exactly this tag"),
]
Limit = Annotated[int, Query(ge=1, le=100, description="largest number of items on the page")]
Cursor = Annotated[
    str | None,
    Query(pattern=patterns.CURSOR, description="`next` of the previous page; left out: the first page"),
]

PROBLEMS: dict[int, str] = {
    400: "The request can't be read",
    401: "An API key is needed",
    404: "It does not exist, or belongs to another owner",
    408: "The body arrived too slowly",
    409: "Not possible in this state",
    410: "The job that was made with this Idempotency-Key was deleted",
    413: "Too large",
    415: "A content type or coding that this call does not read",
    416: "The file does not have the requested part",
    422: "The input can't be used",
    429: "Too many at a time: try again after Retry-After seconds",
    503: "Not available now: try again after Retry-After seconds",
    504: "Not answered in time",
    507: "No room left on the disk",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for these errors (401, 422 and 503 may always come)."""
    return _documented({401, 422, 503, *statuses})


NEEDS_NO_KEY: dict[str, Any] = {"security": []}
"""For `openapi_extra` of calls that everybody may use; their answers contain nothing of an owner."""


def public_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the errors of a call that needs no API key."""
    return _documented({422, *statuses})


def _documented(statuses: set[int]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": Problem, "description": PROBLEMS[status], "content": {MEDIA_TYPE: {}}}
        for status in sorted(statuses)
    }


def answer(body: BaseModel, *, status: int, headers: dict[str, str] | None = None, **more: Any) -> Response:  # noqa: ANN401  Response's own
    """Return an answer whose status or headers depend on the result."""
    return Response(body.model_dump_json(), status, headers, media_type="application/json", **more)


async def refuse_unknown_query(request: Request) -> None:
    """Refuse an unknown or repeated query parameter.

    Asynchronous, so that no call waits for a free thread before it begins.

    Raises:
        UnknownQuery: naming the nearest one.
    """
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    refuse_query_besides(request, known)


def refuse_query_besides(request: Request, known: set[str]) -> None:
    """Refuse every query parameter that is not in `known`, or is repeated.

    Raises:
        UnknownQuery: naming the nearest one.
    """
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise UnknownQuery(f"there is no query parameter {name!r} here; {nearest(name, known)}")
        if name in seen:
            raise UnknownQuery(f"the query parameter {name!r} was given twice; give it once")
        seen.add(name)


KNOWN_QUERY = Depends(refuse_unknown_query)
