"""Counts of what each version has answered, as the protocol's statistics extension has them.

Each API process of a host counts for itself. Whichever is asked adds them up: the others write theirs to a folder that
all share, within a second of a request, and when they are told to (`Place.refresh_others`). A process that replaces a
dead one counts on from what that one has written last.
"""

import asyncio
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from models_store.models.served import Served
from service.inference.engine import Answer, Engine, Work
from service.processes.place import Place

NS = 1_000_000_000
FILE = "statistics-"
"""of each process in the folder that all share; its number follows"""
SHARE_S = 1.0
"""longest time for which a request is counted in the memory of its process alone"""

log = structlog.get_logger(__name__)

Key = tuple[str, str, int]
"""owner, model, version"""


@dataclass
class Duration:
    """How often, and how long together."""

    count: float = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: float = 1) -> None:
        """Count one more."""
        self.count += count
        self.seconds += seconds

    def plus(self, other: "Duration") -> "Duration":
        """Return both together."""
        return Duration(self.count + other.count, self.seconds + other.seconds)

    def as_document(self) -> dict[str, int]:
        """Return both as the protocol has them."""
        return {"count": round(self.count), "ns": round(self.seconds * NS)}


@dataclass
class Counts:
    """Counts of one version; `batches` has the decoding and the running of each size of a batch."""

    last_s: float = 0.0
    examples: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    decode: Duration = field(default_factory=Duration)
    run: Duration = field(default_factory=Duration)
    rest: Duration = field(default_factory=Duration)
    batches: dict[int, tuple[Duration, Duration]] = field(default_factory=dict)

    def answered(self, examples: int, answer: Answer, *, took_s: float) -> None:
        """Count a request; its share of a batch is that of its examples."""
        self.last_s = time.time()
        self.examples += examples
        self.success.add(took_s)
        self.queue.add(answer.queue_s)
        self.decode.add(answer.decode_s)
        self.run.add(answer.run_s)
        self.rest.add(max(0.0, took_s - answer.queue_s - answer.decode_s - answer.run_s))
        share = examples / max(1, answer.batch_size)
        decode, run = self.batches.setdefault(answer.batch_size, (Duration(), Duration()))
        decode.add(answer.decode_s, share)
        run.add(answer.run_s * share, share)

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        nothing = Duration(), Duration()
        return Counts(
            max(self.last_s, other.last_s),
            self.examples + other.examples,
            self.success.plus(other.success),
            self.fail.plus(other.fail),
            self.queue.plus(other.queue),
            self.decode.plus(other.decode),
            self.run.plus(other.run),
            self.rest.plus(other.rest),
            {
                size: (
                    self.batches.get(size, nothing)[0].plus(other.batches.get(size, nothing)[0]),
                    self.batches.get(size, nothing)[1].plus(other.batches.get(size, nothing)[1]),
                )
                for size in self.batches.keys() | other.batches.keys()
            },
        )

    def as_document(self, model: str, version: int) -> dict[str, Any]:
        """Return the statistics of a version; durations are nanoseconds, and the time of the last request, ms."""
        nothing = Duration().as_document()
        batches = [
            {
                "batch_size": size,
                "compute_input": decode.as_document(),
                "compute_infer": run.as_document(),
                "compute_output": nothing,
            }
            for size, (decode, run) in sorted(self.batches.items())
        ]
        return {
            "name": model,
            "version": str(version),
            "last_inference": round(self.last_s * 1000),
            "inference_count": self.examples,
            "execution_count": round(sum(run.count for _, run in self.batches.values())),
            "inference_stats": {
                "success": self.success.as_document(),
                "fail": self.fail.as_document(),
                "queue": self.queue.as_document(),
                "compute_input": self.decode.as_document(),
                "compute_infer": self.run.as_document(),
                "compute_output": self.rest.as_document(),
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": batches,
        }


class StatisticsEngine:
    """An engine that counts what another one answers, by owner, model and version. All of it runs in one event loop."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine = engine
        self._place = place
        self._file = None if place.metrics_folder is None else place.metrics_folder / f"{FILE}{place.number}"
        self._counts = _read(self._file) if self._file is not None and self._file.exists() else {}
        self._sharing: asyncio.TimerHandle | None = None

    async def infer(self, served: Served, work: Work) -> Answer:
        """Return the outputs of the other engine: see `Engine`."""
        key = (served.owner, served.model, served.version)
        counts = self._counts.get(key) or self._counts.setdefault(key, Counts())
        started_s = time.perf_counter()
        if self._file is not None and self._sharing is None:
            self._sharing = asyncio.get_running_loop().call_later(SHARE_S, self.share)
        try:
            answer = await self._engine.infer(served, work)
        except Exception:
            counts.fail.add(time.perf_counter() - started_s)
            raise
        counts.answered(len(work.examples), answer, took_s=time.perf_counter() - started_s)
        return answer

    def share(self) -> None:
        """Write the counts of this process to the folder that all share."""
        if self._sharing is not None:
            self._sharing.cancel()
            self._sharing = None
        if self._file is None:
            return
        arriving = self._file.with_name(f".{self._file.name}")
        try:
            arriving.write_bytes(pickle.dumps(self._counts))
            arriving.replace(self._file)
        except OSError as error:  # a full disk: predictions go on
            log.warning("statistics were not shared with the other API processes", error=str(error))

    async def of_version(self, owner: str, model: str, version: int) -> dict[str, Any]:
        """Return the statistics of a version, zeros where nothing was asked of it."""
        return (await self._of_all()).get((owner, model, version), Counts()).as_document(model, version)

    async def of_owner(self, owner: str) -> list[dict[str, Any]]:
        """Return the statistics of every version that was asked, by name."""
        counts = await self._of_all()
        mine = sorted(key for key in counts if key[0] == owner)
        return [counts[key].as_document(key[1], key[2]) for key in mine]

    async def _of_all(self) -> dict[Key, Counts]:
        """Return the counts of all API processes of this host, which none loses any more, even if it is killed."""
        self.share()
        others = [] if self._file is None else await run_in_threadpool(self._of_others, self._file)
        together = dict(self._counts)
        for each in others:
            for key, counts in each.items():
                together[key] = together.get(key, Counts()).plus(counts)
        return together

    def _of_others(self, own: Path) -> list[Mapping[Key, Counts]]:
        self._place.refresh_others()
        return [_read(file) for file in own.parent.glob(f"{FILE}*") if file != own]


def _read(file: Path) -> dict[Key, Counts]:
    counts: dict[Key, Counts] = pickle.loads(file.read_bytes())  # noqa: S301  a process of ours wrote it
    return counts
