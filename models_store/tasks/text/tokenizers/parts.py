"""Tokenizers of a text's spec: how it is cut into tokens, and how many kinds of token the model knows.

Every tokenizer but `pretrained` folds first: case, width and compatibility forms, one code point to one (see `folding`).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models_store.spec.part import Part

MinCount = Annotated[
    int,
    Field(ge=1, le=1000, description="times that a token must occur in the training texts; rarer ones are unknown"),
]
Vocabulary = Annotated[
    int, Field(ge=100, le=500_000, description="largest number of different tokens; the most frequent ones are kept")
]
Mode = Annotated[
    Literal["precise", "search"],
    Field(
        description="precise: each character belongs to one word; search: long words are followed by the words in them"
    ),
]
Hmm = Annotated[
    bool, Field(description="whether words that the dictionary lacks are found by a hidden Markov model of characters")
]
OWN_WORD = r"^\S+$"
OwnWord = Annotated[str, Field(min_length=1, max_length=32, pattern=OWN_WORD)]
Pieces = Annotated[
    int,
    Field(ge=256, le=64_000, description="number of different tokens that are learned from the training texts"),
]


class InGraph(Part):
    """The base of tokenizers that a model's file carries out itself: it takes code points."""

    in_graph: ClassVar[bool] = True


class OutOfGraph(Part):
    """The base of tokenizers that the service, or another client, carries out before the file."""

    in_graph: ClassVar[bool] = False


class CodePointTokenizer(InGraph):
    """Code points as they are, folded in the file: for backbones that hash n-grams. No vocabulary: nothing is unknown."""

    kind: Literal["code_points"] = "code_points"


class CharacterTokenizer(InGraph):
    """Single characters, folded and numbered in the file: it takes code points, and clients need no tokenizer."""

    kind: Literal["characters"] = "characters"
    min_count: MinCount = 2
    vocabulary: Vocabulary = 20_000


class WordTokenizer(OutOfGraph):
    """Words of letters, marks and digits, and single other characters; for languages that put spaces between words.

    A character of a script without such spaces (Chinese, Japanese hiragana, Thai, …) is a word by itself.
    """

    kind: Literal["words"] = "words"
    min_count: MinCount = 2
    vocabulary: Vocabulary = 20_000


class JiebaTokenizer(OutOfGraph):
    """Chinese words by the package jieba, which is installed only where it is asked for (`pip install espalier[jieba]`).

    Its last release is of 2020, and it takes twenty times as long as `rjieba`, whose words differ in about 3 % of texts.
    """

    kind: Literal["jieba"] = "jieba"
    min_count: MinCount = 2
    vocabulary: Vocabulary = 20_000
    mode: Mode = "precise"
    hmm: Hmm = True
    own_words: list[OwnWord] = Field(
        [], max_length=20_000, description="words that are added to the dictionary, folded as texts are"
    )


class RjiebaTokenizer(OutOfGraph):
    """Chinese words by the package rjieba, an implementation of jieba in Rust."""

    kind: Literal["rjieba"] = "rjieba"
    min_count: MinCount = 2
    vocabulary: Vocabulary = 20_000
    mode: Mode = "precise"
    hmm: Hmm = True
    own_words: list[OwnWord] = Field(
        [], max_length=20_000, description="words that are added to the dictionary, folded as texts are"
    )


class BpeTokenizer(OutOfGraph):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of UTF-8 bytes, by the package tokenizers. Nothing is unknown."""

    kind: Literal["bpe"] = "bpe"
    vocabulary: Pieces = 8_000


class UnigramTokenizer(OutOfGraph):
    """Pieces of words by a unigram language model (Kudo 2018, arXiv:1804.10959), by the package sentencepiece."""

    kind: Literal["unigram"] = "unigram"
    vocabulary: Pieces = 8_000


class PretrainedTokenizer(OutOfGraph):
    """The tokenizer of `backbone.weights`, its `tokenizer.json`, by the package tokenizers: with `backbone.kind: encoder`, and there alone. It folds nothing that its file does not."""

    kind: Literal["pretrained"] = "pretrained"


Tokenizer = Annotated[
    CodePointTokenizer
    | CharacterTokenizer
    | WordTokenizer
    | JiebaTokenizer
    | RjiebaTokenizer
    | BpeTokenizer
    | UnigramTokenizer
    | PretrainedTokenizer,
    Field(discriminator="kind"),
]
