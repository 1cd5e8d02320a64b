"""Random changes of training texts, drawn anew in every batch: whole texts, words, characters, tokens, and mixing.

`Augmentation` applies the parts of a spec, and `build` says what one part does. Importing a file of parts registers
their builders.
"""

from workers.tasks.text.augmentations import characters, mixing, tokens, views, words
from workers.tasks.text.augmentations.application import Augmentation
from workers.tasks.text.augmentations.changes import build
from workers.tasks.text.augmentations.material import Material
from workers.tasks.text.augmentations.mixing import Mixed

__all__ = ["Augmentation", "Material", "Mixed", "build", "characters", "mixing", "tokens", "views", "words"]
