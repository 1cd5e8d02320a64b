"""Segmenters: functions from a folded text to its words, without the spaces between them."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from models_store.tasks.text.folding import TABLES, folded

Segment = Callable[[str], list[str]]
APOSTROPHES = "'\u2019"


def unicode_words() -> Segment:
    """Return the segmenter of words: letters, marks and digits, with single apostrophes between them; else one character."""
    return _pattern().findall


@functools.cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of one word, from the tables: which characters a class has depends on Python's version."""
    ranges = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in TABLES["words"])
    return re.compile(f"[{ranges}]+(?:[{APOSTROPHES}][{ranges}]+)*|[^ ]")


def jieba_words(*, mode: Literal["precise", "search"], hmm: bool, own_words: Sequence[str]) -> Segment:
    """Return the segmenter of the package jieba, with words of one's own: each has its own dictionary if it has any.

    Its initialisation is done here: jieba's own keeps a cache in the folder of temporary files, which every user of
    the host can write and which every process of any version trusts.
    """
    import jieba  # noqa: PLC0415  it takes a second to load, and is not installed everywhere

    frequencies, total = _jieba_dictionary()
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ = dict(frequencies) if own_words else frequencies
    tokenizer.total = total
    tokenizer.initialized = True
    for word in own_words:
        tokenizer.add_word(folded(word))
    cut = tokenizer.cut_for_search if mode == "search" else tokenizer.cut
    return lambda text: _without_spaces(cut(text, HMM=hmm))


@functools.cache
def _jieba_dictionary() -> tuple[dict[str, int], int]:
    import jieba  # noqa: PLC0415  the same

    tokenizer = jieba.Tokenizer()
    found: tuple[dict[str, int], int] = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    return found


def rjieba_words(*, mode: Literal["precise", "search"], hmm: bool, own_words: Sequence[str]) -> Segment:
    """Return the segmenter of the package rjieba, with words of one's own: each has its own dictionary if it has any."""
    jieba = _rjieba_dictionary() if own_words else _shared_rjieba_dictionary()
    for word in own_words:
        jieba.add_word(folded(word), None, None)
    cut = jieba.cut_for_search if mode == "search" else jieba.cut
    return lambda text: _without_spaces(cut(text, hmm))


def _rjieba_dictionary() -> Any:  # noqa: ANN401  it has no types
    import rjieba  # noqa: PLC0415  loaded when it is needed

    return rjieba.Jieba()


_shared_rjieba_dictionary = functools.cache(_rjieba_dictionary)


def _without_spaces(words: Any) -> list[str]:  # noqa: ANN401  an iterable of strings, from libraries without types
    return [word for word in words if not word.isspace()]
