"""Claim, child process, heartbeat, cancel, finish: one job at a time, from the claim to its outcome. No torch here.

The supervisor alone talks to the database. It beats while the trainer works, passes its reports on, and ends it when
the owner cancels, the worker leaves, the claim is lost, or nothing has moved for too long. An outage of the database is
no fault of the job's: it goes on where it can, and else goes back to the queue, no crash counted.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from models_store.errors import StorageFull
from models_store.host import cgroups
from models_store.jobs import claims, kinds, leases
from models_store.jobs.claims import Claim, Stale
from models_store.jobs.kinds import URGENT
from models_store.jobs.results import Finished
from models_store.models import measure, publish
from models_store.models.measure import Remeasurement
from models_store.models.publish import Publication
from models_store.settings import Settings
from models_store.storage import disk
from models_store.storage.blobs import Blobs
from models_store.storage.database import UNAVAILABLE, Database
from workers.families import orchestrator
from workers.process import crashes, giving_up, staging
from workers.process.assign import assign
from workers.process.assignment import EXIT_DRAINED
from workers.process.attempt_trace import AttemptTrace
from workers.process.crashes import Crash
from workers.process.delivery import TOGETHER_S, Delivery
from workers.process.persistence import AwakeClock, StopFlag, persist
from workers.process.trainer_process import Report, TrainerProcess
from workers.process.trainer_start import FRESH

URGENT_STALL_S = 120.0
"""longest time without progress of an urgent job: nobody waits longer for it, and others wait behind it"""

T = TypeVar("T")

log = logging.getLogger(__name__)


def supervise(
    database: Database,
    blobs: Blobs,
    claim: Claim,
    *,
    settings: Settings,
    stop: StopFlag,
    command: list[str] | None = None,
) -> str:
    """See one claimed job through and return its outcome; whatever happens, the trainer is gone afterwards.

    A parent has no trainer: its next step is taken here, and it waits for its children or has ended.
    """
    if claim.job.priority >= URGENT:
        settings = settings.model_copy(update={"stall_s": min(settings.stall_s, URGENT_STALL_S)})
    try:
        if kinds.of(claim.job.kind).is_parent:
            return orchestrator.step(database, blobs, claim, settings=settings)
        folder = staging.make(claim, settings)
        assignment = assign(database, blobs, claim, staging=folder)
        if claim.job.crashes:  # whatever was wrong with it, it can't be how its trainer was forked
            command = command or list(FRESH)
        trainer = TrainerProcess(assignment, settings=settings, command=command)
        trace, outcome = AttemptTrace(claim), "failed"
        try:
            watch = _Watch(database, blobs, claim, trainer, trace, settings=settings, stop=stop)
            outcome = watch.until_the_end()
            return outcome
        finally:
            trace.end(outcome)
            trainer.close()
    except Stale:
        persist(lambda: leases.disprove_loss(database, claim), settings=settings, stop=stop)
        return "stale: another worker has the job, or it has ended"
    except Exception as error:  # noqa: BLE001  the second of the two broad catches: our fault must not end the worker
        staging.remove(claim, settings)  # where the disk is full, the database may need the room
        return giving_up.end_by(error, database, claim, settings=settings, stop=stop)
    finally:
        staging.remove(claim, settings)


class _Watch:
    """What is known of one attempt while it runs."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        claim: Claim,
        trainer: TrainerProcess,
        trace: AttemptTrace,
        *,
        settings: Settings,
        stop: StopFlag,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._claim = claim
        self._trainer = trainer
        self._trace = trace
        self._settings = settings
        self._stop = stop
        self._result: dict[str, Any] | None = None
        self._problem: dict[str, Any] | None = None
        self._trouble: dict[str, Any] | None = None  # what is wrong with this host
        self._disk_was_full = False  # the database said so
        self._is_late = False  # the deadline for a heartbeat has passed, and the trainer was killed for it
        self._clock = AwakeClock()
        self._delivery = Delivery(database, blobs, claim, settings=settings, clock=self._clock)
        self._progress = crashes.Progress(stall_s=settings.stall_s, clock=self._clock)
        self._kills_before = cgroups.memory_kills()
        self._last_beat = self._clock()
        self._next_beat = self._last_beat

    def until_the_end(self) -> str:
        """Follow the trainer until it ends, or has to be ended."""
        settings = self._settings
        threading.Thread(target=self._guard_the_deadline, name="deadline", daemon=True).start()
        while self._trainer.exit_code() is None or not self._trainer.is_silent:
            most_s = 1.0 if self._delivery.is_done else TOGETHER_S
            self._take(self._trainer.read(timeout_s=min(most_s, settings.beat_s)))
            if self._beat_says_cancel():
                return self._cancel()
            if self._stop.is_set:
                return self._drain()
            if self._delivery.stopped_early is not None and self._result is None:
                self._trainer.kill()
                self._result = Finished(self._delivery.stopped_early.as_document()).as_document()
                return self._conclude()
            if (crash := self._progress.crash()) is not None:
                self._trainer.kill()
                return self._crash(crash)
        if self._is_late:
            reason = f"no heartbeat reached the database for {settings.beat_deadline_s:g} s"
            self._persist(lambda: self._release(reason=reason))
            return f"left: {reason}"
        return self._conclude()

    def _guard_the_deadline(self) -> None:
        """Kill the trainer when no beat came through for too long, also while a call to the database hangs."""
        while self._trainer.exit_code() is None:
            if self._clock() - self._last_beat > self._settings.beat_deadline_s:
                self._is_late = True
                self._trainer.kill()
                return
            time.sleep(min(0.5, self._settings.beat_s))

    def _conclude(self) -> str:
        """Write down how it ended, as soon as the database answers."""
        return self._persist(self._write_down_the_end)

    def _persist(self, write: Callable[[], T]) -> T:
        def write_and_note() -> T:
            try:
                return write()
            except UNAVAILABLE as error:
                if disk.is_full(error):
                    self._disk_was_full = True
                    if self._trainer.exit_code() is not None:
                        staging.clear(self._claim, self._settings, but=self._trainer.log_path)
                raise

        return persist(write_and_note, settings=self._settings, stop=self._stop)

    def _write_down_the_end(self) -> str:
        self._delivery.write_all()
        if self._problem is not None:
            claims.fail(self._database, self._claim, self._problem)
            self._drop_checkpoints()
            return f"failed: {self._problem['detail']}"
        if self._result is not None and (self._trainer.exit_code() == 0 or self._delivery.stopped_early is not None):
            return self._hand_over(self._result)
        if self._trainer.exit_code() == EXIT_DRAINED:
            self._release()
            return "released"
        if self._trouble is not None:
            return self._crash(Crash(self._trouble["detail"]))
        stage = self._progress.stage
        return self._crash(crashes.of_exit(self._trainer.exit_code(), stage=stage, kills_before=self._kills_before))

    def _hand_over(self, result: dict[str, Any]) -> str:
        """End the job well, with what its kind makes."""
        kind = kinds.of(self._claim.job.kind)
        try:
            if kind.publishes:
                number = publish.publish(self._database, self._claim, Publication.of_document(result))
                outcome = f"succeeded: {self._claim.job.name}:{number}"
            elif kind.remeasures:
                measure.record(self._database, self._claim, Remeasurement.of_document(result))
                outcome = "succeeded"
            else:
                finished = Finished.of_document(result)
                with self._database.write() as connection:
                    claims.succeed(connection, self._claim, finished.result, files=finished.files)
                outcome = "succeeded"
        except Stale:
            return self._confirm_cancel()
        self._drop_checkpoints()
        return outcome

    def _confirm_cancel(self) -> str:
        """End the job as canceled, when that is why its outcome was refused.

        Raises:
            Stale: if the claim is no longer ours.
        """
        if not claims.beat(self._database, self._claim, settings=self._settings).cancel:
            raise Stale
        claims.confirm_cancel(self._database, self._claim)
        self._drop_checkpoints()
        return "canceled"

    def _cancel(self) -> str:
        self._trainer.stop(grace_s=self._settings.stop_grace_s, take=self._take)
        self._persist(self._write_down_the_cancel)
        self._drop_checkpoints()
        return "canceled"

    def _write_down_the_cancel(self) -> None:
        self._delivery.write_all()
        claims.confirm_cancel(self._database, self._claim)

    def _release(self, *, reason: str = claims.SHUTTING_DOWN) -> None:
        self._delivery.write_all()
        claims.release(self._database, self._claim, reason=reason)

    def _drain(self) -> str:
        self._trainer.stop(grace_s=self._settings.stop_grace_s, take=self._take)
        if self._problem is not None or (self._result is not None and self._trainer.exit_code() == 0):
            return self._conclude()
        self._persist(self._release)
        return "released"

    def _crash(self, crash: Crash) -> str:
        tail = self._trainer.log_tail()
        if tail:
            self._delivery.add_output(tail, stage=self._progress.phase)
        self._persist(self._delivery.write_all)
        if self._trouble is not None and self._trouble.get("code") == StorageFull.code:
            raise StorageFull(crash.reason)
        if self._disk_was_full or not disk.has_room(self._settings.scratch):
            raise disk.no_room_for("the job's files") from RuntimeError(crash.reason)
        self._persist(
            lambda: claims.crash(
                self._database, self._claim, settings=self._settings, reason=crash.reason, advice=crash.advice
            )
        )
        return f"crashed: {crash.reason}"

    def _take(self, reports: list[Report]) -> None:
        """Pass the trainer's reports on; a database that does not answer gets them later."""
        self._progress.take(report for report in reports if report[0] != "tick")  # time passes also where all stands
        for kind, data in reports:
            if kind == "result":
                self._result = data
            elif kind == "problem":
                self._problem = data
            elif kind == "trouble":
                self._trouble = data
            elif kind != "alive":
                self._delivery.add(kind, data)
            if kind == "phase":
                self._trace.phase(data["phase"])
        try:
            self._delivery.write_when_due()
        except SQLAlchemyError as error:
            self._disk_was_full |= disk.is_full(error)
            log.warning("%s: reports wait: the database does not answer", self._claim.job.id)

    def _beat_says_cancel(self) -> bool:
        """Beat when it is time; a database that does not answer is tried again until the deadline."""
        if self._clock() < self._next_beat:
            return False
        self._next_beat = self._clock() + self._settings.beat_s
        try:
            orders = claims.beat(self._database, self._claim, settings=self._settings)
        except SQLAlchemyError:
            log.warning("%s: no heartbeat: the database does not answer", self._claim.job.id)
            self._next_beat = self._clock() + min(1.0, self._settings.beat_s)
            return False
        self._last_beat = self._clock()
        return orders.cancel

    def _drop_checkpoints(self) -> None:
        with suppress(*UNAVAILABLE):  # the sweeper finds them: no row of a job that goes on names them
            self._delivery.delete(claims.forget_checkpoints(self._database, self._claim.job.id))
