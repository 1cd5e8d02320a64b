"""Augmentation of training texts: whole texts are replaced first, then words, then characters, then numbered tokens.

Within each of these groups the parts apply in the order of the list. Validation, test and served texts are never changed.
"""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

CHANGED = "probability that a text is changed, drawn anew each time the text is used"
WORDS = "share of a text's words that are changed, rounded; one word at least"
SHARE = "probability that a text is mixed with another"

Rate = Annotated[float, Field(ge=0, le=0.5)]
Probability = Annotated[float, Field(ge=0, le=1)]


# ---- whole texts


class Paraphrases(Part):
    """Replace a text by one of its paraphrases, such as back-translations. They come with the dataset: a column `paraphrase`, or a file `paraphrases.csv` with the columns `id,text`."""

    kind: Literal["paraphrases"] = "paraphrases"
    probability: Probability = Field(
        0.5, description="probability that a text with paraphrases is replaced by one of them, each equally likely"
    )


# ---- words


class SynonymReplacement(Part):
    """Replace words by synonyms (EDA: Wei and Zou 2019, arXiv:1901.11196). Synonyms come from the dataset's `synonyms.csv`, one group of equivalent words on each line; without that file, they are the nearest neighbours in the vectors that `backbone.weights` names."""

    kind: Literal["synonym_replacement"] = "synonym_replacement"
    rate: Rate = Field(
        0.1, description="share of the words that have synonyms that is replaced, rounded; one word at least"
    )
    neighbours: Annotated[int, Field(ge=1, le=50)] = Field(
        5, description="number of nearest neighbours that count as synonyms, where there is no `synonyms.csv`"
    )
    probability: Probability = Field(0.5, description=CHANGED)


class RandomInsertion(Part):
    """Insert a synonym of a random word of the text at a random place (EDA, arXiv:1901.11196). A word without synonyms is inserted again itself."""

    kind: Literal["random_insertion"] = "random_insertion"
    rate: Rate = Field(
        0.1, description="number of inserted words, as a share of the text's words, rounded; one word at least"
    )
    neighbours: Annotated[int, Field(ge=1, le=50)] = Field(
        5, description="number of nearest neighbours that count as synonyms, where there is no `synonyms.csv`"
    )
    probability: Probability = Field(0.5, description=CHANGED)


class RandomSwap(Part):
    """Exchange the places of two random words, several times (EDA, arXiv:1901.11196). A net that ignores the order of words is not affected."""

    kind: Literal["random_swap"] = "random_swap"
    rate: Rate = Field(0.1, description="number of exchanges, as a share of the text's words, rounded; one at least")
    probability: Probability = Field(0.5, description=CHANGED)


class RandomDeletion(Part):
    """Delete random words (EDA, arXiv:1901.11196). One word always stays."""

    kind: Literal["random_deletion"] = "random_deletion"
    rate: Rate = Field(0.1, description=WORDS)
    probability: Probability = Field(0.5, description=CHANGED)


class PunctuationInsertion(Part):
    """Insert punctuation marks after random words (AEDA: Karimi et al. 2021, arXiv:2108.13230). Chinese texts get Chinese marks."""

    kind: Literal["punctuation_insertion"] = "punctuation_insertion"
    rate: Rate = Field(
        0.3,
        description="largest number of marks, as a share of the text's words; the number is drawn uniformly from 1 to that. The paper uses a third",
    )
    probability: Probability = Field(0.5, description=CHANGED)


# ---- characters


class Homophones(Part):
    """Replace Chinese characters by others that sound alike, as typing in pinyin confuses them. Only characters of the training texts are used."""

    kind: Literal["homophones"] = "homophones"
    rate: Rate = Field(
        0.1, description="share of the text's Chinese characters that is replaced, rounded; one at least"
    )
    tones: Literal["any", "same"] = Field(
        "any", description="any: the tone may differ, which typing in pinyin ignores; same: the tone is the same"
    )
    probability: Probability = Field(0.5, description=CHANGED)


class Typos(Part):
    """Make typing errors in Latin letters: a neighbouring key (QWERTY), two letters exchanged, one left out, or one doubled, each equally likely."""

    kind: Literal["typos"] = "typos"
    rate: Rate = Field(0.1, description="share of the text's Latin letters with an error, rounded; one at least")
    probability: Probability = Field(0.5, description=CHANGED)


# ---- numbered texts


class TokenDropout(Part):
    """Replace tokens by the unknown token after numbering, so that no answer depends on a single token. The tokens are those of `input.tokenizer`; for backbones of hashed n-grams, characters."""

    kind: Literal["token_dropout"] = "token_dropout"
    rate: Rate = Field(0.1, description="probability that a token is replaced")
    probability: Probability = Field(0.5, description=CHANGED)


class MixupOfTexts(Part):
    """Blend the features of each text, and its target, with those of another text of the batch (senMixup: Guo et al. 2019, arXiv:1905.08941). For bags of n-grams the features are the mean of the embeddings, so this is mixup of embeddings."""

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(
        0.2,
        gt=0,
        le=10,
        description="the weight is drawn from Beta(alpha, alpha): 1 is uniform, and with small values texts are rarely mixed much",
    )
    probability: Probability = Field(1.0, description=SHARE)


Augmentation = Annotated[
    Paraphrases
    | SynonymReplacement
    | RandomInsertion
    | RandomSwap
    | RandomDeletion
    | PunctuationInsertion
    | Homophones
    | Typos
    | TokenDropout
    | MixupOfTexts,
    Field(discriminator="kind"),
]
