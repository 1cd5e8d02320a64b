"""Stage that evaluates: every figure of the fp32 file as onnxruntime answers; or of a trial's net, with its answers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch

from models_store.datasets.manifest import ManifestEntry
from models_store.jobs import kinds
from models_store.tasks.rooms import contract_of, target_of
from workers.evaluation import figures, soundness
from workers.evaluation.input_facts import Lengths, mean_notes
from workers.evaluation.split_report import Split, SplitReport, report_on
from workers.export import sessions
from workers.process.progress import Stretch, each_reported
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.variant import Variant
from workers.stages.verify import codec_of
from workers.training import targets, warnings
from workers.training.examples import Rows
from workers.training.feeds import RawFeed, infer
from workers.training.learner import Learner
from workers.training.loop import Trained
from workers.training.precision import Precision

# N examples, K outputs

SPLITS = ("val", "test")
BATCH = 32
TRIAL_BATCH = 64
MOST_NOTED = 5000
"""examples of a split that are decoded from their raw bytes for what serving notes about them"""
HEADLINE = ("accuracy", "loss", "r2", "rmse")
"""figures that a job's events show: loss and accuracy, or what stands for them"""


@dataclass(frozen=True)
class Answered:
    """A trial's figures, by split, and its answers: `{split}_rows`, `{split}_outputs` and `{split}_targets`."""

    metrics: dict[str, dict[str, float]]
    arrays: dict[str, np.ndarray[Any, Any]]


def evaluate(work: Work, data: Data, variant: Variant) -> dict[str, SplitReport]:
    """Return every figure of the file's answers to the val and test splits, by split."""
    work.reporter.phase("evaluating")
    session = sessions.open_session(variant.path, device=work.settings.training_device, threads=torch.get_num_threads())
    present = [split for split in SPLITS if len(data.evaluated(split))]
    examined = {}
    for done, split in enumerate(present):
        part = Stretch(work.reporter, start=done / len(present), end=(done + 1) / len(present))
        answers = _answers(work, data, session, split, part)
        examined[split] = report_on(
            answers,
            target=target_of(work.spec.task),
            classes=data.examples.classes,
            evaluation=work.spec.evaluation,
            temperature=variant.divisor,
            seed=work.spec.seed,
        )
    work.reporter.metrics(**headline(examined))
    return examined


def headline(examined: Mapping[str, SplitReport]) -> dict[str, float]:
    """Return the figures that a job's events show, by split."""
    return {
        f"{split}_{name}": each.section[name]
        for split, each in examined.items()
        for name in HEADLINE
        if each.section.get(name) is not None
    }


def warn_of_result(work: Work, data: Data, trained: Trained, examined: Mapping[str, SplitReport]) -> list[str]:
    """Warn the owner of what is likely to be wrong with the model; return that with what training has shown."""
    target = target_of(work.spec.task)
    found = soundness.of_sections({split: each.section for split, each in examined.items()}, target=target)
    for text in found:
        work.reporter.warn_owner(text)
    outputs = target.output_count(len(data.examples.classes))
    return [*warnings.of_history(trained.history, work.spec, outputs=outputs).values(), *found]


def answer(work: Work, data: Data, learner: Learner) -> Answered:
    """Return the figures of a trained net, and its answer to each example of val and test."""
    work.reporter.phase("evaluating")
    examples = data.examples
    aim = targets.build(work.spec.task, examples)
    feed = RawFeed(learner.to(work.device), examples, device=work.device)
    metrics: dict[str, dict[str, float]] = {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for done, split in enumerate(SPLITS):
        rows = examples.split(split)
        if not len(rows):
            continue
        work.reporter.progress(done / len(SPLITS))
        logits_NK = infer(feed, rows, batch_size=TRIAL_BATCH, precision=Precision("fp32", work.device)).cpu()
        outputs_NK = aim.outputs(logits_NK).float().numpy()
        measured = aim.epoch_metrics(logits_NK, aim.of(rows))
        metrics[split] = {name.removeprefix("val_"): value for name, value in measured.items()}
        if not kinds.of(work.assignment.kind).stops_early:  # those are compared by one figure
            metrics[split] |= figures.headline(aim.target, outputs_NK, examples.targets[rows], examples.classes)
        arrays |= {f"{split}_rows": rows, f"{split}_outputs": outputs_NK, f"{split}_targets": examples.targets[rows]}
    if work.assignment.fold is not None:
        metrics["held_out"] = metrics.pop("test")
    return Answered(metrics, arrays)


def _answers(work: Work, data: Data, session: onnxruntime.InferenceSession, split: str, reporter: Stretch) -> Split:
    examples = data.examples
    rows = data.evaluated(split)
    batches = math.ceil(len(rows) / BATCH)
    plain = sessions.answers(session, examples.inputs, rows, batch_size=BATCH, padded=examples.padded)
    changed = work.task.averaged(work.spec, partial(sessions.answer, session), examples, rows)
    outputs_NK = np.concatenate(list(each_reported(plain, batches, lambda done: reporter.progress(0.3 * done))))
    averaged = list(each_reported(changed, batches, lambda done: reporter.progress(0.3 + 0.5 * done)))
    entries = [data.entries[row] for row in rows]
    return Split(
        split,
        outputs_NK,
        examples.targets[rows],
        files=[entry.file for entry in entries],
        show=lambda place: work.task.show(examples, rows[place]),
        lengths=_lengths(contract_of(work.spec.task).length, entries),
        notes=mean_notes(_notes(work, data, rows)),
        leaked_N=np.array([entry.leaked for entry in entries], np.bool_),
        averaged_NK=np.concatenate(averaged) if averaged else None,
    )


def _lengths(fact: str | None, entries: Sequence[ManifestEntry]) -> Lengths | None:
    if fact is None or any(fact not in entry.facts for entry in entries):
        return None
    return Lengths(fact, np.array([entry.facts[fact] for entry in entries], np.int64))


def _notes(work: Work, data: Data, rows: Rows) -> Iterator[Mapping[str, Any]]:
    """Yield what serving would note about examples, MOST_NOTED at most, spread over the rows.

    Where it notes nothing, only one is decoded.
    """
    codec = codec_of(work, data)
    spread = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_NOTED)).astype(int)]
    for raw in data.files(spread):
        noted = codec.notes(codec.decode(raw))
        if not noted:
            return
        yield noted
