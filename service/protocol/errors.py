"""Errors of the Open Inference Protocol: one for requests that it does not allow, and the form of all others."""

from models_store.errors import EspalierError, Invalid

PREFIX = "/v2"


class ProtocolError(EspalierError):
    """The request is not what the protocol, or the model's metadata, asks for."""

    status = 400
    code = "bad_inference_request"
    title = "The request can't be used"


def is_protocol(path: str) -> bool:
    """Return whether a path belongs to the protocol, where an error is `{"error": "…"}`."""
    return path.startswith(PREFIX) and path[len(PREFIX) : len(PREFIX) + 1] in {"", "/"}


def status_of(status: int) -> int:
    """Return the HTTP status of an error under `/v2`, where what can't be used is 400, not 422."""
    return ProtocolError.status if status == Invalid.status else status
