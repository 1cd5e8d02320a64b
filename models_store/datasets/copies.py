"""Copies among the examples of a dataset: in one split, in several, labelled in more than one way, and near ones.

They are found by numbers of a few bytes for each example; only the first findings are named.
"""

# N examples, G groups of copies

import functools
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models_store.datasets.entries_on_disk import EntriesOnDisk, changed
from models_store.datasets.manifest import SPLITS, ManifestEntry
from models_store.datasets.near_copies import Sketches, families
from models_store.datasets.report import MOST_NAMES, Check
from models_store.tasks.task import Contract
from models_store.wording import counted, inflected

Flags = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

EXACT, LEAKS, CONFLICTS = "exact_duplicates", "duplicates_across_splits", "conflicting_labels"
NEAR, NEAR_LEAKS = "near_duplicates", "near_duplicates_across_splits"
FINDINGS = (EXACT, LEAKS, CONFLICTS, NEAR, NEAR_LEAKS)


def with_kin(entries: Sequence[ManifestEntry], sketches: Sketches | None) -> Sequence[ManifestEntry]:
    """Return the entries, those with copies or near copies with the name of their family."""
    keys_N = _keys(entry.likeness for entry in entries)
    first_N = families(keys_N, sketches)
    size_N = np.bincount(first_N, minlength=len(keys_N))
    if (size_N <= 1).all():
        return entries

    def named(place: int, entry: ManifestEntry) -> ManifestEntry:
        first = int(first_N[place])
        return replace(entry, kin=f"{int(keys_N[first]):016x}") if size_N[first] > 1 else entry

    return changed(entries, named)


def with_leaks(entries: Sequence[ManifestEntry]) -> Sequence[ManifestEntry]:
    """Return the entries, those of val and test that have a copy in train marked as leaked."""
    rows = ((_key(entry.likeness), entry.split == "train") for entry in entries)
    keys_N, is_train_N = np.fromiter(rows, np.dtype((np.uint64, 2))).T
    is_train_N = is_train_N.astype(np.bool_)
    leaked_N = np.isin(keys_N, keys_N[is_train_N]) & ~is_train_N
    if not leaked_N.any():
        return entries
    return changed(entries, lambda place, entry: replace(entry, leaked=True) if leaked_N[place] else entry)


def places_of(entries: Sequence[ManifestEntry]) -> dict[str, tuple[Flags, Groups]]:
    """Return check → the examples that it finds, and the group of each example that its findings go by."""
    rows = (
        (
            _key(entry.likeness),
            _key(entry.kin or entry.likeness),
            SPLITS.index(entry.split),
            _name_of(entry.value if entry.value is not None else entry.names),
        )
        for entry in entries
    )
    keys_N4: Keys = np.fromiter(rows, np.dtype((np.uint64, 4)))
    alike_N, kin_N = (np.unique(keys_N4[:, column], return_inverse=True)[1] for column in (0, 1))
    split_N, target_N = keys_N4[:, 2].astype(np.int64), keys_N4[:, 3]
    in_split_N = len(SPLITS) * alike_N + split_N
    is_train_N = split_N == SPLITS.index("train")
    near_N = _differ(alike_N, kin_N)
    return {
        EXACT: (np.bincount(in_split_N)[in_split_N] > 1, in_split_N),
        LEAKS: (_differ(split_N, alike_N), alike_N),
        CONFLICTS: (_differ(target_N, alike_N), alike_N),
        NEAR: (near_N, kin_N),
        NEAR_LEAKS: (near_N & ~is_train_N & _any(is_train_N, kin_N) & ~_any(is_train_N, alike_N), kin_N),
    }


def check_copies(entries: Sequence[ManifestEntry], contract: Contract) -> list[Check]:
    """Look for copies, and name the first of each kind."""
    is_one, are_many = f"{contract.example} is", f"{contract.examples} are"
    meanings = {
        EXACT: f"in one split more than once, {contract.copies_are}; each copy counts",
        LEAKS: "in several splits: figures on them are too good",
        CONFLICTS: "labelled in more than one way: decide which is right",
    }
    checks = []
    for name, (flags_N, groups_N) in places_of(entries).items():
        groups = np.unique(groups_N[flags_N])
        if not len(groups):
            continue
        if name in meanings:
            message = f"{counted(len(groups), is_one, are_many)} {meanings[name]}"
        else:
            message = _near_message(name, int(flags_N.sum()), len(groups), contract)
        if name == LEAKS and (leaked := leaks(entries)):
            some = " and ".join(f"{count} of the {split} split" for split, count in leaked.items())
            message += f"; {some} {inflected(sum(leaked.values()), 'is', 'are')} in the train split, too"
        whole_N = flags_N if name != NEAR_LEAKS else np.isin(groups_N, groups)
        checks.append(Check(name, "warning", message, _named(entries, whole_N, groups_N), total=len(groups)))
    return [*checks, *_check_different(entries, contract)]


