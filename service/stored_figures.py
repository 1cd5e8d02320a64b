"""Figures of the database in /metrics: jobs, workers, devices. Read when somebody asks, at most every few seconds."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from models_store.jobs import tallies, workers
from models_store.jobs.job import STATES
from models_store.storage import tables
from models_store.storage.database import UNAVAILABLE, Database, now

EVERY_S = 5.0


class StoredFigures(Collector):
    """Collector of the database's figures; without the database it says only that it does not answer."""

    def __init__(
        self,
        database: Database,
        *,
        beat_s: float,
        shows_hosts: bool,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._beat_s = beat_s
        self._shows_hosts = shows_hosts
        self._every_s = every_s
        self._clock = clock
        self._reading = threading.Lock()
        self._found: list[Metric] = []
        self._found_at = -float("inf")

    def collect(self) -> Iterator[Metric]:
        """Return the figures, which are at most a few seconds old."""
        with self._reading:
            if self._clock() - self._found_at >= self._every_s:
                try:
                    self._found = [_up(answers=True), *self._jobs(), *self._workers()]
                except UNAVAILABLE:
                    self._found = [_up(answers=False)]
                self._found_at = self._clock()
        yield from self._found

    def _jobs(self) -> Iterator[Metric]:
        job = tables.job
        counted = select(job.c.state, func.count()).group_by(job.c.state)
        following = select(now() - job.c.created_at).where(job.c.state == "queued")
        with self._database.read() as connection:
            states = {state: int(count) for state, count in connection.execute(counted)}
            waits_s = connection.execute(following.order_by(job.c.priority.desc(), job.c.id).limit(1)).scalar()
            events = tallies.counts(connection)
        jobs = GaugeMetricFamily("espalier_jobs", "Jobs, by state", labels=["state"])
        for state in STATES:
            jobs.add_metric([state], states.get(state, 0))
        yield jobs
        meaning = "Time for which the job that is claimed next has waited, in seconds; 0: no job waits"
        yield GaugeMetricFamily("espalier_next_job_wait_seconds", meaning, value=waits_s or 0)
        yield CounterMetricFamily(
            "espalier_lease_expiries",
            "Leases of jobs that ran out because their worker did not renew them",
            value=events["lease_expiries"],
        )
        yield CounterMetricFamily("espalier_job_crashes", "Attempts at jobs that crashed", value=events["crashes"])

    def _workers(self) -> Iterator[Metric]:
        found = workers.listing(self._database)
        states = Counter(each.state(beat_s=self._beat_s) for each in found)
        shown = GaugeMetricFamily("espalier_workers", "Workers, by what they do", labels=["state"])
        for state in get_args(workers.State):
            shown.add_metric([state], states[state])
        yield shown
        there = [each for each in found if each.state(beat_s=self._beat_s) != "lost"]
        devices = GaugeMetricFamily(
            "espalier_worker_devices", "Devices of the workers that are there", labels=["host", "kind", "name"]
        )
        hosts = {each.host: each.devices for each in there}  # workers of one host share its devices
        counted = Counter(
            (host if self._shows_hosts else "", each["kind"], each["name"])
            for host, those in hosts.items()
            for each in those
        )
        for labels, number in sorted(counted.items()):
            devices.add_metric(labels, number)
        yield devices


def _up(*, answers: bool) -> Metric:
    return GaugeMetricFamily("espalier_database_up", "Whether the database answers", value=int(answers))
