"""Preview: a few texts of a dataset, changed as training would change them."""

from typing import Annotated, ClassVar

from pydantic import Field

from models_store.spec.part import Part
from models_store.spec.vocabulary import Words
from models_store.tasks.text.augmentation import Augmentation
from models_store.tasks.text.synonyms import WORDS


class TextPreview(Part):
    """Texts of the train split beside their changed copies: by each part alone, and by all of them as in training."""

    words: ClassVar[Words] = WORDS

    augmentation: list[Augmentation] = Field(
        max_length=32, description="changes, as in a training spec; mixing parts mix the texts of the preview"
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="seed of all random numbers: the same seed gives the same preview"
    )
    texts: Annotated[int, Field(ge=1, le=32)] = Field(
        6, description="number of texts of the train split, drawn evenly over the classes"
    )
    views: Annotated[int, Field(ge=1, le=32)] = Field(
        3, description="number of copies of each text that are changed by all parts together"
    )
