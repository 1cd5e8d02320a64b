"""fp32 ONNX → int8 ONNX: static quantisation (Jacob et al. 2017, arXiv:1712.05877) by onnxruntime, as QDQ.

What is chosen here was measured on a real EfficientNet-Lite0: unsigned activations with signed weights (signed/signed
is 1.6 times slower on AVX-512 VNNI, unsigned/unsigned 10 times), a weight scale per output channel (one per tensor
loses 8 points), exact minimum and maximum as activation ranges. The preprocessing before the first convolution and the
softmax stay in float: quantised, they cost accuracy and half of the speedup.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from models_store.spec.quantization import StaticInt8

if TYPE_CHECKING:  # torch is not needed here
    from workers.training.targets import Activation

# N images, H height, W width, C channel

CALIBRATION_BATCH = 16
WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTISED = (
    *WEIGHTED, "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Reshape", "Flatten",
)  # fmt: skip


def calibration_indexes(
    labels_N: NDArray[np.int64] | None, train_indexes: NDArray[np.int64], *, count: int, seed: int
) -> NDArray[np.int64]:
    """Return `count` of `train_indexes` (all, when there are fewer), drawn evenly over the classes, in ascending order.

    Classes take turns in a shuffled order, so that the counts of two classes differ by at most one while both have
    images left. Where there are none (`labels_N` is None), all images are drawn alike.
    """
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


def quantize(
    source: Path,
    target: Path,
    *,
    part: StaticInt8,
    images_NHWC: NDArray[np.uint8],
    indexes: NDArray[np.int64],
    activation: "Activation" = "softmax",
    report: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the int8 form of the exported file `source` to `target`; its labels and card come along.

    With the activation `identity` the last layer stays in float: in int8 it could give 256 numbers, and none beyond
    those of the calibration images.

    Activation ranges are the exact minimum and maximum over `images_NHWC[indexes]` (see `calibration_indexes`); the
    array may be mapped memory, of which one batch is read at a time. Temporary files are gone on return, also after an
    error.
    """
    assert len(indexes), "ranges are read on at least one image"
    properties = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    with tempfile.TemporaryDirectory(prefix="quantize-", dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        # symbolic shape inference is for transformers (and needs sympy); the free batch size is no obstacle here
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Images(images_NHWC, indexes, report=report),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=_kept_in_float(onnx.load(prepared).graph, activation),
            per_channel=part.per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # not `CalibMaxIntermediateOutputs`: onnxruntime 1.31 then forgets what it saw before the limit. What it
            # keeps of each batch is two numbers per tensor.
            calibrate_method=CalibrationMethod.MinMax,
        )
    _tidy(target, properties)


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands the calibrator one batch after the other."""

    def __init__(
        self, images_NHWC: NDArray[np.uint8], indexes: NDArray[np.int64], *, report: Callable[[float], None]
    ) -> None:
        self._count, self._given, self._report = len(indexes), 0, report
        self._batches = (
            np.ascontiguousarray(images_NHWC[indexes[start : start + CALIBRATION_BATCH]])
            for start in range(0, len(indexes), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next feed; None at the end."""
        self._report(self._given / self._count)
        batch_NHWC = next(self._batches, None)
        if batch_NHWC is None:
            return None
        self._given += len(batch_NHWC)
        return {"images": batch_NHWC}


def _kept_in_float(graph: onnx.GraphProto, activation: "Activation") -> list[str]:
    """Return the nodes before the first layer with weights, and for numbers those from the last one on.

    Nodes are in topological order.
    """
    weighted = [place for place, node in enumerate(graph.node) if node.op_type in WEIGHTED]
    end = weighted[-1] if activation == "identity" else len(graph.node)
    return [node.name for place, node in enumerate(graph.node) if place < weighted[0] or place >= end]


def _tidy(path: Path, properties: dict[str, str]) -> None:
    """Give the file its parent's metadata, and only the operator sets that it uses."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, properties)
    used = {node.domain for node in model.graph.node}
    imports = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    onnx.save_model(model, path)
