"""Tables of workers and of the queue, as wide as a usual terminal."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from service.cli.worker_tables import queue_table, worker_table

CPU = {"kind": "cpu", "name": "AMD EPYC 9354 32-Core Processor", "cores": 16, "memory_bytes": 64 << 30}
GPU = {"kind": "cuda", "name": "NVIDIA H200", "cores": None, "memory_bytes": 140 << 30}
JOB = {
    "id": "job_06f3w2q4s8abcdefghjkmn", "name": "leaves", "kind": "train", "phase": "training", "fraction": 0.42,
    "eta_s": 310.0,
}  # fmt: skip
WORKER = {"host": "gpu-1", "pid": 31, "state": "busy", "last_beat_age_s": 3.4, "devices": [CPU, GPU], "jobs": [JOB]}
QUEUED = {
    "id": "job_06f3w2q4s8abcdefghjkmp", "name": "leaves", "ahead": 1, "age_s": 247.0, "expected_start_at": None,
    "why": "1 job is ahead of it",
}  # fmt: skip
QUEUE = {"queued": 2, "running": 1, "waiting": 0, "workers": 1, "items": [QUEUED]}


def shown(table: Any, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_workers_are_shown_with_what_they_do_in_80_columns() -> None:
    text = shown(worker_table([WORKER]))

    assert max(map(len, text.splitlines())) <= 80
    for said in ("gpu-1/31", "busy", "3 s ago", JOB["id"], "42%", "NVIDIA H200"):
        assert str(said) in text


def test_another_owners_job_is_not_named() -> None:
    other = dict.fromkeys(JOB) | {"kind": "train"}

    assert "train of another owner" in " ".join(shown(worker_table([WORKER | {"jobs": [other]}]), width=200).split())


def test_the_queue_is_shown_in_80_columns() -> None:
    text = shown(queue_table(QUEUE))

    assert max(map(len, text.splitlines())) <= 80
    for said in (QUEUED["id"], "4 min", "ahead of it", "2 queued, 1 running", "1 worker"):
        assert str(said) in text


def test_an_expected_start_is_shown_as_a_time_from_now() -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=20, seconds=30)).isoformat()

    assert "in 20 min" in shown(queue_table(QUEUE | {"items": [QUEUED | {"expected_start_at": soon}]}), width=200)
