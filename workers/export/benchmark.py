"""Measures exported files as they will be served: each provider in a fresh process (`workers.export.measuring`).

One thread, no spinning, a warm-up, and each variant beside fp32 and beside the variant that it was made from. A variant
that can't be loaded or run on a provider is reported as such; only fp32 has to run.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.host import telemetry
from models_store.models.providers import Provider
from models_store.targets import ONE_CLASS, Target
from workers.export import sessions
from workers.export.figures import Figures, Measurement, Unmeasurable
from workers.export.sessions import Device
from workers.process.progress import part_of
from workers.training.examples import Inputs

# N examples, K class or label (1 for a number)


class BenchmarkFailed(Exception):
    """The measuring process ended without a result; the message is the end of what it said."""


def benchmark(
    variants: Mapping[str, Path],
    *,
    baseline: str,
    inputs: Mapping[str, Path],
    truths: NDArray[Any],
    splits: Mapping[str, NDArray[np.int64]],
    padded: Collection[str] = (),
    parents: Mapping[str, str | None] | None = None,
    target: Target = ONE_CLASS,
    device: Device = "auto",
    budget_s: float = 4.0,
    threads: int = 1,
    limit_s: float = 180.0,
    report: Callable[[float], None] = lambda _: None,
) -> dict[Provider, dict[str, Measurement]]:
    """Measure the variants' files on real examples, on each provider that this host has; provider → variant → figures.

    `inputs` are .npy files, one per input of the variants' files, `truths` what is true of each example: int64 (N,),
    float32 (N, K) or float32 (N, 1). `splits` are the indexes of `val` (at least one example) and `test`; a split
    without examples gets no accuracy. `padded` are inputs with zeros behind an example's end (see `Examples`): each
    batch ends with its longest example, and a single one is of the middle length. `parents` says what each variant was
    made from (left out: the baseline).

    Timing takes about `budget_s` for two variants and half of that for each more (more where a call is slower than its
    share), accuracy as long as the examples take, on `threads` threads. After about `limit_s` of wall time for all of
    it, on a host that is busy or slow, fewer examples are answered and fewer rounds timed: at least what an interval
    needs, and the figures say how many. The CPU is always measured, CUDA where `device` allows it and a session really
    runs on it. `report` receives the fraction done; when it raises, the process is killed.

    Raises:
        BenchmarkFailed: if a process ends without a result, or the baseline can't be measured.
        DeviceUnavailable: if `device` is `cuda` and no session runs on it.
    """
    assert baseline in variants, (baseline, list(variants))
    assert len(splits["val"]), "accuracy is judged on validation examples"
    splits = {split: indexes for split, indexes in splits.items() if len(indexes)}
    request = {
        "wanted": "figures",
        "variants": {name: str(path.resolve()) for name, path in variants.items()},
        "parents": {name: (parents or {}).get(name, baseline) for name in variants if name != baseline},
        "baseline": baseline,
        "inputs": {name: str(path.resolve()) for name, path in inputs.items()},
        "padded": sorted(padded),
        "target": target.name,
        "truths": {split: truths[indexes].tolist() for split, indexes in splits.items()},
        "splits": {split: indexes.tolist() for split, indexes in splits.items()},
        "budget_s": budget_s,
        "threads": threads,
    }
    providers = _candidates(device)
    figures: dict[Provider, dict[str, Measurement]] = {}
    for place, provider in enumerate(providers):
        own = {"provider": provider, "limit_s": limit_s / len(providers)}
        answer = _ask(request | own, report=part_of(report, place, len(providers)))
        if "absent" in answer and device == "cuda":
            raise sessions.DeviceUnavailable(answer["absent"])
        if "absent" in answer:
            report((place + 1) / len(providers))
        else:
            figures[provider] = {name: _read(values) for name, values in answer["figures"].items()}
    return figures


def speedups(
    variants: Mapping[str, Path],
    *,
    baseline: str,
    sample: Inputs,
    budget_s: float = 2.0,
    report: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return how many times faster than `baseline` (one of `variants`) each file answers `sample` on one CPU thread.

    All files take turns in a fresh process, as `benchmark` has it, for about `budget_s` seconds all together (at least
    9 calls each after the warm-up); `sample` is one example. It is what a search for a speedup asks again and again:
    `speedups({"fp32": …, "candidate": …}, baseline="fp32", sample=…)["candidate"]`. `report` is
    called now and then while it measures; when it raises, the process is killed.

    Raises:
        BenchmarkFailed: if a file can't be loaded or run.
    """
    assert baseline in variants, (baseline, list(variants))
    with tempfile.TemporaryDirectory() as folder:
        fed = Path(folder) / "sample.npz"
        np.savez(fed, **sample)  # type: ignore[arg-type]  # the stub takes the names for its own flags
        request = {
            "wanted": "speedups",
            "variants": {name: str(path.resolve()) for name, path in variants.items()},
            "baseline": baseline,
            "provider": "cpu",
            "sample": str(fed),
            "budget_s": budget_s,
        }
        found: dict[str, float] = _ask(request, report=lambda _: report())["speedups"]
    return found


def _candidates(device: Device) -> list[Provider]:
    """Return the providers that may be here; whether CUDA works, a session will tell."""
    return ["cpu", "cuda"] if device == "cuda" or (device == "auto" and sessions.cuda_may_be_there()) else ["cpu"]


def _ask(request: Mapping[str, Any], *, report: Callable[[float], None]) -> dict[str, Any]:
    """Return what a fresh measuring process answers to the request."""
    command = [sys.executable, "-m", "workers.export.measuring"]
    answer: dict[str, Any] | None = None
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | telemetry.OFF,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(dict(request) | {"parent": os.getpid()}))
            process.stdin.close()
            for line, message in _lines(process.stdout):
                if message is None:
                    said = [*said[-20:], line]
                elif "done" in message:
                    report(message["done"])
                else:
                    answer = message
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or answer is None:
        raise BenchmarkFailed(f"exit code {process.returncode}: {''.join(said).strip()[-2000:]}")
    return answer


def _lines(stream: Any) -> Iterator[tuple[str, dict[str, Any] | None]]:  # noqa: ANN401  a text stream
    """Yield each line with the message on it, or with None where a library printed it."""
    for line in stream:
        is_message = line.startswith(('{"done"', '{"figures"', '{"speedups"', '{"absent"'))
        yield line, json.loads(line) if is_message else None


def _read(values: dict[str, Any]) -> Measurement:
    if "unmeasurable" in values:
        return Unmeasurable(values["unmeasurable"])
    intervals = ("accuracy_drop_interval", "speedup_interval", "parent_speedup_interval")
    return Figures(**values | {name: None if values[name] is None else tuple(values[name]) for name in intervals})
