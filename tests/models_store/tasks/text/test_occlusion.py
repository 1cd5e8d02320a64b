"""Parts of a text that are left out one after the other."""

import numpy as np
import pytest

from models_store.tasks.explanation import MOST_PARTS
from models_store.tasks.text.occlusion import TextOcclusion, parts_of


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in parts_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", ["  "]),
        ("don't say 'no'", ["don't ", "say ", "'", "no'"]),
        ("  很好,good film!!", ["  很", "好", ",", "good ", "film", "!", "!"]),
        ("한국어 좋아요", ["한국어 ", "좋아요"]),
        ("e\u0301te\u0301 ok", ["e\u0301te\u0301 ", "ok"]),
        ("👨\u200d👩 x", ["👨\u200d", "👩 ", "x"]),
        ("\u0301x", ["\u0301", "x"]),
        ("a\nb\t", ["a\n", "b\t"]),
    ],
)
def test_words_are_parts_and_characters_that_no_spaces_separate(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize("length", [MOST_PARTS, MOST_PARTS + 1, 10_000])
def test_a_long_text_has_no_more_parts_than_are_allowed_and_they_cover_it(length: int) -> None:
    text = "很" * length

    found = parts(text)

    assert len(found) == MOST_PARTS
    assert "".join(found) == text
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_each_copy_lacks_one_part_and_its_loss_is_that_parts_weight() -> None:
    occlusion = TextOcclusion("not good", str.upper)

    copies, shown = list(occlusion.copies()), occlusion.show(np.array([0.5, -0.25]))

    assert copies == ["GOOD", "NOT "]
    assert shown == {
        "weights": [
            {"text": "not ", "start": 0, "end": 4, "weight": 0.5},
            {"text": "good", "start": 4, "end": 8, "weight": -0.25},
        ]
    }
