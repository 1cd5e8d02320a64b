"""How the learning rate changes over the run, step by step."""

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


class Constant(Part):
    """The same learning rate throughout, after the warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: WarmupEpochs = 0.0


class Cosine(Part):
    """Half a cosine from the peak down to `final_fraction` of it (Loshchilov and Hutter 2016, arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: WarmupEpochs = 0.0
    final_fraction: float = Field(0.0, ge=0, le=1, description="last learning rate, as a share of the peak")


Schedule = Annotated[Constant | Cosine, Field(discriminator="kind")]
