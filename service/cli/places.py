"""Places of the local stack's files, and whether one runs there. It imports only the standard library."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any


def home_of(given: Path | None) -> Path:
    """Return the folder asked for, else ESPALIER_HOME, else `.espalier` here."""
    return (given or Path(os.environ.get("ESPALIER_HOME") or ".espalier")).expanduser().resolve()


def running_url(home: Path) -> str | None:
    """Return the URL of the stack that runs on this folder; None when there is none."""
    try:
        lock = os.open(home / "stack.lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_holder(lock).get("url")
    finally:
        os.close(lock)
    return None


def read_holder(lock: int) -> dict[str, Any]:
    """Return what the holder of a lock file wrote into it."""
    written = os.pread(lock, 4096, 0)
    return dict(json.loads(written)) if written else {}


def write_holder(lock: int, holder: dict[str, Any]) -> None:
    """Write the holder of the lock file."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(holder).encode(), 0)
