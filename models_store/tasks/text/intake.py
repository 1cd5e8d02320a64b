"""Texts of an archive: what each of them is."""

import functools

from models_store.datasets.example import Inspected
from models_store.datasets.manifest import Facts
from models_store.tasks.codec import BadExample
from models_store.tasks.text.codec import text_of

SUFFIX = "txt"
HAN = (0x3400, 0x9FFF)
"""code points of Chinese characters, all but the rare ones"""
MOST_SHARED = 10_000


def inspect(data: bytes) -> Inspected | str:
    """Return how long a text is and in what script; or why it can't be read."""
    try:
        text = text_of(data)
    except BadExample as error:
        return error.detail
    if not text.strip():
        return "the text is empty"
    han = sum(HAN[0] <= ord(character) <= HAN[1] for character in text)
    words = len(text.split()) + han
    return Inspected(SUFFIX, _lengths(len(text), words), {"han": han, "letters": sum(map(str.isalpha, text))})


@functools.lru_cache(MOST_SHARED)
def _lengths(characters: int, words: int) -> Facts:
    return {"characters": characters, "words": words}
