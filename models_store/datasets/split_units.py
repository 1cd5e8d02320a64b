"""Whole units of a train split, near to a tenth of everything: of examples with groups, labels or numbers.

A unit is what no cut may part: copies and near copies of one example, and all examples of one group. Rare labels choose
first, as in iterative stratification (Sechidis et al. 2011). Memory: some 60 bytes for each example.
"""

# N examples of train, C contents, U units, P pairs of a unit and a name that it counts for, K names

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models_store.datasets.manifest import ManifestEntry

if TYPE_CHECKING:
    Numbers = array[int]
    Values = array[float]
else:
    Numbers = Values = array  # subscripted from Python 3.12 on

SHARE = 0.1
KEY_BYTES = 16  # of what names a content
MOST_RANGES = 10  # of values
EXAMPLES_OF_A_RANGE = 10  # at least, so that a tenth of it is an example
ALL = ""
"""name that every example counts for"""

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def unit_of(entry: ManifestEntry) -> str:
    """Return what no cut may part: the name of the example's copies, or of those and its near copies."""
    return entry.kin or entry.likeness


def key_of(entry: ManifestEntry) -> bytes:
    """Return the first bytes of that."""
    return bytes.fromhex(unit_of(entry)[: 2 * KEY_BYTES]).ljust(KEY_BYTES, b"\0")


def tenths_of_units(train: Iterable[ManifestEntry], parts: Sequence[str]) -> list[int] | None:
    """Return for each example which part it leaves for, from 1, or 0 if it stays; None: a part would stay empty."""
    columns = _Columns()
    for entry in train:
        columns.add(entry)
    units = columns.units()
    part_U = np.zeros(len(units.is_clear_U), np.int8)
    choice = _Choice(units)
    for number in range(1, len(parts) + 1):
        chosen = choice.next_part()
        if not chosen:
            return None
        part_U[chosen] = number
    found: list[int] = part_U[units.unit_N].tolist()
    return found


@dataclass(frozen=True, eq=False)
class _Units:
    """Units in the order of their contents, and what each counts for."""

    unit_N: Indices  # noqa: N815  the shape is part of the name
    is_clear_U: Flags  # noqa: N815
    """whether no content of it has several labels: others stay in train, and nothing is measured on a contradiction"""
    names: list[str]
    units_P: Indices  # noqa: N815
    """ascending"""
    names_P: Indices  # noqa: N815
    counts_P: Indices  # noqa: N815


