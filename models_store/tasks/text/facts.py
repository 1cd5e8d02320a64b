"""Facts of a dataset of texts."""

from dataclasses import dataclass

from models_store.spec.facts import DatasetFacts


@dataclass(frozen=True)
class TextFacts(DatasetFacts):
    """What the recipe looks at beside the counts.

    `characters_95`: 95 of 100 training texts have so many characters or fewer. `words_95` is the same of words, where
    each Chinese or Japanese character counts as one. `han_share` is the share of characters that are in mostly Chinese
    texts. `has_synonyms` and `has_paraphrases` say whether it came with a file of them.
    """

    characters_95: int = 128
    words_95: int = 64
    han_share: float = 0.0
    has_synonyms: bool = False
    has_paraphrases: bool = False
