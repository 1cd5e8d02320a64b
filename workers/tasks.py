"""The Celery wake-up → supervisor. Start a worker with `celery -A workers.tasks worker`.

The message says only "look at the database"; what to do, and whether there is anything to do, the claim decides.
"""

import os
import signal
from typing import Any

from billiard.process import active_children
from celery.signals import worker_ready, worker_shutting_down
from celery.worker import state as worker_state

from models_store.blobs import Blobs
from models_store.database import Database
from models_store.patrol import Patrol
from models_store.queue import WAKE_UP, celery_app
from models_store.settings import Settings
from workers import supervisor, tether

settings = Settings()
app = celery_app(settings)
_patrols: list[Patrol] = []


@app.task(name=WAKE_UP, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def wake_up(job_id: str) -> None:
    """Work on whatever is due; `job_id` only says what prompted the message, for the logs."""
    del job_id
    tether.die_with_parent(os.getppid())
    with supervisor.StopFlag().listening() as stop:
        supervisor.work(settings, stop=stop)


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_patrol(**_: Any) -> None:  # noqa: ANN401  Celery's signature
    database = Database(settings.database_url)
    database.migrate()
    blobs = Blobs(settings.blobs_url, scratch=settings.scratch)
    patrol = Patrol(database, blobs, settings=settings, is_idle=lambda: not worker_state.active_requests)
    patrol.start()
    _patrols.append(patrol)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _drain(**_: Any) -> None:  # noqa: ANN401  Celery's signature
    """Let each supervisor save its job and give it back: a soft shutdown waits, but tells the children nothing."""
    for child in active_children():
        os.kill(child.pid, signal.SIGTERM)
    for patrol in _patrols:
        patrol.stop()
