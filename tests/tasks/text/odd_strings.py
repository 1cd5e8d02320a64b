"""Ten thousand odd strings, the same on every run: what a client may send, and some that are no text."""

import random
import re
from collections.abc import Callable

COUNT = 10_000
LONGEST = 100_000
PEOPLE, TONES, SIGNS = (
    "\U0001f468\U0001f469\U0001f467\U0001f466",
    "\U0001f3fb\U0001f3fd\U0001f3ff",
    "\u2764\u2640\u2695\u2708",
)
JOINER, VARIATION, KEYCAP = "\u200d", "\ufe0f", "\u20e3"
BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069\u200e\u200f"
MARKS = "".join(map(chr, range(0x300, 0x370)))
BYTE_ORDER_MARK = "\ufeff"
HALF = re.compile("[\ud800-\udfff]")


def odd_strings(count: int = COUNT) -> list[str]:
    """Return strings of all kinds in turn, and at the end the longest that is taken and the shortest that is not."""
    chance = random.Random(14)
    kinds = list(KINDS.values())
    strings = [kinds[number % len(kinds)](chance) for number in range(count - 6)]
    return [
        *strings,
        "",
        "a" * LONGEST,
        "\u4e2d" * LONGEST,
        "e\u0301" * (LONGEST // 2),
        "a" * (LONGEST + 1),
        "\U0001f600" * (LONGEST + 1),
    ]


def is_text(string: str) -> bool:
    """Return whether a string is taken: it has no NUL, no half of a pair, and 100,000 characters at most."""
    text = string.removeprefix(BYTE_ORDER_MARK)
    return "\0" not in text and not HALF.search(text) and len(text) <= LONGEST


def _some(chance: random.Random, characters: str, most: int) -> str:
    return "".join(chance.choices(characters, k=chance.randint(1, most)))


def _range(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


ARABIC, HEBREW = _range(0x621, 0x64A), _range(0x5D0, 0x5EA)
THAI, HANGUL = _range(0xE01, 0xE3A), _range(0xAC00, 0xAC80)
WIDE, NARROW_KATAKANA = _range(0xFF01, 0xFF5E) + "\u3000\uffe5", _range(0xFF61, 0xFF9F)
SIMPLE, TRADITIONAL = (
    "\u8fd9\u4e2a\u623f\u95f4\u5f88\u5e72\u51c0\u670d\u52a1",
    "\u9019\u500b\u623f\u9593\u5f88\u4e7e\u6de8\u670d\u52d9\u81fa\u7063",
)
COMPATIBLE = (
    _range(0xF900, 0xF9FF)
    + _range(0x2460, 0x24FF)
    + _range(0xFB00, 0xFB06)
    + _range(0x3300, 0x33FF)
    + "\u212a\u2126\u1e9e\u0130"
)
LATIN = _range(0x20, 0x7E) + _range(0xA0, 0x17F)
CONTROL = _range(0x01, 0x1F) + _range(0x7F, 0x9F) + "\u2028\u2029\u00ad\u200b\u2060"

ANY = (*range(1, 0xD800), *range(0xE000, 0x110000, 17))


def _family(chance: random.Random) -> str:
    members = [chance.choice(PEOPLE) + chance.choice(["", *TONES]) for _ in range(chance.randint(1, 4))]
    return JOINER.join([*members, chance.choice(SIGNS) + VARIATION]) + _some(chance, LATIN, 5)


def _anywhere(chance: random.Random) -> str:
    return "".join(chr(each) for each in chance.choices(ANY, k=chance.randint(1, 8)))


def _mixed(chance: random.Random) -> str:
    return "".join(
        _some(chance, chance.choice([LATIN, SIMPLE, TRADITIONAL, ARABIC, THAI, WIDE, MARKS]), 6) for _ in range(8)
    )


KINDS: dict[str, Callable[[random.Random], str]] = {
    "emoji": _family,
    "flags and keycaps": lambda chance: _some(chance, _range(0x1F1E6, 0x1F1FF), 6) + "1" + VARIATION + KEYCAP,
    "right to left": lambda chance: (
        _some(chance, ARABIC, 20) + chance.choice(BIDIRECTIONAL) + _some(chance, HEBREW + " ", 20)
    ),
    "full width": lambda chance: _some(chance, WIDE + NARROW_KATAKANA, 30),
    "traditional": lambda chance: _some(chance, TRADITIONAL + SIMPLE, 40),
    "compatible": lambda chance: _some(chance, COMPATIBLE, 20),
    "combining": lambda chance: "".join(
        letter + _some(chance, MARKS, 12) for letter in _some(chance, "aeiou\u4e2d", 6)
    ),
    "one character": lambda chance: chr(chance.choice(ANY)),
    "anywhere": _anywhere,
    "scripts": lambda chance: _some(chance, THAI, 20) + " " + _some(chance, HANGUL, 20),
    "controls": lambda chance: _some(chance, CONTROL + "ab", 20),
    "white space": lambda chance: _some(chance, " \t\n\r\u3000\u00a0", 10),
    "newline at the end": lambda chance: _some(chance, LATIN, 40) + chance.choice(["\n", "\r\n", "\n\n", " "]),
    "byte order mark": lambda chance: BYTE_ORDER_MARK + _some(chance, LATIN + BYTE_ORDER_MARK, 10),
    "special tokens": lambda chance: " ".join(
        chance.choices(["<unk>", "[PAD]", "[UNK]", "</s>", "<0x0A>", "\u2581", "a"], k=4)
    ),
    "longer than a net sees": lambda chance: _mixed(chance) * chance.randint(1, 4),
    "mixed": _mixed,
    "digits": lambda chance: _some(chance, "0123456789.,-" + _range(0x660, 0x669) + _range(0xFF10, 0xFF19), 20),
    "nul": lambda chance: _some(chance, LATIN, 10) + "\0" + _some(chance, LATIN + "\0", 3),
    "half of a pair": lambda chance: (
        _some(chance, LATIN, 5) + chr(chance.randint(0xD800, 0xDFFF)) + _some(chance, SIMPLE, 5)
    ),
}
"""what a string is like \u2192 one of them"""
