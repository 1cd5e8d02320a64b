"""Ranges of activations: the examples on which they are read, and where they are cut."""

# N examples

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, TensorsData, create_calibrator

from models_store.spec.quantization import StaticInt8
from workers.compression.quantization import histograms
from workers.compression.quantization.failures import QuantizationImpossible, explaining_errors
from workers.training.examples import Inputs, Rows, take

CALIBRATION_BATCH = 8
OBSERVED_BATCH = 4  # of which every activation is held at once: some 200 MB for a resnet50 at 224


def calibration_indexes(
    labels_N: NDArray[np.int64] | None, train_indexes: NDArray[np.int64], *, count: int, seed: int
) -> NDArray[np.int64]:
    """Return `count` of `train_indexes` (all, when there are fewer), drawn evenly over the classes, in ascending order.

    Classes take turns in a shuffled order, so that the counts of two classes differ by at most one while both have
    examples left. Where there are none (`labels_N` is None), all examples are drawn alike.

    Raises:
        QuantizationImpossible: if there are no training examples.
    """
    if len(train_indexes) == 0:
        raise QuantizationImpossible(
            "activation ranges are read on training examples, and the dataset's train split is empty; give training "
            "examples, or a variant that needs none: `weights_int8`, `fp16`"
        )
    generator = np.random.default_rng(seed)
    if labels_N is None:
        return np.sort(generator.permutation(train_indexes)[:count])
    queues = [
        generator.permutation(train_indexes[labels_N[train_indexes] == label])
        for label in generator.permutation(np.unique(labels_N[train_indexes]))
    ]
    longest = max((len(queue) for queue in queues), default=0)
    turns = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return np.sort(np.asarray(turns[:count], dtype=np.int64))


@dataclass(frozen=True, eq=False)
class CalibrationExamples:
    """The examples at `rows` of arrays that may be mapped memory: one batch is read at a time."""

    inputs: Inputs
    rows: Rows
    padded: Collection[str] = ()
    """as `Examples` has it"""

    def __len__(self) -> int:
        """Return how many examples there are."""
        return len(self.rows)

    def first(self, count: int) -> "CalibrationExamples":
        """Return `count` of the examples, spread evenly over them; all, when there are fewer."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64))
        return CalibrationExamples(self.inputs, self.rows[chosen], padded=self.padded)

    def feeds(
        self, *, batch: int = CALIBRATION_BATCH, report: Callable[[float], None] = lambda _: None
    ) -> Iterator[Inputs]:
        """Yield what a session of an exported file is fed, batch by batch, telling the share that is done."""
        for start in range(0, len(self), batch):
            report(start / len(self))
            yield take(self.inputs, self.rows[start : start + batch], padded=self.padded)


def read_ranges(
    prepared: Path,
    examples: CalibrationExamples,
    *,
    part: StaticInt8,
    operators: tuple[str, ...],
    report: Callable[[float], None] = lambda _: None,
) -> TensorsData:
    """Return the range of every tensor that an operator of `operators` reads or writes, over all examples.

    Raises:
        QuantizationImpossible: if a value is not finite.
    """
    assert len(examples), "ranges are read on at least one example"
    clips = part.calibration != "minmax"
    with explaining_errors("read activation ranges"):
        calibrator = create_calibrator(
            prepared,
            list(operators),
            augmented_model_path=str(prepared.with_name("augmented.onnx")),
            # not `max_intermediate_outputs`: onnxruntime 1.31 then forgets what it saw before the limit. What it
            # keeps of each batch is two numbers per tensor.
            calibrate_method=CalibrationMethod.MinMax,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what numpy says of NaNs, which are refused below
            calibrator.collect_data(_Reader(examples, report=lambda done: report(done / 2 if clips else done)))
        ranges = calibrator.compute_data()
    unbounded = [name for name, each in ranges.items() if not np.isfinite(np.stack(each.range_value)).all()]
    if unbounded:
        raise QuantizationImpossible(
            f"the net's values at {unbounded[0]!r} are not finite on training examples: no 8-bit range holds them"
        )
    return _cut(prepared, ranges, examples, part=part, report=report) if clips else ranges


def _cut(
    prepared: Path,
    ranges: TensorsData,
    examples: CalibrationExamples,
    *,
    part: StaticInt8,
    report: Callable[[float], None],
) -> TensorsData:
    """Return the ranges without the rare large values that `part` says may be lost.

    Not onnxruntime's calibrators: they hold the activations of all examples in memory, and their entropy tries one cut.
    """
    largest = {name: float(np.abs(np.stack(each.range_value)).max()) for name, each in ranges.items()}
    moving = {name: value for name, value in largest.items() if value > 0}
    feeds = examples.feeds(batch=OBSERVED_BATCH, report=lambda done: report(0.5 + done / 2))
    narrowed = {name: each.range_value for name, each in ranges.items()}
    for name, counts in histograms.collect(prepared, moving, feeds).items():
        low, high = narrowed[name]
        if part.calibration == "percentile":
            share = histograms.percentile_cut(counts, percent=part.percentile)
        else:  # of the 256 steps, values of one sign have all, of both signs half of them each
            share = histograms.entropy_cut(counts, levels=128 if low.min() < 0 < high.max() else 256)
        cut = np.float32(share * largest[name])
        narrowed[name] = (np.maximum(low, -cut), np.minimum(high, cut))
    return TensorsData(CalibrationMethod.MinMax, narrowed)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands onnxruntime's calibrator one batch after the other."""

    def __init__(self, examples: CalibrationExamples, *, report: Callable[[float], None]) -> None:
        self._feeds = examples.feeds(report=report)

    def get_next(self) -> Inputs | None:
        """Return the next feed; None at the end."""
        return next(self._feeds, None)
