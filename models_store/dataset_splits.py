"""Who is trained on, who chooses, who judges: the splits that the archive gives, completed where some are missing.

Nothing that is reported as test may be trained on, or used to choose a model. So an archive with `train` and `val`
alone keeps its val apart: it becomes the test split, which is what its author held out and what published figures were
measured on, and a tenth of train becomes the val that chooses.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_store.dataset_checks import SPLITS, Check, ManifestEntry

SHARE = 0.1


@dataclass(frozen=True)
class Splits:
    """The images with their final splits, and what was decided or missing."""

    entries: list[ManifestEntry]
    origin: str  # "given": the archive said which images are apart; "made": we did
    checks: list[Check]


def complete(entries: Sequence[ManifestEntry]) -> Splits:
    """Return the images, each in one of `train`, `val` and `test`; an entry's split may be "" before.

    What is missing is cut from train: a tenth of each class, at least one image, chosen by content alone, so that the
    same images are split alike in any archive, and copies of one image never part. An image under two labels stays in
    train: nothing is measured on a contradiction.
    """
    given = {entry.split for entry in entries}
    if given <= {"", "train"}:
        return _cut([replace(entry, split="train") for entry in entries], ("test", "val"), origin="made", checks=[])
    if "train" not in given:
        message = f"the archive has images to measure on ({', '.join(sorted(given))}) and none to train on: add train"
        return Splits(list(entries), "given", [Check("no_train_split", "error", message)])
    if given == set(SPLITS):
        return Splits(list(entries), "given", [])
    if "test" in given:
        message = "the archive has train and test, and no val: a tenth of train became val, which chooses the model"
        return _cut(entries, ("val",), origin="given", checks=[Check("split_completed", "info", message)])
    message = (
        "the archive has train and val, and no test: its val became test, which nothing is chosen by, "
        "and a tenth of train became val, which chooses the model"
    )
    moved = [replace(entry, split="test") if entry.split == "val" else entry for entry in entries]
    return _cut(moved, ("val",), origin="given", checks=[Check("split_completed", "info", message)])


def _cut(entries: Sequence[ManifestEntry], parts: tuple[str, ...], *, origin: str, checks: list[Check]) -> Splits:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    contents: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.split == "train":
            labels[entry.sha256].add(entry.label)
            contents[entry.label].add(entry.sha256)
    moved: dict[str, str] = {}  # content → the split it leaves train for
    too_few = []
    for label, all_contents in sorted(contents.items()):
        clear = sorted(content for content in all_contents if len(labels[content]) == 1)
        if len(clear) < len(parts) or len(all_contents) <= len(parts):
            too_few.append(label)
            continue
        count = min(max(1, int(len(all_contents) * SHARE + 0.5)), len(clear) // len(parts))
        for place, part in enumerate(parts):
            moved.update(dict.fromkeys(clear[place * count : (place + 1) * count], part))
    if too_few:
        message = (
            f"each class needs at least {len(parts) + 1} different images to cut {' and '.join(parts)} from: "
            f"add images, or give the splits yourself ({', '.join(SPLITS)} folders)"
        )
        checks = [*checks, Check("too_few_images", "error", message, too_few)]
    cut = [
        replace(entry, split=moved[entry.sha256]) if entry.split == "train" and entry.sha256 in moved else entry
        for entry in entries
    ]
    return Splits(cut, origin, checks)
