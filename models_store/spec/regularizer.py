"""Regularizers: penalties, noise, averages, and limits of the weights.

"Weights" are the matrices and kernels that train, without norms and biases. Label smoothing is part of the loss, weight
decay of the optimizer, early stopping of `training`.
"""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part


class L1(Part):
    """Add `strength * sum(|w|)` of the weights to the loss (Tibshirani 1996)."""

    kind: Literal["l1"] = "l1"
    strength: float = Field(1e-5, ge=0, le=1, description="factor of the sum of absolute weights")


class L2(Part):
    """Add `strength / 2 * sum(w^2)` of the weights to the loss, or shrink the weights directly. `optimizer.weight_decay` is added to it."""

    kind: Literal["l2"] = "l2"
    strength: float = Field(1e-4, ge=0, le=1, description="factor of half the sum of squared weights")
    decoupled: bool = Field(
        default=False,
        description="multiply the weights by 1 - learning rate * strength at each step, independent of the loss and the optimizer's moments (Loshchilov and Hutter 2017, arXiv:1711.05101)",
    )


class Elastic(Part):
    """Elastic net (Zou and Hastie 2005): add `strength * (l1_ratio * sum(|w|) + (1 - l1_ratio) / 2 * sum(w^2))` to the loss."""

    kind: Literal["elastic"] = "elastic"
    strength: float = Field(1e-5, ge=0, le=1, description="factor of both sums")
    l1_ratio: float = Field(
        0.5, ge=0, le=1, description="share of the absolute weights; the rest is the share of the squared weights"
    )


class L2Sp(Part):
    """Pull the backbone's weights toward their start, and the head's toward zero (Li et al. 2018, arXiv:1802.01483)."""

    kind: Literal["l2_sp"] = "l2_sp"
    strength: float = Field(
        0.01, ge=0, le=10, description="factor of half the squared distance of the backbone's weights to the start"
    )
    head_strength: float = Field(0.01, ge=0, le=10, description="factor of half the sum of the head's squared weights")


class Dropout(Part):
    """Zero features before the head's last layer at random while training (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: float = Field(0.2, ge=0, lt=1, description="probability that a feature is set to zero")


class DropPath(Part):
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): leave out whole residual branches at random while training; for backbones that have them."""

    kind: Literal["drop_path"] = "drop_path"
    probability: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="probability that the last branch is left out; it rises linearly from the first branch to this value",
    )


class MaxNorm(Part):
    """Limit the L2 norm of each unit's incoming weights after every step (Srivastava et al. 2014, section 5.1)."""

    kind: Literal["max_norm"] = "max_norm"
    limit: float = Field(3.0, gt=0, le=1000, description="largest norm of the weights of one output unit or channel")


class ConfidencePenalty(Part):
    """Subtract `strength` times the entropy of the net's answers from the loss (Pereyra et al. 2017, arXiv:1701.06548)."""

    kind: Literal["confidence_penalty"] = "confidence_penalty"
    strength: float = Field(0.1, ge=0, le=10, description="factor of the mean entropy, in nats")


class Ema(Part):
    """Keep an exponential moving average of the weights, and validate and publish the average (Tarvainen and Valpola 2017, arXiv:1703.01780)."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="share of the average kept at each step; at most 1 - 1 / (steps + 1), so that early steps are soon forgotten",
    )


class Swa(Part):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407): the mean of the last epochs' weights is validated and published, with new statistics for batch norm."""

    kind: Literal["swa"] = "swa"
    start: float = Field(0.75, ge=0, lt=1, description="share of the epochs after which averaging begins")
    lr_fraction: float | None = Field(
        0.1,
        gt=0,
        le=1,
        description="constant learning rate while averaging, as a share of the peak; null: the schedule's",
    )


class Sam(Part):
    """Sharpness-aware minimisation (Foret et al. 2020, arXiv:2010.01412): each step's gradient is computed where the loss is highest nearby; a step takes twice the time."""

    kind: Literal["sam"] = "sam"
    rho: float = Field(
        0.05,
        gt=0,
        le=10,
        description="how far to look, as an L2 norm over all weights; use ten times the value with `adaptive`",
    )
    adaptive: bool = Field(
        default=False,
        description="measure the distance in units of each weight's size (ASAM, Kwon et al. 2021, arXiv:2102.11600)",
    )


Regularizer = Annotated[
    L1 | L2 | Elastic | L2Sp | Dropout | DropPath | MaxNorm | ConfidencePenalty | Ema | Swa | Sam,
    Field(discriminator="kind"),
]
