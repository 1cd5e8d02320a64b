"""Deleted models leave memory: at once in the process that deleted them, within seconds in every other."""

import asyncio
import contextlib

from models_store.models import removals
from models_store.storage.database import UNAVAILABLE, Database
from service.inference.references import References
from service.inference.sessions import Sessions


async def release_deleted(sessions: Sessions, references: References, database: Database) -> None:
    """Unload the models whose files no variant has any more, and forget what referred to them."""
    loaded = sessions.files
    gone = loaded - await asyncio.to_thread(removals.named, database, loaded)
    if gone:
        references.forget()
        sessions.release(gone)


async def keep_releasing(sessions: Sessions, references: References, database: Database, *, every_s: float) -> None:
    """Release what other processes delete, until it is canceled."""
    while True:
        await asyncio.sleep(every_s)
        with contextlib.suppress(*UNAVAILABLE):  # the next round may do
            await release_deleted(sessions, references, database)
