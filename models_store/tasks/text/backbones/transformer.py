"""Transformer backbones: each token is compared with every other."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from models_store.spec.contradiction import contradiction
from models_store.tasks.text.backbones.sequence import SequenceNetwork

HeadsPooling = Annotated[
    Literal["max", "mean", "attention"],
    Field(
        description="how the features of the tokens become those of the text: the largest of each (max), their mean, or a mean with learned weights (attention)"
    ),
]


class Transformer(SequenceNetwork):
    """Transformer encoder (Vaswani et al. 2017, arXiv:1706.03762) from random weights, its norms before each branch (Xiong et al. 2020, arXiv:2002.04745)."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(2, ge=1, le=12, description="layers above the embedding")
    heads: int = Field(4, ge=1, le=16, description="parts into which `embedding` is divided, each compared by itself")
    ffn: int = Field(256, ge=16, le=4096, description="width of the hidden layer after each comparison")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout at the end of each branch, and of the comparisons")
    pooling: HeadsPooling = "mean"

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return ("embedding", *(f"layer{number}" for number in range(1, self.layers + 1)))

    @property
    def has_drop_path(self) -> bool:
        """Return True: each layer has two residual branches."""
        return True

    @property
    def has_channels(self) -> bool:
        """Return False: its width is that of every layer, and its heads are not cut."""
        return False

    @model_validator(mode="after")
    def _refuse_uneven_heads(self) -> "Transformer":
        if self.embedding % self.heads:
            raise contradiction(
                "heads",
                f"`embedding` {self.embedding} can't be divided into {self.heads} equal parts",
                [heads for heads in range(1, 17) if self.embedding % heads == 0],
            )
        return self
