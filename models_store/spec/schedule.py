"""Schedules: the learning rate at each step of the run."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

WarmupEpochs = Annotated[
    float,
    Field(
        ge=0,
        le=1000,
        description="epochs over which the learning rate rises linearly from 0 to its peak; fractions count",
    ),
]
FinalFraction = Annotated[float, Field(ge=0, le=1, description="last learning rate, as a share of the peak")]
Gamma = Annotated[float, Field(gt=0, le=1, description="factor by which the learning rate is multiplied at each drop")]


class Constant(Part):
    """The same learning rate throughout, after the warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: WarmupEpochs = 0.0


class StepDecay(Part):
    """Drops at equal distances, counted from the start of the run, as torch's StepLR."""

    kind: Literal["step"] = "step"
    warmup_epochs: WarmupEpochs = 0.0
    every_epochs: int = Field(7, ge=1, le=10_000, description="epochs from one drop to the next")
    gamma: Gamma = 0.1


class MultiStep(Part):
    """Drops at given epochs (He et al. 2015, arXiv:1512.03385), counted from the start of the run, as torch's MultiStepLR."""

    kind: Literal["multistep"] = "multistep"
    warmup_epochs: WarmupEpochs = 0.0
    milestones: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default=[10, 15], min_length=1, max_length=64, description="epochs after which it drops, ascending"
    )
    gamma: Gamma = 0.1


class Exponential(Part):
    """The same ratio from each epoch to the next, applied smoothly at each step; equal to torch's ExponentialLR at the start of each epoch."""

    kind: Literal["exponential"] = "exponential"
    warmup_epochs: WarmupEpochs = 0.0
    gamma: float = Field(0.9, gt=0, le=1, description="factor by which the learning rate is multiplied over each epoch")


class Linear(Part):
    """A straight line from the peak, after the warm-up, down to `final_fraction` of it at the end of the run."""

    kind: Literal["linear"] = "linear"
    warmup_epochs: WarmupEpochs = 0.0
    final_fraction: FinalFraction = 0.0


class Polynomial(Part):
    """A power of the share of the run that is left after the warm-up ("poly" of Chen et al. 2016, arXiv:1606.00915, with power 0.9)."""

    kind: Literal["polynomial"] = "polynomial"
    warmup_epochs: WarmupEpochs = 0.0
    power: float = Field(
        2.0, gt=0, le=10, description="1: a straight line; above 1: it falls early; below 1: it falls late"
    )
    final_fraction: FinalFraction = 0.0


class Cosine(Part):
    """Half a cosine from the peak down to `final_fraction` of it, once or with warm restarts (Loshchilov and Hutter 2016, arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: WarmupEpochs = 0.0
    final_fraction: FinalFraction = 0.0
    cycles: int = Field(1, ge=1, le=100, description="number of falls; each fall begins at the peak")
    cycle_growth: float = Field(1.0, ge=1, le=10, description="length of each cycle, as a multiple of the previous one")


class OneCycle(Part):
    """Up by half a cosine, then down by another (Smith and Topin 2017, arXiv:1708.07120), as torch's OneCycleLR; the momentum is not cycled. A warm-up comes before the cycle and ends at its first rate."""

    kind: Literal["one_cycle"] = "one_cycle"
    warmup_epochs: WarmupEpochs = 0.0
    rise_share: float = Field(0.3, gt=0, lt=1, description="share of the run in which the learning rate rises")
    initial_fraction: float = Field(0.04, gt=0, le=1, description="first learning rate, as a share of the peak")
    final_fraction: FinalFraction = 4e-6


class WarmupStableDecay(Part):
    """A warm-up, a plateau at the peak, and a decay at the end of the run (Hu et al. 2024, arXiv:2404.06395; Hägele et al. 2024, arXiv:2405.18392)."""

    kind: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    warmup_epochs: WarmupEpochs = 0.5
    decay_share: float = Field(0.2, gt=0, le=1, description="share of the run in which the learning rate falls")
    shape: Literal["linear", "cosine", "one_minus_sqrt"] = Field(
        "one_minus_sqrt", description="how it falls; one_minus_sqrt: steeply first (arXiv:2405.18392)"
    )
    final_fraction: FinalFraction = 0.0


class ReduceOnPlateau(Part):
    """A drop whenever `training.monitor` has not improved for a while, as torch's ReduceLROnPlateau; without validation examples it never drops."""

    kind: Literal["reduce_on_plateau"] = "reduce_on_plateau"
    warmup_epochs: WarmupEpochs = 0.0
    gamma: Gamma = 0.1
    patience: int = Field(
        3,
        ge=0,
        le=10_000,
        description="number of epochs without improvement that are tolerated; the next one causes a drop",
    )
    min_delta: float = Field(0.0, ge=0, le=100, description="least change that counts as an improvement")
    cooldown_epochs: int = Field(0, ge=0, le=10_000, description="number of epochs after a drop that don't count")
    final_fraction: Annotated[float, Field(ge=0, le=1, description="lowest learning rate, as a share of the peak")] = (
        0.0
    )


Schedule = Annotated[
    Constant
    | StepDecay
    | MultiStep
    | Exponential
    | Linear
    | Polynomial
    | Cosine
    | OneCycle
    | WarmupStableDecay
    | ReduceOnPlateau,
    Field(discriminator="kind"),
]
