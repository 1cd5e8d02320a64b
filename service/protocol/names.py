"""Names of models in the protocol: a reference as `/predict` takes it, and a version of its own.

    M            V    reference
    flowers           flowers
    flowers@best      flowers@best
    flowers/int8 3    flowers:3/int8

In a path, M may have its slash as it is (`/v2/models/flowers:3/int8/infer`) or as `%2F`.
"""

import re

from service.protocol.errors import ProtocolError

VERSION = re.compile("[1-9][0-9]{0,8}")


def reference_of(model: str, version: str | None) -> str:
    """Return the reference of a model and a version, which may be empty.

    Raises:
        ProtocolError: if the version is no number, or the model names one too.
    """
    if not version:
        return model
    name, slash, variant = model.partition("/")
    if ":" in name or "@" in name:
        raise ProtocolError(
            f"the model {model[:200]!r} names a version or an alias, and {version[:50]!r} is given beside it; give one"
        )
    if VERSION.fullmatch(version) is None:
        raise ProtocolError(f"the version is {version[:50]!r}; it is a number, such as 1")
    return f"{name}:{version}{slash}{variant}"
