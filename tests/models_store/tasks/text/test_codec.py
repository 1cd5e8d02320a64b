from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.tasks.codec import BadExample, Tensor
from models_store.tasks.text.codec import EncodedText, TextCodec, TextTooLong
from models_store.tasks.text.tokenizers import Tokens, fit
from models_store.tasks.text.tokenizers.parts import CharacterTokenizer, CodePointTokenizer, WordTokenizer

TEXTS = ["the room was clean", "the food was bad"]
CHARACTERS = fit(CharacterTokenizer(min_count=1), TEXTS)
WORDS = fit(WordTokenizer(min_count=1), TEXTS)


def a_codec(tokenizer: Tokens = CHARACTERS, *, max_tokens: int = 64, truncate: str = "end") -> TextCodec:
    return TextCodec(max_tokens, truncate, tokenizer)


def refusal_of(given: Any, codec: TextCodec | None = None) -> str:
    with pytest.raises(BadExample) as caught:
        (codec or a_codec()).decode(given)
    return caught.value.errors[0].code


def test_a_file_that_reads_the_text_itself_takes_its_code_points() -> None:
    codec = a_codec()

    inputs = codec.collate([codec.decode("Aé中\U0001f600"), codec.decode("b")])

    assert codec.describe() == (Tensor("code_points", "int32", (None,)),)
    assert inputs["code_points"].tolist() == [[0x41, 0xE9, 0x4E2D, 0x1F600], [0x62, 0, 0, 0]]


def test_other_files_take_tokens_and_how_many_there_are() -> None:
    codec = a_codec(WORDS)

    inputs = codec.collate([codec.decode("The room"), codec.decode("view"), codec.decode(" ")])

    assert codec.describe() == (Tensor("tokens", "int32", (None,)), Tensor("lengths", "int32", ()))
    assert inputs["tokens"].tolist() == [WORDS.ids("the room").tolist(), [1, 0], [0, 0]]
    assert inputs["lengths"].tolist() == [2, 1, 0]
    assert {array.dtype for array in inputs.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize("tokenizer", [CHARACTERS, WORDS])
def test_an_empty_text_is_one_zero_and_says_so(tokenizer: Tokens) -> None:
    codec = a_codec(tokenizer)

    example = codec.decode("")

    assert next(iter(codec.collate([example]).values())).tolist() == [[0]]
    assert codec.notes(example) == {"truncated": False, "unknown_share": 0.0, "empty": True}


@pytest.mark.parametrize(("truncate", "kept"), [("end", "01234567"), ("start", "23456789"), ("middle", "01236789")])
def test_a_longer_text_is_cut_and_says_so(truncate: str, kept: str) -> None:
    codec = a_codec(max_tokens=8, truncate=truncate)

    example = codec.decode("0123456789")

    assert "".join(map(chr, example.numbers)) == kept
    assert codec.notes(example)["truncated"]
    assert not codec.notes(codec.decode("01234567"))["truncated"]


def test_the_share_of_unknown_tokens_is_noted() -> None:
    words, characters = a_codec(WORDS), a_codec()

    assert words.notes(words.decode("the view was bad"))["unknown_share"] == 0.25
    assert characters.notes(characters.decode("THE中"))["unknown_share"] == 0.25
    hashed = a_codec(fit(CodePointTokenizer(), []))
    assert hashed.notes(hashed.decode("中\x01"))["unknown_share"] == 0.0


@pytest.mark.parametrize("tokenizer", [CHARACTERS, WORDS])
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"\xff\xfe", "not_utf8"),
        (b"\xed\xa0\x80", "not_utf8"),  # half of a surrogate pair
        ("a\ud800", "lone_surrogate"),
        ("a\0b", "nul_character"),
        (b"a\0", "nul_character"),
        (None, "not_a_text"),
        (5, "not_a_text"),
        (["a"], "not_a_text"),
        ({"text": "a"}, "not_a_text"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer: Tokens, wrong: Any, code: str) -> None:
    assert refusal_of(wrong, a_codec(tokenizer)) == code