@dataclass(eq=False)
class _Columns:
    """What is needed of the examples, one after the other."""

    keys: bytearray = field(default_factory=bytearray)
    groups: Numbers = field(default_factory=lambda: array("Q"))
    """0: it has none"""
    targets: Numbers = field(default_factory=lambda: array("Q"))
    values: Values = field(default_factory=lambda: array("d"))
    """not a number: it has none"""
    rows: Numbers = field(default_factory=lambda: array("q"))
    """examples of the names"""
    named: Numbers = field(default_factory=lambda: array("q"))
    names: dict[str, int] = field(default_factory=lambda: {ALL: 0})

    def add(self, entry: ManifestEntry) -> None:
        """Take the next example."""
        for name in entry.names:
            self.rows.append(len(self.groups))
            self.named.append(self.names.setdefault(name, len(self.names)))
        self.keys += key_of(entry)
        self.groups.append(_number_of(entry.group) | 1 if entry.group else 0)
        self.targets.append(_number_of(json.dumps(entry.target)))
        self.values.append(math.nan if entry.value is None else entry.value)

    def units(self) -> _Units:
        """Return the units of all examples."""
        contents, content_N = np.unique(np.frombuffer(self.keys, f"S{KEY_BYTES}"), return_inverse=True)
        target_N = np.asarray(self.targets, np.uint64)
        target_C = np.zeros(len(contents), np.uint64)
        target_C[content_N] = target_N
        root_C = self._roots(len(contents), content_N)
        unit_N = np.unique(root_C[content_N], return_inverse=True)[1].astype(np.int64)
        is_clear_U = np.ones(int(unit_N.max(initial=-1)) + 1, np.bool_)
        is_clear_U[unit_N[target_N != target_C[content_N]]] = False
        rows, named = self._pairs()
        pairs, counts_P = np.unique(unit_N[rows] * len(self.names) + named, return_counts=True)
        return _Units(unit_N, is_clear_U, [*self.names], pairs // len(self.names), pairs % len(self.names), counts_P)

    def _pairs(self) -> tuple[Indices, Indices]:
        """Return examples, and the names that they count for: all, and their labels or the ranges of their values."""
        count = len(self.groups)
        rows, named = [np.arange(count)], [np.zeros(count, np.int64)]
        values_N = np.asarray(self.values, np.float64)
        given = np.sort(values_N[~np.isnan(values_N)])
        if (ranges := min(MOST_RANGES, len(given) // EXAMPLES_OF_A_RANGE)) > 0:
            bounds = given[[len(given) * place // ranges for place in range(1, ranges)]]
            first = len(self.names)
            self.names |= {str(place): first + place for place in range(ranges)}
            rows.append(np.arange(count))
            named.append(first + np.searchsorted(bounds, np.nan_to_num(values_N), side="right"))
        else:
            rows.append(np.asarray(self.rows, np.int64))
            named.append(np.asarray(self.named, np.int64))
        return np.concatenate(rows), np.concatenate(named)

    def _roots(self, count: int, content_N: Indices) -> Indices:
        """Return for each content the first one that groups join it with (union-find)."""
        groups_N = np.asarray(self.groups, np.uint64)
        parents = array("q", range(count))

        def root(place: int) -> int:
            while parents[place] != place:
                parents[place] = parents[parents[place]]
                place = parents[place]
            return place

        order = np.argsort(groups_N, kind="stable")
        order = order[np.searchsorted(groups_N[order], 1) :]  # those with a group, each beside its fellows
        is_same = groups_N[order[1:]] == groups_N[order[:-1]]
        lefts, rights = content_N[order[:-1]][is_same], content_N[order[1:]][is_same]
        for left, right in zip(lefts.tolist(), rights.tolist(), strict=True):
            first, second = sorted((root(left), root(right)))
            parents[second] = first
        return np.fromiter(map(root, range(count)), np.int64, count)


class _Choice:
    """Units that were chosen, and what is left in train."""

    def __init__(self, units: _Units) -> None:
        self._units = units
        count = len(units.names)
        self._left = [int(each) for each in np.bincount(units.names_P, weights=units.counts_P, minlength=count)]
        self._wanted = [max(1, int(each * SHARE + 0.5)) if each else 0 for each in self._left]
        self._taken = ~units.is_clear_U
        self._starts = np.searchsorted(units.units_P, np.arange(len(units.is_clear_U) + 1))
        self._by_name = np.argsort(units.names_P, kind="stable")
        self._name_starts = np.searchsorted(units.names_P[self._by_name], np.arange(count + 1))
        self._missing: list[int] = []

    def next_part(self) -> list[int]:
        """Return the units that leave for the next part."""
        self._missing = [*self._wanted]
        chosen: list[int] = []
        names = [name for name, wanted in enumerate(self._wanted) if wanted]
        for name in sorted(names, key=lambda name: (self._wanted[name], self._units.names[name])):
            for unit in self._of(name):
                chosen.append(unit)
                self._taken[unit] = True
                for each, count in self._counts(unit):
                    self._missing[each] -= count
                    self._left[each] -= count
        return chosen

    def _of(self, name: int) -> Iterator[int]:
        """Yield units while some of a name is missing: those that help, or if none does, the one that harms least."""
        wanted = self._missing[name]
        bearing = self._units.units_P[self._by_name[self._name_starts[name] : self._name_starts[name + 1]]]
        for unit in bearing.tolist():
            if self._missing[name] <= 0:
                return
            if not self._taken[unit] and self._leaves_some(unit) and self._gain(unit) > 0:
                yield unit
        if self._missing[name] == wanted > 0:
            able = [unit for unit in bearing.tolist() if not self._taken[unit] and self._leaves_some(unit)]
            if able:
                yield max(able, key=self._gain)

    def _counts(self, unit: int) -> Iterator[tuple[int, int]]:
        """Yield the names that a unit counts for, and how often."""
        pairs = slice(self._starts[unit], self._starts[unit + 1])
        return zip(self._units.names_P[pairs].tolist(), self._units.counts_P[pairs].tolist(), strict=True)

    def _gain(self, unit: int) -> int:
        """Return how much nearer the unit brings what is missing to none."""
        missing = self._missing
        return sum(abs(missing[name]) - abs(missing[name] - count) for name, count in self._counts(unit))

    def _leaves_some(self, unit: int) -> bool:
        return all(self._left[name] > count for name, count in self._counts(unit))


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
