"""How the pipeline comes to its report: temperatures before the export, every figure of the file after it.

The report is on the fp32 file, as onnxruntime answers.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.datasets.store import ManifestEntry
from models_store.tasks.rooms import target_of
from workers.evaluation import report
from workers.evaluation.calibration import Temperature, fit_temperature
from workers.evaluation.examination import Examined, Split, examine
from workers.export import sessions
from workers.stages.context import Work
from workers.tasks.image import test_time_augmentation
from workers.tasks.image.examples import ImageArrays
from workers.tasks.image.net import Classifier
from workers.training.feeds import probabilities
from workers.training.loop import Trained

SPLITS = ("val", "test")
BATCH = test_time_augmentation.BATCH


def temperature_of(work: Work, net: Classifier, arrays: ImageArrays) -> Temperature | None:
    """Return what to divide the net's logits by, fitted on the validation split; None where the spec wants none."""
    activation = target_of(work.spec.task).activation
    if not work.spec.evaluation.temperature_scaling or activation == "identity":
        return None
    rows = arrays.split("val")
    logits_NK = probabilities(net, arrays, rows, device=work.device, activation="identity")
    return fit_temperature(logits_NK, arrays.targets[rows], activation=activation)


def examine_file(
    work: Work,
    entries: list[ManifestEntry],
    arrays: ImageArrays,
    session: onnxruntime.InferenceSession,
    *,
    temperature: float,
) -> dict[str, Examined]:
    """Return everything that there is to say of the file's answers to the val and test splits."""
    evaluation = work.spec.evaluation
    present = [split for split in SPLITS if len(arrays.split(split))]
    examined = {}
    for done, split in enumerate(present):
        rows = arrays.split(split)
        answers = sessions.probabilities(session, arrays.images_NHWC, rows, batch_size=BATCH)
        changed = _averaged(work, arrays, session, rows)
        batches = math.ceil(len(rows) / BATCH)
        outputs_NK = np.concatenate(list(_told(work, answers, batches, start=done / len(present), share=0.3)))
        averaged = list(_told(work, changed, batches, start=(done + 0.3) / len(present), share=0.5))
        told = Split(
            split,
            outputs_NK,
            arrays.targets[rows],
            files=[entries[row].file for row in rows],
            pixels=lambda place, rows=rows: arrays.images_NHWC[rows[place]],  # type: ignore[misc]  # the default binds
            averaged_NK=np.concatenate(averaged) if averaged else None,
        )
        examined[split] = examine(
            told,
            target=target_of(work.spec.task),
            classes=arrays.classes,
            evaluation=evaluation,
            temperature=temperature,
            seed=work.spec.seed,
        )
    return examined


def headline(examined: Mapping[str, Examined]) -> dict[str, float]:
    """Return the figures that a job's events tell: loss and accuracy, or what stands for them."""
    wanted = ("accuracy", "loss", "r2", "rmse")
    return {
        f"{split}_{name}": each.section[name]
        for split, each in examined.items()
        for name in wanted
        if each.section.get(name) is not None
    }


def write_report(
    work: Work,
    trained: Trained[Classifier],
    arrays: ImageArrays,
    examined: dict[str, Examined],
    *,
    temperature: Temperature | None,
    variants: dict[str, dict[str, Any]],
    defaults: dict[str, str],
    not_made: dict[str, str],
    warnings: list[str],
) -> str:
    """Put the report among the blobs and return its digest.

    `variants` are the variants' cards, `defaults` the variant that each provider serves, `not_made` why a variant that
    was asked for could not be made, `warnings` what is likely to be wrong with the model.
    """
    spec, assignment = work.spec, work.assignment
    identity = {
        "job": assignment.job_id,
        "model": spec.name,
        "task": spec.task,
        "backbone": spec.backbone.kind,
        "dataset": None if assignment.dataset is None else assignment.dataset.id,
        "classes": arrays.classes,
        "monitor": spec.training.monitor,
    }
    document, pictures = report.assemble(
        identity,
        examined,
        history=trained.history,
        best_epoch=trained.best_epoch,
        temperature=temperature.as_card() if temperature else None,
        made=variants,
        defaults=defaults,
        not_made=not_made,
        warnings=warnings,
    )
    path = work.staging / "report.zip"
    report.write(path, document, pictures)
    return work.blobs.put(path).sha256


def _averaged(
    work: Work, arrays: ImageArrays, session: onnxruntime.InferenceSession, rows: NDArray[np.int64]
) -> Iterator[NDArray[np.float32]]:
    part = work.spec.evaluation.test_time_augmentation
    if part is None:
        return iter(())

    def answer(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        outputs_BK: NDArray[np.float32] = session.run(["probabilities"], {"images": images_BHWC})[0]
        return outputs_BK

    return test_time_augmentation.averaged(answer, arrays.images_NHWC, rows, part=part, seed=work.spec.seed)


def _told(
    work: Work, items: Iterable[NDArray[np.float32]], count: int, *, start: float, share: float
) -> Iterator[NDArray[np.float32]]:
    """Yield the items, telling the progress before each: a silent job is taken for a stuck one."""
    for done, item in enumerate(items):
        work.reporter.progress(start + share * done / count)
        yield item
