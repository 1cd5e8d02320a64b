"""Upkeep of the models in memory: deleted ones leave all API processes of this host at once, pinned ones stay.

Other hosts follow within seconds.
"""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from models_store.errors import EspalierError
from models_store.models import aliases, removals
from models_store.models.registry import ModelNotFound, NotServedHere
from models_store.storage.database import UNAVAILABLE
from service.processes.inbox import Kind

if TYPE_CHECKING:
    from models_store.models.served import Served
    from service.context import Context

log = structlog.get_logger(__name__)


def release(here: "Context", files: Collection[str]) -> None:
    """Unload models in every API process of this host; what waits for them is answered first."""
    here.sessions.release(files)
    for blob in files:
        here.place.tell_others(Kind.RELEASE, blob)


async def release_deleted(here: "Context") -> None:
    """Unload the models whose files no variant has any more, and forget what referred to them."""
    loaded = here.sessions.files
    gone = loaded - await asyncio.to_thread(removals.named, here.database, loaded)
    if gone:
        here.references.forget()
        release(here, gone)


async def keep_pinned(here: "Context") -> None:
    """Load what pinned aliases mean, and keep it in memory from now on; let others be evicted again."""
    wanted: dict[str, Served] = {}
    for owner, reference in await asyncio.to_thread(aliases.pinned, here.database):
        with contextlib.suppress(ModelNotFound, NotServedHere):
            served = await asyncio.to_thread(here.references.resolve, reference, owner=owner)
            shadow = [] if served.shadow is None else [served.shadow.served]
            wanted |= {each.blob: each for each in (served, *(target for _, target in served.split), *shadow)}
    here.sessions.residents.pinned = frozenset(wanted)
    for blob, served in wanted.items():
        if blob not in here.sessions.files:
            try:
                await here.sessions.get(served)
            except EspalierError as error:
                log.warning("a pinned model did not load", model=served.name, error=error.detail)


async def keep_releasing(here: "Context") -> None:
    """Keep up with what others delete and pin, and store what shadows have counted, until it is canceled."""
    while True:
        if here.place.is_owner:
            await _try(keep_pinned(here))
        await asyncio.sleep(here.settings.poll_s)
        await _try(release_deleted(here))
        await _try(here.shadows.flush())


async def _try(step: Coroutine[Any, Any, None]) -> None:
    """Await a step; the next round may do what fails."""
    try:
        await step
    except UNAVAILABLE:
        pass
    except Exception:  # whatever one round does, the upkeep goes on
        log.exception("a round of the upkeep of models failed")
