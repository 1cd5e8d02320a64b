"""Rules for names that people give: of datasets, files of weights, classes, labels and groups.

Letters of any language are allowed, with what its writing needs: joiners, soft hyphens, marks of direction, spaces of
any width. Refused is what makes a name look like another one or breaks a line: controls, overrides of direction, line
separators, halves of surrogate pairs, noncharacters.
"""

import unicodedata

LONGEST = 200
REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
OVERRIDES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # embeddings, overrides, isolates, and their ends
NONCHARACTERS = {
    *range(0xFDD0, 0xFDF0),
    *(plane + end for plane in range(0, 0x110000, 0x10000) for end in (0xFFFE, 0xFFFF)),
}


def fault(name: str) -> str | None:
    """Return why nothing may be called so, or None: a sentence's end, such as "has no character that can be seen"."""
    if not 0 < len(name) <= LONGEST:
        return f"has {len(name)} characters, and 1 to {LONGEST} are allowed"
    for character in name:
        if (kind := refused_kind(character)) is not None:
            return f"has {_described(character)}, {kind}; leave it out"
    if all(character.isspace() or unicodedata.category(character) == "Cf" for character in name):
        return "has no character that can be seen"
    return None


def refused_kind(character: str) -> str | None:
    """Return what the character is if no name may have it, else None."""
    if character.isprintable():
        return None
    if ord(character) in OVERRIDES:
        return "which changes the direction of what follows"
    if ord(character) in NONCHARACTERS:
        return "which Unicode keeps from being a character"
    return REFUSED_CATEGORIES.get(unicodedata.category(character))


def without_refused(text: str) -> str:
    """Return the text without the characters that no name may have."""
    return "".join(character for character in text if refused_kind(character) is None)


def _described(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
