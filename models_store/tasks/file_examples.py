"""Bytes of an example that is a file: plain, or as base64 text in JSON."""

from typing import Any

import pybase64

from models_store.tasks.codec import bad_example
from models_store.wording import counted


def bytes_of(given: Any, *, example: str, known: str, max_bytes: int) -> bytes:  # noqa: ANN401  bytes or any JSON
    """Return the bytes of a file; `example` is the word for it "image", `known` names formats ("JPEG, PNG, …").

    Raises:
        BadExample: if it is no base64 (a `data:` URL may hold it), empty, or larger than `max_bytes`.
    """
    data = given if isinstance(given, bytes) else _decoded(given, example)
    if not data:
        raise bad_example(f"empty_{example}", f"the file has no bytes; give a whole {known} file")
    if len(data) > max_bytes:
        message = f"{counted(len(data), 'byte')} is above {max_bytes}"
        raise bad_example(f"{example}_too_large", message, allowed={"max_bytes": max_bytes})
    return data


def _decoded(text: Any, example: str) -> bytes:  # noqa: ANN401  any JSON
    if not isinstance(text, str):
        raise bad_example("bad_base64", f"the {example} must come as a string of base64, or as a file")
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise bad_example("bad_base64", f"a data: URL must read `data:{example}/…;base64,…`")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, and text outside ASCII
        message = "this is not base64 (RFC 4648, section 4: `A-Z a-z 0-9 + /`, padded with `=`, no line breaks)"
        raise bad_example("bad_base64", message) from error
