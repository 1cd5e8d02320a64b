"""Folders of an archive: classes, splits with classes in them, or classes with splits in them.

Folders whose names are those of splits are splits, all of them (see `split_names`). Where names don't tell and the
folders hold the same sub-folders, both readings make sense: the owner is asked, and answers by `layout`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from models_store.datasets.report import Check
from models_store.datasets.split_names import splits_of, unusual
from models_store.wording import counted

LayoutChoice = Literal["auto", "classes", "splits"]
ROLES = ("train", "test", "val")
"""what the largest folder of unknown name is, the next one, and the one after that"""
SHOWN = 5


@dataclass(frozen=True)
class Folders:
    """How many folders above a file its class stands, from the top, and its split; and folder → split."""

    class_at: int = 0
    split_at: int | None = None
    splits: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """Return the fewest parts of the path of an example that has a class."""
        return max(self.class_at, self.split_at or 0) + 2

    def split_of(self, path: Sequence[str]) -> str:
        """Return the split of an example, "" where the folders give none."""
        return "" if self.split_at is None else self.splits[path[self.split_at]]


def read_folders(paths: Collection[Sequence[str]], *, layout: LayoutChoice) -> Folders:
    """Return what the folders in the paths of all examples mean; a reading that is not possible has an error in it."""
    sizes = Counter(path[0] for path in paths if len(path) > 1)
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(path) > 2:  # noqa: PLR2004  folder, folder, file
            inner[path[0]].add(path[1])
    if layout == "classes":
        message = "the folders at the top are read as classes, as `layout=classes` asks"
        return Folders(checks=[Check("layout_given", "info", message, sorted(sizes))])
    known = splits_of(sizes)
    if layout == "splits":
        return _with_roles(known, sizes)
    return _by_names(paths, sizes, inner, known)


def _by_names(
    paths: Collection[Sequence[str]], sizes: Counter[str], inner: dict[str, set[str]], known: dict[str, str]
) -> Folders:
    if sizes and len(known) == len(sizes):
        return Folders(class_at=1, split_at=0, splits=known, checks=_collisions(known) + _spellings(known))
    if len(set(known.values())) > 1:
        message = (
            "some folders at the top are splits and others are not; use class folders alone, or train, val and test "
            "with class folders in each. If all of them are classes, send `layout=classes`"
        )
        return Folders(checks=[Check("mixed_layout", "error", message, sorted(sizes))])
    below = splits_of({name for names in inner.values() for name in names})
    if len(set(below.values())) > 1 and all(set(path[1:2]) <= set(below) for path in paths if len(path) > 2):  # noqa: PLR2004
        return Folders(class_at=0, split_at=1, splits=below, checks=_spellings(below))
    if _may_be_splits(sizes, inner, known):
        return Folders(checks=[_question(sizes, inner, known)])
    return Folders()


def _may_be_splits(sizes: Counter[str], inner: dict[str, set[str]], known: dict[str, str]) -> bool:
    """Return whether the folders at the top hold the same folders, at least two, or one that is named like a split."""
    if len(sizes) < 2:  # noqa: PLR2004  one folder is no split
        return False
    if any(len(inner.get(name, ())) > 1 for name in known):
        return True
    sets = [inner.get(name, set()) for name in sizes]
    shared, all_of_them = set.intersection(*sets), set.union(*sets)
    return len(shared) > 1 and 2 * len(shared) >= len(all_of_them)


def _question(sizes: Counter[str], inner: dict[str, set[str]], known: dict[str, str]) -> Check:
    tops, classes = sorted(sizes), sorted({name for names in inner.values() for name in names})
    roles = _with_roles(known, sizes)
    proposed = ", ".join(f"{name} as {split}" for name, split in roles.splits.items())
    as_splits = f"as splits ({proposed}) of the classes {_some(classes)}: send `layout=splits`"
    if any(check.severity == "error" for check in roles.checks):
        as_splits = f"as splits of the classes {_some(classes)}: rename them to train, val and test"
    message = (
        f"the folders {_some(tops)} hold folders of the same names, so they can be read in two ways: {as_splits}; "
        f"or as the classes {_some(tops)}: send `layout=classes`"
    )
    return Check("layout_unclear", "error", message, tops)


def _with_roles(known: dict[str, str], sizes: Counter[str]) -> Folders:
    """Return all folders as splits; those of unknown name by their size: the largest is trained on."""
    free = [role for role in ROLES if role not in known.values()]
    unknown = sorted((name for name in sizes if name not in known), key=lambda name: (-sizes[name], name))
    if len(unknown) > len(free):
        message = (
            f"{len(sizes)} folders can't be the splits train, val and test; join some, and rename them to these names"
        )
        return Folders(checks=[Check("layout_not_splits", "error", message, sorted(sizes))])
    guessed = dict(zip(unknown, free, strict=False))
    splits = {name: (known | guessed)[name] for name in sorted(sizes)}
    checks = _collisions(splits) + _spellings(known)
    if guessed:
        reported = ", ".join(
            f"{name} ({counted(sizes[name], 'file', 'files')}) as {split}" for name, split in guessed.items()
        )
        message = (
            f"read by their size, as their names don't say it: {reported}; rename the folders to have it otherwise"
        )
        checks.append(Check("split_folders_guessed", "warning", message, sorted(guessed)))
    return Folders(class_at=1, split_at=0, splits=splits, checks=checks)


def _collisions(splits: dict[str, str]) -> list[Check]:
    if len(set(splits.values())) == len(splits):
        return []
    message = "two folders name the same split; join them"
    return [Check("split_names_collide", "error", message, sorted(splits))]


def _spellings(splits: dict[str, str]) -> list[Check]:
    """Return how names were read that are none of the usual ones."""
    if not (found := unusual(splits)):
        return []
    message = f"folders are read as splits: {', '.join(f'{name} as {split}' for name, split in found.items())}"
    return [Check("split_folders", "info", message, [*found])]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
