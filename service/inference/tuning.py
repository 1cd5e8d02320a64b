"""Tunings of a provider: options and buffers with which it may run a file. What is measured at load decides.

    candidates ─► each opens the file and runs every warmed shape ─► answers differ, or it fails: out
                                                                 └─► the fastest by 5 % or more, else the plain one

The choice is kept beside the optimised graph, by the file's digest, the versions and the device, so that the next load
measures nothing. A provider with one candidate never does.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path

import numpy as np
import structlog

from models_store.tasks.codec import Inputs
from service.inference import devices
from service.inference.engine import Outputs
from service.inference.nets import Net

ROUNDS, SAMPLE_S = 10, 0.05
"""runs of one shape, and about the time for all of them"""
FIRST_RUNS = 3
"""not measured: they choose kernels, and record a graph"""
WORTH = 1.05
"""A tuning must be faster than the plain one by this factor, as the geometric mean over the shapes."""
TOLERANCE = 0.02
"""Largest difference of an output to the plain tuning's: the rounding of other kernels, as TF32's."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Tuning:
    """One way to run a file on a provider."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """of the provider, as onnxruntime names them"""
    pads: bool = False
    """whether batches are padded to warmed sizes, because another one would be prepared anew, or has no buffers"""
    buffers: bool = False
    """whether inputs and outputs have buffers on the device, a set for each warmed shape"""
    graphs: bool = False
    """whether each warmed shape is recorded as a CUDA graph, which needs buffers"""


PLAIN = Tuning("plain")
# CUDA: EXHAUSTIVE, the default, tunes anew for every batch size: 634 ms against 1.9 ms. An arena grows by what is asked
# for: all sizes have run before the first request, and doubling would hold what no batch needs.
_HEURISTIC = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_EXHAUSTIVE = _HEURISTIC | {"cudnn_conv_algo_search": "EXHAUSTIVE"}
_NHWC, _GRAPHS = {devices.NHWC: "1"}, {"enable_cuda_graph": "1"}
TUNINGS: dict[str, tuple[Tuning, ...]] = {
    # bound buffers took 11.7 µs instead of 13.4 for a net of 28 pixels, and as long as unbound ones from 8 images on
    devices.CPU: (PLAIN,),
    devices.OPENVINO: (Tuning("plain", pads=True),),
    devices.TENSORRT: (Tuning("plain", pads=True),),
    devices.CUDA: (
        Tuning("plain", _HEURISTIC),
        Tuning("nhwc", _HEURISTIC | _NHWC),
        Tuning("exhaustive", _EXHAUSTIVE, pads=True),
        Tuning("bound", _HEURISTIC, pads=True, buffers=True),
        Tuning("graph", _HEURISTIC | _GRAPHS, pads=True, buffers=True, graphs=True),
        Tuning("graph-nhwc", _HEURISTIC | _GRAPHS | _NHWC, pads=True, buffers=True, graphs=True),
    ),
}
"""provider → its candidates, the plain one first"""


def choose(
    candidates: Sequence[Tuning],
    open_net: Callable[[Tuning], Net],
    *,
    samples: Callable[[], Sequence[Inputs]],
    kept: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Tuning, Net]:
    """Return the tuning that runs a file fastest, and its net; `samples` are inputs of every warmed shape.

    The choice is read from the file `kept`, or written there.

    Raises:
        Exception: what `open_net` raises for the plain tuning.
    """
    plain = candidates[0]
    if len(candidates) == 1:
        return plain, open_net(plain)
    known = _known(candidates, kept)
    if known is not None:
        try:
            return known, open_net(known)
        except Exception:  # onnxruntime's errors share no base
            if known is plain:
                raise
            logger.exception("a tuning that was chosen before fails; all are measured again", tuning=known.name)
    inputs = samples()
    best, net = plain, open_net(plain)
    expected = [net.run(each) for each in inputs]
    plain_s = _seconds(net, inputs, clock)
    gains = {plain.name: 1.0}
    for each in candidates[1:]:
        try:
            other = open_net(each)
            if not _agree(expected, [other.run(sample) for sample in inputs]):
                logger.warning("a tuning answers differently and is left out", tuning=each.name)
                continue
            gains[each.name] = _gain(plain_s, _seconds(other, inputs, clock))
        except Exception as error:  # noqa: BLE001  the same; the plain one is there
            logger.warning("a tuning fails and is left out", tuning=each.name, error=str(error))
            continue
        if gains[each.name] > max(gains[best.name], WORTH):
            best, net = each, other
    gains = {name: round(gain, 3) for name, gain in gains.items()}
    logger.info("tuning chosen", tuning=best.name, speedups=gains)
    _keep(kept, best, gains)
    return best, net


def samples_of(shapes: Sequence[Inputs], examples: Sequence[Inputs]) -> list[Inputs]:
    """Return inputs of the shapes, filled with those examples, again and again, that fit; zeros where none does."""
    filled = []
    for shape in shapes:
        inputs = {name: array.copy() for name, array in shape.items()}
        fitting = [each for each in examples if all(_fits(each[name], inputs[name]) for name in inputs)]
        for index in range(len(next(iter(inputs.values()))) if fitting else 0):
            example = fitting[index % len(fitting)]
            for name, array in inputs.items():
                given = example[name][0]
                array[index][tuple(slice(extent) for extent in given.shape)] = given
        filled.append(inputs)
    return filled


def _fits(given: np.typing.NDArray[np.generic], into: np.typing.NDArray[np.generic]) -> bool:
    return all(extent <= room for extent, room in zip(given.shape[1:], into.shape[1:], strict=True))


def _seconds(net: Net, inputs: Sequence[Inputs], clock: Callable[[], float]) -> list[float]:
    """Return how long each of the inputs takes, at its best."""
    times = []
    for each in inputs:
        for _ in range(FIRST_RUNS):
            net.run(each)
        best_s, began_s = float("inf"), clock()
        for _ in range(ROUNDS):
            before_s = clock()
            net.run(each)
            now_s = clock()
            best_s = min(best_s, now_s - before_s)
            if now_s - began_s > SAMPLE_S:
                break
        times.append(best_s)
    return times


def _gain(plain_s: Sequence[float], other_s: Sequence[float]) -> float:
    """Return how much faster the other is: the geometric mean over the shapes."""
    ratios = [before_s / after_s for before_s, after_s in zip(plain_s, other_s, strict=True)]
    return exp(sum(log(ratio) for ratio in ratios) / len(ratios))


def _agree(expected: Sequence[Outputs], answers: Sequence[Outputs]) -> bool:
    return all(
        given.shape == wanted.shape
        and bool(np.isfinite(given).all())
        and bool((np.abs(given - wanted) <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))).all())
        for wanted, given in zip(expected, answers, strict=True)
    )


def _known(candidates: Sequence[Tuning], kept: Path) -> Tuning | None:
    try:
        name = json.loads(kept.read_text(encoding="utf-8"))["tuning"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return next((each for each in candidates if each.name == name), None)


def _keep(kept: Path, tuning: Tuning, speedups: Mapping[str, float]) -> None:
    arriving = kept.with_name(f".{kept.name}.{os.getpid()}")
    with suppress(OSError):  # a full or read-only disk must not stop a model; the next load measures again
        kept.parent.mkdir(parents=True, exist_ok=True)
        arriving.write_text(json.dumps({"tuning": tuning.name, "speedups": speedups}), encoding="utf-8")
        arriving.replace(kept)
