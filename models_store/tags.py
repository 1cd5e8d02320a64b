"""Limits of descriptions and tags, and the search for a tag in a row's list."""

import json
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, or_

LONGEST_DESCRIPTION = 2000
LONGEST_TAG = 60
MOST_TAGS = 20


def has_tag(column: ColumnElement[Any], tag: str, *, dialect: str) -> ColumnElement[bool]:
    """Return the condition that a row's JSON list of tags has this very tag, in the same case."""
    find = func.instr if dialect == "sqlite" else func.strpos
    text, written = cast(column, Text), json.dumps(tag)  # as the driver has written it, quotes included
    return or_(find(text, f"[{written}") > 0, find(text, f", {written}") > 0)  # no quote within a tag is behind these
