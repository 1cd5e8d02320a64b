"""Observation of every request: its id, its counters, its line in the access log, its trace.

Whoever answers a request calls `begin` with its head and `end` with its outcome: the middleware for the app, and the
hot lane for what it answers itself. The engine adds which model answered (`Observed.served`).
"""

import os
import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store import log_lines, traces
from service.logs import AccessLog
from service.metrics import METHODS, Metrics

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from models_store.models.served import Served
    from service.inference.engine import Answer

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"
WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
"""neither quotes, spaces nor line ends: it goes into logs and headers as it is"""
SERVER_FAULT = 500


@dataclass(slots=True)
class Observed:
    """A request under way."""

    request_id: bytes
    """the client's own `X-Request-ID` if it is well formed, else a new one; the answer repeats it"""
    started_s: float
    span: "Span | None" = None
    served: "Served | None" = None
    answer: "Answer | None" = None


current: ContextVar[Observed | None] = ContextVar("current", default=None)


class Observer:
    """Observer of one app's requests; `access_log` and `tracer` are None where they are not wanted."""

    def __init__(self, metrics: Metrics, *, access_log: AccessLog | None, tracer: traces.Tracer | None) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._tracer = tracer

    def begin(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Observed:
        """Begin a request; lines that are logged in this context have its id from here on."""
        request_id, parent = b"", None
        for name, value in headers:
            if name == REQUEST_ID and not request_id and WELL_FORMED.fullmatch(value):
                request_id = value
            elif name == TRACEPARENT:
                parent = value.decode("latin-1")
        request_id = request_id or b"req_" + os.urandom(10).hex().encode()
        observed = Observed(request_id, time.perf_counter())
        current.set(observed)
        log_lines.ids.set({"request_id": request_id.decode()})
        if self._tracer is not None:
            observed.span = self._tracer.start(method, parent=parent, is_server=True)
            traces.traceparent.set(traces.traceparent_of(observed.span))
        return observed

    def end(self, observed: Observed, method: str, route: str, status: int, *, sent_bytes: int) -> None:
        """End a request; `route` is a template, so that ids make no new series."""
        seconds = time.perf_counter() - observed.started_s
        method = method if method in METHODS else "other"
        self._metrics.answered(method, route, status, seconds)
        if self._access_log is not None:
            self._access_log.write(
                method=method,
                route=route,
                status=status,
                seconds=seconds,
                sent_bytes=sent_bytes,
                request_id=observed.request_id.decode(),
                served=observed.served,
            )
        if observed.span is not None:
            self._end_span(observed, observed.span, method, route, status)

    def close(self) -> None:
        """Send the last spans."""
        if self._tracer is not None:
            self._tracer.close()

    def _end_span(self, observed: Observed, span: "Span", method: str, route: str, status: int) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415  where there are traces

        assert self._tracer is not None
        ended_s, served, answer = time.time(), observed.served, observed.answer
        if answer is not None:  # the parts of a prediction follow one another; they end with the request
            parent, part_ended_s = traces.traceparent_of(span), ended_s
            for name, seconds in (("run", answer.run_s), ("decode", answer.decode_s), ("queue", answer.queue_s)):
                self._tracer.record(name, parent=parent, began_s=part_ended_s - seconds, ended_s=part_ended_s)
                part_ended_s -= seconds
        span.update_name(f"{method} {route}")
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "espalier.request_id": observed.request_id.decode(),
            "espalier.model": None if served is None else f"{served.model}:{served.version}/{served.variant}",
            "espalier.provider": None if answer is None else answer.provider,
            "espalier.batch_size": None if answer is None else answer.batch_size,
        }
        traces.describe(span, attributes)
        if status >= SERVER_FAULT:
            span.set_status(StatusCode.ERROR)
        span.end(int(ended_s * 1e9))


class ObserveRequests:
    """Middleware that observes every request and gives its answer the request's id: the outermost, it sees them all."""

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Observe the request that `scope` describes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observed = self._observer.begin(scope["method"], scope["headers"])
        status, sent_bytes = 500, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, observed.request_id)]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self._observer.end(observed, scope["method"], route, status, sent_bytes=sent_bytes)
