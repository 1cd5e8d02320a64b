"""Dictionary of n-grams that a graph can carry out: from numbers of tokens to rows of a table, in plain operations.

An n-gram is known by a hash of 31 bits, its key. In training, the keys of the training texts' n-grams are sorted, and
found by bisection between two bounds that a directory gives for the key's first bits: the n-gram at place p of the keys
has row p + 1, and row 0 stands for all that is not there. A file finds them in one step, see `slots`. Either way no
n-gram takes another one's weights but where two keys are equal, once in 2**31.

Words need no tokenizer: a run of letters is hashed as a polynomial, the difference of two running sums, brought to one
position by a power of the base. The base has a short order, so that a table holds all its powers.
"""

# B batch, L token, W word, G n-gram, Y key, D entry of the directory, X entry of a table

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text.folding import PAGE, pages
from models_store.tasks.text.words import IN_WORD, kinds
from workers.tasks.text.front_end import starts
from workers.tasks.text.operations import lookup, quotient, side_by_side, windows
from workers.tasks.text.slots import Arranged, arrange

PRIME = 2**31 - 1
"""keys are below it"""
KEY_BITS = 31
ORDER = 331
"""of the base of words: a prime factor of PRIME - 1. A run of so many letters or more is still hashed, if less well"""


def constant(*names: object) -> int:
    """Return a number from 1 to 2**29 that depends on nothing but the names: the same in every release."""
    digest = hashlib.sha256(" ".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8]) % (2**29 - 1) + 1


class Grams(nn.Module):
    """Hashes of the n-grams of numbers (B, L) below 2**31, 0 behind the end; of each length, L of them."""

    factors: Tensor
    offsets: Tensor
    ends: Tensor

    def __init__(self, lengths: Sequence[int], *, unit: str) -> None:
        super().__init__()
        longest = max(lengths)
        factors = [
            [constant(unit, length, place) if place < length else 0 for length in lengths] for place in range(longest)
        ]
        self.register_buffer("factors", torch.tensor(factors), persistent=False)
        self.register_buffer("offsets", torch.tensor([constant(unit, length) for length in lengths]), persistent=False)
        self.register_buffer("ends", torch.tensor(lengths) - 1, persistent=False)

    def forward(self, numbers_BL: Tensor) -> Tensor:
        """Return keys int64 (B, L x lengths), PRIME where the text has no such n-gram."""
        longest = len(self.factors)
        padded = functional.pad(numbers_BL, (0, longest - 1))
        at_L1 = torch.arange(numbers_BL.shape[1], device=numbers_BL.device).unsqueeze(1)
        places_LN = at_L1 + torch.arange(longest, device=numbers_BL.device)
        windows_BLN = windows(padded, places_LN)
        keys_BLG = torch.remainder(windows_BLN @ self.factors + self.offsets, PRIME)
        is_whole_BLG = windows_BLN.index_select(2, self.ends) > 0
        return side_by_side(torch.where(is_whole_BLG, keys_BLG, PRIME))


