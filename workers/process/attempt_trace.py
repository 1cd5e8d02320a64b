"""Trace of one attempt at a job: under the request that made the job, with the wait for a worker and each phase."""

import time

from models_store import traces
from models_store.jobs.claims import Claim

SERVICE = "espalier-worker"


class AttemptTrace:
    """Spans of an attempt, by what its trainer reports; nothing where no collector is named."""

    def __init__(self, claim: Claim) -> None:
        self._tracer = traces.tracer(SERVICE)
        if self._tracer is None:
            return
        job, began_s = claim.job, time.time()
        if claim.attempt == 1:
            self._tracer.record("wait for a worker", parent=job.traceparent, began_s=job.created_at, ended_s=began_s)
        self._span = self._tracer.start(f"attempt at {job.kind}", parent=job.traceparent, at_s=began_s)
        traces.describe(self._span, {"espalier.job_id": job.id, "espalier.attempt": claim.attempt})
        self._phase = self._tracer.start("starting", parent=traces.traceparent_of(self._span), at_s=began_s)

    def phase(self, name: str) -> None:
        """End the phase under way, and begin the next."""
        if self._tracer is not None:
            self._phase.end()
            self._phase = self._tracer.start(name, parent=traces.traceparent_of(self._span))

    def end(self, outcome: str) -> None:
        """End the attempt."""
        if self._tracer is not None:
            self._phase.end()
            traces.describe(self._span, {"espalier.outcome": outcome.partition(":")[0]})
            self._span.end()
