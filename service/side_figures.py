"""Counters in /metrics of what runs beside predictions: explanations, and shadows of aliases.

Both run the model on examples that no client sent, so none of it is in the counters of predictions. They come seldom
enough to be counted at once.
"""

from functools import partial

from prometheus_client import Counter, Histogram

from models_store.models.alias_rows import Comparison
from service.metrics import RUN_SECONDS, SECONDS, Metrics

MOST_SHADOWS = 200
"""shadows that have series of their own; further ones are counted as model `other`"""
SHADOW = ["owner", "model", "alias", "version"]

Shadow = tuple[str, str, str, int]
"""owner, model, alias, version of the shadow"""


class ExplanationFigures:
    """Counters of explanations, by method and HTTP status."""

    def __init__(self, metrics: Metrics) -> None:
        counter = partial(Counter, registry=metrics.registry)
        self._requests = counter(
            "espalier_explained_requests_total", "Requests whose answers were to be explained", ["code"]
        )
        self._explanations = counter("espalier_explanations_total", "Explained answers, by method", ["method"])
        self._runs = counter(
            "espalier_explanation_runs_total", "Examples on which models were run to explain answers", ["method"]
        )
        self._seconds = Histogram(
            "espalier_explanation_seconds",
            "Time for which the answers of a request were explained, in seconds",
            registry=metrics.registry,
            buckets=SECONDS,
        )

    def answered(self, status: int, seconds: float) -> None:
        """Count a request; `seconds` begins after its prediction."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def explained(self, method: str, runs: int) -> None:
        """Count an explained answer."""
        self._explanations.labels(method).inc()
        self._runs.labels(method).inc(runs)


class ShadowFigures:
    """Counters of shadows, by alias and version; names are empty where /metrics does not show them."""

    def __init__(self, metrics: Metrics) -> None:
        self._shows_names = metrics.shows_names
        self._known: set[Shadow] = set()
        counter = partial(Counter, registry=metrics.registry)
        self._examples = counter(
            "espalier_shadow_examples_total",
            "Examples for a shadow, by outcome: agreed, differed, failed, or dropped, since the host was busy",
            [*SHADOW, "outcome"],
        )
        self._seconds = Histogram(
            "espalier_shadow_run_seconds",
            "Time for which a shadow ran the examples of a request, in seconds",
            SHADOW,
            registry=metrics.registry,
            buckets=RUN_SECONDS,
        )

    def compared(self, shadow: Shadow, comparison: Comparison, *, run_s: float | None = None) -> None:
        """Count what came of a request; `run_s` is None unless the shadow answered it."""
        labels = self._labels(shadow)
        outcomes = {
            "agreed": comparison.agreed,
            "differed": comparison.compared - comparison.agreed,
            "failed": comparison.failed,
            "dropped": comparison.dropped,
        }
        for outcome, count in outcomes.items():
            self._examples.labels(*labels, outcome).inc(count)
        if run_s is not None:
            self._seconds.labels(*labels).observe(run_s)

    def _labels(self, shadow: Shadow) -> tuple[str, ...]:
        if not self._shows_names:
            return ("", "", "", "")
        if shadow not in self._known:
            if len(self._known) >= MOST_SHADOWS:
                return ("", "other", "", "")
            self._known.add(shadow)
        return tuple(map(str, shadow))
