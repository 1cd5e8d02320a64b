"""Quantisation-aware training: the net trains on as its int8 file will answer, then that file is made of it.

fold batch norm → make the static int8 file → simulate what it rounds, by its ranges → train with the spec's recipe →
make the file of the trained weights, by the ranges that training left.

Jacob et al. 2017 (arXiv:1712.05877). Batch norm is folded before training, with the statistics that the net has, as in
Nagel et al. 2021 (arXiv:2106.08295). Activation ranges follow a moving average. Read anew on the trained net in float
they would be another net's: its weights are good with rounding alone. No random layer (dropout, stochastic depth) takes
part.
"""

# N examples, K class or label

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import TensorsData
from onnxruntime.quantization.calibrate import TensorData
from torch import Tensor, nn

from models_store.spec.quantization import QatInt8, StaticInt8
from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import target_of
from workers.compression import origins, sparsity
from workers.compression.facts import Quantized, RoundingTraining
from workers.compression.fake_quantization import RoundedActivation, Rounding, rounding_of, simulate
from workers.compression.folding import fold_norms
from workers.compression.origins import Origin
from workers.compression.quantization import graphs
from workers.compression.quantization.accuracy import judge_of
from workers.compression.quantization.calibration import CalibrationExamples, read_ranges
from workers.compression.quantization.positions import QUANTISED, kept_in_float
from workers.compression.quantization.static import ranges_of, rounded
from workers.evaluation.calibration import Temperature
from workers.evaluation.temperature import temperature_of
from workers.export.graph import export
from workers.process.progress import Reporter, Stretch
from workers.tasks.task import Task
from workers.training import targets
from workers.training.examples import Examples
from workers.training.feeds import RawFeed, infer
from workers.training.learner import Learner
from workers.training.precision import Precision

PREPARED, TRAINED = 0.1, 0.9  # of the progress
BATCH = 64
NOTHING: Mapping[Origin, RoundedActivation] = MappingProxyType({})


def make(
    net: Learner,
    *,
    part: QatInt8,
    task: Task,
    spec: ResolvedSpec,
    examples: Examples,
    calibration: CalibrationExamples,
    keeps_zeros: bool,
    train: Callable[[Learner, Reporter], int],
    card: Mapping[str, Any],
    target: Path,
    device: torch.device,
    reporter: Reporter,
) -> Quantized:
    """Write the int8 file of a net, trained on with simulated rounding; return what its card says.

    `train` trains a learner by the spec's recipe for recovery and returns its best epoch. With `keeps_zeros`, the zeros
    of a net that was pruned for size stay zeros. `card` is what the file says of where it came from. When the file of
    the trained net has no better validation accuracy than that of the start, which is what static quantisation gives,
    the start is kept, as epoch 0; where both are alike, the simulation's loss decides. The file has a temperature of
    its own.

    Raises:
        QuantizationImpossible: if the net can't be traced or folded, or its rounding is not simulated.
        Drained: if the reporter asked to stop; the training is in the checkpoints.
        Invalid: if the training fails by the spec's or the data's own fault, see `workers.training.failures`.
    """
    reporter.progress(0.0)
    example = task.trace_input(spec, count=2)
    folded = fold_norms(net, example)
    reporter.progress(PREPARED / 3)
    static = StaticInt8(calibration_images=part.calibration_images, per_channel=part.per_channel)
    files = _Files(task, spec, target, calibration, static, labels=examples.classes, card=card)
    rounding = files.write(folded)
    reporter.progress(2 * PREPARED / 3)
    kept = sparsity.zeros_of(folded) if keeps_zeros else {}
    simulated = simulate(folded.to(device), example.to(device), rounding, kept=kept)
    student = net.around(simulated.net)
    judge = judge_of(target_of(spec.task), examples)
    start = _Candidate(
        {name: tensor.detach().to("cpu", copy=True) for name, tensor in student.state_dict().items()},
        accuracy=judge(target, lambda _: reporter.progress(PREPARED)),
        loss=_loss(student, examples, spec=spec, device=device),
        best_epoch=0,
    )
    prefix = f"{target.stem.replace('-', '_')}_"
    best_epoch = train(student, Stretch(reporter, start=PREPARED, end=TRAINED, prefix=prefix))

    def write() -> Temperature | None:
        _take_back(folded, simulated.net, kept)
        temperature = temperature_of(student, examples, spec=spec, device=device)
        files.write(folded, trained=simulated.activations, divisor=temperature.value if temperature else 1.0)
        return temperature

    temperature = write()
    trained = _Candidate(
        student.state_dict(),
        accuracy=judge(target, lambda done: reporter.progress(TRAINED + (1 - TRAINED) * done)),
        loss=_loss(student, examples, spec=spec, device=device),
        best_epoch=best_epoch,
    )
    chosen = trained
    if (start.accuracy, -start.loss) > (trained.accuracy, -trained.loss):
        reporter.log(
            f"{target.stem}: trained with simulated rounding, the file is no better on the validation split "
            f"({trained.accuracy:.4f}) than before the training ({start.accuracy:.4f}), so the earlier file is kept; "
            "another `lr_scale` or more epochs might change that"
        )
        chosen = start
        student.load_state_dict(start.state)
        temperature = write()
    return Quantized(
        layers=len(rounding.layers) + len(rounding.float_layers),
        float_layers=rounding.float_layers,
        ranges=ranges_of(static, len(calibration)),
        training=RoundingTraining(
            rounded=sum(rounding.tensors.values()),
            simulated=simulated.places_of(rounding),
            epochs=part.epochs,
            best_epoch=chosen.best_epoch,
            val_accuracy_before=start.accuracy,
            val_accuracy_after=chosen.accuracy,
        ),
        temperature=temperature,
    )


