"""Quantisation-aware training: the net trains on as its int8 file will answer, then that file is made of it.

fold batch norm → simulate the file's rounding → read ranges on training images → train with the spec's recipe → export
the trained weights in float → quantise that file as any other, on the same images.

Jacob et al. 2017 (arXiv:1712.05877). Batch norm is folded before training, with the statistics that the net has, as in
Nagel et al. 2021 (arXiv:2106.08295). Activation ranges follow a moving average while it trains; at the end they are
read anew at the weights that are kept, on the images and in the way of the static quantiser, so that the simulation
answers as the file does. No random layer (dropout, stochastic depth) takes part.
"""

# N images, B batch, C channel, H height, W width

from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from models_store.spec.quantization import QatInt8, StaticInt8
from workers import examining
from workers.compression import sparsity
from workers.compression.fake_quantization import reading_ranges, simulated
from workers.compression.folding import fold_norms
from workers.compression.quantization.calibration import CalibrationImages
from workers.compression.quantization.static import quantize_static
from workers.export.graph import export
from workers.image.data import ImageArrays
from workers.image.task import Classifier
from workers.learning import train_stage
from workers.progress import Reporter, Stretch
from workers.training import selection, targets
from workers.training.derived_specs import recovery
from workers.training.feeds import RawFeed, infer
from workers.training.precision import Precision
from workers.work import Form, Work, identity

PREPARED, TRAINED = 0.1, 0.9  # of the progress
BATCH = 64
SPARSE = ("unstructured_l1", "n_m")


def make(
    work: Work,
    arrays: ImageArrays,
    *,
    source: Form,
    part: QatInt8,
    images: CalibrationImages,
    target: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write the int8 file of a form's net, trained on with simulated rounding; return what its card says.

    The checkpoints' stage is the file's name. Zeros of a net that was pruned for size stay zeros. When no epoch
    validates better than the start, which is what static quantisation gives, the start is kept, as epoch 0. The file
    has a temperature of its own.

    Raises:
        QuantizationImpossible: if the net can't be traced or folded, or its rounding is not simulated.
        Drained: if the reporter asked to stop; the training is in the checkpoints.
        Invalid: if the training fails by the spec's or the data's own fault, see `workers.training.failures`.
    """
    assert source.net is not None, "what trains on is a net"
    size, channels = work.spec.input.size, work.spec.input.channels
    assert size is not None, "the spec is resolved"
    activation = targets.activation_of(work.spec.task)
    is_sparse = (source.made_by or {}).get("kind") in SPARSE
    reporter.progress(0.0)
    example_BCHW = torch.zeros(2, channels, size, size)
    folded = fold_norms(source.net, example_BCHW)
    reporter.progress(PREPARED / 2)
    net = simulated(
        folded.to(work.device),
        example_BCHW.to(work.device),
        per_channel=part.per_channel,
        ends_in_float=activation == "identity",
        kept=sparsity.zeros_of(folded) if is_sparse else {},
    )
    student = _Student(net, of=source.net)
    told = Stretch(reporter, start=PREPARED, end=TRAINED, prefix=f"{target.stem.replace('-', '_')}_")
    facts = _train(work, arrays, student, part=part, images=images, stage=target.stem, reporter=told)
    trained = net.state_dict()
    folded.load_state_dict({name: trained.get(name, tensor) for name, tensor in folded.state_dict().items()})
    temperature = examining.temperature_of(work, student, arrays)
    if temperature is not None:
        facts["temperature"] = temperature.as_card()
    divisor = temperature.value if temperature else 1.0
    exported = target.with_suffix(".float.onnx")
    try:
        export(
            folded,
            mean=source.net.mean,
            std=source.net.std,
            size=size,
            channels=channels,
            opset=work.spec.export.opset,
            labels=work.assignment.classes,
            card=identity(work) | {"form": target.stem, "temperature": divisor},
            path=exported,
            activation=activation,
            temperature=divisor,
        )
        static = StaticInt8(calibration_images=part.calibration_images, per_channel=part.per_channel)
        told = Stretch(reporter, start=TRAINED, end=1.0)
        quantised = quantize_static(
            exported, target, part=static, images=images, activation=activation, report=told.progress
        )
    finally:
        exported.unlink(missing_ok=True)
    return quantised | facts


class _Student(Classifier):
    """The simulated net in the place of the one that it was made of: it is fed alike, and all of it trains."""

    def __init__(self, net: fx.GraphModule, *, of: Classifier) -> None:
        super().__init__(net, nn.Identity(), mean=of.mean, std=of.std, augmentation=of.augmentation, size=of.size)


def _train(
    work: Work,
    arrays: ImageArrays,
    student: Classifier,
    *,
    part: QatInt8,
    images: CalibrationImages,
    stage: str,
    reporter: Reporter,
) -> dict[str, Any]:
    """Train the simulated net; leave the better of it and its start, with the ranges that its file will have."""
    student.to(work.device)
    read_ranges(student, images, device=work.device)
    start = {name: tensor.detach().to("cpu", copy=True) for name, tensor in student.state_dict().items()}
    before = _validate(work, arrays, student)
    spec = recovery(work.spec, epochs=part.epochs, lr_scale=part.lr_scale)
    best_epoch = train_stage(work, student, arrays, spec=spec, stage=stage, reporter=reporter).best_epoch
    read_ranges(student, images, device=work.device)
    after = _validate(work, arrays, student)
    monitor = spec.training.monitor
    if (selection.value(before, monitor), -before["val_loss"]) > (selection.value(after, monitor), -after["val_loss"]):
        reporter.log(
            f"{stage}: no epoch with simulated rounding validates better than its start "
            f"({before['val_accuracy']:.4f}), which is kept; another `lr_scale` or more epochs might change that"
        )
        student.load_state_dict(start)
        best_epoch, after = 0, before
    return {
        "epochs": part.epochs,
        "best_epoch": best_epoch,
        "val_accuracy_before": before["val_accuracy"],
        "val_accuracy_after": after["val_accuracy"],
    }


def read_ranges(student: Classifier, images: CalibrationImages, *, device: torch.device) -> None:
    """Read the simulated net's ranges of activations on the images that the file's will be read on."""
    with torch.no_grad(), reading_ranges(student.eval()):
        for feed in images.feeds():
            student(student.prepare(torch.from_numpy(feed["images"]).to(device), None))


def _validate(work: Work, arrays: ImageArrays, student: Classifier) -> dict[str, float]:
    """Return the metrics of the validation split, as the file will answer it."""
    rows, aim = arrays.split("val"), targets.build(work.spec.task, arrays)
    feed = RawFeed(student, arrays, device=work.device)
    logits_NK = infer(feed, rows, batch_size=BATCH, precision=Precision("fp32", work.device))
    return aim.epoch_metrics(logits_NK.cpu(), aim.of(rows))
