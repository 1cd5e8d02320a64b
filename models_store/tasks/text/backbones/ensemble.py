"""Ensemble: several backbones on the same tokens, each with an output layer of its own, in one file."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.network import Network
from models_store.tasks.text.backbones.ngrams import NbLinear, NgramBag, TfidfLinear
from models_store.tasks.text.backbones.recurrent import Gru, Lstm, Rnn
from models_store.tasks.text.backbones.sequence import TextCnn
from models_store.tasks.text.backbones.transformer import Transformer

Member = Annotated[
    TfidfLinear | NbLinear | NgramBag | TextCnn | Rnn | Lstm | Gru | Transformer, Field(discriminator="kind")
]


class Ensemble(Network):
    """The mean of what its members answer (their logits). Each learns by itself, from a loss of its own."""

    kind: Literal["ensemble"] = "ensemble"
    weights: None = Field(None, description="null: all members start from the training texts, or at random")
    members: list[Member] = Field(
        [TfidfLinear(), NbLinear()],
        min_length=2,
        max_length=8,
        description="the backbones; those that need a vocabulary take `input.tokenizer: characters`, those on n-grams alone code_points",
    )

    @property
    def takes_floats(self) -> bool:
        """Return False: it takes the numbers of tokens."""
        return False

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts: there is one."""
        return ("members",)

    @property
    def has_channels(self) -> bool:
        """Return whether a member has channels that can be removed."""
        return any(member.has_channels for member in self.members)

    @property
    def has_vocabulary(self) -> bool:
        """Return True: every member has a row of weights for each token or n-gram."""
        return True

    @property
    def has_static_layers(self) -> bool:
        """Return whether a member has layers whose activations fit ranges that are read beforehand."""
        return any(member.has_static_layers for member in self.members)

    @property
    def has_dynamic_layers(self) -> bool:
        """Return whether a member has layers whose activations can be rounded at each call."""
        return any(member.has_dynamic_layers for member in self.members)

    @property
    def has_linear_layers(self) -> bool:
        """Return whether a member has linear layers."""
        return any(member.has_linear_layers for member in self.members)
