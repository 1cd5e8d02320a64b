"""Server of the protocol over gRPC, in the event loop of the API, on a port of its own.

An error is a gRPC status with the same message as over HTTP. Keys come as metadata, `authorization` or `x-api-key`. A
call's deadline is that of its request, and a canceled call withdraws its examples. grpc is imported if the port is on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.json_format import ParseDict
from starlette.concurrency import run_in_threadpool

from service.context import Context
from service.protocol import documents, messages
from service.protocol.grpc_calls import Calls, One, readable, status_of
from service.protocol.grpc_requests import request_from, response_of
from service.protocol.served_models import within
from service.requests.stickiness import sticky_key_of
from service.routes.health import is_usable

MESSAGE_OVERHEAD_BYTES = 1 << 20
GRACE_S = 5.0
MOST_CALLS = 4096
MOST_STREAMED = 64
"""requests of one stream that run at once; it is read on when one is answered"""

log = structlog.get_logger(__name__)


class PortUnavailable(Exception):
    """The port of gRPC can't be used."""


Call = Callable[[str, Any], Awaitable[Any]]


class GrpcServer:
    """The server; `start` and `stop` belong to the lifespan of the API."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._models = context.models
        most_bytes = context.settings.predict_max_bytes
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", most_bytes + MESSAGE_OVERHEAD_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=MOST_CALLS,
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))

    async def start(self, host: str, port: int) -> int:
        """Listen on an address, and return the port.

        Raises:
            PortUnavailable: if it can't be used.
        """
        shown = f"[{host}]" if ":" in host else host
        try:
            bound: int = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError as error:
            raise PortUnavailable(f"gRPC can't listen on {shown}:{port}; set GRPC_PORT to a free port, or 0") from error
        await self._server.start()
        log.info("gRPC listens", port=bound)
        return bound

    async def stop(self) -> None:
        """Finish what runs, within a grace, and end."""
        await self._server.stop(GRACE_S)

    def _handlers(self) -> grpc.GenericRpcHandler:
        calls = Calls(self._context)
        described: dict[str, tuple[Call, bool]] = {
            "ServerLive": (self._server_live, False),
            "ServerReady": (self._server_ready, False),
            "ServerMetadata": (self._server_metadata, False),
            "ModelReady": (self._model_ready, True),
            "ModelMetadata": (self._model_metadata, True),
            "ModelConfig": (self._model_config, True),
            "ModelStatistics": (self._model_statistics, True),
            "RepositoryIndex": (self._repository_index, True),
            "RepositoryModelLoad": (self._load, True),
            "RepositoryModelUnload": (self._unload, True),
        }
        methods = {
            name: calls.one(name, _as_message(f"{name}Response", call), needs_key=needs_key)
            for name, (call, needs_key) in described.items()
        }
        methods["ModelInfer"] = calls.one("ModelInfer", self._infer)
        methods["ModelStreamInfer"] = calls.many("ModelStreamInfer", self._infer_stream, request="ModelInferRequest")
        return grpc.method_handlers_generic_handler(messages.SERVICE, methods)

    async def _infer(self, owner: str, request: Any, context: Any) -> Any:  # noqa: ANN401  messages
        return await self._inferred(owner, request, context)

    async def _infer_stream(self, owner: str, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ANN401  messages
        """Answer requests as they come, in their order, up to MOST_STREAMED at once; a fault ends its own alone."""
        response = messages.message("ModelStreamInferResponse")
        answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(MOST_STREAMED)

        async def read() -> None:
            try:
                async for request in readable(requests):
                    answer = self._inferred(owner, request, context)
                    await answers.put(asyncio.create_task(answer))
            finally:
                await answers.put(None)

        reading = asyncio.create_task(read())
        running: asyncio.Task[Any] | None = None
        try:
            while (running := await answers.get()) is not None:
                try:
                    yield response(infer_response=await running)
                except Exception as error:  # noqa: BLE001  it belongs to one request of the stream
                    yield response(error_message=status_of(error, call="ModelStreamInfer")[1])
            await reading
        finally:
            reading.cancel()
            for task in (running, *_drained(answers)):
                if task is not None:
                    task.cancel()

    async def _inferred(self, owner: str, request: Any, context: Any) -> Any:  # noqa: ANN401  messages
        held: dict[str, Any] = {}
        deadline_s, sticky_key = _deadline(context), sticky_key_of(_metadata(context))
        try:
            self._context.bodies.hold(held, request.ByteSize())
            served, signature = await self._models.find(
                owner, request.model_name, request.model_version, sticky_key=sticky_key
            )
            asked = within(request_from(request), deadline_s)
            answer = await self._models.infer(served, signature, asked)
        finally:
            self._context.bodies.release(held)
        return response_of(asked, served, signature, answer)

    async def _server_live(self, _owner: str, _request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return {"live": True}

    async def _server_ready(self, _owner: str, _request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        here = self._context
        return {"ready": await run_in_threadpool(is_usable, here)}

    async def _server_metadata(self, _owner: str, _request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return documents.server()

    async def _model_ready(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return {"ready": await self._models.is_ready(owner, request.name, request.version)}

    async def _model_metadata(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return await self._models.metadata(owner, request.name, request.version)

    async def _model_config(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return {"config": await self._models.config(owner, request.name, request.version)}

    async def _model_statistics(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return await self._models.statistics(owner, request.name, request.version)

    async def _repository_index(self, owner: str, _request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        return {"models": await self._models.index(owner)}

    async def _load(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        name = _loaded_name(request)
        await self._models.load(owner, name, request.parameters)
        return {"modelName": name, "isLoaded": True}

    async def _unload(self, owner: str, request: Any) -> dict[str, Any]:  # noqa: ANN401  a message
        name = _loaded_name(request)
        await self._models.unload(owner, name, request.parameters)
        return {"modelName": name, "isUnloaded": True}


def _as_message(name: str, call: Call) -> One:
    """Return a call whose answer is a document, with that answer as a message."""
    response = messages.message(name)

    async def answer(owner: str, request: Any, _context: Any) -> Any:  # noqa: ANN401  messages
        return ParseDict(await call(owner, request), response())

    return answer


def _loaded_name(request: Any) -> str:  # noqa: ANN401  a message
    """Return the model of a call to load or unload; a client of KServe has it in the field of the repository."""
    return str(request.model_name or request.repository_name)


def _deadline(context: Any) -> float | None:  # noqa: ANN401  grpc's
    left_s = context.time_remaining()
    return None if left_s is None else time.monotonic() + left_s


def _metadata(context: Any) -> dict[str, str]:  # noqa: ANN401  grpc's
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def _drained(queue: "asyncio.Queue[asyncio.Task[Any] | None]") -> list["asyncio.Task[Any] | None"]:
    return [queue.get_nowait() for _ in range(queue.qsize())]
