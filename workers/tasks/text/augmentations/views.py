"""Views of whole texts: other wordings that the dataset has for them."""

from models_store.tasks.text.augmentation import Paraphrases
from workers.tasks.text.augmentations.changes import Views, build
from workers.tasks.text.augmentations.material import Material


@build.register
def _(part: Paraphrases, material: Material) -> Views:
    paraphrases = material.paraphrases

    def change(text: str, draw: float) -> str:
        others = paraphrases.get(text, (text,))
        return others[int(draw * len(others))]

    return Views(part.probability, change)
