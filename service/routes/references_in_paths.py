"""Path parameter `{model:reference}`: a model's name, alias or version, and its variant behind a slash.

The calls of the inference protocol end in words, so that `colours/infer` is a call of `colours` and no variant of it.
"""

from starlette.convertors import StringConvertor, register_url_convertor

CALLS = ("versions", "infer", "ready", "config", "stats", "load", "unload")


class ReferenceConvertor(StringConvertor):
    """A reference with or without a variant."""

    regex = rf"[^/]+(?:/(?!(?:{'|'.join(CALLS)})(?:/|$))[^/]+)?"


def register() -> None:
    """Make the parameter known to the router; several times do no harm."""
    register_url_convertor("reference", ReferenceConvertor())
