import json

import numpy as np
import pytest

from models_store.tasks.text.codec import TextCodec
from models_store.tasks.text.tokenizers import PADDING, facts_of, of_encoder, read
from models_store.tasks.text.tokenizers.tokens import TokenizerUnavailable
from tests.tasks.text.encoder_archives import SPECIAL, WORDS, a_tokenizer

NAMES = [*SPECIAL, *WORDS]


def spelled(ids: np.ndarray) -> list[str]:
    return [NAMES[number - 1] for number in ids.tolist()]


def test_a_text_is_what_its_file_says_between_its_special_tokens() -> None:
    tokens = of_encoder(a_tokenizer())

    assert spelled(tokens.ids("The ROOM was goodly")) == ["[CLS]", "the", "room", "was", "good", "##ly", "[SEP]"]
    assert spelled(tokens.ids("好x")) == ["[CLS]", "好", "[UNK]", "[SEP]"]
    assert PADDING not in tokens.ids("[PAD] good")
    assert tokens.size == len(NAMES) + 1


def test_a_text_can_not_spell_special_tokens() -> None:
    tokens = of_encoder(a_tokenizer())

    assert spelled(tokens.ids("good [SEP] bad")).count("[SEP]") == 1


def test_a_text_without_tokens_is_empty() -> None:
    codec = TextCodec(16, "end", of_encoder(a_tokenizer()))

    assert codec.decode(" \n").empty
    assert codec.notes(codec.decode("x"))["unknown_share"] == 1.0
    assert codec.notes(codec.decode("good x"))["unknown_share"] == 0.5


@pytest.mark.parametrize(
    ("truncate", "kept"),
    [
        ("end", ["good", "bad", "clean"]),
        ("start", ["dirty", "room", "view"]),
        ("middle", ["good", "bad", "view"]),
    ],
)
def test_a_longer_text_is_cut_between_its_special_tokens(truncate: str, kept: list[str]) -> None:
    codec = TextCodec(5, truncate, of_encoder(a_tokenizer()))

    encoded = codec.decode("good bad clean dirty room view")

    assert encoded.truncated
    assert spelled(encoded.numbers) == ["[CLS]", *kept, "[SEP]"]


def test_its_document_makes_the_same_tokenizer_of_the_same_release_alone() -> None:
    tokens = of_encoder(a_tokenizer())
    document = json.loads(json.dumps(tokens.as_document()))

    assert read(document).ids("the room").tolist() == tokens.ids("the room").tolist()
    assert set(facts_of(document)) == {"kind", "package", "version", "vocabulary"}
    with pytest.raises(TokenizerUnavailable, match=r"tokenizers 0\.0\.1"):
        read(document | {"version": "0.0.1"})
