"""Counters that /metrics shows: requests, predictions of each model, and the models in memory.

The event loop adds numbers up, a microsecond a request; `refresh` hands them to prometheus_client, at most once a
second. That costs the same whether one process counts or several do.

Where several API processes share a port, each counts in files of a folder that they share, under its number: a process
that replaces a dead one counts on. Whichever answers /metrics adds them up. A gauge therefore needs a
`multiprocess_mode`, and a function can't be attached to it: pass the function to `Metrics.watch_gauge`.

Series are bounded: routes are templates, models those that were found in the registry, and at most MOST_VARIANTS of
those have series of their own. With API_KEYS, names of models are shown only to whoever has METRICS_KEY.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from models_store.models.served import Served
from models_store.settings import Settings
from models_store.tasks import rooms
from service.processes.place import Place

if TYPE_CHECKING:
    from service.inference.engine import Answer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
RUN_SECONDS = (0.0001, 0.00025, 0.0005, *SECONDS[:-1])
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
MOST_VARIANTS = 200
"""variants that have series of their own"""
REFRESH_S = 1.0
MODEL = ["owner", "model", "version", "variant"]
Name = tuple[str, str, str, str]
ALONE = Place()
UNNAMED: Name = ("", "", "", "")
OTHER: Name = ("", "other", "", "")


class Histograms(Histogram):
    """A histogram to which many observations are added at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add so many observations to each bucket, which are `total` together."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Tally:
    """Observations of one series since the last flush."""

    __slots__ = ("_bounds", "_child", "_counts", "_total")

    def __init__(self, child: Histograms, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Add an observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def flush(self) -> None:
        """Hand them over."""
        self._child.add(self._counts, self._total)
        self._counts = [0] * len(self._counts)
        self._total = 0.0


class _Variant:
    """Figures of one variant since the last flush."""

    __slots__ = ("batch", "codes", "decode_s", "is_used", "name", "predicted", "queue", "run", "word")

    def __init__(self, name: Name, word: str, metrics: "Metrics") -> None:
        self.name = name
        self.word = word
        self.is_used = True
        self.codes: dict[int, int] = {}
        self.predicted: dict[str, int] = {}
        self.decode_s = 0.0
        self.queue = Tally(metrics.queue_seconds.labels(*name), SECONDS)
        self.run = Tally(metrics.run_seconds.labels(*name), RUN_SECONDS)
        self.batch = Tally(metrics.batch_size.labels(*name), BATCH_SIZES)


class _Total:
    """A counter of what something else adds up."""

    def __init__(self, counter: Counter, total: Callable[[], float]) -> None:
        self._counter = counter
        self._total = total
        self._counted = 0.0

    def refresh(self) -> None:
        """Add what has come since the last time."""
        total = self._total()
        self._counter.inc(total - self._counted)
        self._counted = total


class Metrics:
    """One app's counters."""

    def __init__(self, settings: Settings, place: Place = ALONE) -> None:
        self.registry = CollectorRegistry()
        self._place = place
        self.shows_names = not settings.owners or bool(settings.metrics_key)
        """whether labels name owners, models and hosts"""
        self._read = CollectorRegistry()
        self._read.register(_Processes(place))
        self._totals: list[_Total] = []
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._labelled_gauges: list[tuple[Gauge, set[str], Callable[[], Mapping[str, float]]]] = []
        self._variants: dict[object, _Variant] = {}
        self._answered: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], Tally] = {}
        self._refreshing: asyncio.TimerHandle | None = None
        self._make()

    def _make(self) -> None:
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histograms, registry=self.registry)
        self.requests = counter("espalier_requests_total", "Answered requests", ["method", "route", "status"])
        self.seconds = histogram(
            "espalier_request_seconds",
            "Time from the request's head to the answer's end, in seconds",
            ["method", "route"],
            buckets=SECONDS,
        )
        self.predictions = counter(
            "espalier_predictions_total",
            "Prediction requests, by the model that was asked and the HTTP status (499: the client left)",
            [*MODEL, "code"],
        )
        self.queue_seconds = histogram(
            "espalier_prediction_queue_seconds",
            "Time for which the examples of a request waited to be run, in seconds",
            MODEL,
            buckets=SECONDS,
        )
        self.run_seconds = histogram(
            "espalier_prediction_run_seconds",
            "Time for which the model ran the batch of a request, in seconds",
            MODEL,
            buckets=RUN_SECONDS,
        )
        self.batch_size = histogram(
            "espalier_prediction_batch_size", "Examples in the batch of a request", MODEL, buckets=BATCH_SIZES
        )
        self.decode_seconds = counter(
            "espalier_prediction_decode_seconds_total", "Time for which examples were decoded, in seconds", MODEL
        )
        self.predicted = {
            examples: counter(
                f"espalier_predicted_{examples}_total",
                f"{examples.capitalize()} that were predicted, by the execution provider that ran the model",
                ["provider"],
            )
            for examples in dict.fromkeys(contract.examples for contract in rooms.TASKS)
        }
        """plural of an example → its counter"""

    def watch_gauge(self, name: str, meaning: str, figure: Callable[[], float]) -> None:
        """Show a figure of this process, which `refresh` reads; those of all processes are added up."""
        self._gauges.append((Gauge(name, meaning, registry=self.registry, multiprocess_mode="livesum"), figure))

    def watch_gauges(self, name: str, meaning: str, label: str, figures: Callable[[], Mapping[str, float]]) -> None:
        """Show figures as `watch_gauge` does, one for each value of a label."""
        gauge = Gauge(name, meaning, [label], registry=self.registry, multiprocess_mode="livesum")
        self._labelled_gauges.append((gauge, set(), figures))

    def watch_counter(self, name: str, meaning: str, total: Callable[[], float]) -> None:
        """Show a total of this process that only grows, which `refresh` reads; those of all processes are added up."""
        self._totals.append(_Total(Counter(name, meaning, registry=self.registry), total))

    def read_when_asked(self, collector: Collector) -> None:
        """Show what a collector finds when somebody asks: figures that are the same in every process."""
        self._read.register(collector)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is a template, so that ids make no new series."""
        key = (method, route, status)
        self._answered[key] = self._answered.get(key, 0) + 1
        tally = self._seconds.get((method, route))
        if tally is None:
            tally = self._seconds[method, route] = Tally(self.seconds.labels(method, route), SECONDS)
        tally.observe(seconds)
        if self._refreshing is None:
            self._refresh_soon()

    def predicted_by(self, served: Served, status: int, answer: "Answer | None" = None) -> None:
        """Count a prediction request for which a model was found, beside `answered`; without an answer it was refused.

        `status` is HTTP's, also for gRPC: 200, 400, 429, 499 when the client left, 503, 504.
        """
        if self.shows_names:
            key: object = (served.owner, served.model, served.version, served.variant)
        else:
            key = served.card.get("task")
        variant = self._variants.get(key)
        if variant is None:
            variant = self._new(served, key)
        variant.is_used = True
        variant.codes[status] = variant.codes.get(status, 0) + 1
        if answer is not None:
            variant.queue.observe(answer.queue_s)
            variant.run.observe(answer.run_s)
            variant.batch.observe(answer.batch_size)
            variant.decode_s += answer.decode_s
            variant.predicted[answer.provider] = variant.predicted.get(answer.provider, 0) + len(answer.outputs)
        if self._refreshing is None:
            self._refresh_soon()

    def refresh(self) -> None:
        """Hand over what was added up, and bring the watched gauges up to date; in the event loop."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        for (method, route, status), count in self._answered.items():
            self.requests.labels(method, route, str(status)).inc(count)
        self._answered.clear()
        for tally in self._seconds.values():
            tally.flush()
        for key, variant in [*self._variants.items()]:
            if variant.is_used:
                self._hand_over(variant)
                self._variants[key] = self._variants.pop(key)  # the one that was used last is the last to go
        for gauge, figure in self._gauges:
            gauge.set(figure())
        for total in self._totals:
            total.refresh()
        for gauge, known, read in self._labelled_gauges:
            figures = read()
            known.update(figures)
            for label in known:
                gauge.labels(label).set(figures.get(label, 0))

    def exposition(self) -> bytes:
        """Return the counters of all API processes in Prometheus's text format. Use in a thread, after `refresh`."""
        registry = self.registry
        if self._place.metrics_folder is not None:
            self._place.refresh_others()
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._place.metrics_folder))  # type: ignore[no-untyped-call]
        return generate_latest(self._read) + generate_latest(registry)

    def _refresh_soon(self) -> None:
        self._refreshing = asyncio.get_running_loop().call_later(REFRESH_S, self.refresh)

    def _new(self, served: Served, key: object) -> _Variant:
        word = rooms.contract_of(rooms.task_of(served.card)).examples
        name = (served.owner, served.model, str(served.version), served.variant) if self.shows_names else UNNAMED
        if len(self._variants) >= MOST_VARIANTS:
            if self._place.metrics_folder is None:
                self._remove(next(iter(self._variants)))
            elif (key := (OTHER, word)) in self._variants:
                return self._variants[key]
            else:
                name = OTHER  # prometheus_client can't remove series there
        variant = self._variants[key] = _Variant(name, word, self)
        return variant

    def _remove(self, key: object) -> None:
        variant = self._variants.pop(key)
        labels = dict(zip(MODEL, variant.name, strict=True))
        for metric in (self.predictions, self.queue_seconds, self.run_seconds, self.batch_size, self.decode_seconds):
            metric.remove_by_labels(labels)

    def _hand_over(self, variant: _Variant) -> None:
        for status, count in variant.codes.items():
            self.predictions.labels(*variant.name, str(status)).inc(count)
        for provider, count in variant.predicted.items():
            self.predicted[variant.word].labels(provider).inc(count)
        self.decode_seconds.labels(*variant.name).inc(variant.decode_s)
        for tally in (variant.queue, variant.run, variant.batch):
            tally.flush()
        variant.codes.clear()
        variant.predicted.clear()
        variant.decode_s = 0.0
        variant.is_used = False


class _Processes(Collector):
    """CPU time, memory and open files of every API process; where there are several, by number, with connections."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def collect(self) -> Iterator[Metric]:
        """Read them from /proc."""
        if self._place.metrics_folder is None:
            yield from ProcessCollector(registry=None).collect()
            return
        connections = Metric("espalier_connections", "Open connections", "gauge")
        families = {connections.name: connections}
        for process, pid in self._place.board.pids():
            connections.add_sample(connections.name, {"process": str(process)}, self._place.board.connections(process))
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
