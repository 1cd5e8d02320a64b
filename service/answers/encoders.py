"""Answers about pretrained encoders: that of an uploaded file, and the one that a version started from."""

from typing import Literal

from pydantic import Field

from service.answers.answer import Answer


class EncoderArchitecture(Answer):
    """Net that the `config.json` of an encoder describes."""

    model_type: str = Field(description="`model_type` of its config.json")
    vocabulary: int = Field(description="tokens that have an embedding")
    positions: int = Field(description="largest number of tokens that it sees of a text")
    width: int = Field(description="features of a token")
    layers: int = Field(description="layers above the embedding")
    heads: int = Field(description="parts into which `width` is divided, each compared by itself")
    ffn: int = Field(description="width of the hidden layer after each comparison")
    activation: str = Field(description="function in the hidden layer")
    norm_epsilon: float = Field(description="added to the variance by its norms")


class EncoderFound(Answer):
    """Pretrained encoder in a file of weights."""

    architecture: EncoderArchitecture
    pooling: Literal["first", "mean", "max"] | None = Field(description="what its archive asks for; null: nothing")


class EncoderFile(Answer):
    """File of weights that an encoder is from."""

    name: str
    sha256: str


class EncoderTaken(Answer):
    """Pretrained encoder that a version started from."""

    weights: str | None = Field(description="id of the file of weights, which may be deleted by now")
    origin: EncoderFile | None
    architecture: EncoderArchitecture
    pooling: Literal["first", "mean", "max"] | None = Field(description="how the tokens' features become the text's")
