"""The stage in which files get smaller: each form that the spec asks for, of each file there is."""

from models_store.spec.quantization import FORMS, StaticInt8
from workers.image.data import ImageArrays
from workers.progress import part_of
from workers.training import targets
from workers.work import Form, Work


def quantize_files(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add the quantised forms of each file, as the spec asks for; return the forms that could not be made, and why."""
    parts = work.spec.compression.quantize if work.spec.compression else []
    if not parts:
        return {}
    from workers.compression.quantize import calibration_indexes, quantize  # noqa: PLC0415  seconds others are spared

    work.reporter.phase("quantizing")
    train_indexes = arrays.split("train")
    labels_N = arrays.labels_N if work.spec.task == "image_classification" else None
    sources = [(name, form) for name, form in forms.items() if form.stopped is None]
    steps = [(name, form, part) for name, form in sources for part in parts if isinstance(part, StaticInt8)]
    for done, (name, form, part) in enumerate(steps):
        target = FORMS[part.kind] if name == "fp32" else f"{name}-{FORMS[part.kind]}"
        path = work.staging / f"{target}.onnx"
        indexes = calibration_indexes(labels_N, train_indexes, count=part.calibration_images, seed=work.spec.seed)
        quantize(
            form.path,
            path,
            part=part,
            images_NHWC=arrays.images_NHWC,
            indexes=indexes,
            activation=targets.activation_of(work.spec.task),
            report=part_of(work.reporter.progress, done, len(steps)),
        )
        forms[target] = Form(
            path,
            parent=name,
            made_by=part.model_dump(mode="json"),
            facts=form.facts | {"calibration_images": len(indexes)},
        )
    return {}
