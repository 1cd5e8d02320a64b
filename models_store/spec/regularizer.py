"""What may hold the weights back: penalties and noise."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part


class L1(Part):
    """Add `strength * sum(|w|)` of the trained weights (not of norms and biases) to the loss."""

    kind: Literal["l1"] = "l1"
    strength: float = Field(1e-5, ge=0, le=1, description="factor before the sum of absolute weights")


class L2(Part):
    """Add `strength / 2 * sum(w^2)` of the trained weights (not of norms and biases) to the loss. Beside it stands `optimizer.weight_decay`."""

    kind: Literal["l2"] = "l2"
    strength: float = Field(1e-4, ge=0, le=1, description="factor before half the sum of squared weights")


class Dropout(Part):
    """Zero features before the head's last layer at random while training (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: float = Field(0.2, ge=0, lt=1, description="how often a feature is zeroed")


Regularizer = Annotated[L1 | L2 | Dropout, Field(discriminator="kind")]
