"""Stage in which files get smaller: each variant that the spec asks for, of each file there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models_store.errors import Invalid
from models_store.spec import quantization as asked
from models_store.targets import Activation
from models_store.tasks.rooms import target_of
from workers.compression.facts import Quantized
from workers.export import sessions
from workers.process.progress import Drained, Reporter, Stretch
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.train import train_stage
from workers.stages.variant import Variant, Variants
from workers.training.derived_specs import recovery
from workers.training.examples import Examples
from workers.training.learner import Learner

if TYPE_CHECKING:  # onnxruntime's quantisation takes seconds that other jobs are spared
    from workers.compression.quantization.calibration import CalibrationExamples

NO_SOURCES = ("control",)
SPARSE = ("unstructured_l1", "n_m")  # kinds of pruning that leave zeros in place


@dataclass(frozen=True)
class Step:
    """One variant to make: of which file, where to, and where its progress goes (which may raise)."""

    work: Work
    examples: Examples
    source: Variant
    baseline: Path
    """the fp32 file, whose accuracy is the measure"""
    path: Path
    report: Callable[[float], None]
    reporter: Reporter
    """the same for a variant that trains; it is asked about stops"""

    @property
    def activation(self) -> Activation:
        """Return what makes a net's logits the outputs of the files."""
        return target_of(self.work.spec.task).activation


def quantize(work: Work, data: Data, variants: Variants) -> Variants:
    """Return the variants with those of fewer bits that the spec asks for, of each file; with why others are not made.

    Raises:
        Drained: if a stop was asked for; the stage then begins anew.
    """
    parts = work.spec.compression.quantize if work.spec.compression else []
    if not parts:
        return variants
    work.reporter.phase("quantizing")
    sources = [(name, each) for name, each in variants.made.items() if each.stopped is None and name not in NO_SOURCES]
    wanted = [(name, source, part) for name, source in sources for part in parts]
    quantized = variants.without(_without_source(parts, variants))
    for done, (name, source, part) in enumerate(wanted):
        target = _name(part, name)
        path = work.staging / f"{target}.onnx"
        stretch = Stretch(work.reporter, start=done / len(wanted), end=(done + 1) / len(wanted))
        report = _heeding_stops(work, stretch.progress)
        stretch.progress(0.0, step=target)
        report(0.0)
        try:
            facts = _make(part, Step(work, data.examples, source, variants.baseline.path, path, report, stretch))
            _require_loadable(path, part)
        except Invalid as error:  # a variant's own failure, in its making or in its training
            work.reporter.warn(f"{target} is not made: {error.detail}")
            path.unlink(missing_ok=True)
            quantized = quantized.without({target: error.detail})
            continue
        quantized = quantized.with_made({target: _made_of(name, source, path=path, part=part, facts=facts)})
    return quantized


def _made_of(name: str, source: Variant, *, path: Path, part: asked.Quantization, facts: Quantized) -> Variant:
    """Return the variant, with those facts of its source that are as true of it."""
    return Variant(
        path,
        parent=name,
        made_by=part.model_dump(mode="json"),
        temperature=facts.temperature or source.temperature,
        pruning=source.pruning and source.pruning.inherited(),
        quantization=facts,
    )


def _name(part: asked.Quantization, source: str) -> str:
    return asked.VARIANTS[part.kind] if source == "fp32" else f"{source}-{asked.VARIANTS[part.kind]}"


def _without_source(parts: Sequence[asked.Quantization], variants: Variants) -> dict[str, str]:
    """Return the variants that are not made because what they are made of was stopped, or was not made itself."""
    reasons = {name: f"{name} was stopped: {each.stopped}" for name, each in variants.made.items() if each.stopped}
    reasons |= {name: f"{name} was not made: {reason}" for name, reason in variants.not_made.items()}
    return {
        _name(part, source): reason for source, reason in reasons.items() if source not in NO_SOURCES for part in parts
    }


def _make(part: asked.Quantization, step: Step) -> Quantized:
    """Write one variant, and return what was done to it."""
    # seconds that jobs without such variants are spared
    from workers.compression.quantization import dynamic, floats, weights  # noqa: PLC0415

    source, path = step.source.path, step.path
    match part:
        case asked.StaticInt8() | asked.QatInt8():
            return _make_calibrated(part, step)
        case asked.DynamicInt8():
            return dynamic.quantize_dynamic(source, path, part=part, activation=step.activation)
        case asked.WeightsInt8():
            return weights.round_weights_to_8_bits(source, path, most_bytes=part.target_size_bytes)
        case asked.WeightsInt4():
            return weights.round_weights_to_4_bits(source, path, part=part, activation=step.activation)
        case asked.Fp16() | asked.Bf16():
            return floats.halve(source, path, kind=part.kind)


