"""Logs of the service: one JSON object per line on stderr, traces as text, without local variables and secrets."""

import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import orjson
import structlog

from models_store import log_lines

if TYPE_CHECKING:
    from structlog.typing import WrappedLogger

    from models_store.models.served import Served
    from models_store.settings import Settings


def configure(settings: "Settings") -> None:
    """Set structlog and the standard library's loggers up, unless whoever runs us has done so.

    Structlog's own default prints every local variable of a trace: slowly, and secrets too.
    """
    if structlog.is_configured():
        return
    secrets = log_lines.secrets_of(settings)

    def rendered(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        return log_lines.without(secrets, orjson.dumps(dict(event), default=str).decode())

    structlog.configure(
        processors=[
            _with_ids,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            rendered,
        ],
        logger_factory=_on_stderr,
    )
    log_lines.log_to_stderr(settings)


class AccessLog:
    """One line for each request: what was asked, how it ended, how long it took. No query, no header, no body."""

    def write(
        self,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        sent_bytes: int,
        request_id: str,
        served: "Served | None" = None,
    ) -> None:
        """Write the line of an answered request."""
        line = {
            "event": "request",
            "level": "info",
            "timestamp": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "bytes": sent_bytes,
            "model": None if served is None else f"{served.model}:{served.version}/{served.variant}",
        }
        _on_stderr().msg(orjson.dumps(line).decode())


class _Lines(structlog.PrintLogger):
    """A logger of whole lines; one that can't be written, on a full disk say, is lost and changes no answer."""

    def msg(self, message: str) -> None:
        """Print the message, if that is possible."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _with_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**log_lines.ids.get(), **event}


def _on_stderr(*_names: object) -> "WrappedLogger":
    stream: TextIO = sys.stderr  # looked up anew: it may have been redirected since
    return _Lines(stream)
