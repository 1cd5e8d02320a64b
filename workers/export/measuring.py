"""The measuring process: `python -m workers.export.measuring`, a request on stdin; it has no torch and no pydantic.

Each variant is tried first in a process of its own, forked before any session is made: what can't be loaded, or takes
the process down with it, is reported and left out, and its memory is what that one file needs. Then the examples are
answered, and the times are taken, each variant beside the baseline and the variant that it was made from. All of it has
a limit in wall time: past that, on a host that is busy or slow, fewer examples are answered and fewer rounds timed.
"""

import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.models.providers import Provider
from models_store.targets import NAMED, Answers, Target
from models_store.wording import counted
from workers.compression import gate
from workers.export import hardware, sessions, timing
from workers.export.conformal import Calibration
from workers.export.figures import Figures, Measurement, Unmeasurable
from workers.export.trying import Tried, alone
from workers.process import parent_death
from workers.training.examples import Inputs, Rows, lengths, take

# N examples, K class or label (1 for a number)

BATCHES = (1, 8, 32)
LARGEST = BATCHES[-1]
THREADS = 1
FEW_ROUNDS = 6  # of the larger batches, on which no verdict depends; if time is short, a single one
EVALUATION_BATCH = 64
TRY_SHARE, ANSWER_SHARE = 0.1, 0.5  # of the progress
ANSWER_TIME, SPEED_TIME = 0.5, 0.4  # of the limit, which leaves the rest to loading and trying
SIZE_TIME = {1: 0.4, 8: 0.2, 32: 0.4}  # of that for a variant's speeds
LEAST_EXAMPLES = {"val": 256, "test": 128}  # answered whatever time it takes: by fewer nothing could be judged

Tell = Callable[[float], None]


def main() -> None:
    """Answer the request on stdin with lines of JSON: `{"done": fraction}` as it goes, the answer at the end."""
    request = json.load(sys.stdin)
    parent_death.die_with_parent(request["parent"])

    def tell(done: float) -> None:
        _say({"done": done})

    if request["wanted"] == "speedups":
        _say({"speedups": speedups(request, tell=tell)})
    else:
        _say(measure(request, tell=tell))


def speedups(request: Mapping[str, Any], *, tell: Tell) -> dict[str, float]:
    """Return how many times faster than the baseline each variant answers the sample, one example."""
    opened = {}
    for name, path in request["variants"].items():
        opened[name] = sessions.open_session(Path(path), device=request["provider"], threads=THREADS)
        tell(len(opened) / (len(request["variants"]) + 1))
    timings = timing.take_turns(opened, dict(np.load(request["sample"])), budget_s=request["budget_s"])
    clock = timing.CLOCKS[request["provider"]]
    return {
        name: timing.ratio(timings[request["baseline"]], rounds, by=clock).value for name, rounds in timings.items()
    }


