import json
import subprocess
import sys
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models_store.tasks.text.folding import CODE_POINTS, FOLD, code_points
from models_store.tasks.text.tokenizers import FIRST, TokenizerUnavailable, Tokens, facts_of, fit, read
from models_store.tasks.text.tokenizers.in_graph import CharacterTokens
from models_store.tasks.text.tokenizers.parts import Tokenizer
from models_store.tasks.text.tokenizers.subwords import sample
from models_store.tasks.text.tokenizers.vocabulary import frequent_words

TEXTS = [
    "房间很干净，服务员也很热情！",
    "房间太小，不干净。",
    "The room was CLEAN; we'll come back",
    "the room wasn't clean…",
    "价格ＯＫ",
]
ODD = [
    "",
    " \n\t",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "مرحبا بالعالم",
    "e\u0301" * 50,
    "<unk> [PAD] [UNK]",
    "繁體中文",
    "x\n",
]
KINDS = ["code_points", "characters", "words", "jieba", "rjieba", "bpe", "unigram"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def a_part(kind: str, **options: Any) -> Any:
    small = {} if kind == "code_points" else {"vocabulary": 300 if kind in {"bpe", "unigram"} else 100}
    counted = {} if kind in {"code_points", "bpe", "unigram"} else {"min_count": 1}
    return TypeAdapter(Tokenizer).validate_python({"kind": kind} | small | counted | options)


def fitted(kind: str, **options: Any) -> Tokens:
    if kind == "jieba":
        pytest.importorskip("jieba", reason="jieba is an optional extra")
    return fit(a_part(kind, **options), iter(TEXTS))


@every_kind
def test_ids_are_in_range_and_the_same_after_its_document_was_stored(kind: str) -> None:
    tokens = fitted(kind)

    again = read(json.loads(json.dumps(tokens.as_document())))

    assert (again.size, again.in_graph) == (tokens.size, tokens.in_graph)
    for text in [*TEXTS, *ODD]:
        ids = tokens.ids(text)
        assert ids.dtype == np.int32
        assert ids.ndim == 1
        assert ((ids >= 1) & (ids < tokens.size)).all(), text
        np.testing.assert_array_equal(again.ids(text), ids)


@every_kind
def test_case_and_width_change_no_token(kind: str) -> None:
    tokens = fitted(kind)

    np.testing.assert_array_equal(tokens.ids("ＴＨＥ ROOM，房间"), tokens.ids("the room,房间"))


@every_kind
def test_a_lone_surrogate_is_refused(kind: str) -> None:
    tokens = fitted(kind)

    with pytest.raises(UnicodeEncodeError):
        tokens.ids("a\ud800")


@every_kind
def test_no_text_has_the_id_of_padding_and_an_empty_one_has_no_ids(kind: str) -> None:
    tokens = fitted(kind)

    assert len(tokens.ids("")) == 0
    assert all((tokens.ids(text) != 0).all() for text in [*TEXTS, *ODD])


@pytest.mark.parametrize("kind", ["words", "jieba", "rjieba"])
def test_white_space_is_no_token(kind: str) -> None:
    assert len(fitted(kind).ids(" \n\t\u3000")) == 0


def test_characters_are_numbered_by_frequency_then_by_code_point() -> None:
    tokens = fit(a_part("characters"), ["bbca", "ad"])

    assert isinstance(tokens, CharacterTokens)
    assert tokens.characters == "abcd"
    assert tokens.ids("dabz").tolist() == [FIRST + 3, FIRST, FIRST + 1, 1]


def test_characters_are_looked_up_as_the_file_does() -> None:
    tokens = fit(a_part("characters"), TEXTS)

    assert isinstance(tokens, CharacterTokens)
    text = "".join([*TEXTS, *ODD])
    code_points_T = code_points(text)
    np.testing.assert_array_equal(
        tokens.pages[tokens.places[code_points_T // 256], code_points_T % 256], tokens.ids(text)
    )


def test_code_points_are_only_folded() -> None:
    tokens = fit(a_part("code_points"), TEXTS)

    np.testing.assert_array_equal(tokens.ids("Aé中"), FOLD[code_points("Aé中")])
    assert tokens.size == CODE_POINTS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("We'll come back, OK?", ["we'll", "come", "back", ",", "ok", "?"]),
        ("don’t ''quote''", ["don’t", "'", "'", "quote", "'", "'"]),
        ("房间2间", ["房", "间", "2", "间"]),
        ("naïve cafe\u0301 3,5", ["naïve", "cafe\u0301", "3", ",", "5"]),
        ("カタカナとひらがな", ["カタカナ", "と", "ひ", "ら", "が", "な"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text: str, words: list[str]) -> None:
    found = fit(a_part("words"), [text]).as_document()["words"]

    assert set(found) == set(words)


def test_rare_tokens_and_those_beyond_the_vocabulary_are_unknown() -> None:
    texts = ["b b b a a d", "d c"]

    tokens = fit(a_part("words", min_count=2), texts)

    assert tokens.as_document()["words"] == ["b", "a", "d"]
    assert frequent_words(texts, str.split, min_count=1, vocabulary=2) == ("b", "a")
    assert tokens.ids("c a").tolist() == [1, FIRST + 1]


def test_very_long_words_are_never_known() -> None:
    assert fit(a_part("words"), ["x" * 65, "y" * 64]).as_document()["words"] == ["y" * 64]


def test_counting_words_forgets_the_rarest_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_store.tasks.text.tokenizers.vocabulary.MOST_COUNTED", 100)
    texts = [f"often w{number} sometimes{number % 7}" for number in range(1000)]

    words = frequent_words(texts, str.split, min_count=50, vocabulary=100)

    assert words[0] == "often"
    assert set(words[1:]) == {f"sometimes{number}" for number in range(7)}


def test_own_words_are_not_cut_by_rjieba() -> None:
    text = "无妻徒刑真好看"

    before, after = fitted("rjieba"), fitted("rjieba", own_words=["无妻徒刑"])

    assert len(after.ids(text)) < len(before.ids(text))
    assert after.as_document()["own_words"] == ["无妻徒刑"]


def test_own_words_of_jieba_are_one_models_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    jieba = pytest.importorskip("jieba", reason="jieba is an optional extra")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = "无妻徒刑真好看"

    after, before = fitted("jieba", own_words=["无妻徒刑"]), fitted("jieba")

    assert len(after.ids(text)) < len(before.ids(text))
    assert not jieba.dt.initialized, "the package's own dictionary is shared by all of the process"
    assert list(tmp_path.iterdir()) == [], "its cache is shared by all of the host"


@pytest.mark.parametrize("kind", ["jieba", "rjieba"])
def test_the_search_mode_adds_the_words_within_long_ones(kind: str) -> None:
    text = "中国科学院计算所"

    assert len(fitted(kind, mode="search").ids(text)) > len(fitted(kind).ids(text))


def test_byte_pairs_know_every_text() -> None:
    tokens = fitted("bpe")

    assert all((tokens.ids(text) != 1).all() for text in ODD)
    assert tokens.size <= FIRST + 300


def test_text_that_spells_a_special_token_is_cut_like_any_other() -> None:
    for kind in ("bpe", "unigram"):
        assert len(fitted(kind).ids("<unk>")) > 1


PROGRAM = """
import hashlib, json, sys
from tests.models_store.tasks.text.test_tokenizers import TEXTS, a_part
from models_store.tasks.text.tokenizers import fit
import random
random.seed(1)
words = "".join(TEXTS)
texts = ["".join(random.choices(words, k=40)) for _ in range(300)]
for kind in sys.argv[1:]:
    print(kind, hashlib.sha256(json.dumps(fit(a_part(kind), texts).as_document()).encode()).hexdigest())
"""


def test_fitting_gives_the_same_document_in_every_process() -> None:
    kinds = ["characters", "words", "rjieba", "bpe", "unigram"]

    found = {
        subprocess.run([sys.executable, "-c", PROGRAM, *kinds], check=True, capture_output=True).stdout
        for _ in range(2)
    }

    assert len(found) == 1


def test_pieces_are_learned_from_a_bounded_sample_that_is_always_the_same() -> None:
    texts = [f"text number {number}" for number in range(1000)]

    kept = list(sample(iter(texts), most=2000))

    assert 500 < sum(map(len, kept)) <= 2000
    assert kept == list(sample(iter(texts), most=2000))
    assert kept == sorted(kept, key=texts.index)


@pytest.mark.parametrize("kind", ["rjieba", "bpe", "unigram"])
def test_another_version_of_its_package_is_refused_by_both_versions(kind: str) -> None:
    document = fitted(kind).as_document()
    here = document["version"]

    with pytest.raises(TokenizerUnavailable, match=r"0\.0\.1") as caught:
        read(document | {"version": "0.0.1"})

    assert here in caught.value.detail
    assert (caught.value.status, caught.value.code) == (503, "tokenizer_unavailable")


def test_a_missing_package_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    document = fitted("rjieba").as_document()

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)

    with pytest.raises(TokenizerUnavailable, match=f"rjieba {document['version']}"):
        read(document)
    with pytest.raises(TokenizerUnavailable, match="jieba"):
        fit(a_part("jieba"), TEXTS)


def test_another_fold_or_kind_is_refused() -> None:
    document = fitted("words").as_document()

    with pytest.raises(TokenizerUnavailable, match="0123"):
        read(document | {"fold": "0123"})
    with pytest.raises(TokenizerUnavailable, match="mecab"):
        read(document | {"kind": "mecab"})


@every_kind
def test_facts_name_the_package_and_a_digest_of_what_was_learned(kind: str) -> None:
    document = fitted(kind).as_document()

    facts = facts_of(document)

    assert facts["kind"] == kind
    assert len(facts["vocabulary"]) == 64
    assert facts_of(document | {"words": ["other"]})["vocabulary"] != facts["vocabulary"]
    assert set(facts) <= {"kind", "package", "version", "fold", "vocabulary"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "characters", "min_count": 0},
        {"kind": "words", "vocabulary": 99},
        {"kind": "bpe", "vocabulary": 255},
        {"kind": "rjieba", "own_words": ["two words"]},
        {"kind": "jieba", "own_words": [""]},
        {"kind": "code_points", "vocabulary": 1000},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Tokenizer).validate_python(wrong)


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60).map(lambda text: text.replace("\0", " ")))
def test_any_text_has_ids_in_range(text: str) -> None:
    for tokens in PROPERTY_TOKENS:
        ids = tokens.ids(text)
        assert ((ids >= 1) & (ids < tokens.size)).all()
        if tokens.in_graph:
            assert len(ids) == len(text)


PROPERTY_TOKENS = [fit(a_part(kind), TEXTS) for kind in ("characters", "words", "bpe")]
