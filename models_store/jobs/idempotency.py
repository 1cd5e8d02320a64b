"""The Idempotency-Key header (IETF draft-ietf-httpapi-idempotency-key-header): the same request twice acts once.

InvalidKey     422  the key was used with another body
KeyInFlight    409  the first request with it has not been answered yet
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from models_store.errors import Conflict, Invalid
from models_store.storage import tables
from models_store.storage.database import now


class InvalidKey(Invalid):
    """An idempotency key came again with another body."""

    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"


class KeyInFlight(Conflict):
    """The first request with this key is still being answered."""

    code = "idempotency_key_in_flight"
    title = "A request with this Idempotency-Key is being answered"


@dataclass(frozen=True)
class Key:
    """What makes two requests the same: who, where, the key; `body_sha256` tells a repetition from a mistake."""

    owner: str
    route: str
    key: str
    body_sha256: str


def answered(connection: Connection, key: Key) -> dict[str, Any] | None:
    """Return the answer that the same request has had, if any.

    Raises:
        InvalidKey, KeyInFlight: as `begin` does.
    """
    table = tables.idempotency
    same = (table.c.owner == key.owner, table.c.route == key.route, table.c.key == key.key)
    found = connection.execute(select(table.c.body_sha256, table.c.response).where(*same)).first()
    if found is None:
        return None
    if found.body_sha256 != key.body_sha256:
        raise InvalidKey(
            f"Idempotency-Key {key.key!r} was used before with another body; send the same body, or use a new key"
        )
    if found.response is None:
        raise KeyInFlight(f"the first request with Idempotency-Key {key.key!r} is not answered yet; wait and try again")
    return dict(found.response)


def begin(connection: Connection, key: Key) -> dict[str, Any] | None:
    """Take the key in the caller's transaction; return the answer that it already has, if any.

    Raises:
        InvalidKey: if it was used with another body.
        KeyInFlight: if its first request has no answer yet.
    """
    table = tables.idempotency
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {
        "owner": key.owner,
        "route": key.route,
        "key": key.key,
        "body_sha256": key.body_sha256,
        "created_at": now(),
    }
    taken = connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing().returning(table.c.key))
    return None if taken.first() is not None else answered(connection, key)


def finish(connection: Connection, key: Key, response: dict[str, Any]) -> None:
    """Store the answer, in the transaction that did the work."""
    table = tables.idempotency
    same = (table.c.owner == key.owner, table.c.route == key.route, table.c.key == key.key)
    connection.execute(update(table).where(*same).values(response=response))
