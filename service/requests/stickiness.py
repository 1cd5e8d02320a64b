"""Key by which requests to a weighted alias stay with one target: a header that names a user, a session or a device.

It is a header, like those by which service meshes and ingresses hash requests to backends: a proxy can set it, and no
body has to be read. A key is stored and logged nowhere.
"""

from collections.abc import Mapping
from typing import Any

from models_store.errors import FieldError
from service.problems import InvalidRequest

HEADER = "X-Canary-Key"
LONGEST = 200
MEANING = (
    "of an alias with several targets: requests with the same key, such as a user's id, are answered by the same "
    f"target while its weights stay; left out: each request draws one. 1 to {LONGEST} characters"
)
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": MEANING,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST},
}


def sticky_key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key, if there is one.

    Raises:
        InvalidRequest: if it is empty or too long.
    """
    given = headers.get(HEADER.lower())  # gRPC's metadata is in lower case; HTTP's is of either
    if given is not None and not 1 <= len(given) <= LONGEST:
        pointer = f"header:{HEADER}"
        message = f"it has {len(given)} characters; it may have 1 to {LONGEST}"
        allowed = {"minLength": 1, "maxLength": LONGEST}
        raise InvalidRequest(f"{pointer}: {message}", errors=[FieldError(pointer, "bad_length", message, allowed)])
    return given