@pytest.mark.parametrize("tokenizer", [CHARACTERS, WORDS])
def test_a_text_of_more_than_100_000_characters_is_too_large(tokenizer: Tokens) -> None:
    codec = a_codec(tokenizer)

    assert codec.decode("中" * 100_000).truncated
    for given_ in ("中" * 100_001, ("中" * 100_001).encode(), b"\xff" * 400_001):
        with pytest.raises(TextTooLong, match="100,000") as caught:
            codec.decode(given_)
        assert caught.value.status == 413


def test_a_byte_order_mark_is_no_part_of_a_text() -> None:
    codec = a_codec()

    for given_ in ("\ufeffab", "\ufeffab".encode()):
        assert codec.decode(given_).numbers.tolist() == [0x61, 0x62]


def test_control_characters_count_as_white_space() -> None:
    codec = a_codec(WORDS)

    assert codec.decode("the\x07room\x1b\n").numbers.tolist() == WORDS.ids("the room").tolist()


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=70),
        min_size=1,
        max_size=5,
    )
)
def test_a_string_and_its_bytes_are_the_same_and_come_back_from_a_batch(texts: list[str]) -> None:
    for codec in (a_codec(), a_codec(WORDS, truncate="middle")):
        examples = [codec.decode(text) for text in texts]

        for text, example in zip(texts, examples, strict=True):
            assert codec.decode(text.encode()).numbers.tolist() == example.numbers.tolist()
        again = codec.examples_of(codec.collate(examples))
        assert [each.numbers.tolist() for each in again] == [each.numbers.tolist() for each in examples]
        for each, was in zip(again, examples, strict=True):  # of tokens alone, nobody knows what could be seen
            assert each.empty == was.empty or (was.empty and not codec.tokenizer.in_graph)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ([-1, 65], "bad_code_point"),
        ([0x110000], "bad_code_point"),
        ([0xD800], "bad_code_point"),
        ([65, 0, 66], "nul_character"),
    ],
)
def test_numbers_that_are_no_text_are_refused(row: list[int], code: str) -> None:
    with pytest.raises(BadExample) as caught:
        a_codec().examples_of({"code_points": np.array([row], np.int32)})

    assert caught.value.errors[0].code == code


@pytest.mark.parametrize(
    ("tokens", "length", "code"),
    [
        ([2, -1], 2, "bad_token"),
        ([2, WORDS.size], 2, "bad_token"),
        ([2, 0, 2], 3, "bad_token"),
        ([2, 3], 3, "bad_length"),
        ([2, 3], -1, "bad_length"),
    ],
)
def test_tokens_that_the_model_does_not_have_are_refused(tokens: list[int], length: int, code: str) -> None:
    given_ = {"tokens": np.array([tokens], np.int32), "lengths": np.array([length], np.int32)}

    with pytest.raises(BadExample) as caught:
        a_codec(WORDS).examples_of(given_)

    assert caught.value.errors[0].code == code


def test_what_is_behind_the_length_of_a_row_is_left_out() -> None:
    (example,) = a_codec(WORDS).examples_of({"tokens": np.array([[2, 3, 99]], np.int32), "lengths": np.int32([2])})

    assert example.numbers.tolist() == [2, 3]


def test_rows_of_numbers_are_cut_as_texts_are() -> None:
    codec = a_codec(max_tokens=8, truncate="start")

    (example,) = codec.examples_of({"code_points": np.arange(65, 76, dtype=np.int32)[None]})

    assert example.numbers.tolist() == list(range(68, 76))
    assert example.truncated


def test_texts_are_padded_to_lengths_that_cost_little() -> None:
    assert a_codec(max_tokens=100).lengths == (16, 24, 32, 48, 64, 96, 100)
    assert a_codec(max_tokens=8).lengths == (8,)
    assert a_codec(max_tokens=64).lengths == (16, 24, 32, 48, 64)
    assert a_codec().length(EncodedText(np.array([], np.int32), truncated=False, empty=True)) == 1


@pytest.mark.parametrize("given_", ["a" * 129, b"a" * 129])
def test_only_short_texts_are_tokenized_quickly(given_: str | bytes) -> None:
    assert a_codec().decodes_quickly(given_)
    assert not a_codec(WORDS).decodes_quickly(given_)
    assert a_codec(WORDS).decodes_quickly(given_[:128])
