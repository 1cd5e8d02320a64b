"""How the pipeline comes to its report: temperatures before the export, every figure of the file after it.

The report is on the fp32 file, as onnxruntime answers.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.datasets.store import ManifestEntry
from models_store.tasks.rooms import target_of
from workers.evaluation import report
from workers.evaluation.calibration import Temperature
from workers.evaluation.split_report import Split, SplitReport, report_on
from workers.export import sessions
from workers.stages.context import Work
from workers.training.examples import Examples
from workers.training.loop import Trained

SPLITS = ("val", "test")
BATCH = 32


def examine_file(
    work: Work,
    entries: list[ManifestEntry],
    arrays: Examples,
    session: onnxruntime.InferenceSession,
    *,
    temperature: float,
) -> dict[str, SplitReport]:
    """Return everything that there is to say of the file's answers to the val and test splits."""
    evaluation = work.spec.evaluation
    present = [split for split in SPLITS if len(arrays.split(split))]
    examined = {}
    for done, split in enumerate(present):
        rows = arrays.split(split)
        answers = sessions.answers(session, arrays.inputs, rows, batch_size=BATCH)
        changed = work.task.averaged(work.spec, partial(sessions.answer, session), arrays, rows)
        batches = math.ceil(len(rows) / BATCH)
        outputs_NK = np.concatenate(list(_told(work, answers, batches, start=done / len(present), share=0.3)))
        averaged = list(_told(work, changed, batches, start=(done + 0.3) / len(present), share=0.5))
        told = Split(
            split,
            outputs_NK,
            arrays.targets[rows],
            files=[entries[row].file for row in rows],
            show=lambda place, rows=rows: work.task.show(arrays, rows[place]),  # type: ignore[misc]  # the default binds
            averaged_NK=np.concatenate(averaged) if averaged else None,
        )
        examined[split] = report_on(
            told,
            target=target_of(work.spec.task),
            classes=arrays.classes,
            evaluation=evaluation,
            temperature=temperature,
            seed=work.spec.seed,
        )
    return examined


def headline(examined: Mapping[str, SplitReport]) -> dict[str, float]:
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
    trained: Trained,
    arrays: Examples,
    examined: dict[str, SplitReport],
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


def _told(
    work: Work, items: Iterable[NDArray[np.float32]], count: int, *, start: float, share: float
) -> Iterator[NDArray[np.float32]]:
    """Yield the items, telling the progress before each: a silent job is taken for a stuck one."""
    for done, item in enumerate(items):
        work.reporter.progress(start + share * done / count)
        yield item
