"""Counters that /metrics shows; their labels name routes and providers, never owners or models.

Where several API processes share a port, each counts in files of a folder that they share, under its number: a process
that replaces a dead one counts on. Whichever answers /metrics adds them up. A gauge therefore needs a
`multiprocess_mode`, and a function can't be attached to it: pass the function to `Metrics.watch_gauge`.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store.tasks import rooms
from service.processes.place import Place

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


ALONE = Place()


class Metrics:
    """Counters of one app, in a registry of their own, and how those of the other API processes are added."""

    def __init__(self, place: Place = ALONE) -> None:
        self._place = place
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self._read: list[Collector] = [_Processes(place)]
        self.registry = CollectorRegistry()
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
            self.watch_gauge(f"espalier_waiting_{examples}", meaning, partial(waiting, examples))
        self.watch_gauge("espalier_loaded_models", "Models in memory, in all API processes", loaded)

    def watch_gauge(self, name: str, meaning: str, figure: Callable[[], float]) -> None:
        """Show a figure of this process, which is read when somebody asks; those of all processes are added up."""
        gauge = Gauge(name, meaning, registry=self.registry, multiprocess_mode="livesum")
        self._watched.append((gauge, figure))

    def read_when_asked(self, collector: Collector) -> None:
        """Show what a collector finds when somebody asks: figures that are the same in every process."""
        self._read.append(collector)

    def refresh(self) -> None:
        """Bring the watched gauges of this process up to date."""
        for gauge, figure in self._watched:
            gauge.set(figure())

    def exposition(self) -> bytes:
        """Return the counters of all API processes in Prometheus's text format. Use in a thread."""
        self.refresh()
        registry = self.registry
        if self._place.metrics_folder is not None:
            self._place.refresh_others()
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._place.metrics_folder))  # type: ignore[no-untyped-call]
        read = CollectorRegistry()
        for collector in self._read:
            read.register(collector)
        return generate_latest(read) + generate_latest(registry)


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


class _Processes(Collector):
    """CPU time, memory and open files of every API process, by its number where there are several."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def collect(self) -> Iterator[Metric]:
        """Read them from /proc."""
        if self._place.metrics_folder is None:
            yield from ProcessCollector(registry=None).collect()
            return
        families: dict[str, Metric] = {}
        for process, pid in self._place.board.pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"process": str(process)}, sample.value)
        yield from families.values()


def count_together(place: Place) -> None:
    """Let the counters of this process go to the folder of all; call it before the first is made."""
    if place.metrics_folder is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place.metrics_folder)
        values.ValueClass = values.MultiProcessValue(lambda: place.number)  # type: ignore[no-untyped-call]


def forget_gauges(folder: Path, process: int) -> None:
    """Drop the gauges of a process that has died; its counters stay."""
    mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
