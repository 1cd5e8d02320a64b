"""The stage in which files get smaller: each variant that the spec asks for, of each file there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_store.errors import Invalid
from models_store.spec import quantization as asked
from models_store.targets import Activation
from models_store.tasks.rooms import target_of
from workers.evaluation.calibration import Temperature
from workers.export import sessions
from workers.process.progress import Drained, Reporter, Stretch
from workers.stages.context import Variant, Work, identity
from workers.stages.train import train_stage
from workers.training.derived_specs import recovery
from workers.training.examples import Examples
from workers.training.learner import Learner

if TYPE_CHECKING:  # onnxruntime's quantisation takes seconds that other jobs are spared
    from workers.compression.quantization.calibration import CalibrationExamples

NO_SOURCES = ("control",)
SPARSE = ("unstructured_l1", "n_m")  # kinds of pruning that leave zeros in place
INHERITED = ("temperature", "pruning")  # facts of a source that are as true of what is made of it
SEARCHED = ("target_speedup", "speedup", "probes")  # parts of `pruning` that were measured on the source's own file


@dataclass(frozen=True)
class Step:
    """One variant to make: of which file, where to, and whom to tell how much of it is done (which may raise)."""

    work: Work
    arrays: Examples
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


def quantize_files(
    work: Work, arrays: Examples, variants: dict[str, Variant], *, missing: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Add the variants that the spec asks for, of each file; return those that could not be made, and why.

    `missing` says why of the files that could not be made before: what was to be made of them is told as well.

    Raises:
        Drained: if a stop was asked for; the stage then begins anew.
    """
    parts = work.spec.compression.quantize if work.spec.compression else []
    if not parts:
        return {}
    work.reporter.phase("quantizing")
    sources = [
        (name, variant) for name, variant in variants.items() if variant.stopped is None and name not in NO_SOURCES
    ]
    steps = [(name, variant, part) for name, variant in sources for part in parts]
    not_made = _without_source(parts, variants, missing or {})
    for done, (name, source, part) in enumerate(steps):
        target = _name(part, name)
        path = work.staging / f"{target}.onnx"
        told = Stretch(work.reporter, start=done / len(steps), end=(done + 1) / len(steps))
        report = _heeding_stops(work, told.progress)
        told.progress(0.0, step=target)
        report(0.0)
        try:
            facts = _make(part, Step(work, arrays, source, variants["fp32"].path, path, report, told))
            _require_loadable(path, part)
        except Invalid as error:  # a form's own failure, in its making or in its training
            work.reporter.warn(f"{target} is not made: {error.detail}")
            path.unlink(missing_ok=True)
            not_made[target] = error.detail
            continue
        variants[target] = Variant(
            path,
            parent=name,
            made_by=part.model_dump(mode="json"),
            facts=_inherited(source.facts) | facts,
            temperature=Temperature(**facts["temperature"]) if "temperature" in facts else source.temperature,
        )
    return not_made


def _name(part: asked.Quantization, source: str) -> str:
    return asked.VARIANTS[part.kind] if source == "fp32" else f"{source}-{asked.VARIANTS[part.kind]}"


def _without_source(
    parts: Sequence[asked.Quantization], variants: Mapping[str, Variant], missing: Mapping[str, str]
) -> dict[str, str]:
    """Return the variants that are not made because what they are made of was stopped, or was not made itself."""
    reasons = {
        name: f"{name} was stopped: {variant.stopped}"
        for name, variant in variants.items()
        if variant.stopped is not None
    }
    reasons |= {name: f"{name} was not made: {reason}" for name, reason in missing.items()}
    return {
        _name(part, source): reason for source, reason in reasons.items() if source not in NO_SOURCES for part in parts
    }


def _inherited(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a source's facts say of a variant made of it: how it is shaped and answers, not how it came to be."""
    kept = {name: facts[name] for name in INHERITED if name in facts}
    if "pruning" in kept:
        kept["pruning"] = {name: value for name, value in kept["pruning"].items() if name not in SEARCHED}
    return kept


def _make(part: asked.Quantization, step: Step) -> dict[str, Any]:
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
            return weights.round_weights_to_8_bits(source, path)
        case asked.WeightsInt4():
            return weights.round_weights_to_4_bits(source, path, part=part, activation=step.activation)
        case asked.Fp16() | asked.Bf16():
            return floats.halve(source, path, kind=part.kind)


def _make_calibrated(part: asked.StaticInt8 | asked.QatInt8, step: Step) -> dict[str, Any]:
    """Write a variant whose activations have ranges read on images."""
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
                step.arrays,
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
            if not facts["gate_held"] and not facts["float_layers_allowed"]:
                work.reporter.warn(
                    f"{path.stem}: `max_float_share` {part.max_float_share:g} leaves room for no layer in float beside "
                    f"the {len(facts['float_layers'])} of {facts['layers']} that are so in every 8-bit variant: it is "
                    "plain static quantisation, and misses the accuracy gate; raise the share"
                )
            return facts
        case asked.StaticInt8():
            return quantize_static(
                source, path, part=part, examples=examples, activation=step.activation, report=step.report
            )


def train_rounded(part: asked.QatInt8, step: Step, calibration: "CalibrationExamples") -> dict[str, Any]:
    """Write the int8 variant of a net that trains on with simulated rounding; return what was done to it."""
    from workers.compression import quantization_aware  # noqa: PLC0415  as above

    work, source = step.work, step.source
    assert source.net is not None, "what trains on is a net"
    return quantization_aware.make(
        source.net,
        part=part,
        task=work.task,
        spec=work.spec,
        examples=step.arrays,
        calibration=calibration,
        keeps_zeros=(source.made_by or {}).get("kind") in SPARSE,
        train=partial(_train_on, part, step),
        card=identity(work),
        target=step.path,
        device=work.device,
        reporter=step.reporter,
    )


def _train_on(part: asked.QatInt8, step: Step, student: Learner, reporter: Reporter) -> int:
    """Train the student by the spec's recipe, for as long as the part says; return its best epoch."""
    spec = recovery(step.work.spec, epochs=part.epochs, lr_scale=part.lr_scale)
    return train_stage(step.work, student, step.arrays, spec=spec, stage=step.path.stem, reporter=reporter).best_epoch


def _calibration_examples(part: asked.StaticInt8 | asked.QatInt8, step: Step) -> "CalibrationExamples":
    from workers.compression.quantization.calibration import (  # noqa: PLC0415  as above
        CalibrationExamples,
        calibration_indexes,
    )

    spec, arrays = step.work.spec, step.arrays
    strata_N = target_of(spec.task).strata(arrays.targets)
    indexes = calibration_indexes(strata_N, arrays.split("train"), count=part.calibration_images, seed=spec.seed)
    return CalibrationExamples(arrays.inputs, indexes)


def _require_loadable(path: Path, part: asked.Quantization) -> None:
    from workers.compression.quantization.failures import told_in_our_words  # noqa: PLC0415  as above
    from workers.compression.quantization.loading import require_no_crash  # noqa: PLC0415  as above

    if isinstance(part, asked.Fp16 | asked.Bf16):  # made for GPUs; whether it runs here is told by measuring
        require_no_crash(path)
        return
    with told_in_our_words("load the finished file"):
        sessions.open_session(path, device="cpu", threads=1)


def _heeding_stops(work: Work, report: Callable[[float], None]) -> Callable[[float], None]:
    def told(fraction: float) -> None:
        if work.reporter.stop_requested():
            raise Drained
        report(fraction)

    return told
