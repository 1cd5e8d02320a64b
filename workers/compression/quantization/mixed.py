"""Static quantisation that leaves the layers it hurts most in float, as few as the accuracy gate needs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import TensorsData

from models_store.spec.quantization import MixedInt8
from models_store.targets.activations import DISTANCES
from workers.compression.facts import MixedLayers, Quantized
from workers.compression.quantization import graphs
from workers.compression.quantization.calibration import CalibrationExamples, read_ranges
from workers.compression.quantization.failures import explaining_errors
from workers.compression.quantization.positions import QUANTISED, kept_in_float, left_in_float
from workers.compression.quantization.static import ranges_of, rounded
from workers.export.sessions import answer, open_session
from workers.training.examples import Inputs

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation

Report = Callable[[float], None]


@dataclass(frozen=True)
class Judged:
    """The accuracy of a file on the validation split, and whether it passes the gate."""

    accuracy: float
    passes: bool


Judge = Callable[[Path, Report], Judged]
"""judges a file, reported as it goes"""

MOST_EXAMPLES, LEAST_EXAMPLES = 64, 4  # on which a layer's effect is measured
RANKING_S = 60.0  # about what running the net may take for all layers' effects, beyond the rounding of each
ROUNDING = 1e-9  # a share of exactly so many layers is as many, whatever binary fractions make of it


def quantize_mixed(
    source: Path,
    target: Path,
    *,
    part: MixedInt8,
    examples: CalibrationExamples,
    judge: Judge,
    activation: "Activation" = "softmax",
    report: Report = lambda _: None,
) -> Quantized:
    """Write the variant to `target`, and return what was done to it.

    Where plain rounding fails the gate, layers are ranked by how far the answers move when one alone works in 8 bits,
    or by how far they come back when it alone does not, whichever is more: either misleads by itself. Where the first
    layer's rounding ruins what the others make of it, only the second tells; where two layers undo each other's, only
    the first.

    The fewest of the first with which `judge` lets the variant pass stay in float, with those that do in every 8-bit
    variant; where `part.max_float_share` of all layers with weights are too few, that many do; one at least is in 8
    bits, for else it would be fp32 by another name. `float_layers_allowed` says how many may be of the ranked ones:
    with 0, the variant is that of plain static quantisation.

    Raises:
        QuantizationImpossible: if weights or activations are not finite, or onnxruntime can't quantise the graph.
    """
    with graphs.prepared(source, beside=target) as prepared:
        ranges = read_ranges(prepared, examples, part=part, operators=QUANTISED, report=lambda done: report(0.2 * done))
        model = onnx.load(prepared)
        fixed = kept_in_float(model.graph, activation)
        everything = graphs.layers(model.graph)
        layers = [node for node in everything if node.name not in fixed]
        share = int(part.max_float_share * len(everything) + ROUNDING)
        allowed = max(min(share - len(everything) + len(layers), len(layers) - 1), 0)
        ranked: list[str] = []
        tried: dict[int, Judged] = {}

        def holds(count: int, *, begin: float, end: float) -> bool:
            path = prepared.with_name(f"{count}.onnx")
            in_float = fixed | left_in_float(model.graph, set(ranked[:count]))
            graphs.save(rounded(model, ranges, in_float=in_float, part=part), path, source=source)
            with explaining_errors("run the quantised graph"):
                tried[count] = judge(path, lambda done: report(begin + (end - begin) * done))
            return tried[count].passes

        count = 0
        if not holds(0, begin=0.2, end=0.3) and allowed:
            ranked += _by_sensitivity(
                model, ranges, layers, fixed=fixed, part=part, examples=examples, activation=activation,
                path=prepared.with_name("one.onnx"), report=lambda done: report(0.3 + 0.4 * done),
            )  # fmt: skip
            each = 0.3 / (1 + allowed.bit_length())
            count = _fewest(
                lambda count: holds(count, begin=0.7 + each * (len(tried) - 1), end=0.7 + each * len(tried)),
                most=allowed,
            )
        prepared.with_name(f"{count}.onnx").replace(target)
    kept = fixed | set(ranked[:count])
    return Quantized(
        layers=len(everything),
        float_layers=[graphs.layer_name(node) for node in everything if node.name in kept],
        ranges=ranges_of(part, len(examples)),
        mixed=MixedLayers(
            float_layers_allowed=allowed,
            tried={str(number): judged.accuracy for number, judged in sorted(tried.items())},
            gate_held=tried[count].passes,
        ),
    )


def _by_sensitivity(
    model: onnx.ModelProto,
    ranges: TensorsData,
    layers: list[onnx.NodeProto],
    *,
    fixed: set[str],
    part: MixedInt8,
    examples: CalibrationExamples,
    activation: "Activation",
    path: Path,
    report: Report,
) -> list[str]:
    """Return the layers' names, first the one whose rounding moves the answers most."""
    onnx.save_model(model, path)
    with explaining_errors("run the graph"):
        session = open_session(path, device="cpu", threads=torch.get_num_threads())
    few = list(examples.first(LEAST_EXAMPLES).feeds(batch=LEAST_EXAMPLES))
    _answers(session, few)  # the first run is no measure of the others
    started = time.monotonic()
    _answers(session, few)
    once_s = time.monotonic() - started
    batches = max(1, int(RANKING_S / (2 * max(len(layers), 1) * once_s)))
    feeds = list(
        examples.first(min(LEAST_EXAMPLES * batches, MOST_EXAMPLES)).feeds(batch=LEAST_EXAMPLES)
    )  # of all classes
    exact_NK = _answers(session, feeds)

    def moved(in_float: set[str]) -> float:
        onnx.save_model(rounded(model, ranges, in_float=in_float, part=part), path)
        with explaining_errors("run the quantised graph"):
            quantised = open_session(path, device="cpu", threads=torch.get_num_threads())
        return DISTANCES[activation](exact_NK, _answers(quantised, feeds))

    everything = {node.name for node in model.graph.node}
    rounded_all = moved(fixed)
    effects = {}
    for done, layer in enumerate(layers):
        report(done / len(layers))
        with_it = left_in_float(model.graph, {layer.name})
        alone, restored = moved(fixed | (everything - with_it)), moved(fixed | with_it)
        effects[layer.name] = max(alone, rounded_all - restored)
    return sorted(effects, key=lambda name: effects[name], reverse=True)


def _answers(session: onnxruntime.InferenceSession, feeds: list[Inputs]) -> NDArray[np.float32]:
    with explaining_errors("run the quantised graph"):
        return np.concatenate([answer(session, feed) for feed in feeds])


def _fewest(holds: Callable[[int], bool], *, most: int) -> int:
    """Return the least of 1 … `most` that holds, found by halving (it does where a lesser one does), or `most`."""
    if not holds(most):
        return most
    failing, holding = 0, most
    while holding - failing > 1:
        middle = (failing + holding) // 2
        failing, holding = (failing, middle) if holds(middle) else (middle, holding)
    return holding
