"""Blank texts: white space and characters that are never drawn (Unicode's White_Space and Default_Ignorable_Code_Point).

The ranges are written out, so that all Pythons agree.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from models_store.tasks.text.folding import CODE_POINTS, CodePoints

RANGES = (
    (0x00, 0x20),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x1680, 0x1680),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2000, 0x200F),
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0x2800, 0x2800),  # Braille without a dot
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


def is_blank(code_points_T: CodePoints) -> bool:  # T code points of a text
    """Return whether nothing of a text can be seen."""
    if not len(code_points_T):
        return True
    table = _table()
    return bool(table[code_points_T[0]]) and bool(table[code_points_T].all())  # nearly all texts begin with a letter


@functools.cache
def _table() -> NDArray[np.bool_]:
    table = np.zeros(CODE_POINTS, np.bool_)
    for first, last in RANGES:
        table[first : last + 1] = True
    return table
