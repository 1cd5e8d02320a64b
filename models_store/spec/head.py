"""Head: the layers between the backbone's features and the classes."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part


class Head(Part):
    """Dense layers, each followed by an activation and dropout, then one linear layer to the classes."""

    hidden_sizes: list[Annotated[int, Field(ge=1, le=16_384)]] = Field(
        default_factory=list, max_length=8, description="sizes of the hidden layers, in order; empty: a linear head"
    )
    activation: Literal["relu", "tanh", "sigmoid"] = Field("relu", description="activation after each hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each hidden layer's activation")