class Words(nn.Module):
    """Numbers of the words of folded code points (B, L): in their order, 0 behind the last."""

    power: Tensor
    inverse: Tensor
    starts: Tensor
    kinds: Tensor

    def __init__(self) -> None:
        super().__init__()
        powers = [1]
        base = next(found for root in range(2, ORDER) if (found := pow(root, (PRIME - 1) // ORDER, PRIME)) != 1)
        for _ in range(1, ORDER):
            powers.append(powers[-1] * base % PRIME)
        page_of, rows = pages(kinds())
        self.register_buffer("power", torch.tensor(powers), persistent=False)
        behind = [pow(power, -1, PRIME) for power in (powers[-1], *powers[:-1])]
        self.register_buffer("inverse", torch.tensor(behind), persistent=False)
        self.register_buffer("starts", starts(torch.from_numpy(page_of.astype(np.int64))), persistent=False)
        self.register_buffer("kinds", torch.from_numpy(rows.astype(np.int64)).flatten(), persistent=False)
        self.letter = constant("letter")

    def forward(self, points_BL: Tensor) -> Tensor:
        """Return int64 (B, L): there are never more words than code points."""
        kind_BL = self.kinds_of(points_BL)
        next_BL = functional.pad(kind_BL, (0, 1))[:, 1:]
        ends_BL = (kind_BL > (next_BL & IN_WORD)).long()
        at_L = torch.arange(points_BL.shape[1], device=points_BL.device)
        letters_BL = torch.remainder(points_BL * self.letter, PRIME) * lookup(self.power, torch.remainder(at_L, ORDER))
        sums_BL = torch.where(kind_BL > 0, torch.remainder(letters_BL, PRIME), 0).cumsum(1)
        number_BL = ends_BL.cumsum(1) * ends_BL  # of each word at its end, from 1; everything else goes to 0, as 0
        empty_BE = functional.pad(kind_BL, (0, 1)) * 0
        ends_BE = empty_BE.scatter(1, number_BL, (at_L + 1) * ends_BL)  # of each word, from 1; 0 before the first
        until_BE = functional.pad(sums_BL, (1, 0)).gather(1, ends_BE)
        end_BW = ends_BE[:, 1:]
        factor_BW = lookup(self.inverse, torch.remainder(end_BW, ORDER))
        sum_BW = torch.remainder(until_BE[:, 1:] - until_BE[:, :-1], PRIME)
        word_BW = torch.remainder(sum_BW * factor_BW, PRIME) + 1
        return torch.where(end_BW > 0, word_BW, 0)

    def kinds_of(self, points: Tensor) -> Tensor:
        """Return whether folded code points are BETWEEN words, IN_WORD, or a WORD each."""
        return lookup(self.kinds, points + lookup(self.starts, quotient(points, PAGE)))


class Dictionary(nn.Module):
    """The known keys: from keys to rows, 0 for those that are not known."""

    keys: Tensor
    directory: Tensor

    def __init__(self, keys_Y: Tensor, directory_D: Tensor, *, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("keys", keys_Y)
        self.register_buffer("directory", directory_D)

    @classmethod
    def of(cls, keys_Y: npt.NDArray[np.int64]) -> "Dictionary":
        """Return the dictionary of distinct, ascending keys."""
        bits = max(1, min(22, len(keys_Y).bit_length()))
        bounds = np.arange(2**bits + 1, dtype=np.int64) << (KEY_BITS - bits)
        directory = np.searchsorted(keys_Y, bounds)
        steps = int(np.diff(directory).max(initial=0)).bit_length()
        behind = np.full(2**steps, PRIME, np.int64)  # no key is so large
        padded = np.concatenate([keys_Y, behind]).astype(np.int32)
        return cls(torch.from_numpy(padded), torch.from_numpy(directory[:-1].astype(np.int32)), steps=steps)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], prefix: str) -> "Dictionary":
        """Return the dictionary that a net's state has under `prefix`."""
        keys_Y = state[f"{prefix}keys"].numpy().astype(np.int64)
        return cls.of(keys_Y[: int(np.searchsorted(keys_Y, PRIME))])

    @property
    def count(self) -> int:
        """Return the number of known keys."""
        return len(self.keys) - (1 << self.steps)

    def forward(self, keys_BG: Tensor) -> Tensor:
        """Return rows int64 (B, G)."""
        rows_BG = torch.zeros_like(keys_BG)
        real_BG = keys_BG < PRIME
        rows_BG[real_BG] = self.find(keys_BG[real_BG])
        return rows_BG

    def arranged(self) -> Arranged:
        """Return the keys as a file finds them."""
        keys_Y = self.keys[: self.count].cpu().numpy().astype(np.int64)
        return arrange(keys_Y, key_bits=KEY_BITS, bucket_bits=len(self.directory).bit_length() - 1)

    def find(self, keys: Tensor) -> Tensor:
        """Return the rows int64 of keys, of any shape."""
        narrow = (2**KEY_BITS) // len(self.directory)
        places = lookup(self.directory, keys // narrow)
        wanted = keys.to(torch.int32)
        for step in range(self.steps - 1, -1, -1):
            width = 2**step
            below = lookup(self.keys, places + (width - 1)) < wanted
            places = places + below.to(torch.int32) * width
        return torch.where(lookup(self.keys, places) == wanted, places + 1, 0).long()
