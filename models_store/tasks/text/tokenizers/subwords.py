"""Tokenizers of learned pieces: byte pairs by the package `tokenizers`, unigrams by `sentencepiece`.

The unigram trainer of `tokenizers` gives other scores on every run (they differ by up to 0.03), sentencepiece's does not.
Of what `tokenizers` trains, only the pieces are kept: its own document has special tokens, which it would also find in a
text that spells them.
"""

# T tokens of a text

import base64
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from models_store.tasks.text.folding import FOLD_ID, folded
from models_store.tasks.text.tokenizers.tokens import FIRST, PADDING, UNKNOWN, Document, Ids, Tokens

MOST_CHARACTERS = 5_000_000
"""characters that pieces are learned from: training keeps them in memory"""
MOST_BYTES = 1 << 22
"""bytes of one text that sentencepiece learns from; it would leave out longer ones"""


@dataclass(frozen=True, eq=False)
class PieceTokens(Tokens):
    """Learned pieces of words."""

    in_graph: ClassVar[bool] = False
    document: Mapping[str, Any] = field(repr=False)
    pieces: int
    find: Callable[[str], list[int]] = field(repr=False)
    """folded text → ids"""

    @property
    def size(self) -> int:
        """Return the number of pieces, and two."""
        return FIRST + self.pieces

    def ids(self, text: str) -> Ids:
        """Return the id of each piece."""
        return np.array(self.find(folded(text)), np.int32)

    def as_document(self) -> Document:
        """Return the pieces, and how they are found."""
        return dict(self.document)


def fit_bpe(texts: Iterable[str], *, vocabulary: int, description: Mapping[str, Any]) -> PieceTokens:
    """Return the tokenizer of the byte pairs that occur most; every byte is one of its pieces."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415  loaded when it is needed

    encoder = Tokenizer(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    encoder.train_from_iterator(sample(texts), trainer)
    model = json.loads(encoder.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return read_bpe({**description, "fold": FOLD_ID, "pieces": pieces, "merges": model["merges"]})


def read_bpe(document: Mapping[str, Any]) -> PieceTokens:
    """Return the byte pairs of a document."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415  the same

    numbers = {piece: number for number, piece in enumerate(document["pieces"])}
    encoder = Tokenizer(models.BPE(numbers, [(left, right) for left, right in document["merges"]]))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def find(text: str) -> list[int]:
        return [FIRST + number for number in encoder.encode(text, add_special_tokens=False).ids]

    return PieceTokens(document, len(numbers), find)


def fit_unigram(texts: Iterable[str], *, vocabulary: int, description: Mapping[str, Any]) -> PieceTokens:
    """Return the tokenizer of the pieces that make the texts likeliest.

    Half of the vocabulary at most are single characters, the most frequent ones; others are unknown.
    """
    from sentencepiece import SentencePieceTrainer  # noqa: PLC0415  the same

    learned_from = sample(texts)
    counts = Counter("".join(learned_from))
    rare = sorted(counts, key=lambda character: (-counts[character], character))[vocabulary // 2 :]
    without = str.maketrans(dict.fromkeys(rare, " "))
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([text.translate(without) for text in learned_from] or ["."]),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocabulary + FIRST,
        hard_vocab_limit=False,
        character_coverage=1.0,
        max_sentence_length=MOST_BYTES,
        normalization_rule_name="identity",
        pad_id=PADDING,
        unk_id=UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    encoded = base64.b64encode(model.getvalue()).decode()
    return read_unigram({**description, "fold": FOLD_ID, "model": encoded})


def read_unigram(document: Mapping[str, Any]) -> PieceTokens:
    """Return the pieces of a document."""
    from sentencepiece import SentencePieceProcessor  # noqa: PLC0415  the same

    encoder = SentencePieceProcessor(model_proto=base64.b64decode(document["model"]))
    return PieceTokens(document, encoder.vocab_size() - FIRST, encoder.encode)


def sample(texts: Iterable[str], *, most: int = MOST_CHARACTERS) -> list[str]:
    """Return the texts, folded; of more than `most` characters, those with the lowest checksums, in the texts' order."""
    kept: list[tuple[int, str]] = []
    characters, limit = 0, 1 << 32
    for text in texts:
        checksum = zlib.crc32(text.encode())
        if checksum >= limit or not text.strip():
            continue
        kept.append((checksum, folded(text)))
        characters += len(text)
        while characters > most and limit > 1:
            limit //= 2
            kept = [(number, each) for number, each in kept if number < limit]
            characters = sum(len(each) for _, each in kept)
    return [text for _, text in kept]
