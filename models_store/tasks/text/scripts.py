"""Scripts of texts, by ranges of code points: enough to tell whether a set is of one language or of several."""

# T code points of a text

import numpy as np

from models_store.tasks.text.folding import CodePoints

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
NAMES = sorted({name for _, _, name in RANGES})
OTHER = "other"
_STARTS = np.array([start for start, _, _ in RANGES])
_ENDS = np.array([end for _, end, _ in RANGES])
_SCRIPTS = np.array([NAMES.index(name) for _, _, name in RANGES])


def script_of(code_points_T: CodePoints) -> str:
    """Return the script that most of a text's letters are of; kana makes a text Japanese, which is mostly Han."""
    places_T = np.searchsorted(_STARTS, code_points_T, side="right") - 1
    is_inside_T = (places_T >= 0) & (code_points_T <= _ENDS[places_T])
    counts = np.bincount(_SCRIPTS[places_T[is_inside_T]], minlength=len(NAMES))
    if not counts.any():
        return OTHER
    kana = NAMES.index("kana")
    return "kana" if 10 * counts[kana] > counts.sum() else NAMES[int(counts.argmax())]
