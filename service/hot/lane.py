"""Hot lane: answers to whole requests with known heads, without parser, routing and middleware.

The first request with a head takes the documented way, through every check. When that ended with 200, the head is
learned for the connection's local address, and the next request with the same head is answered from here: the same
limits on bodies, the same counters, the same problem documents, and compression as for every other answer.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from models_store.errors import EspalierError
from service import problems
from service.answers.compressed import LEAST_COMPRESSED_BYTES, CompressAnswers, wanted_coding
from service.context import Context
from service.hot.heads import OWN, Heads
from service.hot.routes import Answering, HotRoute, Reply
from service.inference.counted import CLIENT_LEFT
from service.observer import REQUEST_ID

ELSEWHERE = {b"content-encoding", b"expect", b"origin", b"range", b"transfer-encoding", b"upgrade"}
"""headers of requests that take the documented way"""
METHOD = "POST"


@dataclass(frozen=True)
class KnownHead:
    """What answers the bodies behind a head."""

    answering: Answering
    route: HotRoute
    scope: Scope
    takes_plain: bool
    """whether a short answer may be sent as it is"""


class HotLane:
    """The heads that one app knows. All of it runs in one event loop."""

    def __init__(self, app: FastAPI, context: Context, routes: Sequence[HotRoute]) -> None:
        self._app = app
        self._context = context
        self._routes = routes
        self.most_body_bytes = context.settings.predict_max_bytes
        """larger bodies are for the documented way, which refuses them"""
        self._heads: defaultdict[object, Heads[KnownHead]] = defaultdict(Heads)

    def heads(self, local_address: object) -> Heads[KnownHead]:
        """Return the heads that are known for connections to one of the service's addresses."""
        return self._heads[local_address]

    def learn(self, heads: Heads[KnownHead], head: bytes, scope: Scope) -> None:
        """Remember the head of a request that was answered with 200, if a hot route takes it."""
        if scope["method"] != METHOD or scope["http_version"] != "1.1":
            return
        for route in self._routes:
            found = route.pattern.fullmatch(scope["path"])
            if found is not None:
                self._learn(heads, head, route, {**scope, "app": self._app, "path_params": found.groupdict()})
                return

    def _learn(self, heads: Heads[KnownHead], head: bytes, route: HotRoute, scope: Scope) -> None:
        accepted, own = b"", []
        for name, value in scope["headers"]:
            if name in ELSEWHERE or name in own:  # of two ids, the first one counts
                return
            if name in OWN:
                own.append(name)
            elif name == b"accept-encoding":
                accepted = accepted + b"," + value if accepted else value
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in OWN]
        try:
            answering = route.prepare(Request(scope))
        except EspalierError:
            return
        if answering is not None:
            takes_plain = wanted_coding(accepted)[1] if accepted else True
            heads.learn(head, KnownHead(answering, route, scope, takes_plain))

    async def answer(self, known: KnownHead, own: list[tuple[bytes, bytes]], body: bytes) -> Reply:
        """Return the answer to a body behind a known head; `own` has the headers of this request alone."""
        held: Scope = {}
        here = self._context
        observed = here.observer.begin(METHOD, own)
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        reply: Reply | None = None
        try:
            here.bodies.hold(held, len(body))
            reply = await known.answering(body)
            status = reply.status
        except Exception as error:  # noqa: BLE001  the app's own handlers answer it
            reply = _reply_of(await problems.response_to(error, Request(known.scope)))
            status = reply.status
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        finally:
            here.bodies.release(held)
            sent_bytes = 0 if reply is None else len(reply.body)
            here.observer.end(observed, METHOD, known.route.template, status, sent_bytes=sent_bytes)
        moves = observed.answer is not None and observed.answer.better_in_owner
        reply = Reply(reply.status, [*reply.headers, (REQUEST_ID, observed.request_id)], reply.body, moves)
        if len(reply.body) >= LEAST_COMPRESSED_BYTES or not known.takes_plain:
            reply = await _compressed(reply, known.scope)
        return reply


def _reply_of(response: Response) -> Reply:
    headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
    return Reply(response.status_code, headers, bytes(response.body))


async def _compressed(reply: Reply, scope: Scope) -> Reply:
    """Return the reply as the app's other answers are: compressed if the client wants that."""
    parts: list[bytes] = []
    start: Message = {}

    async def send_reply(_scope: Scope, _receive: Receive, send: Send) -> None:
        length = (b"content-length", str(len(reply.body)).encode())
        await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]})
        await send({"type": "http.response.body", "body": reply.body})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message["body"])

    await CompressAnswers(send_reply)(scope, receive, collect)
    headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
    return replace(reply, status=start["status"], headers=headers, body=b"".join(parts))
