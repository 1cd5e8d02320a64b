"""The story of one child job: data → train → evaluate. Nothing is exported, and nothing published.

Its figures go into the job's result. Its answers, image by image, are kept until its parent has compared them, so that
two trials can be told apart by a paired test; a trial's weights as well, when the search promotes the winner's.
"""

# N images, K outputs

from dataclasses import replace
from typing import Any

import numpy as np

from models_store.datasets.store import ManifestEntry
from models_store.jobs import kinds
from models_store.jobs.results import Finished, Tried
from models_store.targets import Target
from models_store.tasks.rooms import target_of
from workers.evaluation import figures
from workers.families.folds import splits_of_fold
from workers.stages.context import Work
from workers.stages.train import learn
from workers.stories.supervised import read_data
from workers.training import targets
from workers.training.examples import Examples
from workers.training.feeds import RawFeed, infer
from workers.training.learner import Learner, save
from workers.training.loop import Trained
from workers.training.precision import Precision

BATCH = 64
SPLITS = ("val", "test")


def run(work: Work) -> None:
    """Do the job: every stage in its order."""
    entries, arrays = read_data(work)
    if work.assignment.fold is not None:
        arrays = hold_out(arrays, entries, work.assignment.fold, target=target_of(work.spec.task))
    trained = learn(work, arrays)
    metrics, answers = answer(work, trained.learner, arrays)
    hand_over(work, trained, metrics, answers)


def hold_out(arrays: Examples, entries: list[ManifestEntry], fold: dict[str, Any], *, target: Target) -> Examples:
    """Return the same images with the splits of one fold; what is held out is its `test`."""
    made = splits_of_fold(
        arrays.splits_N,
        index=fold["index"],
        folds=fold["folds"],
        seed=fold["seed"],
        strata_N=target.strata(arrays.targets),
        groups_N=_kept_together(entries, grouped=fold["grouped"]),
    )
    return replace(arrays, splits_N=made)


def _kept_together(entries: list[ManifestEntry], *, grouped: bool) -> np.ndarray[Any, Any] | None:
    """Return what no fold may cut: groups, or copies of one image, which would be held out from themselves."""
    together = [entry.group if grouped else entry.sha256 for entry in entries]
    return np.array(together) if grouped or len(set(together)) < len(together) else None


def answer(
    work: Work, learner: Learner, arrays: Examples
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray[Any, Any]]]:
    """Return split → figures of the trained net, and what it answers to each image of val and test."""
    work.reporter.phase("evaluating")
    wanted = targets.build(work.spec.task, arrays)
    feed = RawFeed(learner.to(work.device), arrays, device=work.device)
    metrics: dict[str, dict[str, float]] = {}
    answers: dict[str, np.ndarray[Any, Any]] = {}
    for done, split in enumerate(SPLITS):
        rows = arrays.split(split)
        if not len(rows):
            continue
        work.reporter.progress(done / len(SPLITS))
        logits_NK = infer(feed, rows, batch_size=BATCH, precision=Precision("fp32", work.device)).cpu()
        outputs_NK = wanted.outputs(logits_NK).float().numpy()
        told = wanted.epoch_metrics(logits_NK, wanted.of(rows))
        metrics[split] = {name.removeprefix("val_"): value for name, value in told.items()}
        if not kinds.of(work.assignment.kind).stops_early:  # those are compared by one figure
            metrics[split] |= figures.headline(wanted.target, outputs_NK, arrays.targets[rows], arrays.classes)
        answers |= {f"{split}_rows": rows, f"{split}_outputs": outputs_NK, f"{split}_targets": arrays.targets[rows]}
    if work.assignment.fold is not None:
        metrics["held_out"] = metrics.pop("test")
    return metrics, answers


def hand_over(
    work: Work,
    trained: Trained,
    metrics: dict[str, dict[str, float]],
    answers: dict[str, np.ndarray[Any, Any]],
) -> None:
    """Put the answers, and weights that may be promoted, among the blobs, and tell the supervisor the result."""
    path = work.staging / "answers.npz"
    np.savez_compressed(path, **answers)  # type: ignore[arg-type]  # the stub takes the names for its own flags
    files = {"answers": work.blobs.put(path).sha256}
    if work.assignment.keeps_weights:
        weights = save(trained.learner, work.staging / "weights.safetensors")
        files["weights"] = work.blobs.put(weights).sha256
    result = Tried(
        value=trained.history[trained.best_epoch - 1][work.spec.training.monitor],
        metrics=metrics,
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        precision=trained.precision,
        batch_size=trained.batch_size,
    )
    work.reporter.say("result", Finished(result.as_document(), files).as_document())
