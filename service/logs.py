"""Logs of the service: one JSON object per line on stderr, traces as text, without local variables."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import WrappedLogger


def configure() -> None:
    """Set structlog up, unless whoever runs us has done so.

    Its own default prints every local variable of a trace: slowly, and secrets too.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=_on_stderr,
    )


class _Lines(structlog.PrintLogger):
    """A logger of whole lines; one that can't be written, on a full disk say, is lost and changes no answer."""

    def msg(self, message: str) -> None:
        """Print the message, if that is possible."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _on_stderr(*_names: object) -> "WrappedLogger":
    stream: TextIO = sys.stderr  # looked up anew: it may have been redirected since
    return _Lines(stream)
