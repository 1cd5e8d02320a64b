"""A finished run's report: one zip of report.json, report.html, and pictures/ beside it."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from models_store.tasks.rooms import target_of
from workers.evaluation import variants
from workers.evaluation.calibration import BINS
from workers.evaluation.features import Feature
from workers.evaluation.page import page
from workers.evaluation.pictures import training
from workers.evaluation.pictures.canvas import Picture
from workers.evaluation.split_report import SplitReport

FORMAT = 2
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of a zip's time: the same report gives the same bytes
INTERVALS = (
    "In brackets: 95 % intervals by the percentile bootstrap over the examples of the split. They show how much a "
    "figure might change with other examples, not with another training run."
)
CALIBRATION = (
    f"Calibration error: {BINS} bins of equal width. The temperature was fitted on the validation split, so only the "
    "test split shows its effect."
)


def assemble(
    identity: dict[str, Any],
    examined: dict[str, SplitReport],
    *,
    history: Sequence[dict[str, float]],
    best_epoch: int | None,
    temperature: dict[str, Any] | None,
    made: dict[str, dict[str, Any]],
    defaults: dict[str, str],
    not_made: dict[str, str],
    warnings: Sequence[str] = (),
    features: Sequence[Feature] = (),
) -> tuple[dict[str, Any], list[Picture]]:
    """Return the report as JSON, and its pictures.

    `identity` says what the run was (job, model, task, backbone, dataset, classes, and the monitor that picked the best
    epoch); `examined` is by split, `made` what is known of each variant (its variant's card), `defaults` the variant
    that each provider serves, `not_made` why a variant that was asked for could not be made, `warnings` what is likely
    to be wrong with the model, `features` what weighs most in it.
    """
    metric = target_of(identity["task"]).score_label
    curves = training.curves(history, best_epoch=best_epoch, metric=metric, monitor=identity["monitor"])
    pictures = [curves] if curves else []
    for each in examined.values():
        pictures += each.pictures
    pictures += variants.pictures(made, defaults=defaults, metric=metric)
    report = {
        "format": FORMAT,
        **identity,
        "best_epoch": best_epoch,
        "temperature": temperature,
        "notes": _notes(temperature),
        "warnings": list(warnings),
        "splits": {split: each.section for split, each in examined.items()},
        "history": list(history),
        "forms": made,
        "defaults": defaults,
        "not_made": not_made,
        "features": [each.as_document() for each in features],
        "pictures": [{"name": each.name, "title": each.title, "text": each.text} for each in pictures],
    }
    return _finite(report), pictures


def write(path: Path, report: dict[str, Any], pictures: Sequence[Picture]) -> None:
    """Write the zip; the same report gives the same bytes."""
    with ZipFile(path, "w") as archive:

        def add(name: str, content: bytes, compression: int) -> None:
            archive.writestr(ZipInfo(name, BEGINNING), content, compression)

        add("report.json", json.dumps(report, ensure_ascii=False, allow_nan=False).encode(), ZIP_DEFLATED)
        add("report.html", page(report, pictures).encode(), ZIP_DEFLATED)
        for picture in pictures:
            is_packed = picture.name.endswith(".png")
            add(f"pictures/{picture.name}", picture.content, ZIP_STORED if is_packed else ZIP_DEFLATED)


def _notes(temperature: dict[str, Any] | None) -> list[str]:
    if temperature is None:
        return [INTERVALS]
    if temperature["reason"] is not None:
        return [INTERVALS, f"The temperature is 1: {temperature['reason']}."]
    return [INTERVALS, CALIBRATION]


def _finite(node: Any) -> Any:  # noqa: ANN401  any JSON
    """Return the document with null for every number that JSON has no word for."""
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
