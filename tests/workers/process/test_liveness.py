"""No stage of a job is silent for long: what can't report by itself has a thread beside it that does."""

import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from tests.workers.stories.finished_jobs import a_picture, finish_a_job
from workers.process import liveness
from workers.process.reporting import PipeReporter

STALL_S = 20.0
LONGEST_SILENCE_S = STALL_S / 10

PHASES = (
    "validating",
    "training",
    "pruning",
    "exporting",
    "quantizing",
    "verifying",
    "evaluating",
    "measuring",
    "publishing",
)
EVERY_STAGE: dict[str, Any] = {
    "training": {"epochs": 1, "batch_size": 16, "precision": "fp32"},
    "compression": {
        "prune": {"kind": "structured", "ratio": 0.3},
        "recover": {"epochs": 1},
        "quantize": [{"kind": "static_int8"}, {"kind": "qat_int8", "epochs": 1}],
    },
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_stage_of_a_job_is_silent_for_a_tenth_of_the_stall_limit(
    tmp_path: Path, blobs: Blobs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is counted in CPU time per core: a process that waits for a core while others have it is not silent."""
    said: list[tuple[float, str]] = []
    say = PipeReporter.say

    def note(reporter: PipeReporter, kind: str, data: dict[str, Any]) -> None:
        said.append((time.process_time(), kind if kind != "phase" else data["phase"]))
        say(reporter, kind, data)

    monkeypatch.setattr(PipeReporter, "say", note)
    files = {
        f"{split}/{name}/{number}.png": a_picture(number, mean=mean)
        for split, count in (("train", 12), ("val", 6))
        for name, mean in (("green", (60, 160, 60)), ("red", (160, 60, 60)))
        for number in range(count)
    }

    begin = PipeReporter.__init__
    is_over = threading.Event()

    def begin_watched(reporter: PipeReporter, *given: Any, **named: Any) -> None:
        begin(reporter, *given, **named)
        liveness.report_work(lambda: None if is_over.is_set() else reporter.alive(), stall_s=STALL_S)

    monkeypatch.setattr(PipeReporter, "__init__", begin_watched)
    try:
        finish_a_job(files, folder=tmp_path, blobs=blobs, settings=settings, **EVERY_STAGE)
    finally:
        is_over.set()
    said.append((time.process_time(), "end"))

    cores = len(os.sched_getaffinity(0))  # a second in which each of them works is one second of silence, not several
    silences = [((after - before) / cores, kind, next_kind) for (before, kind), (after, next_kind) in pairwise(said)]
    assert {kind for _, kind in said} >= {*PHASES, "alive"}
    assert [silence for silence in silences if silence[0] >= LONGEST_SILENCE_S] == []
