"""Preview: a contact sheet of a few images of a dataset, changed as training would change them."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_store.spec.part import Part
from models_store.spec.vocabulary import Words
from models_store.tasks.image.augmentation import Augmentation
from models_store.tasks.image.input import Input
from models_store.tasks.image.synonyms import WORDS

MOST_PIXELS = 40_000_000


class PreviewInput(Input):
    """Size, channels and fit of the tiles."""

    size: int = Field(128, ge=16, le=512, description="side of each tile, in pixels")


class Preview(Part):
    """A contact sheet: each row shows an image, first unchanged and then in `views` changed copies."""

    words: ClassVar[Words] = WORDS

    augmentation: list[Augmentation] = Field(
        max_length=32, description="changes, as in a training spec; mixing parts mix the images of the sheet"
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="seed of all random numbers: the same seed gives the same sheet"
    )
    images: Annotated[int, Field(ge=1, le=32)] = Field(
        6, description="number of images of the train split, drawn evenly over the classes"
    )
    views: Annotated[int, Field(ge=1, le=32)] = Field(6, description="number of changed copies of each image")
    input: PreviewInput = Field(PreviewInput(), description="how images would become the input of the net")

    @model_validator(mode="after")
    def _refuse_what_is_too_large(self) -> "Preview":
        pixels = self.images * (self.views + 1) * self.input.size**2
        if pixels > MOST_PIXELS:
            raise PydanticCustomError(
                "sheet_too_large",
                "the sheet would have {pixels} pixels and may have {most}; ask for fewer images or views, or a smaller input.size",
                {"pixels": pixels, "most": MOST_PIXELS},
            )
        return self
