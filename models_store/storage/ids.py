"""Opaque, sortable, prefixed ids: `job_` + 10 characters of time + 12 of chance."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(prefix: str, *, at_s: float | None = None) -> str:
    """Return a new id; ids made later sort after earlier ones (to the millisecond)."""
    milliseconds = int((time.time() if at_s is None else at_s) * 1000)
    moment = "".join(ALPHABET[milliseconds >> shift & 31] for shift in range(45, -5, -5))
    return f"{prefix}_{moment}{''.join(secrets.choice(ALPHABET) for _ in range(12))}"
