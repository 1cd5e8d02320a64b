"""Lines of logs: one JSON object each, with the ids that it belongs to, and without secrets.

`event`, `level`, `timestamp`, then what the line is about: `request_id` in the API, `job_id` and `attempt` in workers.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from models_store.settings import Settings

HIDDEN = "***"
LEAST_SECRET = 4
"""length below which a text is not hidden: it would occur by chance"""
SECRET_VARIABLES = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")

ids: ContextVar[Mapping[str, object]] = ContextVar("ids", default={})  # noqa: B039  a mapping that nobody changes
"""what lines belong to that are logged in this context"""


@contextmanager
def of(**given: object) -> Iterator[None]:
    """Give every line that is logged in this context these ids."""
    token = ids.set({**ids.get(), **given})
    try:
        yield
    finally:
        ids.reset(token)


class JsonLines(logging.Formatter):
    """A formatter of the standard library's records."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._secrets = secrets_of(settings)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            **ids.get(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without(self._secrets, json.dumps(line, default=str, ensure_ascii=False))


def log_to_stderr(settings: Settings, *, level: int = logging.WARNING) -> None:
    """Have the standard library's loggers write JSON lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(settings))
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(level)


def secrets_of(settings: Settings) -> list[str]:
    """Return every text that no line may have in it, longest first."""
    found = [*settings.owners, settings.metrics_key, *(os.environ.get(name, "") for name in SECRET_VARIABLES)]
    for url in (settings.database_url, settings.broker_url, settings.blobs_url):
        try:
            found.append(str(make_url(url).password or ""))
        except (ArgumentError, ValueError):
            continue
    return sorted({each for each in found if len(each) >= LEAST_SECRET}, key=len, reverse=True)


def without(secrets: list[str], line: str) -> str:
    """Return the line with every secret hidden."""
    for secret in secrets:
        line = line.replace(secret, HIDDEN)
    return line
