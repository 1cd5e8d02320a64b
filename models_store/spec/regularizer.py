"""What may hold the weights back: penalties, noise, averages, and limits.

"Weights" are the matrices and kernels that train, without norms and biases. Label smoothing stands in the loss, weight
decay in the optimizer, early stopping in `training`.
"""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part


class L1(Part):
    """Add `strength * sum(|w|)` of the weights to the loss (Tibshirani 1996)."""

    kind: Literal["l1"] = "l1"
    strength: float = Field(1e-5, ge=0, le=1, description="factor before the sum of absolute weights")


class L2(Part):
    """Add `strength / 2 * sum(w^2)` of the weights to the loss, or shrink them beside it. `optimizer.weight_decay` comes on top."""

    kind: Literal["l2"] = "l2"
    strength: float = Field(1e-4, ge=0, le=1, description="factor before half the sum of squared weights")
    decoupled: bool = Field(
        default=False,
        description="multiply the weights by 1 - learning rate * strength at each step, past the loss and the optimizer's moments (Loshchilov and Hutter 2017, arXiv:1711.05101)",
    )


class Elastic(Part):
    """Elastic net (Zou and Hastie 2005): add `strength * (l1_ratio * sum(|w|) + (1 - l1_ratio) / 2 * sum(w^2))` to the loss."""

    kind: Literal["elastic"] = "elastic"
    strength: float = Field(1e-5, ge=0, le=1, description="factor before both sums")
    l1_ratio: float = Field(0.5, ge=0, le=1, description="share of the absolute weights; the rest is the squared ones'")


class L2Sp(Part):
    """Pull the backbone's weights to those they started from, and the head's to zero (Li et al. 2018, arXiv:1802.01483)."""

    kind: Literal["l2_sp"] = "l2_sp"
    strength: float = Field(
        0.01, ge=0, le=10, description="factor before half the squared distance of the backbone's weights to the start"
    )
    head_strength: float = Field(
        0.01, ge=0, le=10, description="factor before half the sum of the head's squared weights"
    )


class Dropout(Part):
    """Zero features before the head's last layer at random while training (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: float = Field(0.2, ge=0, lt=1, description="how often a feature is zeroed")


class DropPath(Part):
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): leave out whole residual branches at random while training; for backbones that have them."""

    kind: Literal["drop_path"] = "drop_path"
    probability: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="how often the last branch is left out; from the first on it rises linearly to this",
    )


class MaxNorm(Part):
    """Limit the L2 norm of each unit's incoming weights after every step (Srivastava et al. 2014, section 5.1)."""

    kind: Literal["max_norm"] = "max_norm"
    limit: float = Field(3.0, gt=0, le=1000, description="largest norm of the weights of one output unit or channel")


class ConfidencePenalty(Part):
    """Take `strength` times the entropy of the net's answers off the loss (Pereyra et al. 2017, arXiv:1701.06548)."""

    kind: Literal["confidence_penalty"] = "confidence_penalty"
    strength: float = Field(0.1, ge=0, le=10, description="factor before the mean entropy, in nats")


class Ema(Part):
    """Keep an exponential moving average of the weights, and validate, keep and publish that (Tarvainen and Valpola 2017, arXiv:1703.01780)."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="share of the average kept at each step; at most 1 - 1 / (steps + 1), so that the start is soon forgotten",
    )


class Swa(Part):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407): the mean of the last epochs' weights, with batch norm's statistics computed anew, is validated, kept and published."""

    kind: Literal["swa"] = "swa"
    start: float = Field(0.75, ge=0, lt=1, description="share of the epochs after which averaging begins")
    lr_fraction: float | None = Field(
        0.1,
        gt=0,
        le=1,
        description="constant learning rate while averaging, as a share of the peak; null: the schedule's",
    )


class Sam(Part):
    """Sharpness-aware minimisation (Foret et al. 2020, arXiv:2010.01412): each step's gradient is taken where the loss is highest nearby; a step takes twice the time."""

    kind: Literal["sam"] = "sam"
    rho: float = Field(
        0.05,
        gt=0,
        le=10,
        description="how far to look, as an L2 norm over all weights; adaptive ones want ten times it",
    )
    adaptive: bool = Field(
        default=False,
        description="measure the distance in units of each weight's size (ASAM, Kwon et al. 2021, arXiv:2102.11600)",
    )


Regularizer = Annotated[
    L1 | L2 | Elastic | L2Sp | Dropout | DropPath | MaxNorm | ConfidencePenalty | Ema | Swa | Sam,
    Field(discriminator="kind"),
]
