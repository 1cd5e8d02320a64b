"""The Celery app and `announce(job_id)`: the queue carries wake-ups and nothing else.

Celery never holds a job's state, retries, result or progress; losing every message loses no job. Each setting below was
tried against Redis with celery and kombu 5.7 (docs/decisions/0001-the-database-is-the-truth.md).
"""

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models_store.jobs import urgent
from models_store.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

WAKE_UP = "espalier.wake_up"
QUEUE = "espalier"

log = logging.getLogger(__name__)


def celery_app(settings: Settings, *, socket_timeout_s: float = 10, connect_timeout_s: float = 5) -> "Celery":
    """Return a Celery app on the settings' broker."""
    from celery import Celery  # noqa: PLC0415  0.3 s that a process which never announces is spared
    from kombu import Queue  # noqa: PLC0415  as above

    app = Celery("espalier", broker=settings.broker_url)
    app.conf.update(
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        # A wake-up that is lost is sent again, so that none is acknowledged: one whose acknowledgement failed, as the
        # broker went down, would count as under way for good, and its worker would hear of no other.
        task_queues=[Queue(QUEUE, routing_key=QUEUE, no_ack=True)],
        task_publish_retry=False,
        broker_pool_acquire_timeout=2,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 300,
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": connect_timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "max_retries": 0,
        },
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_pool_start_method="spawn",  # CUDA can't be used in a forked child
        worker_max_tasks_per_child=1,
        worker_proc_alive_timeout=120,  # a child that imports on a busy machine is late, not dead
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_soft_shutdown_timeout=0,  # a blind sleep: wake_up.py waits for the processes that it asks to leave
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


def announce(settings: Settings, job_id: str) -> bool:
    """Wake a worker for the job, within about a second; False when the broker can't be reached.

    Nothing is lost then: sweepers announce the job again, and idle workers look at the database by themselves.
    """
    try:
        _sender(settings.broker_url).send_task(
            WAKE_UP, args=[job_id], ignore_result=True, retry=False, expires=settings.reannounce_s
        )
    except Exception as error:  # noqa: BLE001  the broker's libraries raise many kinds, and a wake-up may be lost
        log.warning("the wake-up for %s was not sent: %s", job_id, type(error).__name__)
        return False
    return True


def reachable(settings: Settings) -> bool:
    """Tell whether the broker answers, within about a second."""
    import redis  # noqa: PLC0415  as Celery above

    try:
        with urgent.connect(settings.broker_url, answer_s=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@lru_cache(maxsize=4)
def _sender(broker_url: str) -> Any:  # noqa: ANN401  Celery has no types
    app = celery_app(Settings(broker_url=broker_url), socket_timeout_s=1, connect_timeout_s=1)
    app.conf.broker_pool_limit = 4
    return app
