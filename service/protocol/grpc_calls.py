"""Calls over gRPC as they arrive: the key, then the message; how they are observed, and how their errors are reported.

Every call is taken as a stream, also where the protocol has one message: of any other call, grpc reads the message
before our code runs, so that whoever has no key could fill the memory. To clients it is the same.

A call is observed as a request over HTTP is: `x-request-id` and `traceparent` come as metadata, the id goes back as
trailing metadata, and counters, access log and traces have the call's path as its route, and the HTTP status of its
error.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from models_store.errors import EspalierError, Unavailable
from models_store.storage.database import UNAVAILABLE
from models_store.storage.ids import new_id
from service.auth import owner_of_key
from service.context import Context
from service.inference.counted import CLIENT_LEFT
from service.observer import REQUEST_ID
from service.protocol import messages
from service.protocol.errors import ProtocolError

METHOD = "POST"
"""of every call, over HTTP/2"""
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""HTTP status of an error → gRPC's"""

log = structlog.get_logger(__name__)

One = Callable[[str, Any, Any], Awaitable[Any]]
"""answers one message: owner, message, grpc's context"""
Many = Callable[[str, AsyncIterator[Any], Any], AsyncIterator[Any]]
"""answers a stream of messages"""


@dataclass(slots=True)
class _Ended:
    """How a call has ended."""

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    sent_bytes: int = 0


class Calls:
    """Handlers of calls to one app."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def one(self, name: str, answer: One, *, needs_key: bool = True) -> grpc.RpcMethodHandler:
        """Return the handler of a call with one message."""

        async def handle(requests: AsyncIterator[Any], context: Any) -> Any:  # noqa: ANN401  messages
            try:
                with self._observing(name, context) as ended:
                    owner = self._owner(context) if needs_key else ""
                    response = await answer(owner, await _only(requests), context)
                    ended.sent_bytes = response.ByteSize()
                    return response
            except Exception as error:  # noqa: BLE001  the last resort of a call, as `problems.LastResort` over HTTP
                await _abort(context, error, call=name)

        return grpc.stream_unary_rpc_method_handler(handle, *_coders(f"{name}Request"))

    def many(self, name: str, answer: Many, *, request: str) -> grpc.RpcMethodHandler:
        """Return the handler of a call with a stream of messages, each of which has an answer."""

        async def handle(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ANN401  messages
            try:
                with self._observing(name, context) as ended:
                    async for response in answer(self._owner(context), requests, context):
                        ended.sent_bytes += response.ByteSize()
                        yield response
            except Exception as error:  # noqa: BLE001  the same
                await _abort(context, error, call=name)

        return grpc.stream_stream_rpc_method_handler(handle, *_coders(request))

    @contextmanager
    def _observing(self, name: str, context: Any) -> Iterator[_Ended]:  # noqa: ANN401  grpc's
        given = [
            (key.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
            for key, value in context.invocation_metadata() or ()
        ]
        observer = self._context.observer
        observed, ended = observer.begin(METHOD, given), _Ended()
        context.set_trailing_metadata(((REQUEST_ID.decode(), observed.request_id.decode()),))
        try:
            yield ended
            ended.status = HTTPStatus.OK
        except (asyncio.CancelledError, GeneratorExit):
            ended.status = CLIENT_LEFT
            raise
        except EspalierError as error:
            ended.status = error.status
            raise
        except UNAVAILABLE:
            ended.status = Unavailable.status
            raise
        finally:
            observer.end(observed, METHOD, f"/{messages.SERVICE}/{name}", ended.status, sent_bytes=ended.sent_bytes)

    def _owner(self, context: Any) -> str:  # noqa: ANN401  grpc's
        given = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        return owner_of_key(
            self._context.owners, authorization=given.get("authorization", ""), api_key=given.get("x-api-key", "")
        )


def status_of(error: Exception, *, call: str) -> tuple[grpc.StatusCode, str]:
    """Return gRPC's status of an error, and its message; one that was not foreseen is logged."""
    if isinstance(error, EspalierError):
        return CODES.get(error.status, grpc.StatusCode.INTERNAL), error.detail
    if isinstance(error, UNAVAILABLE):
        return grpc.StatusCode.UNAVAILABLE, "the database does not answer, or is too busy; try again"
    error_id = new_id("err")
    log.error("unforeseen error", error_id=error_id, call=call, exc_info=error)
    return grpc.StatusCode.INTERNAL, f"this is an error of the service; it is logged as {error_id}"


async def readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the messages of a call.

    Raises:
        ProtocolError: at one that can't be read.
    """
    try:
        async for request in requests:
            yield request
    except DecodeError as error:
        raise ProtocolError("a message of the call can't be read, so the call ends") from error


async def _only(requests: AsyncIterator[Any]) -> Any:  # noqa: ANN401  a message
    """Return the message of a call that has one."""
    async for request in readable(requests):
        return request
    raise ProtocolError("the call has no message; send one")


async def _abort(context: Any, error: Exception, *, call: str) -> None:  # noqa: ANN401  grpc's
    """End a call with an error; this never returns."""
    code, text = status_of(error, call=call)
    await context.abort(code, text)


def _coders(request: str) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    return messages.message(request).FromString, lambda response: bytes(response.SerializeToString())