def _make_calibrated(part: asked.StaticInt8 | asked.QatInt8, step: Step) -> Quantized:
    """Write a variant whose activations have ranges read on examples."""
    from workers.compression.quantization.accuracy import gate_of  # noqa: PLC0415  as above
    from workers.compression.quantization.mixed import quantize_mixed  # noqa: PLC0415  as above
    from workers.compression.quantization.static import quantize_static  # noqa: PLC0415  as above

    work, source, path = step.work, step.source.path, step.path
    examples = _calibration_examples(part, step)
    match part:
        case asked.QatInt8():
            return train_rounded(part, step, examples)
        case asked.MixedInt8():
            assert work.spec.compression is not None, "the part is of it"
            judge = gate_of(
                target_of(work.spec.task),
                step.examples,
                baseline=step.baseline,
                max_accuracy_drop=work.spec.compression.max_accuracy_drop,
                alive=lambda: step.report(0.0),
            )
            facts = quantize_mixed(
                source,
                path,
                part=part,
                examples=examples,
                judge=judge,
                activation=step.activation,
                report=step.report,
            )
            assert facts.mixed is not None, "the part is of that kind"
            if not facts.mixed.gate_held and not facts.mixed.float_layers_allowed:
                work.reporter.warn(
                    f"{path.stem}: `max_float_share` {part.max_float_share:g} leaves room for no layer in float beside "
                    f"the {len(facts.float_layers or ())} of {facts.layers} that are so in every 8-bit variant: it is "
                    "plain static quantisation, and misses the accuracy gate; raise the share"
                )
            return facts
        case asked.StaticInt8():
            return quantize_static(
                source, path, part=part, examples=examples, activation=step.activation, report=step.report
            )


def train_rounded(part: asked.QatInt8, step: Step, calibration: "CalibrationExamples") -> Quantized:
    """Write the int8 variant of a net that trains on with simulated rounding; return what was done to it."""
    from workers.compression import quantization_aware  # noqa: PLC0415  as above

    work, source = step.work, step.source
    assert source.net is not None, "what trains on is a net"
    return quantization_aware.make(
        source.net,
        part=part,
        task=work.task,
        spec=work.spec,
        examples=step.examples,
        calibration=calibration,
        keeps_zeros=source.kind in SPARSE,
        train=partial(_train_on, part, step),
        card=work.identity,
        target=step.path,
        device=work.device,
        reporter=step.reporter,
    )


def _train_on(part: asked.QatInt8, step: Step, student: Learner, reporter: Reporter) -> int:
    """Train the student by the spec's recipe, for as long as the part says; return its best epoch."""
    spec = recovery(step.work.spec, epochs=part.epochs, lr_scale=part.lr_scale)
    return train_stage(step.work, student, step.examples, spec=spec, stage=step.path.stem, reporter=reporter).best_epoch


def _calibration_examples(part: asked.StaticInt8 | asked.QatInt8, step: Step) -> "CalibrationExamples":
    from workers.compression.quantization.calibration import (  # noqa: PLC0415  as above
        CalibrationExamples,
        calibration_indexes,
    )

    spec, examples = step.work.spec, step.examples
    strata_N = target_of(spec.task).strata(examples.targets)
    indexes = calibration_indexes(strata_N, examples.split("train"), count=part.calibration_images, seed=spec.seed)
    return CalibrationExamples(examples.inputs, indexes, padded=examples.padded)


def _require_loadable(path: Path, part: asked.Quantization) -> None:
    from workers.compression.quantization.failures import explaining_errors  # noqa: PLC0415  as above
    from workers.compression.quantization.loading import require_no_crash  # noqa: PLC0415  as above

    if isinstance(part, asked.Fp16 | asked.Bf16):  # made for GPUs; whether it runs here is reported by measuring
        require_no_crash(path)
        return
    with explaining_errors("load the finished file"):
        sessions.open_session(path, device="cpu", threads=1)


def _heeding_stops(work: Work, report: Callable[[float], None]) -> Callable[[float], None]:
    def report_or_leave(fraction: float) -> None:
        if work.reporter.stop_requested():
            raise Drained
        report(fraction)

    return report_or_leave
