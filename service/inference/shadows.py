"""Shadows: for a share of an alias's requests a second file is asked the same; its answers are compared and counted.

The answer never waits for it: what was answered is handed on afterwards, to one thread of the lowest priority, and only
while no example waits for a lane. Counts go to the database with every round of `releasing`.
"""

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from random import random
from typing import Any

import numpy as np
import structlog

from models_store.errors import EspalierError
from models_store.models import aliases
from models_store.models.alias_rows import Comparison
from models_store.models.served import Served, Shadowed
from models_store.storage.database import Database
from models_store.targets import Target
from models_store.tasks import rooms
from service.inference.decode import decode
from service.inference.engine import Answer, Outputs, Work
from service.inference.sessions import Loaded, Sessions
from service.metrics import Metrics
from service.side_figures import ShadowFigures

# N examples, K class or label (1 for a number)

MOST_WAITING = 4
"""requests; more would only be compared later"""
LOWEST_PRIORITY = 19

Key = tuple[str, str, str, int]
"""owner, model, alias, version of the shadow"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Asked:
    key: Key
    served: Served
    shadow: Served
    work: Work
    answer: Answer


class Shadows:
    """Engine of the loaded models, with the shadows of their aliases."""

    def __init__(self, sessions: Sessions, database: Database, *, metrics: Metrics) -> None:
        self._sessions = sessions
        self._figures = ShadowFigures(metrics)
        self._database = database
        self._waiting: deque[_Asked] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._counted: dict[Key, Comparison] = {}
        self._thread = ThreadPoolExecutor(1, "shadow", initializer=_give_way)

    async def infer(self, served: Served, work: Work) -> Answer:
        """Return the model's outputs, see `Engine`; a shadow is asked after that."""
        answer = await self._sessions.infer(served, work)
        if served.shadow is not None and random() < served.shadow.share:
            self._offer(served, served.shadow, work, answer)
        return answer

    async def flush(self) -> None:
        """Add what was counted to the aliases' rows."""
        for key in list(self._counted):
            (owner, model, alias, version), more = key, self._counted.pop(key)
            try:
                await asyncio.to_thread(
                    aliases.count, self._database, model, alias, owner=owner, version=version, more=more
                )
            except Exception:
                self._count(key, more)
                raise

    async def close(self) -> None:
        """Stop asking, and keep what was counted."""
        self._waiting.clear()
        if self._asking is not None:
            await self._asking
        self._thread.shutdown()
        await self.flush()

    def _offer(self, served: Served, shadow: Shadowed, work: Work, answer: Answer) -> None:
        asked = _Asked(_key(shadow), served, shadow.served, work, answer)
        if len(self._waiting) >= MOST_WAITING or self._sessions.is_busy:
            self._compared(asked.key, Comparison(dropped=len(work.examples)))
            return
        self._waiting.append(asked)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while self._waiting:
            asked = self._waiting.popleft()
            count = len(asked.work.examples)
            try:
                async with self._sessions.held(asked.shadow) as loaded:
                    loop = asyncio.get_running_loop()
                    counted = await loop.run_in_executor(self._thread, _compare, asked, loaded)
            except EspalierError as error:
                log.warning("a shadow did not answer", shadow=asked.shadow.name, error=error.detail)
                counted = Comparison(failed=count)
            except Exception:  # whatever a shadow does, it stays a shadow
                log.exception("a shadow failed", shadow=asked.shadow.name)
                counted = Comparison(failed=count)
            self._compared(asked.key, counted)

    def _compared(self, key: Key, found: Comparison) -> None:
        run_s = found.shadow_s / found.compared if found.compared else None
        self._figures.compared(key, found, run_s=run_s)
        self._count(key, found)

    def _count(self, key: Key, more: Comparison) -> None:
        self._counted[key] = self._counted.get(key, Comparison()).plus(more)


def _key(shadow: Shadowed) -> Key:
    return shadow.served.owner, shadow.served.model, shadow.alias, shadow.served.version


def _compare(asked: _Asked, loaded: Loaded) -> Comparison:
    """Run the shadow in its thread; return how far it agrees with what was answered."""
    work, codec = asked.work, loaded.codec
    target = rooms.target_of(rooms.task_of(asked.served.card))
    budget = codec.budget()
    decoded = [
        decode(example, codec, pointer=pointer, budget=budget)
        for example, pointer in zip(work.examples, work.pointers, strict=True)
    ]
    shadow_s, rows = 0.0, []
    for start in range(0, len(decoded), codec.most_per_batch):
        inputs = codec.collate(decoded[start : start + codec.most_per_batch])
        started_s = time.perf_counter()
        rows.append(loaded.net.run(inputs))
        shadow_s += time.perf_counter() - started_s
    agreed = _agreed(target, asked.served, np.stack(asked.answer.outputs), np.concatenate(rows))
    count = len(decoded)
    return Comparison(count, agreed, live_s=asked.answer.run_s * count, shadow_s=shadow_s * count)


def _agreed(target: Target, served: Served, live_NK: Outputs, shadow_NK: Outputs) -> int:
    """Return how many answers are the same; numbers are when they are nearer than the live version's own error."""
    metrics: dict[str, Any] = served.card.get("metrics", {}).get("test") or {}
    same_N = target.agree(target.answers(live_NK), target.answers(shadow_NK), tolerance=metrics.get("rmse") or 0.0)
    return int(same_N.sum())


def _give_way() -> None:
    with suppress(OSError):  # not Linux, or not allowed
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
