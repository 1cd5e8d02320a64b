"""Table of folded code points: case, width and compatibility forms, the same in training, serving and the files.

Each code point becomes one other or stays, so that a file's graph can look it up: the compatibility form (NFKC) of the
single character and its lower case, where they are one character; white space and control characters become a space.
0 stays 0: it is the padding, and no text may hold it.

The table is data (`unicode_tables.json`, made by `tools/unicode_tables.py`), never this Python's own knowledge of
Unicode: a service with another Python must fold as the training did.
"""

# T code points of a text

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODE_POINTS = 0x110000
PAGE = 256
CodePoints = NDArray[np.int32]
TABLES: dict[str, Any] = json.loads(Path(__file__).with_name("unicode_tables.json").read_text())
"""`unicode` (its version), `fold` (`from` and `to`, of equal length), and `words`: ranges of what is in words, folded"""


def code_points(text: str) -> CodePoints:
    """Return the code points of a text, int32 (T,).

    Raises:
        UnicodeEncodeError: if it has a lone surrogate.
    """
    return np.frombuffer(text.encode("utf-32-le"), "<i4").astype(np.int32, copy=False)


def text_of(code_points_T: CodePoints) -> str:
    """Return the text that has these code points."""
    return code_points_T.astype("<i4", copy=False).tobytes().decode("utf-32-le")


def folded(text: str) -> str:
    """Return the text with each code point folded; it has the same length.

    Raises:
        UnicodeEncodeError: if it has a lone surrogate.
    """
    return text_of(FOLD[code_points(text)])


def _table() -> CodePoints:
    table = np.arange(CODE_POINTS, dtype=np.int32)
    table[code_points(TABLES["fold"]["from"])] = code_points(TABLES["fold"]["to"])
    table.flags.writeable = False
    return table


FOLD = _table()
"""code point → folded code point, int32 (0x110000,)"""

FOLD_ID = hashlib.sha256(FOLD.astype("<i4", copy=False).tobytes() + json.dumps(TABLES["words"]).encode()).hexdigest()[
    :16
]
"""version of the tables: it changes with any entry"""


def pages(table: CodePoints) -> tuple[CodePoints, CodePoints]:
    """Return a table of all code points as pages: `table[c] == pages[places[c // 256], c % 256]`; equal pages are one.

    The first is `places`, int32 (4352,); the second is `pages`, int32 (P, 256).
    """
    numbers: dict[bytes, int] = {}
    rows = table.reshape(-1, PAGE)
    places = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows], np.int32)
    found = np.frombuffer(b"".join(numbers), np.int32).reshape(-1, PAGE)
    return places, found
