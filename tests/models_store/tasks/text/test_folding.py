import runpy
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.tasks.text.folding import CODE_POINTS, FOLD, FOLD_ID, PAGE, TABLES, code_points, folded, pages

TOOL = Path("tools/unicode_tables.py")
LOOKED_AT = [*range(0xD800), *range(0xE000, 0x20000), *range(0x2F800, 0x2FA20)]
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("ÄRGER", "ärger"),
        ("ＡＢＣ，１２３！", "abc,123!"),
        ("全角　空白", "全角 空白"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("K (Kelvin: \u212a)", "k (kelvin: k)"),
        ("a\tb\r\nc\x7f\x85\u2028d", "a b  c   d"),
        ("ﬁ Ⅷ İ", "ﬁ ⅷ İ"),  # what would become several characters stays, but for its case
        ("繁體字", "繁體字"),
        ("e\u0301 \U0001f468\u200d\U0001f469", "e\u0301 \U0001f468\u200d\U0001f469"),
        ("", ""),
    ],
)
def test_case_width_and_white_space_are_folded_one_to_one(given_: str, expected: str) -> None:
    assert folded(given_) == expected


def test_padding_stays_padding_and_nothing_else_becomes_it() -> None:
    assert FOLD[0] == 0
    assert np.flatnonzero(FOLD == 0).tolist() == [0]


@given(TEXTS)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    once = folded(text)

    assert len(once) == len(text)
    assert folded(once) == once


def test_the_whole_table_is_folded_already() -> None:
    np.testing.assert_array_equal(FOLD[FOLD], FOLD)


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        code_points("a\ud800b")


@pytest.mark.skipif(
    unicodedata.unidata_version != TABLES["unicode"], reason="this Python has another version of Unicode"
)
def test_the_tables_are_those_that_the_tool_makes() -> None:
    tool = runpy.run_path(str(TOOL))

    assert [chr(FOLD[each]) for each in LOOKED_AT] == [tool["fold"](chr(each)) for each in LOOKED_AT]
    in_words = {each for first, last in TABLES["words"] for each in range(first, last + 1)}
    assert [each in in_words for each in LOOKED_AT] == [tool["is_in_word"](chr(each)) for each in LOOKED_AT]


def test_characters_that_this_python_knows_too_are_folded_as_it_would() -> None:
    """Unicode never changes the compatibility form and the lower case of a character once it is assigned."""
    for before, after in zip(TABLES["fold"]["from"], TABLES["fold"]["to"], strict=True):
        if unicodedata.category(before) not in {"Cn", "Cc"} and not before.isspace():
            compatible = unicodedata.normalize("NFKC", before)
            assert after in {compatible.lower(), before.lower()}, hex(ord(before))


def test_the_table_has_a_version_that_changes_with_its_entries() -> None:
    """Models of tokenizers outside the file are tied to this: a change refuses them, so it must be meant."""
    assert FOLD_ID == "42c2bb75f129915c"


def test_pages_hold_the_table() -> None:
    places, found = pages(FOLD)

    all_code_points = np.arange(CODE_POINTS)
    np.testing.assert_array_equal(found[places[all_code_points // PAGE], all_code_points % PAGE], FOLD)
    assert (places.shape, found.shape[1], places.dtype, found.dtype) == ((4352,), 256, np.int32, np.int32)
