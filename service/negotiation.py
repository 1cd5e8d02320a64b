"""Preferences of a client: `Accept` and `Accept-Encoding` (RFC 9110, section 12.5)."""

import re

QUALITY = re.compile(r"q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
MOST_ITEMS = 100


def qualities(header: str) -> dict[str, float]:
    """Return each name of the list in lower case with its quality; 0: refused. A broken quality counts as 0."""
    found: dict[str, float] = {}
    for item in header.split(",", MOST_ITEMS)[:MOST_ITEMS]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name:
            found[name] = next((_quality(each) for each in parameters if each.startswith("q")), 1.0)
    return found


def _quality(parameter: str) -> float:
    match = QUALITY.fullmatch(parameter)
    return float(match[1]) if match else 0.0
