"""Hooks for `json.loads` that refuse what Python accepts and RFC 8259 does not."""

from collections import Counter
from typing import Any


class DuplicateKey(ValueError):
    """A key is twice in one object, so one of its values would be lost."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys are all different.

    Raises:
        DuplicateKey: naming one that is not.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise DuplicateKey(f"the key {twice!r} is given twice in one object; keep one")
    return found


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON (RFC 8259, section 6); leave the field out, or give a number")
