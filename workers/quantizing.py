"""The stage in which files get smaller: each form that the spec asks for, of each file there is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_store.spec.quantization import FORMS, Quantization, StaticInt8
from workers.image.data import ImageArrays
from workers.progress import Drained, part_of
from workers.training import targets
from workers.work import Form, Work

if TYPE_CHECKING:  # onnxruntime's quantisation takes seconds that other jobs are spared
    from workers.compression.quantization.calibration import CalibrationImages


@dataclass(frozen=True)
class Step:
    """One form to make: of which file, where to, and whom to tell how much of it is done (which may raise)."""

    work: Work
    arrays: ImageArrays
    source: Form
    path: Path
    report: Callable[[float], None]


def quantize_files(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add the forms that the spec asks for, of each file; return those that could not be made, and why.

    Raises:
        Drained: if a stop was asked for; the stage then begins anew.
    """
    parts = work.spec.compression.quantize if work.spec.compression else []
    if not parts:
        return {}
    from workers.compression.quantization.failures import QuantizationImpossible  # noqa: PLC0415  others are spared it

    work.reporter.phase("quantizing")
    sources = [(name, form) for name, form in forms.items() if form.stopped is None and name != "control"]
    steps = [(name, form, part) for name, form in sources for part in parts]
    not_made = {}
    for done, (name, source, part) in enumerate(steps):
        target = FORMS[part.kind] if name == "fp32" else f"{name}-{FORMS[part.kind]}"
        path = work.staging / f"{target}.onnx"
        report = _heeding_stops(work, part_of(work.reporter.progress, done, len(steps)))
        try:
            facts = _make(part, Step(work, arrays, source, path, report))
        except QuantizationImpossible as error:
            work.reporter.log(f"{target}: {error.detail}")
            path.unlink(missing_ok=True)
            not_made[target] = error.detail
            continue
        forms[target] = Form(
            path,
            parent=name,
            made_by=part.model_dump(mode="json"),
            facts=source.facts | facts,
            temperature=source.temperature,
        )
    return not_made


def _make(part: Quantization, step: Step) -> dict[str, Any]:
    """Write one form, and return what was done to it."""
    match part:
        case StaticInt8():
            return _static(part, step)
        case _:
            raise NotImplementedError(part.kind)


def _static(part: StaticInt8, step: Step) -> dict[str, Any]:
    from workers.compression.quantization.static import quantize_static  # noqa: PLC0415  seconds others are spared

    return quantize_static(
        step.source.path,
        step.path,
        part=part,
        images=_calibration_images(part, step),
        activation=targets.activation_of(step.work.spec.task),
        report=step.report,
    )


def _calibration_images(part: StaticInt8, step: Step) -> "CalibrationImages":
    from workers.compression.quantization.calibration import CalibrationImages, calibration_indexes  # noqa: PLC0415  as above

    spec, arrays = step.work.spec, step.arrays
    labels_N = arrays.labels_N if spec.task == "image_classification" else None
    indexes = calibration_indexes(labels_N, arrays.split("train"), count=part.calibration_images, seed=spec.seed)
    return CalibrationImages(arrays.images_NHWC, indexes)


def _heeding_stops(work: Work, report: Callable[[float], None]) -> Callable[[float], None]:
    def told(fraction: float) -> None:
        if work.reporter.stop_requested():
            raise Drained
        report(fraction)

    return told
