"""The errors that outside input can cause; each knows its HTTP status and a stable code.

EspalierError
├── NotFound                  404  unknown id, or another owner's
├── Conflict                  409  the thing is in a state that refuses this
├── Invalid                   422  what was given can't be used; `errors` says which part
├── TooLarge                  413
├── UnsupportedType           415
├── Unavailable               503
└── StorageFull               507

The modules of this package derive their own from these and name them after what happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with the input: where (a JSON pointer, or a file's name), what, and what is allowed."""

    pointer: str
    code: str
    message: str
    allowed: Any = None

    def as_json(self) -> dict[str, Any]:
        """Return the member of a problem document's `errors` (RFC 9457, section 3.1, an extension)."""
        document = {"pointer": self.pointer, "code": self.code, "message": self.message}
        return document if self.allowed is None else document | {"allowed": self.allowed}


class EspalierError(Exception):
    """An error for users: `detail` has what was given, what is allowed and what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    is_the_hosts: ClassVar[bool] = False
    """whether the same may succeed later or elsewhere: a job is then tried again, with its checkpoints"""

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be pickled, whatever its class takes: it may be raised in one process and answered by another."""
        return _restored, (type(self), self.args, vars(self))

    def as_problem(self) -> dict[str, Any]:
        """Return the problem document (RFC 9457) without `instance`."""
        return {
            "type": f"urn:espalier:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "errors": [error.as_json() for error in self.errors],
        }


def _restored(kind: type[EspalierError], arguments: tuple[Any, ...], state: dict[str, Any]) -> EspalierError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class NotFound(EspalierError):
    """It does not exist here, or belongs to another owner."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(EspalierError):
    """It exists, but its state does not allow this."""

    status = 409
    code = "conflict"
    title = "Not possible in this state"


class Invalid(EspalierError):
    """The input can't be used."""

    status = 422
    code = "invalid"
    title = "The input can't be used"


class TooLarge(EspalierError):
    """The input is over a limit on size."""

    status = 413
    code = "too_large"
    title = "Too large"


class UnsupportedType(EspalierError):
    """This call does not read this content type."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported content type"


class Unavailable(EspalierError):
    """It is not available now: try again later."""

    status = 503
    code = "unavailable"
    title = "Not available now"


class StorageFull(EspalierError):
    """There is no room left on the disk."""

    status = 507
    code = "storage_full"
    is_the_hosts = True
    title = "No room left"
