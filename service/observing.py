"""Middleware that observes every request: the outermost, so that it sees every answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observer import REQUEST_ID, Observer


class ObserveRequests:
    """Count, log and trace every request, and give its answer the request's id."""

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
