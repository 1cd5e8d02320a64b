"""Stage that reads the dataset: its manifest, and its examples decoded once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models_store.datasets.store import ManifestEntry, read_manifest
from models_store.errors import Invalid
from models_store.tasks.rooms import contract_of, target_of
from workers.export.verify import read_members
from workers.families.folds import splits_of_fold
from workers.process.assignment import Fold
from workers.stages.context import Work
from workers.stages.fit import fit
from workers.training.examples import Examples, Rows

LEAKED_VAL = "leaked"
"""split of the val examples that have a copy in train, where others choose the epoch"""
FEWEST_CLEAN = 50


class NothingToValidateOn(Invalid):
    """The val split is empty, and every choice is made on it."""

    code = "nothing_to_validate_on"
    title = "No validation examples"


@dataclass(frozen=True)
class Data:
    """A dataset; row i of the examples is entry i of the manifest."""

    entries: Sequence[ManifestEntry]
    examples: Examples
    content: Path
    """the stored file that the entries' raw bytes are in"""

    def evaluated(self, split: str) -> Rows:
        """Return the rows that a split's figures are of: all of it, whether they choose something or not."""
        parts = (split, LEAKED_VAL) if split == "val" else (split,)
        return np.flatnonzero(np.isin(self.examples.splits_N, parts)).astype(np.int64)

    def files(self, rows: Iterable[int]) -> Iterator[bytes]:
        """Yield the raw bytes of rows, one at a time."""
        return read_members(self.content, (self.entries[row].member for row in rows))


def read(work: Work) -> tuple[Work, Data]:
    """Return the dataset; and the job, whose plan fits its budget then.

    Raises:
        NothingToValidateOn: if the val split is empty.
    """
    work.reporter.phase("validating")
    entries = read_manifest(work.blobs.local(work.dataset.manifest_blob))
    if any(entry.split == "val" for entry in entries):
        work = fit(work, entries)
    content = work.blobs.local(work.dataset.content_blob)
    examples = work.task.examples(
        work.spec,
        entries,
        content,
        classes=work.dataset.classes,
        digest=work.dataset.digest,
        auxiliary=auxiliary(content, work.dataset.auxiliary),
        start=work.start,
        settings=work.settings,
        report=work.reporter.progress,
    )
    if work.assignment.fold is None:
        examples = _choosing_by_clean(work, entries, examples)
    if len(examples.split("val")) == 0:
        more = contract_of(work.spec.task).examples
        raise NothingToValidateOn(f"the dataset's val split is empty: give more {more}, or a `val` folder of your own")
    return work, Data(entries, examples, content)


def auxiliary(content: Path, members: Mapping[str, str]) -> dict[str, bytes]:
    """Return a dataset's files beside its examples, by name; `members` are their names in its stored file."""
    return dict(zip(members, read_members(content, members.values()), strict=True))


def _choosing_by_clean(work: Work, entries: Sequence[ManifestEntry], examples: Examples) -> Examples:
    """Return the examples, with leaked ones of val apart from those that choose the best epoch and everything else.

    A copy in train makes what has been memorized look good. Where few others are left, all of val choose.
    """
    leaked_N = np.array([entry.leaked and entry.split == "val" for entry in entries], np.bool_)
    count, clean = int(leaked_N.sum()), len(examples.split("val")) - int(leaked_N.sum())
    if not count:
        return examples
    if clean < FEWEST_CLEAN:
        work.reporter.log(f"all of val choose the epoch: without the {count} leaked ones only {clean} would")
        return examples
    work.reporter.log(f"{clean} of val choose the epoch; the {count} others have a copy in train")
    splits_N = examples.splits_N.astype(f"<U{max(len(LEAKED_VAL), len('train'))}")
    splits_N[leaked_N] = LEAKED_VAL
    return replace(examples, splits_N=splits_N)


def hold_out(data: Data, fold: Fold | None, *, task: str) -> Data:
    """Return the same examples with the splits of one fold, whose `test` is what is held out; None changes nothing."""
    if fold is None:
        return data
    made = splits_of_fold(
        data.examples.splits_N,
        index=fold.index,
        folds=fold.folds,
        seed=fold.seed,
        strata_N=target_of(task).strata(data.examples.targets),
        groups_N=_kept_together(data.entries, grouped=fold.grouped),
    )
    return replace(data, examples=replace(data.examples, splits_N=made))


def _kept_together(entries: Sequence[ManifestEntry], *, grouped: bool) -> np.ndarray[Any, Any] | None:
    """Return what no fold may cut: groups, or copies of one example, which would be held out from themselves."""
    together = [entry.group if grouped else entry.kin or entry.likeness for entry in entries]
    return np.array(together) if grouped or len(set(together)) < len(together) else None
