"""A full disk, as each library reports it, and streams whose writer does not care whether they can be written.

Whatever fails for want of room ends as `StorageFull`: a request is answered with 507, and a job goes back to the queue
without a crash.
"""

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from models_store.errors import EspalierError, StorageFull

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REPORTED = re.compile(
    r"No space left on device|Disk quota exceeded|File too large"  # the system's words, in any library's error
    r"|\(os error (28|122|27)\)"  # safetensors
    r"|database or disk is full"  # SQLite
    r"|unexpected pos \d+ vs \d+"  # torch.save
    r"|\d+ requested and \d+ written"  # numpy
)
POSTGRESQL_DISK_FULL = "53100"
PROBE_BYTES = 1 << 16


def is_full(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, says that there is no room left on a disk."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, StorageFull) or getattr(cause, "errno", None) in FULL:
            return True
        if getattr(cause, "sqlstate", None) == POSTGRESQL_DISK_FULL:
            return True
        if not isinstance(cause, EspalierError) and REPORTED.search(str(cause)):  # ours may quote what a user sent
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def has_room(folder: Path) -> bool:
    """Return whether a small file can be written in `folder` now.

    An error for lack of room may be one that `is_full` does not know.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return not is_full(error)
    return True


@contextmanager
def reported_full(what: str) -> Iterator[None]:
    """Raise what a full disk has caused as `StorageFull`; `what` says what there was no room for.

    Raises:
        StorageFull: with the original error as its cause.
    """
    try:
        yield
    except StorageFull:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise no_room_for(what) from error


def no_room_for(what: str) -> StorageFull:
    """Return the error of a disk that is full."""
    return StorageFull(f"there is no room left on the disk for {what}; free some and try again")


class Unfailing:
    """A text stream that drops what can't be written: a log line must not decide what becomes of the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand the text to the system, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the stream has
        return getattr(self._stream, name)
