"""Sources of augmentation: what its parts take from the training rows of a dataset."""

# N texts, L code points

from collections.abc import Sequence

import numpy as np

from models_store.spec.part import Part
from models_store.tasks.text.augmentation import Homophones, Paraphrases
from models_store.tasks.text.folding import CODE_POINTS as LARGEST
from workers.tasks.text.augmentations.letters import texts_of
from workers.tasks.text.augmentations.material import Material
from workers.tasks.text.examples import TextExamples

AT_ONCE = 1024
"""texts that are looked at together"""


def material_of(parts: Sequence[Part], examples: TextExamples) -> Material:
    """Return what the parts need of the training rows, and no more of it."""
    kinds = {type(part) for part in parts}
    return Material(
        synonyms=examples.synonyms,
        paraphrases=_paraphrases_of(examples) if Paraphrases in kinds else {},
        characters=_characters_of(examples) if Homophones in kinds else "",
    )


def _paraphrases_of(examples: TextExamples) -> dict[str, tuple[str, ...]]:
    """Return training text → its paraphrases; those of other rows are never seen."""
    codes_NL = examples.code_points
    rows = [row for row in examples.split("train").tolist() if row in examples.paraphrases]
    return {texts_of(codes_NL[row : row + 1])[0]: examples.paraphrases[row] for row in rows}


def _characters_of(examples: TextExamples) -> str:
    """Return the different characters of the training texts."""
    codes_NL, rows = examples.code_points, examples.split("train")
    is_there = np.zeros(LARGEST, dtype=np.bool_)
    for start in range(0, len(rows), AT_ONCE):
        is_there[codes_NL[rows[start : start + AT_ONCE]]] = True
    is_there[0] = False
    return "".join(map(chr, np.flatnonzero(is_there)))
