"""Texts of an upload: their encoding, and what each of them is."""

# T code points of a text

import functools

import numpy as np

from models_store.datasets.example import Inspected
from models_store.datasets.manifest import Facts
from models_store.datasets.table_lines import Encoding, decoded
from models_store.errors import EspalierError
from models_store.tasks.text import likeness, scripts
from models_store.tasks.text.blank import is_blank
from models_store.tasks.text.codec import code_points_of, text_of
from models_store.tasks.text.folding import CodePoints
from models_store.tasks.text.last_lines import without_last_end

SUFFIX = "txt"
SPACES = (0x09, 0x0A, 0x0D)
FIRST_PRINTED, DELETE, LAST_CONTROL = 0x20, 0x7F, 0x9F
HAN = (0x3400, 0x9FFF)
"""code points of Chinese characters, all but the rare ones"""
MOST_SHARED = 10_000
"""different facts that are kept for the next text of the same: a million texts have some thousand lengths"""


def stored(data: bytes, encoding: Encoding) -> bytes:
    """Return a text's file as it is kept: in UTF-8, without a mark of the byte order and the end of its last line.

    Raises:
        TableRefused: if it is not in the encoding.
    """
    return without_last_end(decoded(data, encoding).encode())


def inspect(data: bytes) -> Inspected | str:
    """Return how long a text is, in what script, and what it shares with its copies; or why it can't be read."""
    try:
        text = text_of(data)
        code_points_T = code_points_of(text)
    except EspalierError as error:
        return error.detail
    if is_blank(code_points_T):
        return "the text is empty" if not len(code_points_T) else "the text is empty: nothing of it can be seen"
    bare_T = likeness.bare(code_points_T)
    han = _count(code_points_T, *HAN)
    facts = _facts(
        len(code_points_T), len(text.split()) + han, scripts.script_of(code_points_T), _controls(code_points_T)
    )
    return Inspected(SUFFIX, facts, alike=likeness.digest(bare_T), sketch=likeness.sketch(bare_T))


def _controls(code_points_T: CodePoints) -> int:
    """Return the number of control characters, without tabs and ends of lines."""
    low = code_points_T[code_points_T < FIRST_PRINTED]
    return len(low) - int(np.isin(low, SPACES).sum() if len(low) else 0) + _count(code_points_T, DELETE, LAST_CONTROL)


def _count(code_points_T: CodePoints, first: int, last: int) -> int:
    """Return the number of characters from `first` to `last`."""
    return int(np.count_nonzero((code_points_T >= first) & (code_points_T <= last)))


@functools.lru_cache(MOST_SHARED)
def _facts(characters: int, words: int, script: str, controls: int) -> Facts:
    facts = {"characters": characters, "words": words, "script": script}
    return facts | {"controls": controls} if controls else facts
