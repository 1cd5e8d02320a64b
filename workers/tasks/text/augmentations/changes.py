"""Changes that a part of a spec makes to a batch of texts, in the few kinds that an `Augmentation` combines.

`build` gives the form; each part's builder stands in the file of its kind.
"""

# B texts of a batch

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

from torch import Generator, Tensor

from models_store.spec.part import Part
from workers.tasks.text.augmentations.draws import Mask, Random
from workers.tasks.text.augmentations.letters import Letters
from workers.tasks.text.augmentations.material import Material
from workers.tasks.text.augmentations.segments import Segments


@dataclass(frozen=True)
class Views:
    """A part that replaces whole texts: `change(text, draw)` gets a number from 0 to 1."""

    probability: float
    change: Callable[[str, float], str]


@dataclass(frozen=True)
class Words:
    """A part that changes words: `change(segments, chosen, draws)` changes the texts that are chosen (B,)."""

    probability: float
    change: Callable[[Segments, Mask, Random], Segments]


@dataclass(frozen=True)
class Characters:
    """A part that changes characters: `change(letters, chosen, draws)` changes the texts that are chosen (B,)."""

    probability: float
    change: Callable[[Letters, Mask, Random], Letters]


@dataclass(frozen=True)
class Hiding:
    """A part that replaces tokens of numbered texts by the unknown one."""

    probability: float
    rate: float


@dataclass(frozen=True)
class Mixing:
    """A part that mixes texts of a batch: `draw(batch, generator)` gives what stays of each, from 0 to 1 (B,)."""

    probability: float
    draw: Callable[[int, Generator], Tensor]


Change = Views | Words | Characters | Hiding | Mixing


@singledispatch
def build(part: Part, material: Material) -> Change:
    """Return what the part of a spec does to a batch, with what it takes from the dataset."""
    raise NotImplementedError(f"no augmentation is built for {type(part).__name__}")
