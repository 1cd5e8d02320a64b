"""Recurrent backbones: they read the tokens of a text one after the other, each to the text's own end."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.tasks.text.backbones.sequence import SequenceNetwork

Pooling = Annotated[
    Literal["last", "max", "mean", "attention"],
    Field(
        description="how the features of the tokens become those of the text: after the last token (last; from the other end, after the first), the largest of each (max), their mean, or a mean with learned weights (attention)"
    ),
]


class RecurrentNetwork(SequenceNetwork):
    """The base of recurrent networks."""

    kind: Literal["rnn", "lstm", "gru"]
    width: int = Field(128, ge=4, le=1024, description="features that a layer has of each token, in each direction")
    layers: int = Field(
        1, ge=1, le=4, description="layers above the embedding, each fed with the features of the one before"
    )
    bidirectional: bool = Field(
        default=True, description="whether each layer reads the text from both ends; else from its beginning"
    )
    pooling: Pooling = "max"
    dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a feature that a layer is fed with is set to zero while training"
    )

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("embedding", *(f"layer{number}" for number in range(1, self.layers + 1)))

    @property
    def has_channels(self) -> bool:
        """Return False: a step's features are the next step's input, so none can be removed by itself."""
        return False

    @property
    def has_static_layers(self) -> bool:
        """Return False: ranges that are read beforehand fit no step of a recurrent layer."""
        return False

    @property
    def has_dynamic_layers(self) -> bool:
        """Return whether it is an LSTM: there are kernels for no other recurrent layer."""
        return self.kind == "lstm"

    @property
    def has_linear_layers(self) -> bool:
        """Return False: its layers are recurrent."""
        return False


class Rnn(RecurrentNetwork):
    """Elman's recurrent network (1990), with tanh: the simplest, for short texts."""

    kind: Literal["rnn"] = "rnn"


class Lstm(RecurrentNetwork):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    kind: Literal["lstm"] = "lstm"


class Gru(RecurrentNetwork):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078): three quarters of an LSTM's work."""

    kind: Literal["gru"] = "gru"
