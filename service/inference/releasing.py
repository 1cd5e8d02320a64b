"""Deleted models leave memory: at once in all API processes of the host that deletes them, elsewhere within seconds."""

import asyncio
import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from models_store.models import removals
from models_store.storage.database import UNAVAILABLE
from service.processes.inbox import Kind

if TYPE_CHECKING:
    from service.context import Context


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


async def keep_releasing(here: "Context") -> None:
    """Release what others delete, until it is canceled."""
    while True:
        await asyncio.sleep(here.settings.poll_s)
        with contextlib.suppress(*UNAVAILABLE):  # the next round may do
            await release_deleted(here)
