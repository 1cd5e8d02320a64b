"""HEAD on every path that answers GET, and OPTIONS on every path, for all routes in one place.

HEAD runs the code of GET and ends it after the head of its answer, so that both have the same headers. `Range` is
ignored, as RFC 9110 (section 14.2) requires for every method except GET.
"""

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.paths import Paths

FOR_GET_ALONE = {b"range", b"if-range"}


class HeadAndOptions:
    """Middleware that answers both methods."""

    def __init__(self, app: ASGIApp, *, paths: Paths) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that `scope` describes."""
        method = scope.get("method")
        if method == "HEAD" and "GET" in self._paths.methods(scope["path"]):
            await self._head(scope, receive, send)
        elif method == "OPTIONS":
            await self._options(scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] not in FOR_GET_ALONE]
        as_get = {**scope, "method": "GET", "headers": headers}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                answering.cancel()  # a stream would go on for as long as its job does

        answering = asyncio.ensure_future(self._app(as_get, receive, send_head))
        try:
            await asyncio.wait({answering})
        finally:
            answering.cancel()
            if "route" in as_get:
                scope["route"] = as_get["route"]  # for those outside who count requests by it
        if not answering.cancelled():
            answering.result()

    def _options(self, path: str) -> Response:
        allowed = self._paths.methods(path)
        refusal = problems.no_such_verb(path, self._paths) if allowed else problems.no_such_route(path, self._paths)
        if refusal is not None:
            return problems.respond(refusal, instance=path)
        return Response(status_code=204, headers={"Allow": ", ".join(allowed)})
