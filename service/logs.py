"""what the service says about itself: one JSON object per line on stderr, traces as text, without local variables."""

import sys
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


def _on_stderr(*_names: object) -> "WrappedLogger":
    stream: TextIO = sys.stderr  # looked up anew: it may have been redirected since
    return structlog.PrintLogger(stream)
