"""Scripts of texts, by ranges of code points: enough to tell whether a set is of one language or of several."""

# T code points of a text

import functools

import numpy as np
from numpy.typing import NDArray

from models_store.tasks.text.folding import CODE_POINTS, CodePoints

RANGES: tuple[tuple[int, int, str], ...] = (
    (0x41, 0x5A, "latin"),
    (0x61, 0x7A, "latin"),
    (0xC0, 0x24F, "latin"),
    (0x370, 0x3FF, "greek"),
    (0x400, 0x52F, "cyrillic"),
    (0x590, 0x5FF, "hebrew"),
    (0x600, 0x77F, "arabic"),
    (0x900, 0x97F, "devanagari"),
    (0x980, 0xDFF, "indic"),
    (0xE00, 0xE7F, "thai"),
    (0x1100, 0x11FF, "hangul"),
    (0x1E00, 0x1EFF, "latin"),
    (0x3040, 0x30FF, "kana"),
    (0x3400, 0x4DBF, "han"),
    (0x4E00, 0x9FFF, "han"),
    (0xAC00, 0xD7A3, "hangul"),
    (0xF900, 0xFAFF, "han"),
    (0xFF21, 0xFF5A, "latin"),
    (0xFF66, 0xFF9D, "kana"),
    (0x20000, 0x3FFFF, "han"),
)
OTHER = "other"
NAMES = [OTHER, *sorted({name for _, _, name in RANGES})]
KANA = NAMES.index("kana")


def script_of(code_points_T: CodePoints) -> str:
    """Return the script that most of a text's letters are of; kana makes a text Japanese, which is mostly Han."""
    counts = np.bincount(_scripts()[code_points_T], minlength=len(NAMES))
    counts[0] = 0  # of no script
    return "kana" if 10 * counts[KANA] > counts.sum() else NAMES[int(counts.argmax())]


@functools.cache
def _scripts() -> NDArray[np.uint8]:
    """Return for each code point the number of its script."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for start, end, name in RANGES:
        table[start : end + 1] = NAMES.index(name)
    return table
