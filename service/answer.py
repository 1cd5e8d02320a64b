"""the base of every answer, and how the database's times are told."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict


def moment(seconds: float | None) -> datetime | None:
    """Return the database's seconds since the epoch as a time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Answer(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(frozen=True)
