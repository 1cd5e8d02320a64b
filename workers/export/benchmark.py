"""Measures exported files, in a fresh process without torch: `python -m workers.export.benchmark`, a request on stdin.

One thread, no spinning, a warm-up, and rounds in which the forms take turns (A B, then B A), so that a machine that
drifts drifts for all of them: a speedup is the median of the rounds' ratios, never a ratio of medians of other times.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from workers import tether
from workers.export.sessions import Device, open_session, probabilities, provider
from workers.training import scores
from workers.training.scores import Answers

if TYPE_CHECKING:  # the measuring process is spared pydantic
    from models_store.spec.train import Task

# N images, H height, W width, C channel, K class or label (1 for a number)

BATCH = 32
THREADS = 1
LEAST_ROUNDS = {1: 6, BATCH: 3}
MOST_ROUNDS = 30
CALLS_PER_ROUND = 3  # few, so that two forms are measured within milliseconds; more than one, for the caches' sake
MOST_CALLS_PER_ROUND = 50
WARM_UP_CALLS = 3
EVALUATION_BATCH = 64
NEAR = 0.1  # numbers agree when they are this share of the true ones' standard deviation apart, or less


class BenchmarkFailed(Exception):
    """The measuring process ended without a result; the message is the end of what it said."""


@dataclass(frozen=True)
class Figures:
    """What was measured on one file. Times are of one thread, on `provider`."""

    accuracy: dict[str, float]
    """share of right answers (of numbers, R²: see `workers.training.scores`), by split"""
    agreement: float
    """share of validation images with the baseline's answer; numbers may differ by a tenth of a standard deviation"""
    latency_ms: dict[str, float]
    """p50 and p95 of one image"""
    throughput: dict[str, float]
    """images per second at batch 1 and 32"""
    speedup: float
    """median over the rounds of (the baseline's latency / this file's), one image at a time"""
    size_bytes: int
    load_ms: float
    provider: str
    threads: int

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        return asdict(self)


def benchmark(
    forms: Mapping[str, Path],
    *,
    baseline: str,
    images: Path,
    targets: NDArray[Any],
    splits: Mapping[str, NDArray[np.int64]],
    task: "Task" = "image_classification",
    device: Device = "auto",
    budget_s: float = 4.0,
    report: Callable[[float], None] = lambda _: None,
) -> dict[str, Figures]:
    """Measure the files of `forms` on real images, beside `baseline`; `images` is a .npy file of uint8 (N, H, W, C).

    `targets` are what the task has of each image, int64 (N,), float32 (N, K) or float32 (N, 1). `splits` are the
    indexes of `val` (at least one image) and `test`; a split without images gets no accuracy. Timing takes about
    `budget_s` for all forms together (more where a single call is slower than its share), accuracy as long as the
    images take, on all cores. `report` is told the fraction done; when it raises, the process is killed.

    Raises:
        BenchmarkFailed: if the process ends without a result.
    """
    assert baseline in forms, (baseline, list(forms))
    assert len(splits["val"]), "accuracy is judged on validation images"
    splits = {split: indexes for split, indexes in splits.items() if len(indexes)}
    request = {
        "parent": os.getpid(),
        "forms": {name: str(path.resolve()) for name, path in forms.items()},
        "baseline": baseline,
        "images": str(images.resolve()),
        "task": task,
        "targets": {split: targets[indexes].tolist() for split, indexes in splits.items()},
        "splits": {split: indexes.tolist() for split, indexes in splits.items()},
        "device": device,
        "budget_s": budget_s,
    }
    command = [sys.executable, "-m", "workers.export.benchmark"]
    figures: dict[str, Figures] | None = None
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                message = _parsed(line)
                if message is None:
                    said = [*said[-20:], line]
                elif "done" in message:
                    report(message["done"])
                else:
                    figures = {name: Figures(**values) for name, values in message["figures"].items()}
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or figures is None:
        raise BenchmarkFailed(f"exit code {process.returncode}: {''.join(said).strip()[-2000:]}")
    return figures


def measure(request: Mapping[str, Any], *, tell: Callable[[float], None]) -> dict[str, Figures]:
    """Measure in this process what `benchmark` asks for; `tell` is called with the fraction done."""
    images_NHWC = np.load(request["images"], mmap_mode="r")
    forms = {name: Path(path) for name, path in request["forms"].items()}
    splits = {name: np.asarray(indexes, dtype=np.int64) for name, indexes in request["splits"].items()}
    timings, load_ms, ran_on = _time(forms, images_NHWC, splits, request)
    tell(0.3)
    answers = _answers(forms, images_NHWC, splits, request, tell=lambda done: tell(0.3 + 0.7 * done))
    targets = {name: np.asarray(values) for name, values in request["targets"].items()}
    baseline, task = request["baseline"], request["task"]
    tolerance = NEAR * float(targets["val"].std())
    return {
        name: Figures(
            accuracy={split: scores.accuracy(task, answers[name][split], targets[split]) for split in splits},
            agreement=float(
                scores.agreeing(task, answers[name]["val"], answers[baseline]["val"], tolerance=tolerance).mean()
            ),
            speedup=_median_ratio(timings[1][baseline], timings[1][name]),
            size_bytes=path.stat().st_size,
            load_ms=load_ms[name],
            provider=ran_on[name],
            threads=THREADS,
            **_speed(timings[1][name], timings[BATCH][name]),
        )
        for name, path in forms.items()
    }


