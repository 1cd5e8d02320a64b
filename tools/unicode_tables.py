"""Make the tables of `models_store/tasks/text/unicode_tables.json` from this Python's Unicode data.

Run as `python tools/unicode_tables.py`. Models of the tokenizers that fold outside their file are tied to the table:
after a change, the service refuses those that were trained before.
"""
# ruff: noqa: INP001  scripts, each run by its path; there is no package here

import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "models_store/tasks/text/unicode_tables.json"
SURROGATES = range(0xD800, 0xE000)
ALONE = (
    "CJK UNIFIED IDEOGRAPH",
    "CJK COMPATIBILITY IDEOGRAPH",
    "HIRAGANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
)
"""beginnings of the names of characters whose scripts put no spaces between words"""


def fold(character: str) -> str:
    """Return the one character that a character is folded to."""
    if character == "\0" or ord(character) in SURROGATES:
        return character
    if character.isspace() or unicodedata.category(character) == "Cc":
        return " "
    compatible = unicodedata.normalize("NFKC", character)
    narrow = compatible if len(compatible) == 1 else character
    lower = narrow.lower()
    return lower if len(lower) == 1 else narrow


def stands_alone(character: str) -> bool:
    """Return whether a character is a word by itself."""
    return unicodedata.category(character)[0] in "LMN" and unicodedata.name(character, "").startswith(ALONE)


def is_in_word(character: str) -> bool:
    """Return whether a character is a letter, a mark or a digit of a longer word."""
    return unicodedata.category(character)[0] in "LMN" and not stands_alone(character)


def ranges(wanted: Callable[[str], bool]) -> list[list[int]]:
    """Return the first and the last of each run of code points that are `wanted`."""
    found: list[list[int]] = []
    for code_point in range(sys.maxunicode + 1):
        if code_point in SURROGATES or not wanted(chr(code_point)):
            continue
        if found and found[-1][1] == code_point - 1:
            found[-1][1] = code_point
        else:
            found.append([code_point, code_point])
    return found


def tables() -> dict[str, object]:
    """Return what the file holds."""
    changed = [each for each in map(chr, range(sys.maxunicode + 1)) if fold(each) != each]
    return {
        "unicode": unicodedata.unidata_version,
        "fold": {"from": "".join(changed), "to": "".join(map(fold, changed))},
        "words": ranges(is_in_word),
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(tables()) + "\n")
