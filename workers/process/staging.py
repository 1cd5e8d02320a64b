"""Folders of attempts, below `staging` in the work folder: each attempt has its own, and leaves nothing behind."""

import shutil
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from models_store.jobs import outage_notes
from models_store.jobs.claims import Claim
from models_store.settings import Settings
from models_store.storage import disk, tables
from models_store.storage.database import Database


def make(claim: Claim, settings: Settings) -> Path:
    """Return a new folder for the attempt.

    Raises:
        StorageFull: if nothing could be written in it.
    """
    if not disk.has_room(settings.scratch):
        raise disk.no_room_for("a job's files")
    folder = _of(claim, settings)
    folder.mkdir(parents=True)
    return folder


def clear(claim: Claim, settings: Settings, *, but: Path) -> None:
    """Remove what a trainer that has ended left in its folder, but one file: it may be what fills the disk."""
    with suppress(OSError):
        for path in _of(claim, settings).iterdir():
            if path != but:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove(claim: Claim, settings: Settings) -> None:
    """Remove the attempt's folder, and no other attempt's: ours may be the stale one."""
    folder = _of(claim, settings)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def sweep(database: Database, settings: Settings) -> None:
    """Remove the folders that a killed supervisor left on this host."""
    folder = settings.scratch / "staging"
    if not folder.is_dir():
        return
    found = list(folder.iterdir())  # before the look at the database: a job that is claimed meanwhile is not among them
    with database.read() as connection:
        running = set(connection.execute(select(tables.job.c.id).where(tables.job.c.state == "running")).scalars())
    for path in found:
        if path.name not in running:
            shutil.rmtree(path, ignore_errors=True)
    outage_notes.forget(settings, running=running)


def _of(claim: Claim, settings: Settings) -> Path:
    return settings.scratch / "staging" / claim.job.id / str(claim.fence)
