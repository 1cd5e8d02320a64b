"""Names that people give: letters of any language, and nothing that hides or breaks a line."""

import pytest

from models_store import names


@pytest.mark.parametrize(
    ("name", "code_point"),
    [
        ("a\0b", "U+0000"),
        ("a\tb", "U+0009"),
        ("a\r\nb", "U+000D"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("\x1b[31mred", "U+001B"),
        ("photo\u202egpj", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("a\u202a", "U+202A (LEFT-TO-RIGHT EMBEDDING)"),
        ("\u2067a", "U+2067 (RIGHT-TO-LEFT ISOLATE)"),
        ("a\u2069", "U+2069 (POP DIRECTIONAL ISOLATE)"),
        ("a\u2028b", "U+2028 (LINE SEPARATOR)"),
        ("a\u2029b", "U+2029 (PARAGRAPH SEPARATOR)"),
        ("a\ud800", "U+D800"),
        ("a\uffff", "U+FFFF"),
        ("a\ufdd0", "U+FDD0"),
        ("a\U0010fffe", "U+10FFFE"),
    ],
)
def test_a_character_that_deceives_or_breaks_is_named_by_its_code_point(name: str, code_point: str) -> None:
    assert code_point in (names.fault(name) or "")
    assert names.fault(names.without_refused(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        "leaves",
        "Blätter 3",
        "نمی\u200cکنم",  # a joiner's opposite, as Persian writes it
        "क्\u200dष",
        "東京\u3000駅",
        "dix\u00a0000",
        "Donau\u00addampf",
        "שלום\u200f",
        "👩\u200d🌾",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "e\u0301",
        "a" * 200,
    ],
)
def test_letters_of_any_language_are_allowed(name: str) -> None:
    assert names.fault(name) is None
    assert names.without_refused(name) == name


@pytest.mark.parametrize("name", ["", " ", "\u3000\u00a0", "\u200b\u200d", "\ufeff", "a" * 201])
def test_a_name_has_something_to_see_and_an_end(name: str) -> None:
    assert names.fault(name)
