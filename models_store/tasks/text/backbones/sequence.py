"""Backbones that look at the tokens of a text in their order: each has an embedding of every token below it."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec import patterns
from models_store.spec.network import Network

WeightsId = Annotated[str, Field(pattern=patterns.WEIGHTS_ID)] | None


class SequenceNetwork(Network):
    """The base of networks above an embedding."""

    weights: WeightsId = Field(
        None,
        description="`wt_…`: vectors of words or characters that the embedding starts from (POST /weights: word2vec's text form, or a zip of a safetensors file and `vocabulary.json`); tokens without a vector start at random, and the job's log says how many have one; null: all start at random",
    )
    embedding: int = Field(128, ge=8, le=1024, description="numbers that stand for one token")
    embedding_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a number of an embedding is set to zero while training"
    )

    @property
    def takes_floats(self) -> bool:
        """Return False: it takes the numbers of tokens."""
        return False

    @property
    def has_vocabulary(self) -> bool:
        """Return True: it has a row of weights for each token."""
        return True

    @property
    def has_batch_norm(self) -> bool:
        """Return False: no network of texts has one."""
        return False


class TextCnn(SequenceNetwork):
    """Convolutions of several widths over the tokens, and the largest answer of each filter (Kim 2014, arXiv:1408.5882)."""

    kind: Literal["text_cnn"] = "text_cnn"
    kernels: list[Annotated[int, Field(ge=1, le=9)]] = Field(
        [2, 3, 4], min_length=1, max_length=6, description="widths of the convolutions, in tokens"
    )
    filters: int = Field(128, ge=4, le=1024, description="filters of each width")

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("embedding", "convolutions")

    @property
    def has_dynamic_layers(self) -> bool:
        """Return False: its layers are convolutions, and its file in 8 bits was 0.37 times as fast."""
        return False

    @property
    def has_linear_layers(self) -> bool:
        """Return False: its layers are convolutions."""
        return False