def measure(request: Mapping[str, Any], *, tell: Tell) -> dict[str, Any]:
    """Return `figures` (variant → what its card says), or `absent`: why the provider is not there."""
    provider: Provider = request["provider"]
    baseline: str = request["baseline"]
    inputs = {name: np.load(path, mmap_mode="r") for name, path in request["inputs"].items()}
    splits = {name: np.asarray(indexes, dtype=np.int64) for name, indexes in request["splits"].items()}
    padded: list[str] = request["padded"]
    feeds = _feeds(inputs, splits["val"][:LARGEST], padded=padded)
    tried: dict[str, Tried | Unmeasurable] = {}
    for name, path in request["variants"].items():
        tried[name] = alone(Path(path), feeds[LARGEST], provider=provider, threads=THREADS)
        tell(TRY_SHARE * len(tried) / len(request["variants"]))
    first = tried[baseline]
    if isinstance(first, Unmeasurable):
        if provider == "cuda":
            return {"absent": first.reason}
        raise RuntimeError(f"{baseline} can't be measured: {first.reason}")
    work = _Measuring(
        variants={name: Path(path) for name, path in request["variants"].items() if isinstance(tried[name], Tried)},
        provider=provider,
        inputs=inputs,
        padded=padded,
        splits=splits,
        threads=request["threads"],
    )
    answers, conformal, unusable = work.answers(
        NAMED[request["target"]],
        truths={name: np.asarray(values) for name, values in request["truths"].items()},
        limit_s=ANSWER_TIME * request["limit_s"],
        tell=lambda done: tell(TRY_SHARE + (ANSWER_SHARE - TRY_SHARE) * done),
    )
    if baseline in unusable:
        raise RuntimeError(f"{baseline} can't be measured: {unusable[baseline].reason}")
    speeds = work.speeds(
        [name for name in answers if name != baseline],
        baseline=baseline,
        parents=request["parents"],
        feeds=feeds,
        budget_s=request["budget_s"],
        limit_s=SPEED_TIME * request["limit_s"],
        tell=lambda done: tell(ANSWER_SHARE + (1 - ANSWER_SHARE) * done),
    )
    reported: dict[str, Measurement] = {}
    shared: dict[str, Any] = {
        "threads": THREADS,
        "host": hardware.host(provider),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    comparison = _Comparison(request, answers[baseline])
    for name, fate in tried.items():
        if isinstance(fate, Unmeasurable) or name in unusable:
            reported[name] = fate if isinstance(fate, Unmeasurable) else unusable[name]
        else:
            reported[name] = Figures(
                **comparison.of(name, answers[name]),
                **speeds[name],
                conformal=conformal[name],
                load_ms=fate.load_ms,
                peak_memory_bytes=fate.peak_memory_bytes,
                provider=fate.provider,
                **shared,
            )
    return {"figures": {name: each.as_card() for name, each in reported.items()}}


class _Comparison:
    """Compares what a variant answered with what is true, and with what the baseline answered."""

    def __init__(self, request: Mapping[str, Any], baseline: Mapping[str, "Answered"]) -> None:
        self._target = NAMED[request["target"]]
        self._truths = {name: np.asarray(values) for name, values in request["truths"].items()}
        self._name = request["baseline"]
        self._baseline = baseline
        self._tolerance = self._target.near(self._truths["val"])

    def of(self, name: str, answers: Mapping[str, "Answered"]) -> dict[str, Any]:
        """Return the figures that come from answers alone; the baseline against itself has no interval.

        Of examples that only one of both has answered, nothing is compared.
        """
        own = answers["val"]
        other = self._baseline["val"]
        rows, places, other_places = np.intersect1d(own.places, other.places, return_indices=True)
        answered, others = own.answers[places], other.answers[other_places]
        drop = gate.paired_drop(self._target, answered, others, self._truths["val"][rows])
        return {
            "accuracy": {
                split: self._target.score(each.answers, self._truths[split][each.places])
                for split, each in answers.items()
            },
            "accuracy_drop": drop.value,
            "accuracy_drop_interval": None if name == self._name else (drop.low, drop.high),
            "validation_images": len(answered),
            "agreement": float(self._target.agree(answered, others, tolerance=self._tolerance).mean()),
            "images": {split: len(each.places) for split, each in answers.items()},
        }


@dataclass(frozen=True)
class Answered:
    """What a file says of examples, and which of a split they are: ascending places in it."""

    places: NDArray[np.int64]
    answers: Answers


@dataclass(frozen=True)
class _Measuring:
    """The variants that run on one provider, and the examples."""

    variants: dict[str, Path]
    provider: Provider
    inputs: Inputs
    padded: Collection[str]
    splits: dict[str, NDArray[np.int64]]
    threads: int
    """for accuracy; speeds are of one thread"""

    def answers(
        self,
        target: Target,
        *,
        truths: Mapping[str, NDArray[Any]],
        limit_s: float,
        tell: Tell,
    ) -> tuple[dict[str, dict[str, Answered]], dict[str, dict[str, Any]], dict[str, Unmeasurable]]:
        """Return variant → split → what it says of each example, variant → conformal levels, and the unusable variants.

        Examples are answered in a random order, the same for all variants; after `limit_s` for all of them together,
        those that are left are left out.
        """
        share_s = limit_s / (len(self.variants) * len(self.splits))
        batches = sum(-(-len(indexes) // EVALUATION_BATCH) for indexes in self.splits.values()) * len(self.variants)
        done = 0
        answers: dict[str, dict[str, Answered]] = {}
        levels: dict[str, dict[str, Any]] = {}
        unusable: dict[str, Unmeasurable] = {}
        for name, path in self.variants.items():
            session = self._open(path, threads=self.threads)
            reported: dict[str, Answered] = {}
            calibration = Calibration(target)
            undefined = asked = 0
            for split, indexes in self.splits.items():
                until_s = time.monotonic() + share_s
                order_N = np.random.default_rng(0).permutation(len(indexes))
                chunks: list[Answers] = []
                answered = 0
                for outputs_NK in sessions.answers(
                    session, self.inputs, indexes[order_N], batch_size=EVALUATION_BATCH, padded=self.padded
                ):
                    undefined += int((~np.isfinite(outputs_NK)).any(axis=1).sum())
                    chunks.append(target.answers(outputs_NK))
                    places = order_N[answered : answered + len(outputs_NK)]
                    calibration.add(split, outputs_NK, truths[split][places])
                    answered += len(outputs_NK)
                    done += 1
                    tell(done / batches)
                    if time.monotonic() > until_s and answered >= LEAST_EXAMPLES[split]:
                        break
                places = order_N[:answered]
                ascending = np.argsort(places)
                reported[split] = Answered(places[ascending], np.concatenate(chunks)[ascending])
                asked += answered
            if undefined:
                unusable[name] = Unmeasurable(
                    f"answers {undefined} of {counted(asked, 'example')} with a number that is not finite"
                )
            else:
                answers[name] = reported
                levels[name] = calibration.as_card()
        return answers, levels, unusable

    def speeds(
        self,
        others: list[str],
        *,
        baseline: str,
        parents: Mapping[str, str | None],
        feeds: Mapping[int, Inputs],
        budget_s: float,
        limit_s: float,
        tell: Tell,
    ) -> dict[str, dict[str, Any]]:
        """Return each variant's speeds: beside the baseline and its parent, three sessions in memory at most.

        The whole budget is for one variant beside the baseline; each more adds half of it, and all have the same share.
        Where calls are slow, rounds end after `limit_s` for all variants together.
        """
        kept = self._open(self.variants[baseline], threads=THREADS)
        groups = [(name, parents.get(name) or baseline) for name in others] or [(baseline, baseline)]
        share_s = budget_s * (len(groups) + 1) / (2 * len(groups))
        own: dict[int, list[Sequence[timing.Call]]] = {size: [] for size in BATCHES}
        clock = timing.CLOCKS[self.provider]
        pairs: dict[str, dict[int, timing.Pair]] = {}
        over_parents: dict[str, timing.Ratio | None] = {}
        for name, parent in groups:
            opened = {baseline: kept} | {
                each: self._open(self.variants[each], threads=THREADS)
                for each in (parent, name)
                if each != baseline and each in self.variants
            }
            limits_s = {size: share * limit_s / len(groups) for size, share in SIZE_TIME.items()}
            timings = {1: timing.take_turns(opened, feeds[1], budget_s=0.5 * share_s, limit_s=limits_s[1])}
            pair = {each: opened[each] for each in {baseline: None, name: None}}
            for size in BATCHES[1:]:
                timings[size] = timing.take_turns(
                    pair,
                    feeds[size],
                    budget_s=0.25 * share_s,
                    least_rounds=FEW_ROUNDS,
                    fewest_rounds=1,
                    limit_s=limits_s[size],
                )
            for size in BATCHES:
                own[size] += timings[size][baseline]
            pairs[name] = {size: timing.Pair(timings[size][baseline], timings[size][name]) for size in BATCHES}
            over_parents[name] = (
                timing.ratio(timings[1][parent], timings[1][name], by=clock) if parent in timings[1] else None
            )
            tell(len(pairs) / len(groups))
        pairs[baseline] = {size: timing.Pair(own[size], own[size]) for size in BATCHES}
        over_parents[baseline] = None
        return {
            name: _speeds(timing.pace(each, own, by=clock), over_parents[name])
            | {"rounds": {str(size): len(pair.variant) for size, pair in each.items()}}
            for name, each in pairs.items()
        }

    def _open(self, path: Path, *, threads: int) -> onnxruntime.InferenceSession:
        return sessions.open_session(path, device=self.provider, threads=threads)


def _feeds(inputs: Inputs, rows: Rows, *, padded: Collection[str]) -> dict[int, Inputs]:
    """Return what is timed, by batch size: the first of the rows, behind the one whose length is in the middle."""
    by_length = np.argsort(lengths(inputs, rows, padded=padded), kind="stable")
    first = rows[by_length[len(rows) // 2]] if padded else rows[0]
    rows = np.concatenate([[first], rows[rows != first]])
    return {size: take(inputs, np.resize(rows, size), padded=padded) for size in BATCHES}


def _speeds(pace: timing.Pace, over_parent: timing.Ratio | None) -> dict[str, Any]:
    return {
        "latency_ms": pace.latency_ms,
        "throughput": pace.throughput,
        "speedup": pace.speedup.value,
        "speedup_interval": (pace.speedup.low, pace.speedup.high),
        "parent_speedup": over_parent and over_parent.value,
        "parent_speedup_interval": over_parent and (over_parent.low, over_parent.high),
    }


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
