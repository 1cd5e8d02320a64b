"""Errors as problem documents (RFC 9457): one handler answers `application/problem+json`, without traces or secrets.

InvalidRequest (422)     a query parameter or header can't be used
├── UnknownQuery         a query parameter that this call does not have
MalformedRequest (400)   the body can't be read at all
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store.errors import EspalierError, FieldError, Invalid, NotFound, Unavailable
from models_store.spec import synonyms
from models_store.spec.patterns import not_matching
from models_store.spec.suggestions import alike
from models_store.storage import disk
from models_store.storage.database import UNAVAILABLE
from models_store.storage.ids import new_id
from service.paths import Paths
from service.protocol.errors import is_protocol, status_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = {"overloaded": 1, "bodies_overloaded": 1}
RETRY_AFTER_OTHERWISE_S = 10
LONGEST_NAME = 100
LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
"""pydantic's name of a limit → that of JSON Schema"""
"""Longest name that is compared with others; longer ones take long and are never names."""
SQLITE_VAGUE = re.compile("disk I/O error|unable to open database file")

log = structlog.get_logger(__name__)


class InvalidRequest(Invalid):
    """A query parameter or a header can't be used."""

    code = "invalid_request"
    title = "The request can't be used"


class UnknownQuery(InvalidRequest):
    """The call does not have this query parameter."""

    code = "unknown_query_parameter"
    title = "Unknown query parameter"


class MalformedRequest(EspalierError):
    """The body can't be read at all."""

    status = 400
    code = "malformed_request"
    title = "The request can't be read"


class NoSuchRoute(NotFound):
    """Nothing is served at this path."""

    code = "route_not_found"
    title = "Nothing is here"


class MethodNotAllowed(EspalierError):
    """The path exists, but with other methods."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"
    title = "The database does not answer"


def respond(error: EspalierError, *, instance: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer of an error; `instance` is the request's path."""
    headers = dict(headers or {}) | dict(getattr(error, "headers", {}))
    if error.status == Unavailable.status:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S.get(error.code, RETRY_AFTER_OTHERWISE_S)))
    return document(error.as_problem() | {"instance": instance}, headers=headers)


