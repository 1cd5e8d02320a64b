"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; elsewhere nothing of it is imported.

The standard variables hold (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS …). Spans are sent by a
thread, in batches; a collector that does not answer costs spans, and nothing else.
"""

import os
import threading
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LAST_SPANS_S = 2.0
"""time that a process which ends gives to its last spans"""

traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""of the request at hand (W3C Trace Context); a job that it makes keeps it"""


class Tracer:
    """Source of spans, and the thread that sends them."""

    def __init__(self, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  where it is wanted
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  as above
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415  as above
            TraceContextTextMapPropagator,
        )

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("espalier")
        self._propagator = TraceContextTextMapPropagator()

    def start(self, name: str, *, parent: str | None, at_s: float | None = None, is_server: bool = False) -> "Span":
        """Start a span under a `traceparent`, now or at a time since the epoch."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415  as above

        context = self._propagator.extract({"traceparent": parent} if parent else {})
        kind = SpanKind.SERVER if is_server else SpanKind.INTERNAL
        return self._tracer.start_span(name, context, kind, start_time=_ns(at_s))

    def record(self, name: str, *, parent: str | None, began_s: float, ended_s: float) -> None:
        """Add a span that is over."""
        self.start(name, parent=parent, at_s=began_s).end(_ns(ended_s))

    def close(self) -> None:
        """Send what is left, if the collector takes it within a moment."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(LAST_SPANS_S)


@cache
def tracer(service: str) -> Tracer | None:
    """Return this process's tracer; None where no collector is named."""
    is_off = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if is_off or not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    return Tracer(service)


def traceparent_of(span: "Span") -> str:
    """Return the W3C `traceparent` under which others put their spans."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def describe(span: "Span", attributes: dict[str, Any]) -> None:
    """Give a span its attributes; those that are None are left out."""
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)
