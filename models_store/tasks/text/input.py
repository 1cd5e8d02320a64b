"""Input of the net: how a text becomes numbers, and how long it may be."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part
from models_store.tasks.text.tokenizers.parts import Tokenizer


class TextInput(Part):
    """Tokens of a text. With `code_points` and `characters` the exported file takes the text itself, as code points."""

    tokenizer: Tokenizer | None = Field(
        None,
        description="what a text is cut into; null: chosen by the recipe: code_points for n-grams, characters for other backbones",
    )
    max_tokens: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="largest number of tokens that the net sees of a text; null: chosen by the recipe: enough for 95 of 100 training texts, at most 512, or up to 4,096 for models on n-grams of few texts",
    )
    truncate: Literal["end", "start", "middle"] = Field(
        "end", description="which part of a longer text is cut off; answers about it say `truncated`"
    )
