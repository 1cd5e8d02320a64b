"""Material of augmentation: synonyms, paraphrases and characters, which it takes from the dataset."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

Synonyms = Mapping[str, tuple[str, ...]]
"""word, in lower case → words of about the same meaning"""


def _no_neighbours(count: int) -> Synonyms:  # noqa: ARG001  nobody has any
    return {}


@dataclass(frozen=True)
class Material:
    """Data beside the texts of a batch; nothing of it is of the validation or test split."""

    synonyms: Synonyms = field(default_factory=dict)
    """from the dataset's own file"""
    neighbours: Callable[[int], Synonyms] = _no_neighbours
    """the nearest of each word in the backbone's vectors, so many"""
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """training text, as numbered → other wordings of it"""
    characters: str = ""
    """different characters of the training texts"""

    @property
    def phrases(self) -> Iterable[str]:
        """Return what may consist of several words, and counts as one."""
        return self.synonyms

    def synonyms_of(self, neighbours: int) -> Synonyms:
        """Return the dataset's synonyms; where it has none, the neighbours of each word."""
        return self.synonyms or self.neighbours(neighbours)
