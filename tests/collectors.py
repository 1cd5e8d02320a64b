"""A small collector of traces: OpenTelemetry's OTLP over HTTP, on a free port of the loopback interface."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from models_store import traces

PATIENCE_S = 60


@dataclass(frozen=True)
class Span:
    """A span that was sent."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    began_ns: int
    ended_ns: int


class Collector:
    """The spans that were sent to `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []

    def wait_for(self, is_there: Callable[[list[Span]], bool]) -> list[Span]:
        """Return the spans as soon as those that are wanted have come."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_there(self.spans):
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.02)
        return list(self.spans)

    def take(self, body: bytes) -> None:
        """Keep what a client has sent."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {
                        each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes
                    }
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    times = (span.start_time_unix_nano, span.end_time_unix_nano)
                    self.spans.append(Span(service, span.name, *ids, attributes, *times))


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Run a collector, and name it in the environment."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with named(collector.url, monkeypatch):
            yield collector
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def named(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name a collector in the environment, for tracers that are made meanwhile."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    traces.tracer.cache_clear()
    try:
        yield
    finally:
        traces.tracer.cache_clear()
