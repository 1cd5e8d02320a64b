"""Counters that /metrics shows; their labels name routes and providers, never owners or models."""

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store.tasks import rooms

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


class Metrics:
    """One app's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "espalier_requests_total", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "espalier_request_seconds",
            "Time from the request's head to the answer's end, in seconds",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.predicted = {
            examples: Counter(
                f"espalier_predicted_{examples}_total",
                f"{examples.capitalize()} that were predicted",
                ["provider"],
                registry=self.registry,
            )
            for examples in dict.fromkeys(contract.examples for contract in rooms.TASKS)
        }
        """plural of an example → its counter"""

    def watch(self, *, waiting: Callable[[str], float], loaded: Callable[[], float]) -> None:
        """Show figures that are read when somebody asks: examples that wait for a lane, and loaded models."""
        for examples in self.predicted:
            meaning = f"{examples.capitalize()} that wait for a lane"
            gauge = Gauge(f"espalier_waiting_{examples}", meaning, registry=self.registry)
            gauge.set_function(partial(waiting, examples))
        gauge = Gauge("espalier_loaded_models", "Models in memory", registry=self.registry)
        gauge.set_function(loaded)


class CountRequests:
    """Count every request by its route's template, so that ids make no new series."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request that `scope` describes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - started_s)