def main() -> None:
    """Answer the request on stdin with lines of JSON: `{"done": fraction}` as it goes, `{"figures": …}` at the end."""
    request = json.load(sys.stdin)
    tether.die_with_parent(request["parent"])
    figures = measure(request, tell=lambda done: _say({"done": done}))
    _say({"figures": {name: form.as_card() for name, form in figures.items()}})


Rounds = dict[str, list[list[float]]]
"""form → round → seconds of each call"""


def _time(
    forms: Mapping[str, Path],
    images_NHWC: NDArray[np.uint8],
    splits: Mapping[str, NDArray[np.int64]],
    request: Mapping[str, Any],
) -> tuple[dict[int, Rounds], dict[str, float], dict[str, str]]:
    """Return the timings by batch size, the milliseconds that loading took, and the provider, by form."""
    sample_NHWC = np.resize(images_NHWC[splits["val"][:BATCH]], (BATCH, *images_NHWC.shape[1:]))  # repeats too few
    sessions, load_ms = {}, {}
    for name, path in forms.items():
        path.read_bytes()  # into the page cache, so that every form is read from memory
        start = time.perf_counter()
        sessions[name] = open_session(path, device=request["device"], threads=THREADS)
        load_ms[name] = 1000 * (time.perf_counter() - start)
    budget_s = request["budget_s"]
    timings = {
        1: _take_turns(sessions, sample_NHWC[:1], budget_s=0.5 * budget_s),
        BATCH: _take_turns(sessions, sample_NHWC, budget_s=0.5 * budget_s),
    }
    return timings, load_ms, {name: provider(session) for name, session in sessions.items()}


def _take_turns(
    sessions: Mapping[str, onnxruntime.InferenceSession], batch_NHWC: NDArray[np.uint8], *, budget_s: float
) -> Rounds:
    feed = {"images": batch_NHWC}
    least_rounds = LEAST_ROUNDS[len(batch_NHWC)]
    turn_s = 0.0  # one call of each form
    for session in sessions.values():
        warm_up_s = [_seconds(session, feed)]
        while len(warm_up_s) < WARM_UP_CALLS and sum(warm_up_s) < budget_s / 10:
            warm_up_s.append(_seconds(session, feed))
        turn_s += min(warm_up_s)
    calls = budget_s / turn_s
    rounds = int(min(max(calls / CALLS_PER_ROUND, least_rounds), MOST_ROUNDS))
    repeats = int(min(max(calls / rounds, 1), MOST_CALLS_PER_ROUND))
    timings: Rounds = {name: [] for name in sessions}
    for round_ in range(rounds):
        for name in list(sessions)[:: 1 if round_ % 2 == 0 else -1]:
            timings[name].append([_seconds(sessions[name], feed) for _ in range(repeats)])
    return timings


def _seconds(session: onnxruntime.InferenceSession, feed: Mapping[str, NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    session.run(["probabilities"], feed)
    return time.perf_counter() - start


def _answers(
    forms: Mapping[str, Path],
    images_NHWC: NDArray[np.uint8],
    splits: Mapping[str, NDArray[np.int64]],
    request: Mapping[str, Any],
    *,
    tell: Callable[[float], None],
) -> dict[str, dict[str, Answers]]:
    """Return form → split → what the form says of each image."""
    batches = sum(-(-len(indexes) // EVALUATION_BATCH) for indexes in splits.values()) * len(forms)
    done = 0
    answers: dict[str, dict[str, Answers]] = {}
    for name, path in forms.items():
        session = open_session(path, device=request["device"], threads=len(os.sched_getaffinity(0)))
        answers[name] = {}
        for split, indexes in splits.items():
            chunks = []
            for answer_NK in probabilities(session, images_NHWC, indexes, batch_size=EVALUATION_BATCH):
                chunks.append(scores.answers(request["task"], answer_NK))
                done += 1
                tell(done / batches)
            answers[name][split] = np.concatenate(chunks)
    return answers


def _speed(singles: Sequence[Sequence[float]], batches: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    one_s = np.concatenate(singles)
    batch_s = float(np.median(np.concatenate(batches)))
    return {
        "latency_ms": {"p50": 1000 * float(np.median(one_s)), "p95": 1000 * float(np.percentile(one_s, 95))},
        "throughput": {"1": 1 / float(np.median(one_s)), str(BATCH): BATCH / batch_s},
    }


def _median_ratio(baseline: Sequence[Sequence[float]], form: Sequence[Sequence[float]]) -> float:
    ratios = [np.median(other) / np.median(own) for other, own in zip(baseline, form, strict=True)]
    return float(np.median(ratios))


def _parsed(line: str) -> dict[str, Any] | None:
    """Return the message on the line; None for what a library printed."""
    if not line.startswith(('{"done"', '{"figures"')):
        return None
    message: dict[str, Any] = json.loads(line)
    return message


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
