"""Calls about a variant's file in memory: load it before its first request, unload it, report where it runs."""

from fastapi import APIRouter

from models_store.models.served import Served
from service.answers.memory import VariantMemory
from service.auth import Owner
from service.context import Context, Here
from service.requests.parameters import KNOWN_QUERY, ModelName, VariantName, VersionNumber, problems

PATH = "/models/{name}/versions/{number}/variants/{variant}"

router = APIRouter(prefix=PATH, tags=["models"], dependencies=[KNOWN_QUERY])


@router.get(
    "/memory",
    operation_id="variant_memory",
    summary="Is a variant in memory?",
    responses=problems(404, 409),
)
async def memory(
    name: ModelName, number: VersionNumber, variant: VariantName, here: Here, owner: Owner
) -> VariantMemory:
    """Report whether the variant is in memory, the execution provider that really runs it, and what it takes."""
    served = await _served(here, name, number, variant, owner=owner)
    return VariantMemory.of(served, await here.residence.find(served))


@router.post(
    ":load",
    operation_id="variant_load",
    summary="Load a variant",
    responses=problems(404, 409, 507),
)
async def load(name: ModelName, number: VersionNumber, variant: VariantName, here: Here, owner: Owner) -> VariantMemory:
    """Load the variant and run it in every shape now, rather than at its first request.

    Like every loaded model, it leaves when others need the room; an alias with `pinned` keeps it.
    """
    served = await _served(here, name, number, variant, owner=owner)
    return VariantMemory.of(served, await here.residence.load(served))


@router.post(
    ":unload",
    operation_id="variant_unload",
    summary="Unload a variant",
    responses=problems(404, 409),
)
async def unload(
    name: ModelName, number: VersionNumber, variant: VariantName, here: Here, owner: Owner
) -> VariantMemory:
    """Take the variant out of memory. What waits for it is answered first; the next request loads it again.

    A file that a pinned alias keeps is refused (409).
    """
    served = await _served(here, name, number, variant, owner=owner)
    await here.residence.unload(served)
    return VariantMemory.of(served, await here.residence.find(served))


async def _served(here: Context, name: str, number: int, variant: str, *, owner: str) -> Served:
    return await here.references.served(f"{name}:{number}/{variant}", owner=owner)
