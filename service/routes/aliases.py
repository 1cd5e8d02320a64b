"""Calls about a model's aliases: moved by hot swap, shared among versions by weight, compared with a shadow."""

from functools import partial

from fastapi import APIRouter, Request

from models_store.models import aliases
from service.answers.aliases import Alias, AliasSet, AliasTarget
from service.auth import Owner
from service.context import Here
from service.inference.releasing import release
from service.requests import bodies
from service.requests.parameters import KNOWN_QUERY, AliasName, ModelName, problems
from service.threads import writes

MOST_ALIAS_BYTES = 10_000

router = APIRouter(tags=["models"], dependencies=[KNOWN_QUERY])


@router.get(
    "/models/{name}/aliases/{alias}",
    operation_id="alias_get",
    summary="Describe an alias",
    responses=problems(404),
)
def get_alias(name: ModelName, alias: AliasName, here: Here, owner: Owner) -> Alias:
    """Return what the alias points to, and how its shadow compares; counts are some seconds old."""
    return Alias.of(aliases.alias_of(here.database, name, alias, owner=owner))


@router.put(
    "/models/{name}/aliases/{alias}",
    operation_id="alias_set",
    summary="Point an alias at a version",
    responses=problems(400, 404, 409, 413, 415, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AliasTarget"}}},
        }
    },
)
async def set_alias(name: ModelName, alias: AliasName, here: Here, owner: Owner, request: Request) -> AliasSet:
    """Point an alias at a version, or at several by weight. A name without an alias means `default`.

    Every file is loaded, warmed, and checked before the alias moves: it must answer the golden inputs of its version as
    it did when it was published. If not, the alias stays where it was (409). No request fails meanwhile. Those that
    have begun finish with the old file; those that are sent after this answer get the new one. With several `targets`,
    each request is answered by one of them, and the answer names it. A `shadow` is asked the same as the targets for
    its share of the requests, at the lowest priority; its answers are compared and counted, and nobody gets them.
    """
    body = await bodies.read_json(request, max_bytes=MOST_ALIAS_BYTES)
    to = bodies.check(AliasTarget, await bodies.parsed(request, body)).as_alias()
    checks = await here.swaps.set_alias(name, alias, to, owner=owner, release=partial(release, here))
    return AliasSet.checked(to, checks)


@router.delete(
    "/models/{name}/aliases/{alias}",
    operation_id="alias_delete",
    summary="Remove an alias",
    status_code=204,
    responses=problems(404, 507),
)
@writes
def delete_alias(name: ModelName, alias: AliasName, here: Here, owner: Owner) -> None:
    """Remove an alias; the version stays."""
    aliases.remove_alias(here.database, name, alias, owner=owner)
    here.references.forget()
