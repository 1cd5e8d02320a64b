"""The Celery wake-up → supervisor. Start a worker with `celery -A workers.process.wake_up worker`.

The message says only "look at the database"; what to do, and whether there is anything to do, the claim decides.
"""

import os
import signal
import time
from types import FrameType
from typing import Any

from billiard.process import active_children
from celery.signals import setup_logging, worker_init, worker_ready
from celery.worker import state as worker_state

from models_store import log_lines
from models_store.host.processes import is_running
from models_store.jobs.housekeeping import Housekeeper
from models_store.jobs.queue import WAKE_UP, celery_app
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from workers.process import claim_loop, parent_death, presence
from workers.process.persistence import LAST_WRITES_S, StopFlag
from workers.process.presence import Presence
from workers.process.starter_keeper import StarterKeeper
from workers.process.urgent_jobs import UrgentJobs

LINGER_S = 10.0  # after a job, for the next one: the child that comes after this one imports for seconds

settings = Settings()
app = celery_app(settings)


@app.task(name=WAKE_UP, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def wake_up(job_id: str) -> None:
    """Work on whatever is due; `job_id` only says what prompted the message, for the logs."""
    del job_id
    parent_death.die_with_parent(os.getppid())
    with StopFlag().listening() as stop:
        claim_loop.work(settings, stop=stop, linger_s=LINGER_S)
        if stop.is_set:
            os._exit(0)  # the pool's own way out waits up to a minute for a parent that waits for us


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _log_lines(loglevel: int, **_: Any) -> None:  # noqa: ANN401  Celery's signature
    log_lines.log_to_stderr(settings, level=loglevel)


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _keep_starter(**_: Any) -> None:  # noqa: ANN401  Celery's signature
    presence.take_id()
    if settings.warm_starter:
        StarterKeeper(settings).start()


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_housekeeping(sender: Any, **_: Any) -> None:  # noqa: ANN401  Celery's signature
    database = Database(settings.database_url)
    database.migrate()
    blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
    housekeeper = Housekeeper(database, blobs, settings=settings, is_idle=lambda: not worker_state.active_requests)
    housekeeper.start()
    urgent_jobs = UrgentJobs(settings)
    urgent_jobs.start()
    present = Presence(settings, slots=sender.controller.concurrency)
    present.start()
    for number in (signal.SIGTERM, signal.SIGQUIT):
        _tell_children_first(number, housekeeper, urgent_jobs, present)


def at_work(children: list[int]) -> list[int]:
    """Return which of the pool's children may have a task; the others ignore the signal, and need not be waited for."""
    begun = {request.worker_pid for request in worker_state.active_requests}
    is_one_beginning = bool(set(worker_state.reserved_requests) - set(worker_state.active_requests))
    return [pid for pid in children if is_one_beginning or pid in begun]


def _tell_children_first(
    number: signal.Signals, housekeeper: Housekeeper, urgent_jobs: UrgentJobs, present: Presence
) -> None:
    """Have each supervisor at work save its job and give it back, and then let Celery end as it does at this signal.

    Celery's own soft shutdown sleeps for its whole time-out and tells its children nothing.
    """
    shut_down = signal.getsignal(number)
    assert callable(shut_down), "Celery has installed its handlers before it is ready"

    def leave(received: int, frame: FrameType | None) -> None:
        housekeeper.stop()
        children = at_work([child.pid for child in active_children()])
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        urgent_jobs.leave()
        deadline = time.monotonic() + settings.stop_grace_s + LAST_WRITES_S
        while (urgent_jobs.is_at_work or any(map(is_running, children))) and time.monotonic() < deadline:
            time.sleep(0.05)
        present.leave()
        shut_down(received, frame)

    signal.signal(number, leave)
