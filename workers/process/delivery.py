"""Reports of a trainer on their way to the store: collected for a moment, then written together.

While the database does not answer they wait; none is lost unless the supervisor is.
"""

import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models_store.jobs import claims, kinds, stage_costs
from models_store.jobs.claims import Claim
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from workers.families import orchestrator
from workers.process.log_book import LogBook

if TYPE_CHECKING:
    from models_store.jobs.results import Tried
    from workers.process.trainer_process import Report

TOGETHER_S = 0.2
"""for which reports are collected, to be written in one transaction"""
NO_EVENTS = {"checkpoint", "plan", "cost", "warning"}
"""kinds of reports that are kept otherwise than as events of the job"""
ALIKE_IN_CHILDREN = {"validating", "training"}
"""stages that take as long in a child of a search or validation as in a job of its own"""

log = logging.getLogger(__name__)


class Delivery:
    """What one attempt's trainer has reported and the store has not got yet."""

    def __init__(
        self, database: Database, blobs: Blobs, claim: Claim, *, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._database, self._blobs, self._claim, self._clock = database, blobs, claim, clock
        self._log = LogBook(database, claim, settings=settings, clock=clock)
        self._waiting: list[Report] = []
        self._written_at = 0.0
        self._kind = kinds.of(claim.job.kind)
        self._early_stopping = orchestrator.EarlyStopping(database, claim.job) if self._kind.stops_early else None
        self.stopped_early: Tried | None = None
        """the result of a trial that is worth no more epochs"""

    @property
    def is_done(self) -> bool:
        """Return whether nothing waits."""
        return not self._waiting

    def add(self, kind: str, data: dict[str, Any]) -> None:
        """Take a report in."""
        if kind == "tick":
            self._waiting.append(("progress", data))
        elif kind == "log":
            self._waiting += self._log.take(data)
        else:
            self._waiting.append((kind, data))

    def add_output(self, text: str, *, stage: str) -> None:
        """Take in the last that a trainer printed before it died."""
        self._waiting += self._log.printed(text, stage=stage)

    def write_when_due(self) -> None:
        """Write what waits, if enough time has passed since the last time."""
        if self._clock() - self._written_at >= TOGETHER_S:
            self._write()

    def write_all(self) -> None:
        """Write all that waits."""
        self._waiting += self._log.rest()
        self._write()

    def delete(self, names: list[str]) -> None:
        """Delete checkpoints that no row names any more."""
        for sha256 in names:
            try:
                self._blobs.delete(sha256)
            except OSError:
                log.warning("%s: checkpoint %s is left to the sweeper", self._claim.job.id, sha256[:12])

    def _write(self) -> None:
        self._written_at = self._clock()
        while self._waiting:
            kind, data = self._waiting[0]
            if kind not in NO_EVENTS:
                self._write_events()
                continue
            if kind == "checkpoint":
                self.delete(claims.keep_checkpoint(self._database, self._claim, data["sha256"]))
            elif kind == "plan":
                claims.keep_plan(self._database, self._claim, data["spec"])
            elif kind == "warning":
                claims.keep_warning(self._database, self._claim, data["text"])
            else:
                self._keep_cost(stage_costs.Cost(**data))
            self._waiting.pop(0)

    def _write_events(self) -> None:
        events = list(itertools.takewhile(lambda report: report[0] not in NO_EVENTS, self._waiting))
        claims.report(self._database, self._claim, events)
        del self._waiting[: len(events)]
        self._log.written(events)
        if self._early_stopping is not None and any(kind == "metrics" and "epoch" in data for kind, data in events):
            self.stopped_early = self.stopped_early or self._early_stopping.verdict()

    def _keep_cost(self, cost: stage_costs.Cost) -> None:
        if not self._kind.is_tried or cost.stage in ALIKE_IN_CHILDREN:
            stage_costs.record(self._database, self._claim.job.id, cost)