def _check_different(entries: Sequence[ManifestEntry], contract: Contract) -> Iterator[Check]:
    """Count the different examples, where copies need not have the same bytes."""
    if not any(entry.alike for entry in entries):
        return
    rows = ((_key(entry.likeness), _key(entry.sha256)) for entry in entries)
    keys_N2: Keys = np.fromiter(rows, np.dtype((np.uint64, 2)))
    different = len(np.unique(keys_N2[:, 0]))
    same_bytes = len(entries) - len(np.unique(keys_N2[:, 1]))
    if different == 1 < len(entries):
        message = f"all {len(entries)} {contract.examples} are the same: there is nothing to learn"
        yield Check("all_the_same", "error", message)
    elif different < len(entries):
        count = len(entries) - different
        words = counted(count, f"{contract.example} is a copy", f"{contract.examples} are copies")
        message = f"{words} of others, {contract.copies_are}; {same_bytes} of them byte for byte"
        yield Check("copies", "info", message, total=count)


def leaks(entries: Iterable[ManifestEntry]) -> dict[str, int]:
    """Return split → how many of its examples have a copy in train; no split without any."""
    found = Counter(entry.split for entry in entries if entry.leaked)
    return {split: found[split] for split in SPLITS if found[split]}


def _near_message(name: str, count: int, groups: int, contract: Contract) -> str:
    is_one, are_many = f"{contract.example} is", f"{contract.examples} are"
    if name == NEAR:
        sets = inflected(groups, "one family", f"{groups} families")
        return f"{counted(count, is_one, are_many)} nearly the same as others, in {sets}"
    one, many = f"{is_one} nearly the same as one", f"{are_many} nearly the same as some"
    return f"{counted(count, one, many)} of the train split: figures on them may be too good"


def _named(entries: Sequence[ManifestEntry], flags_N: Flags, groups_N: Groups) -> list[str | list[str]]:
    """Return the files of the first groups, in the order in which the entries come to them."""
    rows = np.flatnonzero(flags_N)
    groups, firsts = np.unique(groups_N[rows], return_index=True)
    first = groups[np.argsort(firsts)][:MOST_NAMES]
    wanted = rows[np.isin(groups_N[rows], first)]
    counts: Counter[int] = Counter()
    places = []
    for place in wanted.tolist():
        counts[group := int(groups_N[place])] += 1
        if counts[group] <= MOST_NAMES:
            places.append(place)
    files: defaultdict[int, list[str]] = defaultdict(list)
    for place, entry in zip(places, _at(entries, places), strict=True):
        files[int(groups_N[place])].append(entry.file)
    return [sorted(files[group]) for group in first.tolist()]


def _at(entries: Sequence[ManifestEntry], places: Sequence[int]) -> list[ManifestEntry]:
    return entries.at(places) if isinstance(entries, EntriesOnDisk) else [entries[place] for place in places]


@functools.lru_cache(10_000)
def _name_of(target: float | tuple[str, ...]) -> int:
    """Return a number that examples share of which the same is to be learned."""
    return _key(hashlib.sha256(json.dumps(target).encode()).hexdigest())


def _keys(names: Iterable[str]) -> Keys:
    return np.fromiter(map(_key, names), np.uint64)


def _key(name: str) -> int:
    """Return the number of a name's first 16 hexadecimal digits."""
    return int(name[:16], 16)


def _differ(codes_N: Keys | Groups, groups_N: Groups) -> Flags:
    """Return for each example whether its group has different codes."""
    count_G = int(groups_N.max(initial=-1)) + 1
    first_G = np.zeros(count_G, codes_N.dtype)
    first_G[groups_N] = codes_N
    return _any(codes_N != first_G[groups_N], groups_N)


def _any(flags_N: Flags, groups_N: Groups) -> Flags:
    """Return for each example whether any of its group is flagged."""
    is_any_G = np.zeros(int(groups_N.max(initial=-1)) + 1, np.bool_)
    is_any_G[groups_N[flags_N]] = True
    return is_any_G[groups_N]