@dataclass(frozen=True)
class _Candidate:
    """The simulated net's state, how its file validates, and the loss of the simulation there."""

    state: Mapping[str, Tensor]
    accuracy: float
    loss: float
    best_epoch: int


@dataclass(frozen=True)
class _Files:
    """How the int8 file is made of a net without batch norms: static quantisation, but for ranges that were trained."""

    task: Task
    spec: ResolvedSpec
    target: Path
    calibration: CalibrationExamples
    part: StaticInt8
    labels: list[str]
    card: Mapping[str, Any]

    def write(
        self, folded: Learner, *, trained: Mapping[Origin, RoundedActivation] = NOTHING, divisor: float = 1.0
    ) -> Rounding:
        """Write the file; return what it rounds."""
        activation = target_of(self.spec.task).activation
        exported = self.target.with_suffix(".float.onnx")
        try:
            export(
                self.task.served(folded, self.spec, temperature=divisor),
                opset=self.spec.export.opset,
                labels=self.labels,
                card={**self.card, "form": self.target.stem, "temperature": divisor},
                path=exported,
            )
            with graphs.prepared(exported, beside=self.target) as path:
                ranges = read_ranges(path, self.calibration, part=self.part, operators=QUANTISED)
                prepared = onnx.load(path)
            _put(ranges, origins.in_file(prepared.graph), trained)
            kept = kept_in_float(prepared.graph, activation)
            quantised = rounded(prepared, ranges, in_float=kept, part=self.part)
            graphs.save(quantised, self.target, source=exported)
        finally:
            exported.unlink(missing_ok=True)
        return rounding_of(quantised, prepared, per_channel=self.part.per_channel)


def _put(ranges: TensorsData, tensors: Mapping[str, Origin], trained: Mapping[Origin, RoundedActivation]) -> None:
    """Replace the ranges of the file's tensors whose origins are among the trained ones."""
    for name, origin in tensors.items():
        if name in ranges and origin in trained:
            bounds = (trained[origin].lowest, trained[origin].highest)
            lowest, highest = (np.asarray(bound.item(), dtype=np.float32) for bound in bounds)
            ranges[name] = TensorData(lowest=lowest, highest=highest)


def _take_back(folded: nn.Module, net: nn.Module, kept: sparsity.Masks) -> None:
    """Put the weights that trained into the net of floats, and zeros where a mask has them."""
    trained, device = net.state_dict(), next(net.parameters()).device
    state = {name: trained.get(name, tensor) for name, tensor in folded.state_dict().items()}
    folded.load_state_dict(state | {name: state[name] * mask.to(device) for name, mask in kept.items()})


def _loss(student: Learner, examples: Examples, *, spec: ResolvedSpec, device: torch.device) -> float:
    """Return the simulation's loss on the validation split."""
    rows, aim = examples.split("val"), targets.build(spec.task, examples)
    feed = RawFeed(student.to(device), examples, device=device)
    logits_NK = infer(feed, rows, batch_size=BATCH, precision=Precision("fp32", device))
    return aim.epoch_metrics(logits_NK.cpu(), aim.of(rows))["val_loss"]
