"""Static quantisation that leaves the layers it hurts most in float, as few as the accuracy gate needs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import TensorsData

from models_store.spec.quantization import MixedInt8
from workers.compression.quantization import graphs
from workers.compression.quantization.calibration import CalibrationImages, read_ranges
from workers.compression.quantization.failures import told_in_our_words
from workers.compression.quantization.positions import QUANTISED, kept_in_float, left_in_float
from workers.compression.quantization.static import calibration_facts, rounded
from workers.export.sessions import open_session

if TYPE_CHECKING:  # torch is not needed here
    from workers.training.targets import Activation

Report = Callable[[float], None]
Judge = Callable[[Path, Report], float]
"""the accuracy of a file on the validation split, told as it goes"""

MOST_IMAGES, LEAST_IMAGES = 64, 4  # on which a layer's effect is measured
RANKING_S = 60.0  # about what all layers' effects may take together, beyond the work that each needs
LEAST_PROBABILITY = 1e-6  # a smaller one says nothing more


def quantize_mixed(
    source: Path,
    target: Path,
    *,
    part: MixedInt8,
    images: CalibrationImages,
    judge: Judge,
    least_accuracy: float,
    activation: "Activation" = "softmax",
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Write the form to `target`, and return what was done to it.

    Layers are ranked by how far the answers move when one alone works in 8 bits. The fewest of the first of them that
    keep `least_accuracy` stay in float, with those that do in every 8-bit form; where `part.max_float_share` of all
    layers with weights are too few, that many do. `float_layers_allowed` says how many that is of the ranked ones: with
    0, the form is that of plain static quantisation.

    Raises:
        QuantizationImpossible: if weights or activations are not finite, or onnxruntime can't quantise the graph.
    """
    with graphs.prepared(source, beside=target) as prepared:
        ranges = read_ranges(prepared, images, part=part, operators=QUANTISED, report=lambda done: report(0.2 * done))
        model = onnx.load(prepared)
        fixed = kept_in_float(model.graph, activation)
        everything = graphs.layers(model.graph)
        layers = [node for node in everything if node.name not in fixed]
        allowed = max(int(part.max_float_share * len(everything)) - (len(everything) - len(layers)), 0)
        ranked = _by_sensitivity(
            model, ranges, layers, part=part, images=images, activation=activation,
            path=prepared.with_name("one.onnx"), report=lambda done: report(0.2 + 0.4 * done),
        )  # fmt: skip
        tries = 2 + len(ranked).bit_length()
        tried: dict[int, float] = {}

        def accuracy_with(count: int) -> float:
            path = prepared.with_name(f"{count}.onnx")
            in_float = fixed | left_in_float(model.graph, set(ranked[:count]))
            graphs.save(rounded(model, ranges, in_float=in_float, part=part), path, source=source)
            begun = 0.6 + 0.4 * min(len(tried) / tries, 1.0)
            tried[count] = judge(path, lambda done: report(begun + 0.4 / tries * done))
            return tried[count]

        count = _fewest(lambda count: accuracy_with(count) >= least_accuracy, most=allowed)
        prepared.with_name(f"{count}.onnx").replace(target)
    kept = fixed | set(ranked[:count])
    return calibration_facts(part, len(images)) | {
        "layers": len(everything),
        "float_layers": [graphs.layer_name(node) for node in everything if node.name in kept],
        "float_layers_allowed": allowed,
        "tried": {str(number): accuracy for number, accuracy in sorted(tried.items())},
        "gate_held": bool(tried[count] >= least_accuracy),
    }


def _by_sensitivity(
    model: onnx.ModelProto,
    ranges: TensorsData,
    layers: list[onnx.NodeProto],
    *,
    part: MixedInt8,
    images: CalibrationImages,
    activation: "Activation",
    path: Path,
    report: Report,
) -> list[str]:
    """Return the layers' names, first the one that moves the answers most when it alone works in 8 bits."""
    onnx.save_model(model, path)
    session = open_session(path, device="cpu", threads=0)
    feeds = list(images.first(MOST_IMAGES).feeds(batch=LEAST_IMAGES))
    started = time.monotonic()
    _logits(session, feeds[:1], activation=activation)
    once_s = time.monotonic() - started
    feeds = feeds[: max(1, int(RANKING_S / (max(len(layers), 1) * once_s)))]
    exact = _logits(session, feeds, activation=activation)
    everything = {node.name for node in model.graph.node}
    errors = {}
    for done, layer in enumerate(layers):
        report(done / len(layers))
        alone = rounded(model, ranges, in_float=everything - {layer.name}, part=part)
        onnx.save_model(alone, path)
        near = _logits(open_session(path, device="cpu", threads=0), feeds, activation=activation)
        errors[layer.name] = float(np.square(near - exact).mean())
    return sorted(errors, key=lambda name: errors[name], reverse=True)


def _logits(
    session: onnxruntime.InferenceSession, feeds: list[dict[str, NDArray[np.uint8]]], *, activation: "Activation"
) -> NDArray[np.float32]:
    """Return the answers before their activation, to a constant of each image: there, no certainty hides a change."""
    with told_in_our_words("run the quantised graph"):
        answers: NDArray[np.float32] = np.concatenate([session.run(["probabilities"], feed)[0] for feed in feeds])
    if activation == "identity":
        return answers
    logits: NDArray[np.float32] = np.log(np.maximum(answers, LEAST_PROBABILITY))
    if activation == "sigmoid":
        logits -= np.log(np.maximum(1 - answers, LEAST_PROBABILITY))
    return logits


def _fewest(holds: Callable[[int], bool], *, most: int) -> int:
    """Return the least count that holds, found by halving (it does where a lesser one does); `most` where none does."""
    if holds(0) or most == 0:
        return 0
    if not holds(most):
        return most
    failing, holding = 0, most
    while holding - failing > 1:
        middle = (failing + holding) // 2
        failing, holding = (failing, middle) if holds(middle) else (middle, holding)
    return holding
