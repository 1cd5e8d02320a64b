"""Limit on the bytes of request bodies that one process keeps in memory for all of its requests."""

from starlette.types import ASGIApp, Receive, Scope, Send

from models_store.errors import Unavailable

HELD = "espalier.body_bytes"  # in a request's scope: what it holds


class TooManyBodies(Unavailable):
    """The bodies of other requests fill the memory that bodies may take."""

    code = "bodies_overloaded"
    title = "Too many request bodies are being read"


class BodiesInFlight:
    """The bytes that requests hold. All of it runs in one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def hold(self, scope: Scope, size_bytes: int) -> None:
        """Let a request hold this many more bytes until it is answered; a single request may hold any number.

        Raises:
            TooManyBodies: if there is no room for them now.
        """
        held = scope.get(HELD, 0)
        others = self.held_bytes - held
        if others and self.held_bytes + size_bytes > self._most_bytes:
            raise TooManyBodies(
                f"the bodies of other requests take {others} of the {self._most_bytes} bytes that bodies may take; "
                "try again in a moment"
            )
        self.held_bytes += size_bytes
        scope[HELD] = held + size_bytes

    def release(self, scope: Scope) -> None:
        """Take back everything that a request holds."""
        self.held_bytes -= scope.pop(HELD, 0)


class ReleaseBodies:
    """Take back what a request holds when it has been answered, however that ended."""

    def __init__(self, app: ASGIApp, *, bodies: BodiesInFlight) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that `scope` describes."""
        try:
            await self._app(scope, receive, send)
        finally:
            self._bodies.release(scope)
