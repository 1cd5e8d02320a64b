"""Slots of keys in a file: each key is found in one step, where bisection takes one for each bit of its bucket's size.

The first bits of a key name its bucket, and the bucket an offset: the key is at its own number plus that, modulo the
number of slots. Offsets are chosen so that no two keys meet ("hash and displace": Pagh 1999; Belazzougui, Botelho and
Dietzfelbinger 2009): the largest buckets choose first, and keys alone in their bucket take what is left. So there are
hardly more slots than keys. Slot 0 is that of all keys which are not there.
"""

# Y key, D bucket, S slot

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workers.tasks.text.operations import lookup, quotient

NOBODY = -1
"""no key is below 0"""
DRAWS = 300
"""offsets that buckets of one size try"""

Numbers = npt.NDArray[np.int64]


class Slots(nn.Module):
    """The known keys of a file: from keys to slots, 0 for those that are not known."""

    keys: Tensor
    offsets: Tensor

    def __init__(self, keys_S: Tensor, offsets_D: Tensor, *, narrow: int) -> None:
        super().__init__()
        self.narrow = narrow
        self.register_buffer("keys", keys_S)
        self.register_buffer("offsets", offsets_D)

    def forward(self, keys_BG: Tensor) -> Tensor:
        """Return slots int32 (B, G)."""
        wanted_BG = keys_BG.to(torch.int32)
        offsets_BG = lookup(self.offsets, quotient(wanted_BG, self.narrow))
        slots_BG = torch.remainder(wanted_BG + offsets_BG, len(self.keys))
        return torch.where(lookup(self.keys, slots_BG) == wanted_BG, slots_BG, 0)


@dataclass(frozen=True, eq=False)
class Arranged:
    """Keys in their slots."""

    slots: Slots
    places_S: npt.NDArray[np.int64]  # noqa: N815  the shape is part of the name
    """of each slot, the place of its key among the keys, from 1; 0: it has none"""


def arrange(keys_Y: Numbers, *, key_bits: int, bucket_bits: int) -> Arranged:
    """Return the slots of distinct keys from 0 to 2**key_bits; the same keys get the same slots."""
    narrow = 1 << (key_bits - bucket_bits)
    bucket_Y = keys_Y // narrow
    within_Y = keys_Y - bucket_Y * narrow
    size = len(keys_Y) + 1
    while (offset_D := _offsets(bucket_Y, within_Y, size=size, buckets=1 << bucket_bits)) is None:
        size += 1 + size // 64
    slot_Y = (within_Y + offset_D[bucket_Y]) % size
    keys_S, places_S = np.full(size, NOBODY, np.int32), np.zeros(size, np.int64)
    keys_S[slot_Y], places_S[slot_Y] = keys_Y, np.arange(1, len(keys_Y) + 1)
    offsets_D = (offset_D - np.arange(1 << bucket_bits) * narrow).astype(np.int32)
    return Arranged(Slots(torch.from_numpy(keys_S), torch.from_numpy(offsets_D), narrow=narrow), places_S)


def _offsets(bucket_Y: Numbers, within_Y: Numbers, *, size: int, buckets: int) -> Numbers | None:
    """Return an offset for each bucket, or None where there are too few slots, or two keys of a bucket meet anyway."""
    offset_D = np.zeros(buckets, np.int64)
    if len(np.unique(bucket_Y * size + within_Y % size)) < len(bucket_Y):
        return None
    rng = np.random.default_rng(0)
    taken_S = np.zeros(size, np.bool_)
    taken_S[0] = True
    count_D = np.bincount(bucket_Y, minlength=buckets)
    for count in sorted({*count_D.tolist()} - {0, 1}, reverse=True):
        waiting = np.flatnonzero(count_D == count)
        members = within_Y[np.flatnonzero(count_D[bucket_Y] == count)].reshape(len(waiting), count)
        for _ in range(DRAWS):
            drawn = rng.integers(0, size, len(waiting))
            slots = (members + drawn[:, None]) % size
            free = ~taken_S[slots].any(axis=1)
            _, first, inverse = np.unique(slots[free], return_index=True, return_inverse=True)
            is_first = first[inverse].reshape(-1, count) == np.arange(free.sum() * count).reshape(-1, count)
            settled = np.flatnonzero(free)[is_first.all(axis=1)]
            offset_D[waiting[settled]] = drawn[settled]
            taken_S[slots[settled]] = True
            left = np.ones(len(waiting), np.bool_)
            left[settled] = False
            waiting, members = waiting[left], members[left]
            if not len(waiting):
                break
        else:
            return None
    alone = np.flatnonzero(count_D[bucket_Y] == 1)
    offset_D[bucket_Y[alone]] = (np.flatnonzero(~taken_S)[: len(alone)] - within_Y[alone]) % size
    return offset_D
