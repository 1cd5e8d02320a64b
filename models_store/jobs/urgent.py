"""Wake-ups for urgent jobs: a short list in the broker, on which a thread of each worker waits.

Celery hands a message over when its worker has a process free, which may take a whole training. An element of the list
says only "look at the database", as Celery's messages do; a list that nobody reads expires.
"""

import logging
import math
from functools import lru_cache
from typing import TYPE_CHECKING

from models_store.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

LIST = "espalier.urgent"
MOST = 64
"""elements that the list keeps: one is enough for a worker to do all that is due"""
ANSWER_S = 5.0

log = logging.getLogger(__name__)


def announce(settings: Settings) -> bool:
    """Wake a worker's thread, within about a second; False when the broker can't be reached, which loses nothing."""
    from redis import RedisError  # noqa: PLC0415  0.3 s that a process which never announces is spared

    try:
        with _client(settings.broker_url).pipeline(transaction=False) as pipeline:
            pipeline.rpush(LIST, "1")
            pipeline.ltrim(LIST, -MOST, -1)
            pipeline.expire(LIST, math.ceil(settings.reannounce_s))
            pipeline.execute()
    except RedisError as error:
        log.warning("the wake-up for an urgent job was not sent: %s", type(error).__name__)
        return False
    return True


class Listener:
    """Receiver of what `announce` sends: one connection, for one thread."""

    def __init__(self, settings: Settings) -> None:
        self._longest_s = settings.poll_s
        self._client = connect(settings.broker_url, answer_s=self._longest_s + ANSWER_S)

    def wait(self) -> bool:
        """Return True after a wake-up or `poll_s`; False at once when the broker can't be reached."""
        from redis import RedisError  # noqa: PLC0415  as above

        try:
            self._client.blpop([LIST], timeout=self._longest_s)
        except RedisError:
            return False
        return True


def connect(broker_url: str, *, answer_s: float) -> "Redis":
    """Return a client of the broker, which waits so long for each answer."""
    from redis import Redis  # noqa: PLC0415  as above

    url = broker_url.replace("redis+socket://", "unix://")
    return Redis.from_url(url, socket_timeout=answer_s, socket_connect_timeout=min(answer_s, ANSWER_S))


@lru_cache(maxsize=4)
def _client(broker_url: str) -> "Redis":
    return connect(broker_url, answer_s=1)
