"""Removal of entries of vocabularies as a part of the pruning stage: how many stay is given, or found by exporting.

worths of the entries ─► the share that stays ─► net without the others
                           └─ of a size: export, and take more or fewer until the file just fits
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models_store.errors import Invalid
from models_store.spec.pruning import VocabularyPruning
from workers.compression.facts import VocabularyCut
from workers.export.graph import export
from workers.process.progress import Drained, Reporter
from workers.stages.recover import RecoveryTrainer
from workers.tasks.task import Entries, Worths
from workers.training.learner import Learner

MOST_PROBES = 8
FIGURES_BYTES = 2048
"""room for the figures that a file is stamped with when it is measured"""
NEAR = 0.97
"""A file that fits is near enough if its entries take this share of the room that is left for them."""


class VocabularyPruningImpossible(Invalid):
    """The vocabulary can't be cut as asked; the message says what is possible."""

    code = "vocabulary_pruning_impossible"
    title = "The vocabulary can't be cut as asked"


def cut_vocabulary(
    part: VocabularyPruning, trainer: RecoveryTrainer, reporter: Reporter
) -> tuple[Learner, VocabularyCut]:
    """Return the net without the entries of least worth, and the facts; of the same net and texts the same.

    Raises:
        VocabularyPruningImpossible: if nothing would leave, or no file is as small as asked.
        Drained: if a stop was asked for.
    """
    worths = trainer.work.task.worths(trainer.parent, trainer.examples)
    count = sum(map(len, worths))
    assert count, "the spec refuses a net without a vocabulary"
    if part.target_size_bytes is None:
        assert part.keep is not None, "one of both is given"
        share, probes = part.keep, list[dict[str, float]]()
    else:
        share, probes = _share_for(part.target_size_bytes, worths, trainer, reporter)
    kept = [_best(each, share) for each in worths]
    left = sum(map(len, kept))
    if left == count:
        raise VocabularyPruningImpossible(
            f"keeping {share:.3g} of {count} entries removes none; lower `prune.keep`, or leave `prune` out"
        )
    net = trainer.work.task.with_entries(trainer.parent, kept)
    reporter.log(f"{left:,} of {count:,} entries of the vocabulary stay")
    return net, VocabularyCut(count, left, part.target_size_bytes, probes)


def _best(worth_E: Worths, share: float) -> Entries:
    """Return the entries of the most worth, in ascending order; of equals, the first stay."""
    count = max(1, round(share * len(worth_E)))
    best: Entries = np.sort(np.argsort(-worth_E, kind="stable")[:count])
    return best


def _share_for(
    target_bytes: int, worths: Sequence[Worths], trainer: RecoveryTrainer, reporter: Reporter
) -> tuple[float, list[dict[str, float]]]:
    """Return the share with which the file just fits, and the candidates that were exported."""
    probes: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=trainer.work.staging) as folder:
        path = Path(folder) / "cut.onnx"

        def measure(share: float) -> int:
            if reporter.stop_requested():
                raise Drained
            reporter.progress(0.0)
            kept = [_best(each, share) for each in worths]
            _export(trainer.work.task.with_entries(trainer.parent, kept), trainer, path)
            size_bytes = path.stat().st_size + FIGURES_BYTES
            probes.append({"keep": share, "size_bytes": size_bytes})
            reporter.log(f"with {share:.2%} of its vocabulary the file has {size_bytes:,} bytes")
            return size_bytes

        least = 1 / max(map(len, worths))
        smallest, largest = measure(least), measure(1.0)
        if largest <= target_bytes:
            raise VocabularyPruningImpossible(
                f"the whole file has {largest:,} bytes, and `prune.target_size_bytes` is {target_bytes:,}: it fits as "
                "it is; lower it, or leave `prune` out"
            )
        if smallest > target_bytes:
            raise VocabularyPruningImpossible(
                f"without its vocabulary the file has {smallest:,} bytes, and `prune.target_size_bytes` is "
                f"{target_bytes:,}; raise it, or choose a smaller net"
            )
        return _between((least, smallest), (1.0, largest), target_bytes, measure), probes


Point = tuple[float, int]
"""a share, and the size of its file in bytes"""


def _between(fits: Point, exceeds: Point, target_bytes: int, measure: Callable[[float], int]) -> float:
    """Return the largest share found whose file fits: sizes grow nearly in proportion to shares."""
    smallest = fits[1]
    room = target_bytes - smallest
    for number in range(MOST_PROBES - 2):
        if fits[1] - smallest >= NEAR * room:
            break
        slope = (exceeds[1] - fits[1]) / (exceeds[0] - fits[0])
        aim = smallest + room * (1 + NEAR) / 2
        share = fits[0] + (aim - fits[1]) / slope if number % 2 == 0 else (fits[0] + exceeds[0]) / 2
        share = min(max(share, fits[0]), exceeds[0])
        size_bytes = measure(share)
        if size_bytes <= target_bytes:
            fits = share, size_bytes
        else:
            exceeds = share, size_bytes
    return fits[0]


def _export(net: Learner, trainer: RecoveryTrainer, path: Path) -> None:
    work = trainer.work
    export(
        work.task.served(net, work.spec),
        opset=work.spec.export.opset,
        labels=work.dataset.classes,
        card=work.identity,
        path=path,
    )