def document(problem: dict[str, Any], *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document as a response."""
    status, body, media_type = written(problem)
    return Response(body, status_code=status, headers=headers, media_type=media_type)


def written(problem: dict[str, Any]) -> tuple[int, bytes, str]:
    """Return status, body and media type of a problem; under `/v2`, its message in the form of that protocol."""
    if is_protocol(problem["instance"]):
        return status_of(problem["status"]), orjson.dumps({"error": problem["detail"]}), "application/json"
    return problem["status"], orjson.dumps(problem, default=str), MEDIA_TYPE


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: `did you mean …?`, or the list of known names."""
    known = sorted(known)
    close = alike(name, known, words=synonyms.QUERIES) or next(
        iter(difflib.get_close_matches(name[:LONGEST_NAME], known, n=1, cutoff=0.5)), None
    )
    if close:
        return f"did you mean {close!r}?"
    return f"there are {', '.join(known)}" if known else "there are none"


def no_such_route(path: str, paths: Paths) -> NoSuchRoute:
    """Return the refusal of a path where nothing is served."""
    tidy = paths.without_stray_slashes(path)
    hint = f"; did you mean {tidy}?" if tidy else "; /docs lists all paths"
    return NoSuchRoute(f"nothing is served at {path[:LONGEST_NAME]}{hint}")


def no_such_verb(path: str, paths: Paths) -> NoSuchRoute | None:
    """Return the refusal of an unknown verb, if the verb is the error in the path."""
    verb, known = path.rpartition(":")[2], paths.verbs(path)
    if not known or verb in known:
        return None
    return NoSuchRoute(f"there is no verb {verb[:LONGEST_NAME]!r} here; {nearest(verb, known)}")


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document, asynchronously, so that no refusal waits for a thread."""
    app.add_exception_handler(EspalierError, _espalier_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    for unavailable in UNAVAILABLE:
        app.add_exception_handler(unavailable, _database_error)
    app.add_middleware(LastResort)


class LastResort:
    """Unforeseen errors: logged with a trace under an id, and answered with only that id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, with a 500 if nothing below did."""
        started = finished = False

        async def watched(message: Message) -> None:
            nonlocal started, finished
            started = started or message["type"] == "http.response.start"
            await send(message)
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, watched)
        except Exception as cause:
            if scope["type"] != "http":
                raise
            answer = _last_resort(cause, method=scope["method"], path=scope["path"])
            if finished:
                return  # the answer was whole; what failed came after it, and the client's connection stays usable
            if started:
                raise  # the server cuts the connection: the client must not take a half answer for a whole one
            await answer(scope, receive, send)


async def response_to(error: Exception, request: Request) -> Response:
    """Return what the app answers for an error of a route."""
    for kind in type(error).__mro__:
        handler = request.app.exception_handlers.get(kind)
        if handler is not None:
            response: Response = await handler(request, error)
            return response
    return _last_resort(error, method=request.method, path=request.url.path)


def _last_resort(cause: Exception, *, method: str, path: str) -> Response:
    """Log an unforeseen error under an id, and return the answer that has only that id."""
    error_id = new_id("err")
    log.error("unforeseen error", error_id=error_id, method=method, path=path, exc_info=cause)
    if disk.is_full(cause):
        return respond(disk.no_room_for("this call"), instance=path)
    error = EspalierError(
        f"this is an error of the service; it is logged as {error_id}, please quote this id when you report it"
    )
    return document(error.as_problem() | {"instance": path, "error_id": error_id})


async def _espalier_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EspalierError)
    return respond(error, instance=request.url.path)


async def _validation_error(request: Request, error: Exception) -> Response:
    """Answer for a path, query or header value; bodies are read by `bodies.py`."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if all(fault["loc"][0] == "path" for fault in faults):
        wrong = "; ".join(f"{fault['loc'][-1]}: {_message(fault)}" for fault in faults)
        paths: Paths = request.app.state.paths
        allowed = paths.methods(request.url.path)
        is_verbs_alone = request.method not in {"GET", "HEAD", *allowed}
        if is_verbs_alone or paths.is_verb(request.url.path):  # a route of another method matched it too, with this id
            return _method_not_allowed(request, allowed)
        unknown = NoSuchRoute(f"{request.url.path} names nothing that exists here ({wrong})")
        refusal = no_such_verb(request.url.path, paths) or unknown
        return respond(refusal, instance=request.url.path)
    errors = [
        FieldError(f"{fault['loc'][0]}:{fault['loc'][-1]}", fault["type"], _message(fault), _allowed(fault))
        for fault in faults
    ]
    first = errors[0]
    return respond(InvalidRequest(f"{first.pointer}: {first.message}", errors=errors), instance=request.url.path)


def _message(fault: dict[str, Any]) -> str:
    """Return a sentence about a wrong path, query or header value, without patterns."""
    given, context = fault.get("input"), fault.get("ctx") or {}
    if fault["type"] == "string_pattern_mismatch":
        return not_matching(context["pattern"], given)
    if not isinstance(given, str):
        return str(fault["msg"])
    meant = alike(given, _listed(fault), words=synonyms.GENERAL.values)
    return f"{fault['msg']}, not {given[:LONGEST_NAME]!r}" + (f"; did you mean {meant!r}?" if meant else "")


def _listed(fault: dict[str, Any]) -> list[str]:
    """Return the values that a parameter may have, if they are listed."""
    expected = str(fault.get("ctx", {}).get("expected", "")) if fault["type"] in {"literal_error", "enum"} else ""
    return re.findall(r"'([^']*)'", expected)


def _allowed(fault: dict[str, Any]) -> Any:  # noqa: ANN401  any JSON
    """Return what a parameter allows: its values, or its limits as JSON Schema calls them."""
    limits = {LIMITS[name]: limit for name, limit in (fault.get("ctx") or {}).items() if name in LIMITS}
    return _listed(fault) or limits or None


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    paths: Paths = request.app.state.paths
    unknown = no_such_verb(path, paths)
    if unknown is not None and error.status_code in {NoSuchRoute.status, MethodNotAllowed.status}:
        return respond(unknown, instance=path)
    if error.status_code == NoSuchRoute.status:
        return respond(no_such_route(path, paths), instance=path)
    if error.status_code == MethodNotAllowed.status:
        return _method_not_allowed(request, paths.methods(path))
    problem = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "code": "http_error",
        "errors": [],
        "instance": path,
    }
    return document(problem, headers=error.headers)


def _method_not_allowed(request: Request, allowed: Sequence[str]) -> Response:
    names = ", ".join(allowed)
    refusal = MethodNotAllowed(f"{request.method} is not possible here; use {names}")
    return respond(refusal, instance=request.url.path, headers={"Allow": names})


async def _disconnected(request: Request, _error: Exception) -> Response:
    """Answer nothing: the client left while it sent its body."""
    log.info("client left", method=request.method, path=request.url.path)
    return Response(status_code=400)


async def _database_error(request: Request, error: Exception) -> Response:
    log.error("database error", path=request.url.path, error=repr(getattr(error, "orig", error)))
    if _is_for_want_of_room(error, request):
        return respond(disk.no_room_for("the database, and nothing was changed"), instance=request.url.path)
    refusal = DatabaseUnavailable("the database does not answer, or is too busy; nothing was changed, try again")
    return respond(refusal, instance=request.url.path)


def _is_for_want_of_room(error: Exception, request: Request) -> bool:
    """Return whether the database failed because its disk is full, which SQLite reports in several ways."""
    if disk.is_full(error):
        return True
    is_vague = SQLITE_VAGUE.search(str(error)) is not None
    return is_vague and not disk.has_room(request.app.state.context.settings.scratch)
