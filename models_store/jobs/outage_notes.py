"""Notes of workers that left in an outage of the database: a file for each attempt, in this host's scratch folder.

Such a worker could not give its job back. Whoever finds its process gone reads here that it was no crash.
"""

from pathlib import Path

from models_store.settings import Settings


def note(settings: Settings, job_id: str, fence: int) -> None:
    """Note that the attempt ended in good order."""
    path = _path(settings, job_id, fence)
    path.parent.mkdir(exist_ok=True)
    path.touch()


def is_noted(settings: Settings, job_id: str, fence: int) -> bool:
    """Tell whether the attempt ended in good order, though its row does not say so."""
    return _path(settings, job_id, fence).exists()


def forget(settings: Settings, *, running: set[str]) -> None:
    """Remove the notes on jobs that are not running: their rows say what is to be known."""
    for path in (settings.scratch / "left").glob("*"):
        if path.stem not in running:
            path.unlink(missing_ok=True)


def _path(settings: Settings, job_id: str, fence: int) -> Path:
    return settings.scratch / "left" / f"{job_id}.{fence}"
